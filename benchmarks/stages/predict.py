"""Scanning a genome with a classifier, beside a notebook's loop. Same probabilities, checked."""

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import data
import numpy as np
from arithmetic import forward
from measuring import BF16, PLAIN, SCRIPTS, Bench, Row, Run, grown, has_bf16, pairs, python

from stages.embed import PADDINGS
from stages.finetune import frozen

TOKENS_PER_WINDOW = 42


def probabilities(table: Path) -> np.ndarray:
    """float64[n, 2], as scripts/predict.py writes them."""
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return np.array([[float(row["probability_0"]), float(row["probability_1"])] for row in rows])


def measure(bench: Bench) -> Iterator[Row]:
    model = data.model(bench)
    classifier, output = bench.shared / "classifier", bench.folder / "predictions.tsv"
    expected = bench.folder / "plain.npy"
    # That of the stage finetune, where it was measured.
    if not classifier.is_dir():
        frozen(model, classifier, *(data.sequences(bench, f"few{part}.tsv", 20, 200) for part in "AB"))

    def ours(fasta: Path, *flags: object) -> Run:
        return python(
            SCRIPTS / "predict.py", "--classifier", classifier, "--input", fasta,
            "--window", 200, "--stride", 100, "--strands", "forward", "--max-unknown-fraction", 1,
            "--output", output, *flags,
        )  # fmt: skip

    numbers = [200, 400, 800] if bench.quick else [750, 1500, 3000]
    genomes = [data.genome(bench, f"scan{number}.fa", (number + 1) * 100) for number in numbers]
    growth = grown(ours, genomes, numbers, "windows")
    just_now: Run | None = growth[-1][1]
    for padding, words, goal in PADDINGS:
        plain = partial(python, PLAIN / "predict.py", classifier, genomes[-1], padding, expected)
        measured = pairs(bench, plain, partial(ours, genomes[-1]), just_now)
        # Of small sizes the same run will do for all rows: it ended a minute ago.
        just_now = just_now if bench.quick else None
        np.testing.assert_allclose(probabilities(output), np.load(expected), atol=1e-4)
        limit = forward(model, TOKENS_PER_WINDOW * numbers[-1])
        yield Row(f"genome scan, {words}", f"loop, {words}", measured, goal, limit, growth)
    if has_bf16() and not bench.quick:
        measured = pairs(bench, plain, partial(ours, genomes[-1], *BF16))
        np.testing.assert_allclose(probabilities(output), np.load(expected), atol=1e-2)
        limit = forward(model, TOKENS_PER_WINDOW * numbers[-1], "bfloat16")
        yield Row(f"genome scan, {words}, bf16", f"loop, {words}, in fp32", measured, goal, limit)
