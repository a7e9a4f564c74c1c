"""Does training work on this machine's GPUs, and how well do they work? A table to paste; exit code 1 if not.

    make gpu-check
    python benchmarks/gpu_check.py [--cpu]

Takes a few minutes with a GPU. Without one, or with --cpu, the same checks run on the CPU with a tiny
network: a test of the checks, no measurement. Corpus and task are simulated: lines written in a few motifs,
and sequences that are told apart by theirs, so that there is something to learn.
"""

import argparse
import gc
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import train_tokenizer
from dnalm.embed.embedding import embed_tokens, load_backbone, read_model_config
from dnalm.evaluate_language_model.scoring import choose_lines, hide_tokens, model_scores
from dnalm.evaluate_language_model.settings import EvaluateLanguageModelSettings
from dnalm.finetune import classifier, trained
from dnalm.finetune import training as finetuning
from dnalm.finetune.settings import (
    FullSettings,
    LearningSettings,
    LoraSettings,
    PartialSettings,
    ThroughBackboneSettings,
)
from dnalm.models.architecture import load_model, model_config, new_model
from dnalm.models.checks import read_architecture
from dnalm.models.directory import quieten
from dnalm.models.flops import peak_flops
from dnalm.models.masked_lm import compile_layers
from dnalm.models.optimization import adamw
from dnalm.pretrain import batches, training
from dnalm.pretrain.settings import MaskingSettings
from dnalm.pretrain.telemetry import MB, TrainingMonitor
from dnalm.problems.kinds import KINDS
from dnalm.problems.names import SINGLE_LABEL
from dnalm.running.checkpointer import Checkpointer
from dnalm.running.devices import choose_device, choose_precision
from dnalm.running.errors import InputError, Interrupted
from dnalm.running.memory import checkpoint_gradients
from dnalm.running.world import SINGLE
from dnalm.tokenize_windows.cache import load_tokens, write_tokens
from dnalm.tokenize_windows.context import ContextLines
from dnalm.tokenizers.encoding import encode, load_tokenizer
from dnalm.tokenizers.settings import TrainTokenizerSettings, UnknownBaseSettings

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = REPOSITORY / "scripts"
TINY = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
CPU = torch.device("cpu")
LABELS = ["no", "yes"]


@dataclass(frozen=True)
class Sizes:
    """How much is computed. `micro_batches`: lines at once whose memory is measured; `sequences_at_once`: in
    fine-tuning, where memory and speed are measured; `fine_tuning`: settings of all ways.
    """

    architecture: Path | None
    vocabulary: int
    lines: int
    line_bp: int
    batch_size: int
    steps: int
    micro_batches: tuple[int, ...]
    sequences: int
    sequences_at_once: int
    lines_judged: int
    fine_tuning: dict[str, Any]


ON_GPU = Sizes(
    architecture=REPOSITORY / "resources/architectures/course.json",
    vocabulary=4096,
    lines=6000,
    line_bp=1000,
    batch_size=256,
    steps=60,
    micro_batches=(16, 64, 256, 1024),
    sequences=200,
    sequences_at_once=1024,
    lines_judged=64,
    fine_tuning={"epochs": 3, "batch_size": 8},
)
ON_CPU = Sizes(
    architecture=None,
    vocabulary=64,
    lines=160,
    line_bp=120,
    batch_size=8,
    steps=24,
    micro_batches=(2, 8),
    sequences=12,
    sequences_at_once=16,
    lines_judged=8,
    # At the usual rates a tiny network learns nothing in so few steps.
    fine_tuning={"epochs": 3, "batch_size": 8, "learning_rate": 5e-4},
)


@dataclass(frozen=True)
class Finding:
    """A row of the table. `good`: whether it is as expected; None where nothing is."""

    check: str
    measured: str
    expected: str = ""
    good: bool | None = None


def agreement(check: str, apart: float, tolerance: float, unit: str = "") -> Finding:
    """That two ways come to the same."""
    return Finding(check, f"at most {apart:.1e} apart", f"≤ {tolerance:g}{unit}", apart <= tolerance)


def most_apart(losses: Sequence[float], others: Sequence[float]) -> float:
    """The largest difference between losses of the same steps."""
    return max(abs(a - b) for a, b in zip(losses, others, strict=True))


