"""Pretraining beside the plain way: Transformers' Trainer on the same network, lines and learning rates."""

import math
import time
from collections.abc import Iterator
from typing import Any

import datasets
import torch
from transformers import (
    AutoModelForMaskedLM,
    DataCollatorForLanguageModeling,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from dnalm.models.architecture import new_model
from dnalm.pretrain import batches, training
from dnalm.pretrain.settings import MaskingSettings
from gpu_checks.findings import Finding
from gpu_checks.place import Place
from gpu_checks.pretraining import LEARNING_RATE, WARMUP_FRACTION, train, wait_for

# What a step in bf16 shall be faster than the Trainer's in fp32 on one GPU.
GOAL = 3.0
# Masks and the order of lines are drawn differently.
LOSS_TOLERANCE = 0.1


class Tokens(DataCollatorForLanguageModeling):
    """Counts the tokens of each batch, padding apart, in the order of the steps."""

    def __init__(self, *arguments: Any, **keywords: Any):
        super().__init__(*arguments, **keywords)
        self.counts: list[int] = []

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        self.counts.append(sum(len(example["input_ids"]) for example in examples))
        return super().torch_call(examples)


class SecondHalf(TrainerCallback):
    """Times the second half of the steps, when everything is warm."""

    def __init__(self, device: torch.device):
        self.device, self.times = device, list[float]()

    def on_step_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step in (state.max_steps // 2, state.max_steps):
            wait_for(self.device)
            self.times.append(time.perf_counter())


def train_plainly(place: Place, bf16: bool) -> tuple[float, float]:
    """Held-out loss (nats per [MASK]) and real tokens per second of the Trainer, on one GPU or the CPU."""
    sizes, folder = place.sizes, place.folder / "plain"
    # Read by Transformers alone: the network that `gpu_checks.pretraining.train` begins with.
    new_model(place.config, 42).save_pretrained(folder)
    network = AutoModelForMaskedLM.from_pretrained(folder)
    tokens = Tokens(place.vocabulary, mlm_probability=MaskingSettings().probability)
    watch = SecondHalf(place.device)
    trainer = Trainer(
        network,
        TrainingArguments(
            str(folder / "trainer"),
            max_steps=sizes.steps,
            per_device_train_batch_size=sizes.batch_size,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="cosine",
            warmup_steps=math.ceil(WARMUP_FRACTION * sizes.steps),
            bf16=bf16,
            seed=42,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=place.device.type == "cpu",
        ),
        train_dataset=datasets.load_from_disk(str(place.folder / "train")),
        data_collator=tokens,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    held_out = place.corpus("held_out")
    judged = training.evaluate(
        training.MaskedTokenLoss(network),
        held_out,
        batches.evaluation_lines(len(held_out.lengths), 200),
    )
    begun, ended = watch.times
    return judged["masked_loss"], sum(tokens.counts[sizes.steps // 2 : sizes.steps]) / (ended - begun)


def check_plain(place: Place) -> Iterator[Finding]:
    """A step takes a third of the Trainer's at most, and teaches as much."""
    if place.device.type == "cuda" and torch.cuda.device_count() > 1:
        yield Finding("beside the Trainer", "left out: it takes all GPUs; CUDA_VISIBLE_DEVICES=0 measures it")
        return
    losses, here = train(place, place.usual)
    for name, bf16 in (("fp32", False), *([("bf16", True)] if place.bf16 else [])):
        try:
            loss, there = train_plainly(place, bf16)
        except torch.OutOfMemoryError:
            yield Finding(f"beside the Trainer in {name}", "memory runs out there")
            continue
        faster = here.tokens_per_second / there
        # In fp32 both multiply the same matrices.
        expected = name == "fp32" and place.usual == "bf16"
        yield Finding(
            f"speed in {place.usual} beside the Trainer in {name}",
            f"{there:,.0f} tokens/s there, {faster:.2f} times as fast here",
            f"≥ {GOAL:g} times" if expected else "",
            faster >= GOAL if expected else None,
        )
        yield Finding(
            f"held-out loss in {place.usual} beside the Trainer in {name}",
            f"{losses[-1]:.3f} here, {loss:.3f} there",
            f"at most {LOSS_TOLERANCE:g} nats higher",
            losses[-1] <= loss + LOSS_TOLERANCE,
        )
