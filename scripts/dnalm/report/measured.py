"""What Snakemake measured, its benchmark files; and when and where the steps ran, which their logs say."""

import csv
import math
import re
from pathlib import Path

from dnalm.report.run import Benchmark, StepLog
from dnalm.running.commandline import COMPUTER
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


def read_logs(paths: list[Path]) -> list[StepLog]:
    """The logs given, and all `*.log` in the directories given, in order, without this report's own.

    A directory that is not there holds none. Lines without a date, such as those of a traceback, are passed
    over.
    """
    files = [file for path in paths for file in (sorted(path.rglob("*.log")) if path.is_dir() else [path])]
    return [log for file in files if file.stem != "report" and (log := read_log(file)) is not None]


DATED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (.*)")


def read_log(path: Path) -> StepLog | None:
    """What a log says; None where it says nothing."""
    try:
        # Names of files may hold bytes that are no text.
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    dated = [found.groups() for line in lines if (found := DATED.fullmatch(line))]
    if not dated:
        return None
    machines = [text.removeprefix(COMPUTER) for _, text in dated if text.startswith(COMPUTER)]
    return StepLog(dated[0][0], dated[-1][0], list(dict.fromkeys(machines)))


def _number(text: str | None) -> float | None:
    """A number of a benchmark file; Snakemake writes NA or - for what it could not measure."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
