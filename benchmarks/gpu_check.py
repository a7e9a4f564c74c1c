"""Does training work on this machine's GPUs, and how well do they work? A table to paste; exit code 1 if not.

    make gpu-check
    python benchmarks/gpu_check.py [--cpu]

Takes a few minutes with a GPU. Without one, or with --cpu, the same checks run on the CPU with a tiny
network: a test of the checks, no measurement. The corpus is simulated: lines written in a few motifs, so that
there is something to learn.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import train_tokenizer
from dnalm.embed.embedding import embed_tokens, load_backbone, read_model_config
from dnalm.finetune import classifier
from dnalm.models.architecture import model_config, new_model, read_architecture
from dnalm.models.directory import quieten
from dnalm.models.flops import peak_flops
from dnalm.models.masked_lm import compile_layers
from dnalm.models.optimization import adamw
from dnalm.pretrain import batches, training
from dnalm.pretrain.settings import MaskingSettings
from dnalm.pretrain.telemetry import MB, TrainingMonitor
from dnalm.running.devices import choose_device, choose_precision
from dnalm.running.errors import InputError
from dnalm.running.memory import checkpoint_gradients
from dnalm.running.world import SINGLE
from dnalm.tokenize_windows.cache import load_tokens, write_tokens
from dnalm.tokenize_windows.context import ContextLines
from dnalm.tokenizers.encoding import encode, load_tokenizer
from dnalm.tokenizers.settings import TrainTokenizerSettings, UnknownBaseSettings

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = REPOSITORY / "scripts"
TINY = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}


@dataclass(frozen=True)
class Sizes:
    """How much is computed. `micro_batches`: lines at once whose memory is measured."""

    architecture: Path | None
    vocabulary: int
    lines: int
    line_bp: int
    batch_size: int
    steps: int
    micro_batches: tuple[int, ...]
    sequences: int


ON_GPU = Sizes(
    REPOSITORY / "resources/architectures/course.json", 4096, 6000, 1000, 256, 60, (16, 64, 256, 1024), 200
)
ON_CPU = Sizes(None, 64, 160, 120, 8, 24, (2, 8), 12)


@dataclass(frozen=True)
class Finding:
    """A row of the table. `good`: whether it is as expected; None where nothing is."""

    check: str
    measured: str
    expected: str = ""
    good: bool | None = None


class Place:
    """A folder with tokenizer, corpus and architecture, and the device to check."""

    def __init__(self, folder: Path, sizes: Sizes, device: torch.device):
        self.folder, self.sizes, self.device = folder, sizes, device
        numbers = np.random.default_rng(42)
        letters = np.array(list("ACGT"))
        motifs = ["".join(motif) for motif in letters[numbers.integers(0, 4, (40, 20))]]
        lines = [
            "".join(motifs[i] for i in numbers.integers(0, 40, sizes.line_bp // 20))
            for _ in range(sizes.lines)
        ]
        self.sequences = [line[:200] for line in lines[: sizes.sequences]]
        (folder / "lines.txt").write_text("\n".join(lines[:1000]) + "\n")
        self.tokenizer = folder / "tokenizer"
        train_tokenizer.main(
            windows=[folder / "lines.txt"],
            settings=TrainTokenizerSettings(vocabulary_size=sizes.vocabulary),
            unknown_bases=UnknownBaseSettings(),
            output=self.tokenizer,
            summary=folder / "tokenizer.json",
        )
        self.vocabulary = load_tokenizer(self.tokenizer)
        tokens = encode(self.vocabulary, lines, 10_000)
        held_out = len(lines) // 10
        for name, part in (("train", tokens[held_out:]), ("held_out", tokens[:held_out])):
            (folder / name).mkdir()
            write_tokens(folder / name, [part], len(self.vocabulary))
        self.architecture = sizes.architecture or folder / "tiny.json"
        if sizes.architecture is None:
            self.architecture.write_text(json.dumps(TINY))
        self.config = model_config(read_architecture(self.architecture), self.vocabulary)
        # What trainings and predictions take on this device.
        self.usual = choose_precision("auto", device)
        # On a CPU it is slow, but a test of the checks.
        self.bf16 = device.type == "cpu" or self.usual == "bf16"

    def corpus(self, name: str, multiple_of: int = 1) -> batches.Corpus:
        lines = ContextLines(load_tokens(self.folder / name), self.longest)
        return batches.Corpus(
            lines,
            batches.Vocabulary.of(self.vocabulary),
            MaskingSettings(),
            seed=42,
            pad_to_multiple_of=multiple_of,
        )

    @property
    def longest(self) -> int:
        return int(load_tokens(self.folder / "train").lengths.max())

    def command(self, name: str, *words: object) -> list[str]:
        """scripts/pretrain.py on this corpus, writing to `name`."""
        gpus = torch.cuda.device_count() if self.device.type == "cuda" else 0
        options = {
            "tokens": self.folder / "train",
            "validation-tokens": self.folder / "held_out",
            "tokenizer": self.tokenizer,
            "architecture": self.architecture,
            "max-tokens": self.longest,
            "training-steps": self.sizes.steps,
            "training-batch-size": self.sizes.batch_size,
            "training-learning-rate": 5e-4,
            "training-evaluate-every": max(1, self.sizes.steps // 4),
            "training-checkpoint-every-steps": max(1, self.sizes.steps // 4),
            "checkpoints": self.folder / "checkpoints" / name,
            "output": self.folder / name,
            "telemetry": self.folder / f"{name}.telemetry.json",
            "gpus": gpus,
            "processes": 1,
        }
        words_of_options = [word for key, value in options.items() for word in (f"--{key}", value)]
        return [str(w) for w in (sys.executable, SCRIPTS / "pretrain.py", *words_of_options, *words)]

    def losses(self, name: str) -> list[float]:
        """Held-out losses of a training, in the order of steps."""
        records = map(json.loads, (self.folder / name / "training_log.jsonl").read_text().splitlines())
        return [record["masked_loss"] for record in records if record["event"] == "evaluation"]


# ----------------------------------------------------------------------------- one training


class Stopwatch(TrainingMonitor):
    """Times the second half of the steps, when everything is warm."""

    def end_step(self, step: int, all_tokens: int, all_flops: float) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        super().end_step(step, all_tokens, all_flops)
        if step == self.steps // 2:
            self.begin(step)
            self.all_tokens, self.all_flops = 0, 0.0


def train(
    place: Place, precision: str, *, compiled: bool = False, multiple_of: int = 8
) -> tuple[list[float], Stopwatch]:
    """Held-out losses and speed of a training in this process; lines padded to a multiple."""
    sizes, device = place.sizes, place.device
    network = new_model(place.config, 42).to(device)
    if compiled:
        compile_layers(network)
    peak = peak_flops(torch.cuda.get_device_name(device), precision) if device.type == "cuda" else None
    watch = Stopwatch(sizes.steps, device=device, quiet=True, peak_flops=peak)
    state = training.TrainingState()
    every = max(1, sizes.steps // 4)
    schedule = training.Schedule(sizes.steps, 5e-4, "cosine", 0.05, 0.0, 1.0, every, 42)
    held_out = place.corpus("held_out")
    training.train(
        training.MaskedTokenLoss(network),
        adamw(network, schedule.learning_rate, 0.0),
        batches.TrainingBatches(place.corpus("train", multiple_of), sizes.steps, sizes.batch_size),
        training.HeldOut(held_out, batches.evaluation_lines(len(held_out.lengths), 200)),
        schedule,
        state,
        device=device,
        precision=precision,
        monitor=watch,
    )
    return [r["masked_loss"] for r in state.log if r["event"] == "evaluation"], watch


def check_precision(place: Place) -> Iterator[Finding]:
    """bf16, where the GPU has it, learns as fp32 does and is faster."""
    ways: dict[str, dict[str, Any]] = {"fp32": {"precision": "fp32"}}
    best = "bf16" if place.bf16 else "fp32"
    if place.bf16:
        ways["bf16"] = {"precision": "bf16"}
    else:
        yield Finding("bf16", "left out: GPUs before Ampere have none, trainings take fp32")
    ways[f"{best}, lengths as they are"] = {"precision": best, "multiple_of": 1}
    if place.device.type == "cuda":
        ways[f"{best}, compiled"] = {"precision": best, "compiled": True}
    results = {name: train(place, **way) for name, way in ways.items()}
    reference = results["fp32"][0]
    yield Finding(
        "held-out loss in fp32",
        " → ".join(f"{loss:.3f}" for loss in reference),
        "falls",
        reference[-1] < reference[0] - 0.05,
    )
    for name, (losses, watch) in results.items():
        if name != "fp32":
            apart = max(abs(a - b) for a, b in zip(losses, reference, strict=True))
            yield Finding(f"loss in {name}", f"at most {apart:.4f} apart", "≤ 0.05 nats", apart <= 0.05)
        faster = watch.tokens_per_second() / results["fp32"][1].tokens_per_second()
        mfu = watch.mfu()
        speed = f"{watch.tokens_per_second():,.0f} tokens/s, {faster:.2f} times fp32"
        speed += f", MFU {mfu:.1%}" if mfu is not None else ", MFU unknown"
        speed += f", padding {watch.padding / (watch.padding + watch.tokens):.1%}"
        expected = name == "bf16" and place.device.type == "cuda"
        yield Finding(
            f"speed in {name}",
            speed,
            "faster than fp32" if expected else "",
            faster > 1 if expected else None,
        )


# ----------------------------------------------------------------------------- memory


def check_memory(place: Place) -> Iterator[Finding]:
    """Memory of a forward and backward pass by the number of lines, with and without checkpointing."""
    corpus, precision = place.corpus("train"), place.usual
    kept: dict[bool, list[float]] = {False: [], True: []}
    for checkpointing, sizes in kept.items():
        network = new_model(place.config, 42).to(place.device)
        if checkpointing:
            checkpoint_gradients(network)
        words = []
        for lines in place.sizes.micro_batches:
            megabytes = memory_of_pass(place, network, corpus, lines, precision)
            words.append(f"{lines}: " + ("does not fit" if megabytes is None else f"{megabytes:,.0f} MB"))
            sizes.append(float("inf") if megabytes is None else megabytes)
        what = "memory" if place.device.type == "cuda" else "tensors kept for the backward pass"
        yield Finding(
            f"{what} by lines at once{', gradients checkpointed' if checkpointing else ''}", "; ".join(words)
        )
    less = kept[True][-1] < kept[False][-1]
    yield Finding("gradient checkpointing", "keeps less" if less else "keeps as much", "keeps less", less)


def memory_of_pass(
    place: Place, network: Any, corpus: batches.Corpus, lines: int, precision: str
) -> float | None:
    """MB at the peak (GPU), or of the tensors kept for the backward pass (CPU); None: does not fit."""
    batch = batches.TrainingBatches(corpus, 1, lines)[0]
    device, saved = place.device, [0]

    def count(tensor: torch.Tensor) -> torch.Tensor:
        saved[0] += tensor.numel() * tensor.element_size()
        return tensor

    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    model = training.MaskedTokenLoss(network.train())
    try:
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            training.accumulate_gradients(model, batch, device, training.autocast(device, precision), SINGLE)
    except torch.OutOfMemoryError:
        return None
    finally:
        network.zero_grad(set_to_none=True)
    used = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else saved[0]
    return used / MB


def check_running_out(place: Place) -> Iterator[Finding]:
    """A training that is allowed half of the memory that it wants finds a micro-batch that fits."""
    if place.device.type != "cuda":
        return
    network = new_model(place.config, 42).to(place.device)
    lines = place.sizes.micro_batches[-1]
    corpus = place.corpus("train")
    wanted = memory_of_pass(place, network, corpus, lines, place.usual)
    total = torch.cuda.get_device_properties(place.device).total_memory / MB
    torch.cuda.set_per_process_memory_fraction(min(1.0, 0.5 * (wanted or total) / total), place.device)
    try:
        items = batches.TrainingBatches(corpus, 1, lines)
        optimizer = adamw(network, 1e-4, 0.0)
        schedule = training.Schedule(1, 1e-4, "cosine", 0.0, 0.0, 1.0, 1, 42)
        training.train(
            training.MaskedTokenLoss(network),
            optimizer,
            items,
            training.HeldOut(corpus, np.arange(8)),
            schedule,
            training.TrainingState(log=[{"event": "evaluation"}]),
            device=place.device,
            precision=place.usual,
            monitor=TrainingMonitor(1, device=place.device, quiet=True),
        )
        found = items.micro_batch_size
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, place.device)
    yield Finding("memory runs out", f"goes on with {found} of {lines} lines at once", "fewer", found < lines)


# ----------------------------------------------------------------------------- kill, several GPUs


def check_kill(place: Place) -> Iterator[Finding]:
    """A training that is killed goes on and ends where one that was left alone ends."""
    subprocess.run(place.command("undisturbed"), check=True, capture_output=True)
    process = subprocess.Popen(place.command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = place.folder / "checkpoints" / "killed"
    while process.poll() is None and not any(checkpoints.glob("*/step-*")):
        time.sleep(0.01)
    killed = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(place.command("killed"), check=True, capture_output=True)
    apart = abs(place.losses("killed")[-1] - place.losses("undisturbed")[-1])
    weights = [load_file(place.folder / name / "model.safetensors") for name in ("undisturbed", "killed")]
    same = all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    on_cpu = place.device.type == "cpu"
    yield Finding(
        "kill -9 and resume",
        f"{'killed' if killed else 'NOT killed in time'}; loss {apart:.5f} apart, "
        f"weights {'the same' if same else 'not the same'}",
        "weights the same" if on_cpu else "≤ 0.02 nats",
        killed and (same if on_cpu else apart <= 0.02),
    )


def check_several(place: Place) -> Iterator[Finding]:
    """Several GPUs end where one does, copied (DDP) or sharded (FSDP)."""
    several = torch.cuda.device_count() if place.device.type == "cuda" else 2
    if several < 2:
        yield Finding("several GPUs", "only one here")
        return
    reference = place.losses("undisturbed")
    speed = json.loads((place.folder / "undisturbed.telemetry.json").read_text())["tokens_per_second"]
    for name, words in (("copied (DDP)", []), ("sharded (FSDP)", ["--training-fsdp"])):
        output = name.split()[0]
        # The last one counts.
        subprocess.run(place.command(output, "--processes", several, *words), check=True, capture_output=True)
        apart = max(abs(a - b) for a, b in zip(place.losses(output), reference, strict=True))
        telemetry = json.loads((place.folder / f"{output}.telemetry.json").read_text())
        faster = telemetry["tokens_per_second"] / speed
        unit = "GPUs" if place.device.type == "cuda" else "processes"
        yield Finding(
            f"{several} {unit}, {name}",
            f"loss at most {apart:.5f} apart; {faster:.2f} times one",
            "≤ 0.02 nats",
            apart <= 0.02,
        )


# ----------------------------------------------------------------------------- embeddings, predictions


def check_inference(place: Place) -> Iterator[Finding]:
    """Embeddings and predictions of the GPU are the CPU's."""
    quieten()
    model = place.folder / "undisturbed"
    config = read_model_config(model)
    tokens = encode(place.vocabulary, place.sequences, 512)

    def embedded(device: torch.device, bf16: bool) -> np.ndarray:
        backbone = load_backbone(model, device)
        return embed_tokens(backbone, tokens, pad_id=config["pad_token_id"], bf16=bf16)["mean"]

    directory = place.folder / "classifier"
    directory.mkdir()
    weights = classifier.initial_weights(model, 2, seed=1)
    classifier.save_classifier(directory, model, weights, ["no", "yes"], "mean", 512)

    def predicted(device: torch.device, bf16: bool) -> np.ndarray:
        return classifier.Classifier(directory, device, bf16).outputs(place.sequences)

    ways: list[tuple[str, Callable[[torch.device, bool], np.ndarray], float, float]] = [
        ("embeddings", embedded, 1e-3, 0.05),
        ("probabilities", predicted, 1e-3, 0.02),
    ]
    for name, compute, exact, rough in ways:
        reference = compute(torch.device("cpu"), False)
        scale = max(1.0, float(np.abs(reference).max()))
        precisions = {"fp32": exact} | ({"bf16": rough} if place.bf16 else {})
        for precision, tolerance in precisions.items():
            apart = float(np.abs(compute(place.device, precision == "bf16") - reference).max()) / scale
            yield Finding(
                f"{name} in {precision} beside the CPU's",
                f"at most {apart:.1e} apart",
                f"≤ {tolerance:g}",
                apart <= tolerance,
            )