def falling(losses: Sequence[float]) -> str:
    return " → ".join(f"{loss:.3f}" for loss in losses)


def write_in(words: list[str], bp: int, numbers: np.random.Generator) -> str:
    """`bp` bases of these words, all of the same length, in random order."""
    return "".join(words[i] for i in numbers.integers(0, len(words), bp // len(words[0])))


def labelled_sequences(motifs: list[str], count: int, numbers: np.random.Generator) -> pd.DataFrame:
    """A table of a task, 120 bp each, labels in turn: each has four motifs of its own among random bases."""
    rows = []
    for i in range(count):
        own = motifs[4 * (i % 2) :][:4]
        pieces = [write_in(words, 20, numbers) for _ in range(3) for words in (own, list("ACGT"))]
        rows.append((str(i), "".join(pieces), LABELS[i % 2]))
    return pd.DataFrame(rows, columns=["id", "seq", "label"])


class Place:
    """A folder with tokenizer, corpus, task and architecture, and the device to check."""

    def __init__(self, folder: Path, sizes: Sizes, device: torch.device):
        self.folder, self.sizes, self.device = folder, sizes, device
        numbers = np.random.default_rng(42)
        letters = np.array(list("ACGT"))
        motifs = ["".join(motif) for motif in letters[numbers.integers(0, 4, (40, 20))]]
        lines = [write_in(motifs, sizes.line_bp, numbers) for _ in range(sizes.lines)]
        self.sequences = [line[:200] for line in lines[: sizes.sequences]]
        self.task = {
            name: labelled_sequences(motifs, count, numbers)
            for name, count in (("learned", 64), ("validation", 16))
        }
        for name, table in self.task.items():
            table.to_csv(folder / f"{name}.tsv", sep="\t", index=False)
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

    def examples(self, name: str, device: torch.device, precision: str) -> classifier.Tokens:
        """A split of the task."""
        table = self.task[name]
        return classifier.Tokens(
            encode(self.vocabulary, table["seq"].tolist(), 512),
            torch.tensor(table["label"].map(LABELS.index).to_numpy()),
            self.config.pad_token_id,
            device,
            precision == "bf16",
        )

    def pretraining(self, name: str, *words: object) -> list[str]:
        """scripts/pretrain.py on this corpus, writing to `name`."""
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
            "telemetry": self.folder / f"{name}.telemetry.json",
            "gpus": torch.cuda.device_count() if self.device.type == "cuda" else 0,
            "processes": 1,
        }
        return self.command("pretrain.py", name, options, *words)

    def finetuning(self, name: str) -> list[str]:
        """scripts/finetune.py with LoRA on this task, writing to `name`."""
        options = {
            "model": self.model,
            "train-sequences": self.folder / "learned.tsv",
            "validation-sequences": self.folder / "validation.tsv",
            "backbone": "lora",
            **{key.replace("_", "-"): value for key, value in self.sizes.fine_tuning.items()},
            # After every step.
            "checkpoint-every-minutes": 1e-6,
            "gpus": 1 if self.device.type == "cuda" else 0,
            "name": "check",
            "task": "check",
        }
        return self.command("finetune.py", name, options)

    def command(self, script: str, name: str, options: Mapping[str, object], *words: object) -> list[str]:
        """A script that writes to `name` and can be interrupted."""
        options = {
            **options,
            "checkpoints": self.folder / "checkpoints" / name,
            "output": self.folder / name,
        }
        words_of_options = [word for key, value in options.items() for word in (f"--{key}", value)]
        return [str(w) for w in (sys.executable, SCRIPTS / script, *words_of_options, *words)]

    @property
    def model(self) -> Path:
        """The language model that :func:`check_kill` pretrains, from which the checks after it start."""
        return self.folder / "undisturbed"

    def losses(self, name: str) -> list[float]:
        """Held-out losses of a training by one of the scripts, in the order of steps."""
        (log,) = (self.folder / name).glob("*_log.jsonl")
        records = map(json.loads, log.read_text().splitlines())
        return [
            record["masked_loss" if "masked_loss" in record else "loss"]
            for record in records
            if record["event"] == "evaluation"
        ]


# ----------------------------------------------------------------------------- one training


def wait_for(device: torch.device) -> None:
    """Until all is computed that was asked of the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Stopwatch(TrainingMonitor):
    """Times the second half of the steps, when everything is warm."""

    def end_step(self, step: int, all_tokens: int, all_flops: float) -> None:
        wait_for(self.device)
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
        falling(reference),
        "falls",
        reference[-1] < reference[0] - 0.05,
    )
    for name, (losses, watch) in results.items():
        if name != "fp32":
            yield agreement(f"loss in {name}", most_apart(losses, reference), 0.05, " nats")
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


class Kept:
    """Bytes of the tensors kept for backward passes, `now` and at the `peak`; beyond `limit` nothing fits.

    On a CPU they stand for a GPU's memory. Use within `hooks()`.
    """

    def __init__(self, limit: float = float("inf")):
        self.limit, self.now, self.peak = limit, 0, 0

    def hooks(self) -> torch.autograd.graph.saved_tensors_hooks:
        return torch.autograd.graph.saved_tensors_hooks(self.keep, self.give_back)

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        self.now += tensor.nbytes
        self.peak = max(self.peak, self.now)
        if self.now > self.limit:
            # Who gives up this pass keeps nothing of it.
            self.now = 0
            raise torch.OutOfMemoryError
        return tensor

    def give_back(self, tensor: torch.Tensor) -> torch.Tensor:
        self.now = max(0, self.now - tensor.nbytes)
        return tensor


def memory_of(device: torch.device, work: Callable[[], object]) -> float | None:
    """MB at the peak (GPU), or of the tensors kept for backward passes (CPU); None: does not fit."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    kept = Kept()
    try:
        with kept.hooks():
            work()
    except torch.OutOfMemoryError:
        return None
    return (torch.cuda.max_memory_allocated(device) if device.type == "cuda" else kept.peak) / MB


def memory_of_pass(
    place: Place, network: Any, corpus: batches.Corpus, lines: int, precision: str
) -> float | None:
    """:func:`memory_of` a forward and backward pass of so many lines."""
    batch = batches.TrainingBatches(corpus, 1, lines)[0]
    model, computing = training.MaskedTokenLoss(network.train()), training.autocast(place.device, precision)
    try:
        return memory_of(
            place.device,
            lambda: training.accumulate_gradients(model, batch, place.device, computing, SINGLE),
        )
    finally:
        network.zero_grad(set_to_none=True)


@contextmanager
def half_of(device: torch.device, wanted: float | None) -> Iterator[None]:
    """Allows half of the memory (MB, from :func:`memory_of`) that something wants; None: of all there is."""
    if device.type == "cpu":
        with Kept(limit=0.5 * (wanted or 0.0) * MB).hooks():
            yield
        return
    total = torch.cuda.get_device_properties(device).total_memory / MB
    # The limit is on what PyTorch takes from the GPU. What it holds in reserve would be used without a limit.
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, 0.5 * (wanted or total) / total), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def goes_on(check: str, found: int, wanted: int, unit: str) -> Finding:
    """That a training which ran out of memory takes less at once."""
    return Finding(check, f"goes on with {found:,} of {wanted:,} {unit} at once", "fewer", found < wanted)


