"""Lines -> token cache, beside `datasets.map`. Same ids out, checked."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import data
from measuring import PLAIN, SCRIPTS, Bench, Limit, Row, Run, bounded, grown, pairs, python

# At most so many bytes of cache per base.
CACHE_GOAL = 0.45

SAME_IDS = """
import sys
from datasets import load_from_disk
ours, plain = (load_from_disk(path) for path in sys.argv[1:])
assert len(ours) == len(plain)
for a, b in zip(ours.iter(1000), plain.iter(1000)):
    for ids, padded, mask in zip(a["input_ids"], b["input_ids"], b["attention_mask"]):
        assert ids == padded[: sum(mask)]
"""


def measure(bench: Bench) -> Iterator[Row]:
    tokenizer, summary = data.tokenizer(bench), bench.folder / "tokens.json"

    def ours(windows: Path) -> Run:
        return python(
            SCRIPTS / "tokenize_windows.py", "--windows", windows, "--tokenizer", tokenizer,
            "--threads", 1, "--output", bench.folder / "ours", "--summary", summary,
        )  # fmt: skip

    sizes = [2, 4, 8] if bench.quick else [25, 50, 100]
    windows = [data.lines(bench, f"lines{size}.txt", size) for size in sizes]
    growth = grown(ours, windows, sizes, "Mb")
    longest = json.loads(summary.read_text())["tokens_per_line"]["longest"]
    numbers = iter(range(bench.repeats))

    def plain() -> Run:
        # An empty cache each time, or datasets would find its earlier result.
        cache = {"HF_HOME": str(bench.folder / f"cache{next(numbers)}")}
        script = PLAIN / "tokenize_windows.py"
        return python(script, windows[-1], tokenizer, longest, bench.folder / "plain", **cache)

    measured = pairs(bench, plain, partial(ours, windows[-1]), growth[-1][1])
    subprocess.run(
        [sys.executable, "-c", SAME_IDS, bench.folder / "ours", bench.folder / "plain"], check=True
    )
    start = time.process_time()
    copied = windows[-1].read_bytes()
    for file in (bench.folder / "ours").rglob("*.arrow"):
        (bench.folder / "copy").write_bytes(file.read_bytes())
    limit = Limit(time.process_time() - start, "reading lines, writing ids")
    yield Row("tokenize_windows", "datasets.map, padded", measured, 6, limit, growth)

    size = sum(file.stat().st_size for file in (bench.folder / "ours").rglob("*.*")) / len(copied)
    yield bounded("token cache", CACHE_GOAL, "bytes per bp", [Run(size, size, 0)])
