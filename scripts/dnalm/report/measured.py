"""What Snakemake measured: its benchmark files."""

import csv
import math
from pathlib import Path

from dnalm.report.run import Benchmark
from dnalm.running.errors import InputError
from dnalm.running.files import read_text


def read_benchmarks(paths: list[Path]) -> list[Benchmark]:
    """Benchmark files of Snakemake: the files given, and all `<rule>/<job>.tsv` in the directories given.

    A directory that is not there holds none. The time of this report's own last making says nothing about
    this one and is left out.
    """
    found = []
    for path in paths:
        if path.is_dir() or not path.suffix:
            found += [read_benchmark(file, file.relative_to(path)) for file in sorted(path.rglob("*.tsv"))]
        else:
            folders = path.parts
            begin = folders.index("benchmarks") + 1 if "benchmarks" in folders[:-1] else -1
            found.append(read_benchmark(path, Path(*folders[begin:])))
    return [benchmark for benchmark in found if benchmark.rule != "report"]


def read_benchmark(path: Path, name: Path) -> Benchmark:
    """One benchmark file, called `<rule>/<job>.tsv` or `<rule>.tsv` below the folder of all of them.

    Repeated measurements count as one job with the longest time and the largest memory.
    """
    rows = list(csv.DictReader(read_text(path).splitlines(), delimiter="\t"))
    if not rows or "s" not in rows[0]:
        raise InputError(f"{path}: not a benchmark file of Snakemake (no column 's').")

    def largest(column: str) -> float | None:
        values = [_number(row.get(column)) for row in rows]
        return max((value for value in values if value is not None), default=None)

    rule, *rest = name.with_suffix("").parts
    # A job that ended before Snakemake's first look has zeros for what was never measured. At the first look
    # of a short one, Python had not begun: its memory is that of a shell, which used no time.
    cpu_seconds = largest("cpu_time")
    peak_mb = None if cpu_seconds == 0 else largest("max_rss") or None
    cpu_seconds = cpu_seconds if peak_mb else None
    return Benchmark(rule, "/".join(rest), largest("s") or 0.0, peak_mb, cpu_seconds)


def _number(text: str | None) -> float | None:
    """A number of a benchmark file; Snakemake writes NA or - for what it could not measure."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