def check_running_out(place: Place) -> Iterator[Finding]:
    """A training that is allowed half of the memory that it wants finds a micro-batch that fits."""
    network = new_model(place.config, 42).to(place.device)
    lines = place.sizes.micro_batches[-1]
    corpus = place.corpus("train")
    wanted = memory_of_pass(place, network, corpus, lines, place.usual)
    items = batches.TrainingBatches(corpus, 1, lines)
    with half_of(place.device, wanted):
        training.train(
            training.MaskedTokenLoss(network),
            adamw(network, 1e-4, 0.0),
            items,
            training.HeldOut(corpus, np.arange(8)),
            training.Schedule(1, 1e-4, "cosine", 0.0, 0.0, 1.0, 1, 42),
            training.TrainingState(log=[{"event": "evaluation"}]),
            device=place.device,
            precision=place.usual,
            monitor=TrainingMonitor(1, device=place.device, quiet=True),
        )
    yield goes_on("memory runs out", items.micro_batch_size, lines, "lines")


# ----------------------------------------------------------------------------- kill, several GPUs


def resumed(
    place: Place,
    check: str,
    apart: float,
    weights: Sequence[Mapping[str, torch.Tensor]],
    interrupted: bool = True,
) -> Finding:
    """That a training which was interrupted ends where one ends that was left alone.

    `apart`: their losses. `weights`: of both. `interrupted`: whether it was, in time.
    """
    one, other = weights
    same = all(torch.equal(one[key], other[key]) for key in one)
    on_cpu = place.device.type == "cpu"
    return Finding(
        check,
        f"{'' if interrupted else 'NOT killed in time; '}loss {apart:.1e} apart, "
        f"weights {'the same' if same else 'not the same'}",
        "weights the same" if on_cpu else "≤ 0.02 nats",
        interrupted and (same if on_cpu else apart <= 0.02),
    )