# ----------------------------------------------------------------------------- the table


CHECKS = (check_precision, check_memory, check_running_out, check_kill, check_several, check_inference)


def findings(place: Place) -> Iterator[Finding]:
    """All checks; one that fails with an error is a finding too."""
    for check in CHECKS:
        begun = time.monotonic()
        try:
            yield from check(place)
        except Exception as error:
            said = error.stderr.decode() if isinstance(error, subprocess.CalledProcessError) else str(error)
            last = said.strip().splitlines()[-1:] or [""]
            yield Finding(check.__name__, f"{type(error).__name__}: {last[0]}", "no error", False)
        print(f"  ({check.__name__}: {time.monotonic() - begun:.0f} s)", file=sys.stderr, flush=True)


def row(finding: Finding) -> str:
    """A line of the Markdown table."""
    verdict = {None: "", True: "good", False: "**bad**"}[finding.good]
    cells = [finding.check, finding.measured, finding.expected, verdict]
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def machine(device: torch.device) -> str:
    """What was checked, in words."""
    if device.type == "cuda":
        count, name = torch.cuda.device_count(), torch.cuda.get_device_name(device)
        where = f"{count} × {name}, CUDA {torch.version.cuda}"
    else:
        where = (
            f"CPU ({platform.machine()}, {os.cpu_count()} cores), a test of the checks: no GPU was measured"
        )
    return f"{where}; torch {torch.__version__}; {date.today():%Y-%m-%d}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cpu", action="store_true", help="check the CPU, also where there is a GPU")
    options = parser.parse_args()
    on_gpu = torch.cuda.is_available() and not options.cpu
    device = torch.device("cuda", 0) if on_gpu else torch.device("cpu")
    if on_gpu:
        # Set up as the scripts do; all GPUs, since several are checked together.
        try:
            choose_device(torch.cuda.device_count())
        except InputError as error:
            sys.exit(str(error))
    bad = 0
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        place = Place(Path(folder), ON_GPU if on_gpu else ON_CPU, device)
        print(
            f"{machine(device)}\n\n| check | measured | expected | |\n| --- | --- | --- | --- |", flush=True
        )
        for finding in findings(place):
            bad += finding.good is False
            print(row(finding), flush=True)
    if bad:
        sys.exit(f"\n{bad} of the checks failed.")


if __name__ == "__main__":
    main()
