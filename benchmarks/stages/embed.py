"""Sequences -> vectors, beside a notebook's loop. Same vectors out, checked."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import data
import numpy as np
from arithmetic import forward
from measuring import BF16, PLAIN, SCRIPTS, Bench, Row, Run, grown, has_bf16, pairs, python

# How the plain way pads, in the words of its script and of the table, and the ratio to reach.
PADDINGS = (
    ("250", "padded to 250 tokens", 6),
    ("longest", "padded to the longest of 32", 1.1),
)


def ours(model: Path, table: Path, *flags: object) -> Run:
    return python(
        SCRIPTS / "embed.py", "--model", model, "--sequences", table, "--split", "train",
        "--output", table.with_suffix(".npz"), "--name", "benchmark", "--task", "benchmark", *flags,
    )  # fmt: skip


def measure(bench: Bench) -> Iterator[Row]:
    model, vectors = data.model(bench), bench.folder / "plain.npy"
    numbers = [200, 400, 800] if bench.quick else [750, 1500, 3000]
    tables = [data.sequences(bench, f"embed{number}.tsv", number, 200) for number in numbers]
    growth = grown(partial(ours, model), tables, numbers, "sequences")
    just_now: Run | None = growth[-1][1]
    for padding, words, goal in PADDINGS:
        plain = partial(python, PLAIN / "embed.py", model, tables[-1], padding, vectors)
        measured = pairs(bench, plain, partial(ours, model, tables[-1]), just_now)
        # Of small sizes the same run will do for all rows: it ended a minute ago.
        just_now = just_now if bench.quick else None
        with np.load(tables[-1].with_suffix(".npz")) as file:
            np.testing.assert_allclose(file["mean"], np.load(vectors), atol=1e-4)
            limit = forward(model, int(file["tokens"].sum()))
        yield Row(f"embed, {words}", f"loop, {words}", measured, goal, limit, growth)
    if has_bf16() and not bench.quick:
        measured = pairs(bench, plain, partial(ours, model, tables[-1], *BF16))
        with np.load(tables[-1].with_suffix(".npz")) as file:
            np.testing.assert_allclose(file["mean"], np.load(vectors), atol=1e-2)
            limit = forward(model, int(file["tokens"].sum()), "bfloat16")
        yield Row(f"embed, {words}, bf16", f"loop, {words}, in fp32", measured, goal, limit)