def kill_and_resume(
    place: Place, check: str, command: Callable[[str], list[str]], undisturbed: str, killed: str
) -> Finding:
    """Run a script undisturbed, and once more killed and started again."""
    subprocess.run(command(undisturbed), check=True, capture_output=True)
    process = subprocess.Popen(command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = place.folder / "checkpoints" / killed
    while process.poll() is None and not any(checkpoints.glob("*/step-*")):
        time.sleep(0.01)
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command(killed), check=True, capture_output=True)
    weights = [load_file(place.folder / name / "model.safetensors") for name in (undisturbed, killed)]
    apart = abs(place.losses(killed)[-1] - place.losses(undisturbed)[-1])
    return resumed(place, check, apart, weights, running)


def check_kill(place: Place) -> Iterator[Finding]:
    """A training that is killed goes on and ends where one that was left alone ends."""
    yield kill_and_resume(place, "kill -9 and resume", place.pretraining, place.model.name, "killed")


def check_several(place: Place) -> Iterator[Finding]:
    """Several GPUs end where one does, copied (DDP) or sharded (FSDP)."""
    several = torch.cuda.device_count() if place.device.type == "cuda" else 2
    if several < 2:
        yield Finding("several GPUs", "only one here")
        return
    reference = place.losses(place.model.name)
    speed = json.loads((place.folder / f"{place.model.name}.telemetry.json").read_text())["tokens_per_second"]
    for name, words in (("copied (DDP)", []), ("sharded (FSDP)", ["--training-fsdp"])):
        output = name.split()[0]
        # The last one counts.
        subprocess.run(
            place.pretraining(output, "--processes", several, *words), check=True, capture_output=True
        )
        apart = most_apart(place.losses(output), reference)
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


def initial_weights(place: Place) -> dict[str, torch.Tensor]:
    """Of the classifier from which all start."""
    return classifier.initial_weights(place.model, len(LABELS), seed=1)


def save(place: Place, name: str, weights: dict[str, torch.Tensor]) -> Path:
    """A classifier directory."""
    directory = place.folder / name
    directory.mkdir()
    classifier.save_classifier(directory, place.model, weights, LABELS, "mean", 512)
    return directory


def check_inference(place: Place) -> Iterator[Finding]:
    """Embeddings and predictions of the GPU are the CPU's."""
    quieten()
    config = read_model_config(place.model)
    tokens = encode(place.vocabulary, place.sequences, 512)

    def embedded(device: torch.device, bf16: bool) -> np.ndarray:
        backbone = load_backbone(place.model, device)
        return embed_tokens(backbone, tokens, pad_id=config["pad_token_id"], bf16=bf16)["mean"]

    directory = save(place, "classifier", initial_weights(place))

    def predicted(device: torch.device, bf16: bool) -> np.ndarray:
        return classifier.Classifier(directory, device, bf16).outputs(place.sequences)

    ways: list[tuple[str, Callable[[torch.device, bool], np.ndarray], float, float]] = [
        ("embeddings", embedded, 1e-3, 0.05),
        ("probabilities", predicted, 1e-3, 0.02),
    ]
    for name, compute, exact, rough in ways:
        reference = compute(CPU, False)
        scale = max(1.0, float(np.abs(reference).max()))
        precisions = {"fp32": exact} | ({"bf16": rough} if place.bf16 else {})
        for precision, tolerance in precisions.items():
            apart = float(np.abs(compute(place.device, precision == "bf16") - reference).max()) / scale
            yield agreement(f"{name} in {precision} beside the CPU's", apart, tolerance)


