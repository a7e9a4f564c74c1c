"""A classifier on a frozen backbone, beside Transformers' Trainer. Same losses, checked."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import data
import numpy as np
from arithmetic import forward
from measuring import BF16, PLAIN, SCRIPTS, Bench, Row, Run, grown, has_bf16, pairs, python

EPOCHS = 5
# Length of the sequences, what the plain way pads them to, the ratio to reach, and the most sequences.
LENGTHS = ((200, 50, 6, 1000), (100, 250, 20, 400))


def frozen(model: Path, classifier: Path, train: Path, validation: Path, *flags: object) -> Run:
    """scripts/embed.py, with these flags, and scripts/finetune.py, together."""
    folder = train.parent
    vectors = [folder / "train.npz", folder / "validation.npz"]
    embedding = python(
        SCRIPTS / "embed.py", "--model", model, "--sequences", train, validation,
        "--split", "train", "validation", "--output", *vectors, "--name", "benchmark", "--task", "benchmark",
        *flags,
    )  # fmt: skip
    return embedding + python(
        SCRIPTS / "finetune.py", "--model", model, "--train-sequences", train,
        "--validation-sequences", validation, "--train-embeddings", vectors[0],
        "--validation-embeddings", vectors[1], "--backbone", "frozen", "--no-standardise",
        "--epochs", EPOCHS, "--batch-size", 64, "--warmup-fraction", 0, "--name", "benchmark",
        "--task", "benchmark", "--output", classifier,
    )  # fmt: skip


def validation_losses(classifier: Path) -> list[float]:
    """After each epoch."""
    records = map(json.loads, (classifier / "finetuning_log.jsonl").read_text().splitlines())
    return [record["loss"] for record in records if record["event"] == "evaluation" and record["epoch"]]


def measure(bench: Bench) -> Iterator[Row]:
    model, losses = data.model(bench), bench.folder / "losses.json"
    classifier = bench.shared / "classifier"
    for bp, padding, goal, most in LENGTHS[:1] if bench.quick else LENGTHS:
        numbers = [200, 400, 800] if bench.quick else [most // 4, most // 2, most]
        validation = data.sequences(bench, f"validation{bp}.tsv", numbers[0], bp)
        tables = [data.sequences(bench, f"train{bp}-{number}.tsv", number, bp) for number in numbers]

        def ours(train: Path, *flags: object, validation: Path = validation) -> Run:
            return frozen(model, classifier, train, validation, *flags)

        growth = grown(ours, tables, numbers, "sequences")
        plain = partial(python, PLAIN / "finetune.py", model, tables[-1], validation, padding, EPOCHS, losses)
        measured = pairs(bench, plain, partial(ours, tables[-1]), growth[-1][1])
        same = validation_losses(classifier)
        np.testing.assert_allclose(json.loads(losses.read_text()), same, atol=1e-3)
        with np.load(bench.folder / "train.npz") as file:
            tokens = int(file["tokens"].sum())
        stage, words = f"finetune, frozen, {EPOCHS} epochs, {bp} bp", f"Trainer, padded to {padding} tokens"
        yield Row(stage, words, measured, goal, forward(model, tokens), growth)
        if has_bf16() and not bench.quick:
            measured = pairs(bench, plain, partial(ours, tables[-1], *BF16))
            np.testing.assert_allclose(
                json.loads(losses.read_text()), validation_losses(classifier), atol=1e-2
            )
            limit = forward(model, tokens, "bfloat16")
            yield Row(f"{stage}, bf16", f"{words}, in fp32", measured, goal, limit)
