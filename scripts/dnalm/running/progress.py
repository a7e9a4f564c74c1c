"""Progress with an estimated time of arrival, as plain lines that a terminal and a log can both show."""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger("dnalm")


class Progress:
    """Logs how far a long task is, at most once every `interval` seconds.

    >>> progress = Progress("tokenizing", total=1000, unit="lines")
    >>> progress.update(250)
    """

    def __init__(
        self,
        task: str,
        total: int | None,
        unit: str,
        interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.task, self.total, self.unit, self.interval, self.clock = task, total, unit, interval, clock
        self.start = self.last = clock()
        self.initial = 0
        self.advanced = 0.0

    def resume_at(self, done: int) -> None:
        """Count from `done`, which an earlier process has already finished, in speed and ETA."""
        self.initial = done
        self.start = self.last = self.clock()

    def update(self, done: int, note: str | Callable[[], str] = "") -> None:
        """Say that `done` units are finished (in all, not since the last call).

        A note that takes time to make may be a function, called when something is said.
        """
        now = self.clock()
        if now - self.last < self.interval:
            return
        self.last = now
        logger.info("%s", self.line(done, note() if callable(note) else note))

    def advance(self, units: float) -> None:
        """Say that so many more units are finished; parts of units add up."""
        self.advanced += units
        self.update(round(self.advanced))

    def line(self, done: int, note: str = "") -> str:
        """The line that `update` logs: done, total, speed, time left."""
        elapsed = max(self.clock() - self.start, 1e-9)
        speed = (done - self.initial) / elapsed
        parts = [f"{self.task}: {done:,}"]
        if self.total:
            parts[0] += f" of {self.total:,} {self.unit} ({100 * done / self.total:.0f}%)"
        else:
            parts[0] += f" {self.unit}"
        parts.append(f"{speed:,.3g} {self.unit}/s" if speed < 1000 else f"{speed:,.0f} {self.unit}/s")
        if self.total and speed > 0:
            parts.append(f"{duration((self.total - done) / speed)} left")
        if note:
            parts.append(note)
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """A duration as people write it: `45 s`, `3 min 20 s`, `2 h 05 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
