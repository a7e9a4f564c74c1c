"""What all benchmarks share: one process measured, two ways in turn, a row of the table."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = REPOSITORY / "scripts"
PLAIN = REPOSITORY / "benchmarks" / "plain"

# One thread, also of the libraries that would take every core, and no network.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
) | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


# Ours only: the plain way stays in fp32, as everybody gets it.
BF16 = ("--precision", "bf16")


def has_bf16() -> bool:
    """Whether this CPU multiplies in bf16 faster than in fp32."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and any(name in cpuinfo.read_text() for name in ("amx_bf16", "avx512_bf16"))


@dataclass(frozen=True)
class Run:
    """What one process took, its children included, from its start to its end.

    seconds: CPU time; with one thread on an idle machine about `wall`, on a busy one much steadier.
    memory_mb: peak resident memory, of the largest process.
    """

    seconds: float
    wall: float
    memory_mb: float

    def __add__(self, other: "Run") -> "Run":
        """One after the other."""
        return Run(self.seconds + other.seconds, self.wall + other.wall, max(self.memory_mb, other.memory_mb))


@dataclass(frozen=True)
class Limit:
    """What the machine itself needs for a stage: CPU seconds, and for what."""

    seconds: float
    why: str


@dataclass(frozen=True)
class Row:
    """A stage, measured: the plain way and ours in turn.

    goal: the ratio of times to reach. growth: (size, our run) from small to large.
    """

    stage: str
    plain: str
    pairs: Sequence[tuple[Run, Run]]
    goal: float
    limit: Limit | None = None
    growth: Sequence[tuple[str, Run]] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        return [plain.seconds / ours.seconds for plain, ours in self.pairs]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def limit_ratio(self) -> float | None:
        """How many times faster than the plain way the machine could be at most."""
        if self.limit is None:
            return None
        return statistics.median(plain.seconds for plain, _ in self.pairs) / self.limit.seconds


def bounded(stage: str, bound: float, unit: str, runs: Sequence[Run], **more: object) -> Row:
    """A row for what shall not exceed a bound, in seconds or another unit: the ratio shall be 1 or more."""
    pairs = [(Run(bound, bound, 0), run) for run in runs]
    return Row(stage, f"at most {bound:g} {unit}", pairs, 1, **more)


@dataclass(frozen=True)
class Bench:
    """What a stage's `measure` is given.

    folder: for its files. shared: for what several stages need. quick: take small sizes. data: folder of real
    genomes and tasks, or None for simulated ones. repeats: how many pairs of runs.
    """

    folder: Path
    shared: Path
    quick: bool
    data: Path | None
    repeats: int


def python(*words: object, **environment: str) -> Run:
    """Run a Python script with one thread and measure it; stops the benchmark if it fails."""
    return run([sys.executable, *words], ONE_THREAD | environment)


def run(command: Sequence[object], environment: dict[str, str] | None = None) -> Run:
    """Run a command and measure it; stops the benchmark with what it said if it fails."""
    words = [str(word) for word in command]
    start = time.perf_counter()
    # Into a file: nothing here waits for a full pipe.
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            words,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            sys.exit(f"this command failed: {' '.join(words)}\n{log.read()[-3000:]}")
    # Linux gives kilobytes, macOS bytes.
    memory = usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)
    return Run(usage.ru_utime + usage.ru_stime, wall, memory)


Growth = list[tuple[str, Run]]


def grown(ours: Callable[[Path], Run], inputs: Sequence[Path], sizes: Sequence[object], unit: str) -> Growth:
    """Our way on inputs of growing size."""
    return [(f"{size} {unit}", ours(path)) for size, path in zip(sizes, inputs, strict=True)]


def pairs(
    bench: Bench, plain: Callable[[], Run], ours: Callable[[], Run], just_now: Run | None = None
) -> list[tuple[Run, Run]]:
    """Both ways in turn on the largest input, so that whatever else the machine does hits both.

    `just_now`: a run of ours that has only just ended, taken as the first.
    """
    first = (plain(), just_now or ours())
    return [first, *((plain(), ours()) for _ in range(bench.repeats - 1))]
