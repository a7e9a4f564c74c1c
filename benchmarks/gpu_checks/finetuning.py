"""Fine-tuning through the backbone."""

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from dnalm.finetune import classifier, trained
from dnalm.finetune import training as finetuning
from dnalm.finetune.examples import Tokens, predict_logits
from dnalm.finetune.settings import (
    FullSettings,
    LearningSettings,
    LoraSettings,
    PartialSettings,
    ThroughBackboneSettings,
)
from dnalm.models.directory import quieten
from dnalm.models.optimization import adamw
from dnalm.problems.kinds import KINDS
from dnalm.problems.names import SINGLE_LABEL
from dnalm.running.checkpointer import Checkpointer
from dnalm.running.errors import Interrupted
from dnalm.running.memory import checkpoint_gradients
from dnalm.tokenizers.encoding import encode
from gpu_checks.findings import Finding, agreement, falling, goes_on, most_apart
from gpu_checks.inference import initial_weights, save
from gpu_checks.interruptions import resumed
from gpu_checks.memory import half_of, memory_of
from gpu_checks.place import CPU, LABELS, Place
from gpu_checks.pretraining import wait_for


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


def recipe(settings: ThroughBackboneSettings) -> finetuning.Recipe:
    return finetuning.Recipe(**settings.model_dump(include=set(LearningSettings.model_fields)), seed=1)


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


def gradient(
    place: Place, settings: ThroughBackboneSettings, device: torch.device, bf16: bool
) -> torch.Tensor:
    """Of all weights, one after the other, float32[n] on the CPU: of a batch of long and short sequences."""
    module, pad_id = new_classifier(place, settings, device).train(), place.config.pad_token_id
    tokens = encode(place.vocabulary, place.sequences[:16], 512)
    labels = torch.arange(len(tokens)) % len(LABELS)
    batch_tokens = len(tokens) * max(map(len, tokens))
    examples = Tokens(tokens, labels, pad_id, device, bf16, batch_tokens)
    finetuning.accumulate_gradients(module, examples, np.arange(len(tokens)), recipe(settings))
    return torch.cat([p.grad.flatten().cpu() for p in module.parameters() if p.grad is not None])


def check_gradient(place: Place) -> Iterator[Finding]:
    """Sequences of unlike lengths teach what they do on the CPU."""
    quieten()
    full = ways_to_learn(place)["full"]
    reference = gradient(place, full, CPU, bf16=False)
    precisions = {"fp32": 1e-3} | ({"bf16": 0.1} if place.bf16 else {})
    for precision, tolerance in precisions.items():
        found = gradient(place, full, place.device, precision == "bf16")
        apart = float((found - reference).norm() / reference.norm())
        yield agreement(f"gradient in {precision} beside the CPU's, of its length", apart, tolerance)


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
    logits = predict_logits(module, examples)
    said = KINDS[SINGLE_LABEL].outputs(logits.double().numpy())
    directory = save(place, f"classifier-{name}", trained.merged(initial_weights(place), module))
    for where, device in (("here", place.device), ("on the CPU", CPU)):
        outputs = classifier.Classifier(directory, device).outputs(place.task["validation"]["seq"].tolist())
        yield agreement(f"{name}: saved, read {where}", float(np.abs(outputs - said).max()), 1e-3)


def large_step(place: Place, settings: ThroughBackboneSettings) -> tuple[Callable[[], torch.Tensor], Tokens]:
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
