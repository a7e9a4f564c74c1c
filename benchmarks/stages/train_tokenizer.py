"""Training a tokenizer from a sample: time and memory must not grow with the genome."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import data
from measuring import SCRIPTS, Bench, Row, Run, grown, pairs, python


def measure(bench: Bench) -> Iterator[Row]:
    def ours(windows: Path) -> Run:
        return python(
            SCRIPTS / "train_tokenizer.py", "--windows", windows, "--sample-lines", sample,
            "--output", bench.folder / "learnt", "--summary", bench.folder / "learnt.json",
        )  # fmt: skip

    sample, sizes = (500, [2, 4, 8]) if bench.quick else (5000, [25, 50, 100])
    windows = [data.lines(bench, f"lines{size}.txt", size) for size in sizes]
    growth = grown(ours, windows, sizes, "Mb")
    measured = pairs(bench, partial(ours, windows[0]), partial(ours, windows[-1]), growth[-1][1])
    yield Row("train_tokenizer", "a quarter of the genome", measured, 0.9, growth=growth)
