"""Pretraining: precisions and their speed, compiled layers, several GPUs."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from dnalm.models.architecture import new_model
from dnalm.models.flops import peak_flops
from dnalm.models.masked_lm import compile_layers
from dnalm.models.optimization import adamw
from dnalm.pretrain import batches, training
from dnalm.pretrain.telemetry import TrainingMonitor
from dnalm.running.devices import check_compiler
from dnalm.running.errors import InputError
from gpu_checks.findings import Finding, agreement, falling, most_apart
from gpu_checks.place import Place

LEARNING_RATE, WARMUP_FRACTION = 5e-4, 0.05


def wait_for(device: torch.device) -> None:
    """Until all is computed that was asked of the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Speed:
    """Of the second half of the steps, when everything is warm.

    `mfu`: None where the GPU's peak is not known. `padding`: its share of all tokens.
    """

    tokens_per_second: float
    mfu: float | None
    padding: float


class Stopwatch(TrainingMonitor):
    """Times the second half of the steps: `speed`, once the last one has ended."""

    speed: Speed

    def end_step(self, step: int, all_tokens: int, all_flops: float) -> None:
        if step in (self.steps // 2, self.steps):
            wait_for(self.device)
        super().end_step(step, all_tokens, all_flops)
        if step == self.steps // 2:
            self.begin(step)
            self.all_tokens, self.all_flops = 0, 0.0
        if step == self.steps:
            padding = self.padding / (self.padding + self.tokens)
            self.speed = Speed(self.tokens_per_second(), self.mfu(), padding)


def train(
    place: Place, precision: str, *, compiled: bool = False, multiple_of: int = 8
) -> tuple[list[float], Speed]:
    """Held-out losses and speed of a training in this process; lines padded to a multiple."""
    sizes, device = place.sizes, place.device
    network = new_model(place.config, 42).to(device)
    if compiled:
        compile_layers(network)
    peak = peak_flops(torch.cuda.get_device_name(device), precision) if device.type == "cuda" else None
    watch = Stopwatch(sizes.steps, device=device, quiet=True, peak_flops=peak)
    state = training.TrainingState()
    every = max(1, sizes.steps // 4)
    schedule = training.Schedule(
        sizes.steps, LEARNING_RATE, "cosine", WARMUP_FRACTION, 0.0, 1.0, every, 42, None, 0.999
    )
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
    return [r["masked_loss"] for r in state.log if r["event"] == "evaluation"], watch.speed


def told(speed: Speed, other: Speed, of_other: str) -> str:
    """A speed in words, beside another one."""
    faster = speed.tokens_per_second / other.tokens_per_second
    use = "unknown" if speed.mfu is None else f"{speed.mfu:.1%}"
    return (
        f"{speed.tokens_per_second:,.0f} tokens/s, {faster:.2f} times {of_other}, MFU {use}, "
        f"padding {speed.padding:.1%}"
    )


def check_precision(place: Place) -> Iterator[Finding]:
    """bf16, where the GPU has it, learns as fp32 does and is faster."""
    ways: dict[str, dict[str, Any]] = {"fp32": {"precision": "fp32"}}
    best = "bf16" if place.bf16 else "fp32"
    if place.bf16:
        ways["bf16"] = {"precision": "bf16"}
    else:
        yield Finding("bf16", "left out: GPUs before Ampere have none, trainings take fp32")
    ways[f"{best}, lengths as they are"] = {"precision": best, "multiple_of": 1}
    results = {name: train(place, **way) for name, way in ways.items()}
    reference = results["fp32"][0]
    yield Finding(
        "held-out loss in fp32",
        falling(reference),
        "falls",
        reference[-1] < reference[0] - 0.05,
    )
    for name, (losses, speed) in results.items():
        if name != "fp32":
            yield agreement(f"loss in {name}", most_apart(losses, reference), 0.05, " nats")
        fp32 = results["fp32"][1]
        expected = name == "bf16" and place.device.type == "cuda"
        yield Finding(
            f"speed in {name}",
            told(speed, fp32, "fp32"),
            "faster than fp32" if expected else "",
            speed.tokens_per_second > fp32.tokens_per_second if expected else None,
        )


def check_compiled(place: Place) -> Iterator[Finding]:
    """Translated by `torch.compile` the layers learn as they do without. On GPUs only."""
    if place.device.type == "cpu":
        return
    try:
        check_compiler(place.device)
    except InputError as error:
        yield Finding("compiled", f"left out: {error}")
        return
    reference, usual = train(place, place.usual)
    losses, speed = train(place, place.usual, compiled=True)
    name = f"{place.usual}, compiled"
    yield agreement(f"loss in {name}", most_apart(losses, reference), 0.05, " nats")
    yield Finding(f"speed in {name}", told(speed, usual, f"{place.usual} without"))


def check_several(place: Place) -> Iterator[Finding]:
    """Several GPUs end where one does, copied (DDP) or sharded (FSDP)."""
    several = torch.cuda.device_count() if place.device.type == "cuda" else 2
    if several < 2:
        yield Finding("several GPUs", "only one here")
        return
    reference = place.losses(place.model.name)
    for name, words in (("copied (DDP)", []), ("sharded (FSDP)", ["--training-fsdp"])):
        output = name.split()[0]
        # The last one counts.
        subprocess.run(
            place.pretraining(output, "--processes", several, *words), check=True, capture_output=True
        )
        apart = most_apart(place.losses(output), reference)
        unit = "GPUs" if place.device.type == "cuda" else "processes"
        # Not how fast: in so few steps their start takes longer than these.
        yield agreement(f"loss of {several} {unit}, {name}", apart, 0.02, " nats")