def check_language_model(place: Place) -> Iterator[Finding]:
    """The language model's loss on held-out lines is the CPU's."""
    quieten()
    asked = EvaluateLanguageModelSettings(max_lines=place.sizes.lines_judged)
    lines = place.corpus("held_out").lines
    chosen = choose_lines(len(lines), asked.max_lines)
    hidden = hide_tokens(lines, chosen, place.vocabulary, asked.masking_probability, asked.seed)
    losses = []
    for device in (CPU, place.device):
        network = load_model(place.model, place.vocabulary).to(device).eval()
        losses.append(model_scores(network, hidden, place.vocabulary.pad_token_id, device).loss.mean())
    apart = abs(losses[1] - losses[0])
    yield Finding(
        "language model's evaluation beside the CPU's",
        f"loss {losses[1]:.4f}, perplexity {np.exp(losses[1]):.2f}; {apart:.1e} nats apart",
        "≤ 0.001 nats",
        bool(apart <= 0.001),
    )


# ----------------------------------------------------------------------------- fine-tuning


def ways_to_learn(place: Place) -> dict[str, ThroughBackboneSettings]:
    """What fine-tuning goes through the backbone."""
    common = place.sizes.fine_tuning
    return {
        "full": FullSettings(**common),
        "partial": PartialSettings(**common | {"layers": 1}),
        # A GPU draws other numbers for dropout than a CPU; check_kill_finetuning has it.
        "lora": LoraSettings(**common | {"dropout": 0.0}),
    }


def new_classifier(place: Place, settings: ThroughBackboneSettings, device: torch.device) -> nn.Module:
    """The classifier, ready to learn."""
    whole = classifier.full_model(place.model, initial_weights(place), len(LABELS), "mean")
    if settings.gradient_checkpointing:
        checkpoint_gradients(whole)
    return trained.prepare(whole, settings, 1).to(device)


def recipe(settings: ThroughBackboneSettings) -> finetuning.Settings:
    return finetuning.Settings(**settings.model_dump(include=set(LearningSettings.model_fields)), seed=1)


def finetune(
    place: Place,
    settings: ThroughBackboneSettings,
    device: torch.device,
    precision: str,
    checkpointer: Checkpointer | None = None,
) -> tuple[list[float], nn.Module]:
    """Losses of a fine-tuning, of the validation and of an epoch's steps in turn, and what has learned."""
    module = new_classifier(place, settings, device)
    learned, validation = (place.examples(name, device, precision) for name in place.task)
    state = finetuning.train(module, learned, validation, recipe(settings), checkpointer)
    finetuning.put_weights(module, state.best_weights)
    return [record["loss"] for record in state.log], module


class InterruptedOnce(Checkpointer):
    """Its process is told to end after the tenth step: within an epoch, and after the first."""

    def after_step(self, step: int, *rest: Any, **more: Any) -> None:
        if step == 10:
            signal.raise_signal(signal.SIGTERM)
        super().after_step(step, *rest, **more)


def finetune_interrupted(
    place: Place, name: str, settings: ThroughBackboneSettings
) -> tuple[list[float], nn.Module]:
    """:func:`finetune` in two goes."""

    def go() -> tuple[list[float], nn.Module]:
        checkpoints = place.folder / "checkpoints" / f"finetune-{name}"
        with InterruptedOnce(checkpoints, {"way": name}, stop_before_minutes=0.0) as checkpointer:
            return finetune(place, settings, place.device, place.usual, checkpointer)

    try:
        go()
    except Interrupted:
        return go()
    raise RuntimeError("the training was not interrupted")


