"""The training loop of pretraining: step, learning rate, loss, evaluation, log.

The order of the lines is a function of (seed, epoch), a mask of (seed, epoch, line), dropout of (seed,
step, process), the learning rate of the step. A run that goes on at step s therefore needs the weights, the
optimizer's tensors and the log, and nothing else.
"""

import math
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from dnalm.models.flops import training_flops
from dnalm.models.masked_lm import hidden_states, token_logits
from dnalm.models.optimization import learning_rate_factor, optimizer_state, set_learning_rate
from dnalm.models.sharding import is_sharded, on_cpu, together
from dnalm.pretrain.batches import Corpus, Packed, PackedBatches, TrainingBatches
from dnalm.pretrain.defaults import USUAL_DECAY_FRACTION
from dnalm.pretrain.masking import EVALUATION
from dnalm.pretrain.telemetry import TrainingMonitor
from dnalm.running.checkpointer import Checkpointer, Snapshot
from dnalm.running.devices import usual_batch_tokens
from dnalm.running.errors import InputError
from dnalm.running.memory import MicroBatch, halved, until_it_fits
from dnalm.running.world import SINGLE, World
from dnalm.tokenizers.batches import length_batches

# At most this many training records in a log.
TRAINING_RECORDS = 500


@dataclass
class TrainingState:
    """Where a training stands: what a checkpoint holds beside weights and optimizer.

    `sums`: of the steps since the last training record, over all processes: the steps' mean losses over all
    selected tokens, the losses of the tokens that are [MASK], their number.
    """

    step: int = 0
    tokens: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
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
    decay_fraction: float | None
    adam_beta2: float

    @property
    def record_every(self) -> int:
        """Steps between training records."""
        return max(1, self.steps // TRAINING_RECORDS)


# ----------------------------------------------------------------------------- loss


class MaskedTokenLoss(nn.Module):
    """A masked language model with its loss; what DistributedDataParallel and fully_shard wrap.

    Logits are computed for selected tokens only: a quarter less work at equal gradients.
    """

    network: Any

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Sums of cross-entropies (nats), float32[2]: of all selected tokens, which is what is minimized, and
        of those that are [MASK]. 0 where there are none.
        """
        logits, targets = self.selected_logits(batch)
        losses = nn.functional.cross_entropy(logits, targets, reduction="none")
        return torch.stack([losses.sum(), losses[batch["masked"]].detach().sum()])

    def selected_logits(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Of a batch's selected tokens: logits float32[n, vocabulary], true ids int64[n]."""
        states = hidden_states(self.network, batch["input_ids"], batch.get("attention_mask"))
        selected = batch["selected"]
        # Each place is taken once, so that index_select has the gradient of an index, without its sorting.
        states = states.flatten(0, 1).index_select(0, selected)
        return token_logits(self.network, states), batch["labels"].flatten().index_select(0, selected)


def autocast(device: torch.device, precision: str) -> Callable[[], AbstractContextManager]:
    """A maker of contexts in which matrix products are computed in `precision` (bf16 or fp32)."""
    if precision == "bf16":
        return lambda: torch.autocast(device.type, torch.bfloat16)
    return nullcontext


def on_device(batch: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """The batch on `device`, without waiting for the copy."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


# ----------------------------------------------------------------------------- evaluation


# Not inference_mode: what fully_shard sets up at the first pass must serve training too.
@torch.no_grad()
def evaluate(
    model: MaskedTokenLoss, corpus: Corpus, lines: np.ndarray, world: World = SINGLE, precision: str = "fp32"
) -> dict[str, float]:
    """Judge the model on held-out `lines`, over all processes.

    `masked_loss` (nats per token), `masked_accuracy`, `masked_perplexity`, `masked_tokens`: of the tokens
    that are [MASK], where nothing but the context tells the truth. `selected_loss`, `selected_tokens`: of all
    tokens that training computes a loss of, those left visible included, as published runs report it.
    The masks are the same at every call, so that the numbers of one run can be compared.

    Raises InputError if no token is [MASK].
    """
    device = next(model.parameters()).device
    lengths, usual = corpus.lengths[lines], usual_batch_tokens(device)
    if is_sharded(model) and corpus.fitting_tokens is not None:
        usual = min(usual, corpus.fitting_tokens)
    batches = list(length_batches(lengths, usual))
    # Every process makes as many passes: sharded networks are put together by all.
    batches += [np.empty(0, np.int64)] * (-len(batches) % world.size)
    share = batches[world.rank :: world.size]

    def judge(at_once: int) -> torch.Tensor:
        """Losses of selected and of [MASK], correct [MASK]; numbers of both. Of this process's share."""
        # float64, so that the sum does not depend on how lines are dealt out.
        sums = torch.zeros(5, dtype=torch.float64, device=device)
        for batch in share:
            for part in length_batches(lengths[batch], at_once) if len(batch) else [batch]:
                inputs = on_device(corpus.micro_batch(lines[batch[part]], 0, EVALUATION), device)
                with autocast(device, precision)():
                    logits, targets = model.selected_logits(inputs)
                losses = nn.functional.cross_entropy(logits, targets, reduction="none").double()
                masked = inputs["masked"]
                right = (logits.argmax(-1) == targets)[masked].sum()
                found = [losses.sum(), losses[masked].sum(), right.double()]
                # Filled in by the device: a copy of a number would make the CPU wait for it.
                found += [torch.full_like(right, n, dtype=torch.float64) for n in (len(losses), len(masked))]
                sums += torch.stack(found)
        return sums

    def less_at_once(tried: int) -> int:
        if is_sharded(model):
            raise InputError("memory ran out in an evaluation of a sharded model. Use more GPUs.")
        corpus.fitting_tokens = halved(tried, "tokens")
        return corpus.fitting_tokens

    was_training = model.training
    model.eval()
    sums = until_it_fits(judge, corpus.fitting_tokens or usual, less_at_once)
    model.train(was_training)
    selected_loss, loss, right, selected, masked = world.all_reduce_sum(sums).tolist()
    if not masked:
        raise InputError(
            f"no token of {len(lines):,} held-out lines became [MASK]. Hold out more lines, or raise the "
            "masking probability or the share that becomes [MASK]."
        )
    return {
        "masked_loss": loss / masked,
        "masked_accuracy": right / masked,
        "masked_perplexity": math.exp(min(loss / masked, 700.0)),
        "masked_tokens": int(masked),
        "selected_loss": selected_loss / selected,
        "selected_tokens": int(selected),
    }


# ----------------------------------------------------------------------------- training


@dataclass(frozen=True)
class HeldOut:
    """The held-out `lines` (indices) of a corpus that a training is evaluated on."""

    corpus: Corpus
    lines: np.ndarray


def train(
    model: MaskedTokenLoss,
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
    """Train `model` in place from `state` to the last step. Interrupted if it has to leave before."""
    network, learning = model.network, cast("nn.Module", model)
    if world.size > 1 and not is_sharded(model):
        learning = DistributedDataParallel(
            model, device_ids=[device.index] if device.type == "cuda" else None
        )
    computing = autocast(device, precision)
    # Summed on the device: reading it at every step would make the GPU wait for the CPU.
    sums = torch.tensor(state.sums, dtype=torch.float64, device=device)

    def record(event: str, **values: Any) -> None:
        epoch = round(state.step / batches.per_epoch, 6)
        state.log.append(
            {"event": event, "step": state.step, "epoch": epoch, **values, "tokens": state.tokens}
        )
        monitor.tell(state.log[-1])

    def evaluate_now() -> None:
        with monitor.measure("evaluation"):
            result = evaluate(model, held_out.corpus, held_out.lines, world, precision)
        record("evaluation", **result)
        monitor.log_evaluation(state.step, result)

    def snapshot() -> Snapshot:
        state.sums = sums.tolist()
        check_finite(state.sums[0], state.step, schedule)
        check_finite(together(norm).item(), state.step, schedule, "norm of the gradient")
        monitor.gather_memory(world)
        values = {"step": state.step, "tokens": state.tokens, "sums": state.sums}
        tensors = None if state.step == schedule.steps else optimizer_state(network, optimizer)
        return Snapshot(values, state.log, weights(network), tensors)

    def flops_of(lines: np.ndarray) -> float:
        return float(training_flops(config, corpus.vocabulary.size, lines, corpus.masking.probability).sum())

    corpus, config = batches.corpus, network.config.to_dict()
    lengths = corpus.lengths

    def gradients(micro_batches: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        torch.manual_seed(schedule.seed + 1_000_003 * (state.step * world.size + world.rank))
        return accumulate_gradients(learning, micro_batches, device, computing, world)

    def less_at_once(_: list[dict[str, torch.Tensor]]) -> list[dict[str, torch.Tensor]]:
        optimizer.zero_grad(set_to_none=True)
        limit.halve(world)
        batches.micro_batch_size = limit.lines
        return batches[state.step]

    limit = MicroBatch(batches.micro_batch_size, checkpointer.store.directory if checkpointer else None)
    batches.micro_batch_size = limit.lines
    if is_sharded(model):
        # An evaluation that runs out of memory would end all processes: no more than a step holds, which is
        # the same in all of them.
        held_out.corpus.fitting_tokens = limit.lines * int(lengths.max())
    model.train()
    if not state.log:
        evaluate_now()
    monitor.begin(state.step)
    # Closed by whatever ends the loop: a process that ends waits for its loader's workers.
    with closing(dealt_batches(batches, state, device)) as dealt:
        for micro_batches in dealt:
            factor = learning_rate_factor(
                *(schedule.schedule, state.step, schedule.steps, schedule.warmup_fraction),
                schedule.decay_fraction or USUAL_DECAY_FRACTION,
            )
            set_learning_rate(optimizer, schedule.learning_rate * factor)
            for micro_batch in micro_batches:
                monitor.count(micro_batch)
            step_sums = until_it_fits(gradients, micro_batches, less_at_once)
            # An infinite bound clips nothing and still measures.
            norm = nn.utils.clip_grad_norm_(network.parameters(), schedule.max_gradient_norm or math.inf)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

            sums += step_sums
            state.tokens += batches.tokens(state.step)
            state.step += 1
            done = batches.batch(state.step - 1)[1]
            monitor.end_step(state.step, int(lengths[done].sum()), flops_of(lengths[done]))
            finished = state.step == schedule.steps
            if state.step % schedule.record_every == 0 or finished:
                steps = state.step % schedule.record_every or schedule.record_every
                selected, masked, masked_tokens = sums.tolist()
                monitor.loss = check_finite(selected / steps, state.step, schedule)
                # Few short lines may have no [MASK] at all.
                found = {"masked_loss": masked / masked_tokens} if masked_tokens else {}
                record(
                    "train",
                    **found,
                    selected_loss=monitor.loss,
                    learning_rate=schedule.learning_rate * factor,
                    gradient_norm=together(norm).item(),
                )
                sums.zero_()
            if state.step % schedule.evaluate_every == 0 or finished:
                evaluate_now()
            if checkpointer:
                checkpointer.after_step(
                    state.step, snapshot, finished=finished, world=world, saved=monitor.saved
                )


def accumulate_gradients(
    model: nn.Module,
    micro_batches: list[dict[str, torch.Tensor]],
    device: torch.device,
    computing: Callable[[], AbstractContextManager],
    world: World,
) -> torch.Tensor:
    """Add up the gradients of a step's loss: the mean over the selected tokens of all processes.

    Returns float64[3] on `device`, the same in all processes: that mean loss, the summed loss of the tokens
    that are [MASK], their number.
    """
    counts = [sum(len(batch[kind]) for batch in micro_batches) for kind in ("selected", "masked")]
    selected_tokens, masked_tokens = world.all_reduce_sum(torch.tensor(counts)).tolist()
    # A batch of short lines may have no selected token at all; its loss is then 0 and not 0/0.
    selected_tokens = max(selected_tokens, 1)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    for number, batch in enumerate(micro_batches, start=1):
        last = number == len(micro_batches)
        # Processes exchange gradients once per step, with the last micro-batch.
        waiting: AbstractContextManager = nullcontext()
        if isinstance(model, DistributedDataParallel) and not last:
            waiting = model.no_sync()
        with waiting:
            with computing():
                part = model(on_device(batch, device))
            # DistributedDataParallel takes the mean over processes where the sum is wanted.
            (part[0] / selected_tokens * world.size).backward()
        sums += part.detach()
    selected_loss, masked_loss = world.all_reduce_sum(sums)
    # Filled in by the device: a copy of the number would make the CPU wait for it.
    return torch.stack(
        [selected_loss / selected_tokens, masked_loss, torch.full_like(masked_loss, masked_tokens)]
    )


def dealt_batches(
    batches: TrainingBatches, state: TrainingState, device: torch.device
) -> Generator[list[dict[str, torch.Tensor]]]:
    """The micro-batches of each step from `state` on; dealt anew when a micro-batch must be smaller."""
    while state.step < len(batches):
        size = batches.micro_batch_size
        for micro_batches in loader(batches, state.step, device):
            yield micro_batches
            if batches.micro_batch_size != size:
                break


def loader(batches: TrainingBatches, first: int, device: torch.device) -> Iterator[list[dict]]:
    """The micro-batches of each step from `first` on, made by other processes where `device` is a GPU."""
    steps = range(first, len(batches))
    if device.type != "cuda":
        # Every core is busy with the network.
        return (batches[step] for step in steps)
    # Masking beside a fast GPU needs a hand. Forked, a worker needs no copy of what this process has read.
    with _signals_blocked():
        return map(
            Packed.unpacked,
            DataLoader(
                PackedBatches(batches),
                batch_size=None,
                sampler=steps,
                num_workers=2,
                pin_memory=True,
                multiprocessing_context="fork",
            ),
        )


@contextmanager
def _signals_blocked() -> Generator[None]:
    """Processes started within go on when their job is told to end, until the training has saved.

    Schedulers signal every process of a job; PyTorch takes a worker's end for a mistake. A handler of the
    worker's own would come too late for a signal in its first moments.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def check_finite(number: float, step: int, schedule: Schedule, what: str = "training loss") -> float:
    """The number itself. Raises InputError, naming `what` it is, if it is none."""
    if not math.isfinite(number):
        raise InputError(
            f"the {what} is {number} at step {step:,}. Lower the learning rate "
            f"(now {schedule.learning_rate:g}) or lengthen the warm-up."
        )
    return number


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """The trained tensors by name, on the CPU, tied ones once. Sharded ones: in the first process."""
    return {name: on_cpu(parameter) for name, parameter in network.named_parameters()}


def load_weights(network: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Copy `tensors`, as from :func:`weights`, into the network. Raises KeyError if one is missing."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(tensors[name])
