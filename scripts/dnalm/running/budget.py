"""When to stop: the end of the job's time, or a signal.

On production clusters no signal reaches a training process before a time limit kills it, so the time left
is asked from the scheduler.
"""

import logging
import os
import shutil
import signal
import time
from collections.abc import Callable
from typing import Any, Self

from dnalm.running.progress import duration
from dnalm.running.slurm import ask_of_job

logger = logging.getLogger("dnalm")

# Limits can be changed while a job runs (scontrol update), so the scheduler is asked again now and then.
ASK_AGAIN_SECONDS = 300.0


class TimeBudget:
    """How much wall-clock time this job still has, according to Slurm.

    `stop_before_minutes` are kept for the last save. A job that is short by itself keeps a quarter of its
    time instead, so that it gets something done. Outside of Slurm time never ends.
    """

    def __init__(
        self,
        stop_before_minutes: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        ask: Callable[[], float | None] | None = None,
    ):
        self.clock, self.ask = clock, ask or slurm_seconds_left
        self.reserve = stop_before_minutes * 60
        self.deadline: float | None = None
        self.asked_at = clock()
        left = self.ask()
        left = seconds_left_at_start() if left is None else left
        if left is not None:
            self._ends_in(left)
            logger.info(
                "the job ends in %s; training stops %s before", duration(left), duration(self.reserve)
            )
        elif "SLURM_JOB_ID" in os.environ and shutil.which("squeue") is None:
            logger.warning(
                "nobody tells when this Slurm job ends: the command squeue is not found, as in an Apptainer "
                "image. At its time limit the job loses what it did since the last checkpoint; save more "
                "often (checkpoint_every_minutes), or give it time for the whole training."
            )

    def is_over(self, next_step_seconds: float = 0.0) -> bool:
        """Whether a step that takes `next_step_seconds` would reach into the reserve."""
        now = self.clock()
        if now - self.asked_at > ASK_AGAIN_SECONDS:
            self.asked_at = now
            left = self.ask()
            # No answer (a busy scheduler) leaves the last one standing.
            if left is not None:
                self._ends_in(left)
        return self.deadline is not None and now + next_step_seconds > self.deadline - self.reserve

    def _ends_in(self, left: float) -> None:
        if self.deadline is None:
            self.reserve = min(self.reserve, left / 4)
        self.deadline = self.asked_at + left


def slurm_seconds_left() -> float | None:
    """Seconds until the Slurm job is killed; None outside of Slurm, without a limit, or without an answer."""
    return parse_time_left(ask_of_job("%L") or "")


def seconds_left_at_start() -> float | None:
    """The same by what Slurm (23.02 and later) told the job when it started; None if it told nothing."""
    end = os.environ.get("SLURM_JOB_END_TIME", "")
    return max(0.0, int(end) - time.time()) if "SLURM_JOB_ID" in os.environ and end.isdigit() else None


def parse_time_left(text: str) -> float | None:
    """Seconds from squeue's `%L`: `days-hours:minutes:seconds` with leading parts left out; None for words.

    >>> parse_time_left("1-02:03:04")
    93784.0
    """
    text = text.strip().splitlines()[0].strip() if text.strip() else ""
    days, dash, clock = text.rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
        if not 1 <= len(parts) <= 3:
            return None
        # "10" alone is seconds, "05:10" minutes and seconds.
        seconds = 0
        for part in parts:
            seconds = 60 * seconds + part
        return float(seconds + 86400 * (int(days) if dash else 0))
    except ValueError:
        return None


class StopSignals:
    """Turns SIGTERM, SIGINT and SIGUSR2 into a wish that the training loop grants at the end of its step.

    Grid Engine sends SIGUSR2 some time before it kills a job (qsub -notify).

    Where one stands around another, both know of a signal: the inner one leaves, and so can the outer one.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[int, Any] = {}
        self._around: StopSignals | None = None

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            self._previous[number] = signal.signal(number, self._note)
            around = getattr(self._previous[number], "__self__", None)
            if isinstance(around, StopSignals):
                self._around, self.received = around, self.received or around.received
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        # Nothing else: a handler that logs can meet the lock of the logger it interrupted.
        self.received = signal.Signals(number).name
        if self._around is not None:
            self._around._note(number, frame)
