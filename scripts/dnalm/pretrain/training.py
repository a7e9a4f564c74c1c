"""The training loop of pretraining: step, learning rate, loss, evaluation, log.

The order of the lines is a function of (seed, epoch), a mask of (seed, epoch, line), dropout of (seed,
step, process), the learning rate of the step. A run that goes on at step s therefore needs the weights, the
optimizer's tensors and the log, and nothing else.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from dnalm.models.masked_lm import hidden_states, token_logits
from dnalm.models.optimization import learning_rate_factor, optimizer_state, set_learning_rate
from dnalm.pretrain.batches import Corpus, TrainingBatches
from dnalm.pretrain.masking import EVALUATION
from dnalm.pretrain.telemetry import TrainingMonitor
from dnalm.running.checkpointer import Checkpointer, Snapshot
from dnalm.running.errors import InputError
from dnalm.running.world import SINGLE, World
from dnalm.tokenizers.batches import IGNORED, length_batches, usual_batch_tokens

# At most this many training records in a log.
TRAINING_RECORDS = 500


@dataclass
class TrainingState:
    """Where a training stands: what a checkpoint holds beside weights and optimizer.

    `loss_sum`: the losses of the steps since the last training record, over all processes.
    """

    step: int = 0
    tokens: int = 0
    loss_sum: float = 0.0
    log: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Schedule:
    """The training section of the config, as far as it decides numbers."""

    steps: int
    learning_rate: float
    schedule: str
    warmup_fraction: float
    weight_decay: float
    max_gradient_norm: float
    evaluate_every: int
    seed: int

    @property
    def record_every(self) -> int:
        """Steps between training records."""
        return max(1, self.steps // TRAINING_RECORDS)


# ----------------------------------------------------------------------------- loss


class MaskedTokenLoss(nn.Module):
    """A masked language model with its loss; what DistributedDataParallel wraps.

    Logits are computed for masked tokens only: a quarter less work at equal gradients.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The sum of the cross-entropies (nats) of the masked tokens; 0 where there are none."""
        logits, targets = masked_logits(self.network, batch)
        return nn.functional.cross_entropy(logits, targets, reduction="sum")


def masked_logits(network: nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits float32[n_masked, vocabulary] and true ids int64[n_masked] of a batch's masked tokens."""
    masked = batch["labels"] != IGNORED
    hidden = hidden_states(network, batch["input_ids"], batch.get("attention_mask"))
    return token_logits(network, hidden[masked]), batch["labels"][masked]


def autocast(device: torch.device, precision: str) -> Callable[[], AbstractContextManager]:
    """A maker of contexts in which matrix products are computed in `precision` (bf16 or fp32)."""
    if precision == "bf16":
        return lambda: torch.autocast(device.type, torch.bfloat16)
    return nullcontext


