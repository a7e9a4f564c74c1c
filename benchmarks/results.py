"""The results of benchmarks: a JSON file for programs, a table for people.

`results.json` is a list of `{"stage", "ratio", "low", "high", "limit", "goal"}`: how many times faster than
the plain way (median, smallest and largest of the pairs), how many times faster the machine could be at most
(null where nothing says so), and how many times faster it shall be.
"""

import json
import os
import platform
import re
import statistics
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from measuring import REPOSITORY, Row

RESULTS = REPOSITORY / "benchmarks" / "results.json"

HEADER = ("stage", "plain way", "its s", "here s", "ratio (low to high)", "goal", "limit", "growth: s, MB")


def record(row: Row) -> dict[str, object]:
    """What `results.json` holds of a row."""
    limit = row.limit_ratio
    return {
        "stage": row.stage,
        "ratio": round(row.ratio, 2),
        "low": round(min(row.ratios), 2),
        "high": round(max(row.ratios), 2),
        "limit": None if limit is None else round(limit, 2),
        "goal": row.goal,
    }


def write(rows: Sequence[Row], path: Path = RESULTS) -> None:
    """Put rows into `path`; those of stages that were not measured now stay."""
    kept = json.loads(path.read_text()) if path.is_file() else []
    new = {row.stage: record(row) for row in rows}
    merged = [new.pop(old["stage"], old) for old in kept] + list(new.values())
    path.write_text("[\n" + ",\n".join("  " + json.dumps(entry) for entry in merged) + "\n]\n")


def cells(row: Row) -> list[str]:
    """A row of the table for people."""
    plain, ours = (statistics.median(run.seconds for run in runs) for runs in zip(*row.pairs, strict=True))
    limit = row.limit_ratio
    short = "" if row.ratio >= row.goal else " **short**"
    return [
        row.stage,
        row.plain,
        f"{plain:.1f}",
        f"{ours:.1f}",
        f"{row.ratio:.1f} ({min(row.ratios):.1f} to {max(row.ratios):.1f})",
        f"{row.goal:g}{short}",
        "" if limit is None or row.limit is None else f"{limit:.0f}: {row.limit.why}",
        "; ".join(f"{size}: {run.seconds:.1f}, {run.memory_mb:.0f}" for size, run in row.growth),
    ]


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [HEADER, ["---"] * len(HEADER), *map(cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """Processor, cores, load and date, in words."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = re.search(r"model name\s*: (.*)", cpuinfo.read_text())
        model = found[1] if found else model
    load = os.getloadavg()[0]
    return f"{model}, {os.cpu_count()} cores, {load:.1f} processes wanted to run, {date.today():%Y-%m-%d}"
