"""Memory: what passes take, and trainings that run out of it."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any

import numpy as np
import torch

from dnalm.models.architecture import new_model
from dnalm.models.optimization import adamw
from dnalm.pretrain import batches, training
from dnalm.pretrain.telemetry import MB, TrainingMonitor
from dnalm.running.memory import checkpoint_gradients
from dnalm.running.world import SINGLE
from gpu_checks.findings import Finding, goes_on
from gpu_checks.place import Place


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
        # The tensor itself would stand in a circle with the pass that made it, and never be free if that is
        # given up.
        return tensor.detach()

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
    # On a small GPU the most lines fit in neither way.
    less = [less < usual for usual, less in zip(kept[False], kept[True], strict=True) if isfinite(less)]
    good = bool(less) and less[-1]
    yield Finding("gradient checkpointing", "keeps less" if good else "keeps as much", "keeps less", good)


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
            training.Schedule(1, 1e-4, "cosine", 0.0, 0.0, 1.0, 1, 42, None, 0.999),
            training.TrainingState(log=[{"event": "evaluation"}]),
            device=place.device,
            precision=place.usual,
            monitor=TrainingMonitor(1, device=place.device, quiet=True),
        )
    yield goes_on("memory runs out", items.micro_batch_size, lines, "lines")