def on_device(batch: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """The batch on `device`, without waiting for the copy."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


# ----------------------------------------------------------------------------- evaluation


@torch.inference_mode()
def evaluate(
    network: nn.Module, corpus: Corpus, lines: np.ndarray, world: World = SINGLE, precision: str = "fp32"
) -> dict[str, float]:
    """Loss (nats per masked token), accuracy and perplexity on held-out `lines`, over all processes.

    The masks are the same at every call, so that the numbers of one run can be compared.
    """
    device = next(network.parameters()).device
    batches = list(length_batches(corpus.lengths[lines], usual_batch_tokens(device)))
    # loss, correct, masked; float64, so that the sum does not depend on how lines are dealt out.
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    was_training = network.training
    network.eval()
    for batch in batches[world.rank :: world.size]:
        inputs = on_device(corpus.micro_batch(lines[batch], 0, EVALUATION), device)
        with autocast(device, precision)():
            logits, targets = masked_logits(network, inputs)
        losses = nn.functional.cross_entropy(logits, targets, reduction="none").double()
        correct = (logits.argmax(-1) == targets).double()
        sums += torch.stack([losses.sum(), correct.sum(), torch.ones_like(losses).sum()])
    network.train(was_training)
    loss, correct, masked_tokens = world.all_reduce_sum(sums).tolist()
    masked_tokens = max(masked_tokens, 1.0)
    loss /= masked_tokens
    return {
        "loss": loss,
        "masked_accuracy": correct / masked_tokens,
        "perplexity": math.exp(min(loss, 700.0)),
        "masked_tokens": int(masked_tokens),
    }


# ----------------------------------------------------------------------------- training


@dataclass(frozen=True)
class HeldOut:
    """The held-out `lines` (indices) of a corpus that a training is evaluated on."""

    corpus: Corpus
    lines: np.ndarray


def train(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: TrainingBatches,
    held_out: HeldOut,
    schedule: Schedule,
    state: TrainingState,
    *,
    device: torch.device,
    precision: str,
    monitor: TrainingMonitor,
    checkpointer: Checkpointer | None = None,
    world: World = SINGLE,
) -> None:
    """Train `network` in place from `state` to the last step. Interrupted if it has to leave before."""
    # torch.compile and fully_shard would wrap the same module here.
    model: nn.Module = MaskedTokenLoss(network)
    if world.size > 1:
        model = DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)
    computing = autocast(device, precision)
    # Summed on the device: reading it at every step would make the GPU wait for the CPU.
    loss_sum = torch.tensor(state.loss_sum, dtype=torch.float64, device=device)

    def record(event: str, **values: Any) -> None:
        epoch = round(state.step / batches.per_epoch, 6)
        state.log.append(
            {"event": event, "step": state.step, "epoch": epoch, **values, "tokens": state.tokens}
        )
        monitor.tell(state.log[-1])

    def evaluate_now() -> None:
        with monitor.measure("evaluation"):
            result = evaluate(network, held_out.corpus, held_out.lines, world, precision)
        record("evaluation", **result)
        monitor.log_evaluation(state.step, result)

    def snapshot() -> Snapshot:
        state.loss_sum = check_finite(loss_sum.item(), state.step, schedule)
        monitor.gather_memory(world)
        values = {"step": state.step, "tokens": state.tokens, "loss_sum": state.loss_sum}
        tensors = None if state.step == schedule.steps else optimizer_state(network, optimizer)
        return Snapshot(values, state.log, weights(network), tensors)

    network.train()
    if not state.log:
        evaluate_now()
    monitor.begin(state.step)
    for micro_batches in loader(batches, state.step, device):
        torch.manual_seed(schedule.seed + 1_000_003 * (state.step * world.size + world.rank))
        factor = learning_rate_factor(schedule.schedule, state.step, schedule.steps, schedule.warmup_fraction)
        set_learning_rate(optimizer, schedule.learning_rate * factor)
        for micro_batch in micro_batches:
            monitor.count(micro_batch)
        loss = accumulate_gradients(model, micro_batches, device, computing, world)
        # An infinite bound clips nothing and still measures.
        norm = nn.utils.clip_grad_norm_(network.parameters(), schedule.max_gradient_norm or math.inf)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

        loss_sum += loss
        state.tokens += batches.tokens(state.step)
        state.step += 1
        monitor.end_step(state.step, batches.tokens(state.step - 1))
        finished = state.step == schedule.steps
        if state.step % schedule.record_every == 0 or finished:
            steps = state.step % schedule.record_every or schedule.record_every
            monitor.loss = check_finite(loss_sum.item() / steps, state.step, schedule)
            record(
                "train",
                loss=monitor.loss,
                learning_rate=schedule.learning_rate * factor,
                gradient_norm=norm.item(),
            )
            loss_sum.zero_()
        if state.step % schedule.evaluate_every == 0 or finished:
            evaluate_now()
        if checkpointer:
            checkpointer.after_step(state.step, snapshot, finished=finished, world=world, saved=monitor.saved)


def accumulate_gradients(
    model: nn.Module,
    micro_batches: list[dict[str, torch.Tensor]],
    device: torch.device,
    computing: Callable[[], AbstractContextManager],
    world: World,
) -> torch.Tensor:
    """Add up the gradients of a step's loss: the mean over the masked tokens of all processes.

    Returns that mean loss, float64 on `device`, the same in all processes.
    """
    masked = sum(int((batch["labels"] != IGNORED).sum()) for batch in micro_batches)
    # A batch of short lines may have no masked token at all; its loss is then 0 and not 0/0.
    masked_tokens = world.all_reduce_sum(torch.tensor(masked)).clamp(min=1).item()
    loss = torch.zeros((), dtype=torch.float64, device=device)
    for number, batch in enumerate(micro_batches, start=1):
        last = number == len(micro_batches)
        # Processes exchange gradients once per step, with the last micro-batch.
        waiting: AbstractContextManager = nullcontext()
        if isinstance(model, DistributedDataParallel) and not last:
            waiting = model.no_sync()
        with waiting:
            with computing():
                part = model(on_device(batch, device)) / masked_tokens
            # DistributedDataParallel takes the mean over processes where the sum is wanted.
            (part * world.size).backward()
        loss += part.detach()
    return world.all_reduce_sum(loss)


def loader(batches: TrainingBatches, first: int, device: torch.device) -> DataLoader:
    """The micro-batches of each step from `first` on."""
    return DataLoader(
        batches,
        batch_size=None,
        sampler=range(first, len(batches)),
        # Masking beside a fast GPU needs a hand; on a CPU every core is busy with the network.
        num_workers=2 if device.type == "cuda" else 0,
        worker_init_fn=_default_signals,
        pin_memory=device.type == "cuda",
    )


def _default_signals(worker: int) -> None:
    """Data loader workers end with their parent; they do not take part in saving."""
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def check_finite(loss: float, step: int, schedule: Schedule) -> float:
    """The loss itself. Raises InputError if it is none."""
    if not math.isfinite(loss):
        raise InputError(
            f"the training loss is {loss} at step {step:,}. Lower the learning rate "
            f"(now {schedule.learning_rate:g}) or lengthen the warm-up."
        )
    return loss


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """The trained tensors by name, tied ones once."""
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def load_weights(network: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Copy `tensors`, as from :func:`weights`, into the network. Raises KeyError if one is missing."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(tensors[name])
