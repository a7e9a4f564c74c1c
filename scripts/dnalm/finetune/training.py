"""Training a classifier: the loop, and the checkpoints that let it go on after an interruption."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dnalm.finetune.classifier import Examples, predict_logits
from dnalm.running.budget import StopSignals, TimeBudget
from dnalm.running.checkpoints import CheckpointStore
from dnalm.running.errors import InputError, Interrupted
from dnalm.running.progress import Progress
from dnalm.running.runlock import RunLock

logger = logging.getLogger("dnalm")


@dataclass(frozen=True)
class Settings:
    """How a classifier is trained. `batch_size`: sequences per step. `warmup_fraction`: of all steps."""

    epochs: int = 5
    learning_rate: float = 1e-3
    batch_size: int = 2048
    weight_decay: float = 0.0
    warmup_fraction: float = 0.0
    max_gradient_norm: float = 1.0
    seed: int = 42


def check_settings(settings: Settings) -> None:
    """Raise InputError, naming the flag, for a value that cannot be trained with."""
    least = {"epochs": 1, "batch_size": 1, "learning_rate": 0, "weight_decay": 0, "warmup_fraction": 0}
    for name, bound in least.items():
        value = getattr(settings, name)
        # Written so that NaN fails as well.
        if not value >= bound:
            raise InputError(f"--{name.replace('_', '-')} is {value}; it must be at least {bound}.")
    if not settings.warmup_fraction <= 1:
        raise InputError(f"--warmup-fraction is {settings.warmup_fraction}; it is a share between 0 and 1.")
    if not settings.max_gradient_norm > 0:
        raise InputError(f"--max-gradient-norm is {settings.max_gradient_norm}; it must be above 0.")


# ----------------------------------------------------------------------------- one step


def learning_rate(step: int, steps: int, settings: Settings) -> float:
    """Rate of step 0 … steps - 1: linear from 0 during warm-up, then linear towards 0.

    The same numbers as Transformers' linear schedule.
    """
    warmup = int(np.ceil(settings.warmup_fraction * steps))
    if step < warmup:
        return settings.learning_rate * step / warmup
    return settings.learning_rate * (steps - step) / max(1, steps - warmup)


def optimizer_for(module: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """AdamW; weight decay acts on matrices, not on norms and biases, as in Transformers' Trainer."""
    decayed = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=0.0)


def judge(module: nn.Module, examples: Examples) -> dict[str, float]:
    """Mean cross-entropy (nats) and accuracy."""
    logits = predict_logits(module, examples)
    loss = nn.functional.cross_entropy(logits.double(), examples.labels)
    return {"loss": loss.item(), "accuracy": (logits.argmax(dim=1) == examples.labels).double().mean().item()}


def train_batch(
    module: nn.Module,
    examples: Examples,
    batch: np.ndarray,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
) -> float:
    """One step on the mean loss of `batch` (indices). Returns that loss."""
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for part in examples.parts(batch):
        logits = examples.logits(module, part)
        labels = examples.labels[part].to(logits.device)
        loss = nn.functional.cross_entropy(logits, labels, reduction="sum") / len(batch)
        loss.backward()
        total += loss.item()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, settings.max_gradient_norm)
    optimizer.step()
    return total


# ----------------------------------------------------------------------------- the loop


@dataclass
class State:
    """Where training stands after a step; with weights and optimizer all that a resumed run needs.

    `losses`: of the steps since the last epoch ended. `best_weights`: of the epoch with the lowest
    validation loss, on the CPU; empty before the first epoch has ended.
    """

    step: int = 0
    losses: list[float] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = float("inf")
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)


