"""Training a classifier: the loop, and the checkpoints that let it go on after an interruption."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from dnalm.finetune import objectives
from dnalm.finetune.examples import Examples, Tokens, predict_logits
from dnalm.models.optimization import (
    adamw,
    learning_rate_factor,
    load_optimizer_state,
    optimizer_state,
    set_learning_rate,
)
from dnalm.problems.names import SINGLE_LABEL
from dnalm.running.checkpointer import Checkpointer, Snapshot
from dnalm.running.checkpoints import Checkpoint
from dnalm.running.errors import InputError
from dnalm.running.loggers import Loggers
from dnalm.running.memory import until_it_fits
from dnalm.running.progress import Progress

logger = logging.getLogger("dnalm")


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained: `dnalm.finetune.settings` says what each number means."""

    epochs: int
    learning_rate: float
    batch_size: int
    weight_decay: float
    warmup_fraction: float
    max_gradient_norm: float
    label_smoothing: float
    class_weights: str
    patience: int | None
    seed: int
    problem: str = SINGLE_LABEL


# ----------------------------------------------------------------------------- one step


def train_batch(
    module: nn.Module,
    examples: Examples,
    batch: np.ndarray,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """One step on the mean loss of `batch` (indices). Returns that loss, float64[], on the model's device.

    Where memory runs out, fewer tokens of `examples` go through the model at once from then on.
    """

    def gradients(examples: Examples) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        return accumulate_gradients(module, examples, batch, recipe, class_weights)

    def less_at_once(tokens: Tokens) -> Tokens:
        # Dropout is drawn as at the first attempt.
        torch.manual_seed(torch.initial_seed())
        return tokens.halve_parts()

    if isinstance(examples, Tokens):
        loss = until_it_fits(gradients, examples, less_at_once)
    else:
        loss = gradients(examples)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if recipe.max_gradient_norm > 0:
        nn.utils.clip_grad_norm_(parameters, recipe.max_gradient_norm)
    optimizer.step()
    return loss


def accumulate_gradients(
    module: nn.Module,
    examples: Examples,
    batch: np.ndarray,
    recipe: Recipe,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Add up the gradients of the mean loss of `batch` (indices). Returns that loss, float64[]."""
    parts = []
    for part in examples.parts(batch):
        logits = examples.logits(module, part)
        loss = objectives.loss(
            recipe.problem,
            logits,
            examples.labels[part].to(logits.device, non_blocking=True),
            None if class_weights is None else class_weights.to(logits.device, non_blocking=True),
            recipe.label_smoothing,
            summed=True,
        ) / len(batch)
        loss.backward()
        parts.append(loss.detach().double())
    return sum(parts[1:], parts[0])


# ----------------------------------------------------------------------------- the loop


@dataclass
class State:
    """Where training stands after a step; with weights and optimizer all that a resumed run needs.

    `losses`: of the steps since the last epoch ended; those of the last steps may still be `unread`, on the
    device, which would have to catch up with the CPU. `best_weights`: of the epoch with the lowest
    validation loss, on the CPU; empty before the first epoch has ended. `batch_tokens`: what goes through the
    model at once, once memory has run out.
    """

    step: int = 0
    losses: list[float] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = float("inf")
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    batch_tokens: int | None = None
    unread: list[torch.Tensor] = field(default_factory=list)

    def read_losses(self) -> None:
        """Fetch what is unread. Raises InputError for a loss that is no number."""
        if not self.unread:
            return
        first = self.step - len(self.unread) + 1
        for step, loss in enumerate(torch.stack(self.unread).tolist(), first):
            if not np.isfinite(loss):
                raise InputError(f"the loss became {loss} at step {step}. Lower the learning rate.")
            self.losses.append(loss)
        self.unread = []

    def last_loss(self) -> str:
        """The loss of the last step, for a line of progress."""
        self.read_losses()
        return f"loss {self.losses[-1]:.4f}"


def train(
    module: nn.Module,
    training: Examples,
    validation: Examples,
    recipe: Recipe,
    checkpointer: Checkpointer | None = None,
    loggers: Loggers | None = None,
) -> State:
    """Train `module`; the result holds the log, and what was learned until the epoch with the lowest
    validation loss (:func:`learning_weights`).

    The log holds one record per epoch and kind: `{"event": "train"}` with the mean loss over the epoch's
    steps, `{"event": "evaluation"}` with loss and accuracy (or R²) on the validation sequences
    (epoch 0: before training). Batches are a function of (seed, epoch), dropout of (seed, step): a run that
    is resumed after any step ends as if it had never stopped. With `patience` training ends after so many
    epochs without a lower validation loss.
    """
    optimizer = adamw(module, recipe.learning_rate, recipe.weight_decay)
    steps_per_epoch = -(-len(training.labels) // recipe.batch_size)
    steps = recipe.epochs * steps_per_epoch
    class_weights = objectives.weigh_labels(recipe.problem, training.labels, recipe.class_weights)
    checkpoint = checkpointer.newest() if checkpointer else None
    if checkpoint is not None:
        state = resume(checkpoint, module, optimizer)
    else:
        state = State()
        logits = predict_logits(module, validation)
        measured = objectives.evaluate(recipe.problem, logits, validation.labels, class_weights)
        state.log.append({"event": "evaluation", "epoch": 0, "step": 0, **measured})
        tell(loggers, state.log)
    progress = Progress("fine-tuning", total=steps, unit="steps")
    progress.resume_at(state.step)
    for epoch in range(state.step // steps_per_epoch + 1, recipe.epochs + 1):
        if recipe.patience and epoch - 1 - state.best_epoch >= recipe.patience:
            logger.info("stopped early: no lower validation loss in %d epochs", recipe.patience)
            break
        drawn = training.drawn(recipe.seed, epoch)
        if isinstance(drawn, Tokens):
            drawn = replace(drawn, batch_tokens=state.batch_tokens or drawn.batch_tokens)
        batches = drawn.batches(recipe.batch_size, recipe.seed, epoch)
        module.train()
        for batch in batches[state.step % steps_per_epoch :]:
            torch.manual_seed(int(np.random.SeedSequence([recipe.seed, state.step]).generate_state(1)[0]))
            factor = learning_rate_factor("linear", state.step, steps, recipe.warmup_fraction)
            rate = recipe.learning_rate * factor
            set_learning_rate(optimizer, rate)
            state.unread.append(train_batch(module, drawn, batch, optimizer, recipe, class_weights))
            state.batch_tokens = drawn.batch_tokens if isinstance(drawn, Tokens) else None
            state.step += 1
            progress.update(state.step, state.last_loss)
            if state.step % steps_per_epoch == 0:
                end_epoch(module, validation, state, epoch, rate, recipe.problem, class_weights)
                tell(loggers, state.log[-2:])
            if checkpointer:
                checkpointer.after_step(state.step, partial(snapshot, module, optimizer, state))
    if not state.best_weights:
        raise InputError("the validation loss was never a number. Lower the learning rate.")
    return state


def tell(loggers: Loggers | None, records: list[dict[str, Any]]) -> None:
    """Hand records of the log on to those who watch."""
    if loggers is not None:
        for record in records:
            loggers.log(record)


def end_epoch(
    module: nn.Module,
    validation: Examples,
    state: State,
    epoch: int,
    rate: float,
    problem: str,
    class_weights: torch.Tensor | None,
) -> None:
    """Judge the model, write this epoch's records, keep the weights if they are the best so far."""
    place = {"epoch": epoch, "step": state.step}
    state.read_losses()
    mean = float(np.mean(state.losses))
    state.log.append({"event": "train", **place, "loss": mean, "learning_rate": rate})
    state.losses = []
    logits = predict_logits(module, validation)
    measured = objectives.evaluate(problem, logits, validation.labels, class_weights)
    state.log.append({"event": "evaluation", **place, **measured})
    if measured["loss"] < state.best_loss:
        state.best_epoch, state.best_loss = epoch, measured["loss"]
        state.best_weights = {name: value.cpu().clone() for name, value in learning_weights(module).items()}


def learning_weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """The weights that training changes, by name; all others stay what they were at the start."""
    return {
        name: parameter.detach() for name, parameter in module.named_parameters() if parameter.requires_grad
    }


def put_weights(module: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Set what :func:`learning_weights` gave."""
    for name, parameter in learning_weights(module).items():
        parameter.copy_(weights[name])


# ----------------------------------------------------------------------------- interruptions


def snapshot(module: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> Snapshot:
    """All that a resumed run needs. Raises InputError for a loss that is no number."""
    state.read_losses()
    now = {f"now.{name}": value.cpu().contiguous() for name, value in learning_weights(module).items()}
    best = {f"best.{name}": value for name, value in state.best_weights.items()}
    values = {
        "step": state.step,
        "losses": state.losses,
        "best_epoch": state.best_epoch,
        # JSON has no infinity: before the first epoch has ended there is no best loss.
        "best_loss": state.best_loss if state.best_epoch else None,
        "batch_tokens": state.batch_tokens,
    }
    return Snapshot(values, state.log, now | best, optimizer_state(module, optimizer))


def resume(checkpoint: Checkpoint, module: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    """Put what :func:`snapshot` gave into `module` and `optimizer`."""
    logger.info("going on after step %d (%s)", checkpoint.step, checkpoint.path)
    weights = checkpoint.weights()
    put_weights(module, _without(weights, "now."))
    load_optimizer_state(module, optimizer, checkpoint.optimizer())
    values = checkpoint.state
    return State(
        values["step"],
        values["losses"],
        checkpoint.log(),
        values["best_epoch"],
        float("inf") if values["best_loss"] is None else values["best_loss"],
        _without(weights, "best."),
        values["batch_tokens"],
    )


def _without(weights: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The weights whose name begins with `prefix`, by the rest of their name."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