def check_finetuning(place: Place) -> Iterator[Finding]:
    """Each way through the backbone learns as on the CPU, goes on when interrupted, and is saved as it is."""
    quieten()
    precisions = ["fp32", "bf16"] if place.bf16 else ["fp32"]
    for name, settings in ways_to_learn(place).items():
        on_cpu, _ = finetune(place, settings, CPU, "fp32")
        results = {precision: finetune(place, settings, place.device, precision) for precision in precisions}
        losses, module = results["fp32"]
        learning = losses[1::2]
        falls = learning[-1] < learning[0] - 0.05
        yield Finding(f"fine-tuning, {name}: loss by epoch", falling(learning), "falls", falls)
        yield agreement(f"{name}: fp32 beside the CPU's", most_apart(losses, on_cpu), 0.01, " nats")
        if place.bf16:
            apart = most_apart(results["bf16"][0], losses)
            yield agreement(f"{name}: bf16 beside fp32", apart, 0.05, " nats")
        if name == "full":
            checkpointed = settings.model_copy(update={"gradient_checkpointing": True})
            again, _ = finetune(place, checkpointed, place.device, "fp32")
            apart = most_apart(again, losses)
            yield agreement(f"{name}: gradients checkpointed", apart, 0.01, " nats")
            yield speed_of(place, f"{name}, gradients checkpointed", checkpointed)
        yield speed_of(place, name, settings)
        undisturbed, reference = results[place.usual]
        found, resumed_module = finetune_interrupted(place, name, settings)
        weights = [finetuning.learning_weights(each) for each in (reference, resumed_module)]
        yield resumed(place, f"{name}: interrupted and resumed", most_apart(found, undisturbed), weights)
        yield from check_saved(place, name, module)


def check_saved(place: Place, name: str, module: nn.Module) -> Iterator[Finding]:
    """The saved classifier, low-rank matrices merged, says what was said in training, on the CPU too."""
    examples = place.examples("validation", place.device, "fp32")
    logits = classifier.predict_logits(module, examples)
    said = KINDS[SINGLE_LABEL].outputs(logits.double().numpy())
    directory = save(place, f"classifier-{name}", trained.merged(initial_weights(place), module))
    for where, device in (("here", place.device), ("on the CPU", CPU)):
        outputs = classifier.Classifier(directory, device).outputs(place.task["validation"]["seq"].tolist())
        yield agreement(f"{name}: saved, read {where}", float(np.abs(outputs - said).max()), 1e-3)


def large_step(
    place: Place, settings: ThroughBackboneSettings
) -> tuple[Callable[[], torch.Tensor], classifier.Tokens]:
    """A step with many sequences that go through the model at once, and these: it may make that fewer."""
    module = new_classifier(place, settings, place.device).train()
    optimizer = adamw(module, 1e-5, 0.0)
    examples = place.examples("learned", place.device, place.usual)
    batch = np.resize(np.arange(len(examples.labels)), place.sizes.sequences_at_once)
    examples.batch_tokens = len(batch) * int(examples.lengths.max())
    return lambda: finetuning.train_batch(module, examples, batch, optimizer, recipe(settings)), examples


def speed_of(place: Place, name: str, settings: ThroughBackboneSettings) -> Finding:
    """Sequences per second, when everything is warm."""
    step, examples = large_step(place, settings)
    step()
    wait_for(place.device)
    begun, steps = time.monotonic(), 3
    for _ in range(steps):
        step()
    wait_for(place.device)
    speed = steps * place.sizes.sequences_at_once / (time.monotonic() - begun)
    tokens = examples.lengths.mean()
    return Finding(f"{name}: speed in {place.usual}", f"{speed:,.0f} sequences/s of {tokens:.0f} tokens")


def check_running_out_finetuning(place: Place) -> Iterator[Finding]:
    """A fine-tuning that is allowed half of the memory that it wants takes fewer tokens at once."""
    full, losses = ways_to_learn(place)["full"], []
    step, examples = large_step(place, full)
    wanted = memory_of(place.device, lambda: losses.append(step().item()))
    tokens = examples.limit()
    step, examples = large_step(place, full)
    with half_of(place.device, wanted):
        losses.append(step().item())
    yield goes_on("fine-tuning: memory runs out", examples.limit(), tokens, "tokens")
    yield agreement("fine-tuning: loss with fewer at once", abs(losses[0] - losses[1]), 0.01, " nats")


def check_kill_finetuning(place: Place) -> Iterator[Finding]:
    """So does a fine-tuning by its script, with dropout and low-rank matrices that are merged in the end."""
    yield kill_and_resume(
        place, "fine-tuning, lora: kill -9 and resume", place.finetuning, "tuned", "tuned_killed"
    )


# ----------------------------------------------------------------------------- the table


CHECKS = (
    check_precision,
    check_memory,
    check_running_out,
    check_kill,
    check_several,
    check_inference,
    check_language_model,
    check_finetuning,
    check_running_out_finetuning,
    check_kill_finetuning,
)


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