def train(
    module: nn.Module,
    training: Examples,
    validation: Examples,
    settings: Settings,
    keeper: "Keeper | None" = None,
) -> State:
    """Train `module`; the result holds the weights of the epoch with the lowest validation loss, and the log.

    The log holds one record per epoch and kind: `{"event": "train"}` with the mean loss over the epoch's
    steps, `{"event": "evaluation"}` with loss and accuracy on the validation sequences (epoch 0: before
    training). Batches are a function of (seed, epoch), dropout of (seed, step): a run that `keeper` resumes
    after any step ends as if it had never stopped.
    """
    optimizer = optimizer_for(module, settings)
    steps_per_epoch = -(-len(training.labels) // settings.batch_size)
    steps = settings.epochs * steps_per_epoch
    state = keeper.resume(module, optimizer) if keeper else None
    if state is None:
        state = State()
        state.log.append({"event": "evaluation", "epoch": 0, "step": 0, **judge(module, validation)})
    progress = Progress("fine-tuning", total=steps, unit="steps")
    progress.resume_at(state.step)
    for epoch in range(state.step // steps_per_epoch + 1, settings.epochs + 1):
        batches = training.batches(settings.batch_size, settings.seed, epoch)
        module.train()
        for batch in batches[state.step % steps_per_epoch :]:
            torch.manual_seed(int(np.random.SeedSequence([settings.seed, state.step]).generate_state(1)[0]))
            rate = learning_rate(state.step, steps, settings)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = train_batch(module, training, batch, optimizer, settings)
            if not np.isfinite(loss):
                raise InputError(f"the loss became {loss} at step {state.step + 1}. Lower the learning rate.")
            state.step += 1
            state.losses.append(loss)
            progress.update(state.step, note=f"loss {loss:.4f}")
            if state.step % steps_per_epoch == 0:
                end_epoch(module, validation, state, epoch, rate)
            if keeper:
                keeper.after_step(module, optimizer, state)
    if not state.best_weights:
        raise InputError("the validation loss was never a number. Lower the learning rate.")
    return state


def end_epoch(module: nn.Module, validation: Examples, state: State, epoch: int, rate: float) -> None:
    """Judge the model, write this epoch's records, keep the weights if they are the best so far."""
    place = {"epoch": epoch, "step": state.step}
    mean = float(np.mean(state.losses))
    state.log.append({"event": "train", **place, "loss": mean, "learning_rate": rate})
    state.losses = []
    verdict = judge(module, validation)
    state.log.append({"event": "evaluation", **place, **verdict})
    if verdict["loss"] < state.best_loss:
        state.best_epoch, state.best_loss = epoch, verdict["loss"]
        state.best_weights = {
            name: value.detach().cpu().clone() for name, value in module.state_dict().items()
        }


# ----------------------------------------------------------------------------- interruptions


class Keeper:
    """Saves training every so many minutes, and before the job's time ends or a signal ends it.

    Use as a context manager around :func:`train`. The checkpoints lie in a directory below `root` named by a
    fingerprint of `fingerprinted`, everything that the result depends on; one process at a time trains
    there. :meth:`discard` removes them once the result is safe.
    """

    def __init__(
        self,
        root: str | Path,
        fingerprinted: Mapping[str, Any],
        *,
        every_minutes: float,
        stop_before_minutes: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.store = CheckpointStore(root, fingerprinted)
        self.every_seconds, self.clock = every_minutes * 60, clock
        self.stop_before_minutes = stop_before_minutes

    def __enter__(self) -> "Keeper":
        self._held = ExitStack()
        self.budget = TimeBudget(self.stop_before_minutes, clock=self.clock)
        self._held.enter_context(RunLock(self.store.directory))
        self.signals = self._held.enter_context(StopSignals())
        self.store.prepare()
        self.saved_at = self.step_at = self.clock()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def discard(self) -> None:
        """Remove the checkpoints; the lock goes with them."""
        shutil.rmtree(self.store.directory, ignore_errors=True)

    def resume(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> State | None:
        """Put the newest whole checkpoint into `module` and `optimizer`; None if there is none."""
        checkpoint = self.store.newest()
        if checkpoint is None:
            return None
        logger.info("going on after step %d (%s)", checkpoint.step, checkpoint.path)
        weights = checkpoint.weights()
        module.load_state_dict(_without(weights, "now."))
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for name, value in checkpoint.moments().items():
            number, key = name.split(".")
            parameter = parameters[int(number)]
            # The step count stays on the CPU, where AdamW keeps it.
            optimizer.state[parameter][key] = value if key == "step" else value.to(parameter.device)
        kept = checkpoint.state
        # JSON has no infinity: before the first epoch has ended there is no best loss.
        best_loss = float("inf") if kept["best_loss"] is None else kept["best_loss"]
        return State(
            kept["step"],
            kept["losses"],
            checkpoint.log(),
            kept["best_epoch"],
            best_loss,
            _without(weights, "best."),
        )

    def save(self, module: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> None:
        """Publish a checkpoint."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        moments = {
            f"{number}.{key}": value.detach().cpu().contiguous()
            for number, parameter in enumerate(parameters)
            for key, value in optimizer.state[parameter].items()
        }
        now = {
            f"now.{name}": value.detach().cpu().contiguous() for name, value in module.state_dict().items()
        }
        best = {f"best.{name}": value for name, value in state.best_weights.items()}
        kept = {
            "step": state.step,
            "losses": state.losses,
            "best_epoch": state.best_epoch,
            "best_loss": state.best_loss if state.best_epoch else None,
        }
        self.store.save(kept, state.log, now | best, moments)
        self.saved_at = self.clock()

    def after_step(self, module: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> None:
        """Save if it is time. Raises Interrupted after saving if the process has to leave."""
        now = self.clock()
        took, self.step_at = now - self.step_at, now
        reason = self.signals.received or (
            "the job's time is nearly over" if self.budget.is_over(took) else None
        )
        if reason or now - self.saved_at >= self.every_seconds:
            self.save(module, optimizer, state)
        if reason:
            raise Interrupted(f"{reason}; saved after step {state.step}. Run again to go on from there.")


def _without(weights: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The weights whose name begins with `prefix`, by the rest of their name."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
