"""Saving and leaving: the same for every training, of one process or of several."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnalm.running.budget import StopSignals, TimeBudget
from dnalm.running.checkpoints import Checkpoint, CheckpointStore
from dnalm.running.errors import Interrupted
from dnalm.running.runlock import RunLock
from dnalm.running.world import SINGLE, World

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("dnalm")


@dataclass
class Snapshot:
    """What a checkpoint holds. `state` has the key `step`; without `optimizer` the training has ended."""

    state: dict[str, Any]
    log: list[dict[str, Any]]
    weights: dict[str, "torch.Tensor"]
    optimizer: dict[str, "torch.Tensor"] | None


class Checkpointer:
    """Saves a training every so many steps or minutes, and before the job's time or a signal ends it.

    Use as a context manager around the training. The checkpoints lie in a directory below `root` named by a
    fingerprint of `fingerprinted`, everything that the result depends on. One training at a time works
    there: the process with `take_lock` waits for it, and cleans up. `every_steps` and `every_minutes`:
    0 is never; they decide nothing of the result.
    """

    def __init__(
        self,
        root: str | Path,
        fingerprinted: Mapping[str, Any],
        *,
        every_steps: int = 0,
        every_minutes: float = 0.0,
        stop_before_minutes: float,
        take_lock: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.store = CheckpointStore(root, fingerprinted)
        self.every_steps, self.every_seconds = every_steps, 60 * every_minutes
        self.stop_before_minutes, self.take_lock, self.clock = stop_before_minutes, take_lock, clock
        self.longest_step = self.saving_seconds = 0.0

    def __enter__(self) -> "Checkpointer":
        with ExitStack() as held:
            self.signals = held.enter_context(StopSignals())
            # The clock of the job runs from here, waiting for the lock included.
            self.budget = TimeBudget(self.stop_before_minutes, clock=self.clock)
            if self.take_lock:
                held.enter_context(RunLock(self.store.directory, meanwhile=self._give_up_waiting))
                for other in self.store.differences():
                    logger.info("checkpoints of another training are left alone: %s", other)
                self.store.prepare()
            self._held = held.pop_all()
        self.saved_at = self.step_ended_at = self.clock()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def _give_up_waiting(self) -> None:
        if self.signals.received or self.budget.is_over():
            raise Interrupted("stopped while another process was training this model. Start it again.")

    def leave_if_asked(self) -> None:
        """Raise Interrupted after a signal, or where the job's time is nearly over.

        For work between trainings, whose parts are saved one by one as they end.
        """
        if self.signals.received:
            raise Interrupted(f"received {self.signals.received}. Start it again to go on.")
        if self.budget.is_over():
            raise Interrupted("the job's time is nearly over. Start it again to go on.")

    def discard(self) -> None:
        """Remove the checkpoints; the lock goes with them."""
        shutil.rmtree(self.store.directory, ignore_errors=True)

    def newest(self, world: World = SINGLE) -> Checkpoint | None:
        """The newest whole checkpoint, the same one in all processes; only the first checks and cleans up."""
        found = self.store.newest() if world.is_first else None
        step = world.from_first(-1 if found is None else found.step)
        return found if world.is_first or step < 0 else self.store.at(step)

    def after_step(
        self,
        step: int,
        snapshot: Callable[[], Snapshot],
        *,
        finished: bool = False,
        world: World = SINGLE,
        saved: Callable[[str, int, float], None] = lambda ended, size, seconds: None,
    ) -> None:
        """Save if it is time, all processes at the same step. Called when `step` steps are done.

        `snapshot` is called in all processes, its result is used in the first. `saved` is told how things
        stand after a save ("running", "finished", "signal" or "time limit"), its bytes and seconds. Raises
        Interrupted after saving if the processes have to leave: one that must takes all with it.
        """
        now = self.clock()
        self.longest_step, self.step_ended_at = max(self.longest_step, now - self.step_ended_at), now
        out_of_time = self.budget.is_over(self.longest_step + self.saving_seconds)
        due = (self.every_steps > 0 and step % self.every_steps == 0) or (
            self.every_seconds > 0 and now - self.saved_at >= self.every_seconds
        )
        signalled, out_of_time, due = world.any(self.signals.received is not None, out_of_time, due)
        leave = not finished and (signalled or out_of_time)
        if not (leave or due or finished):
            return
        shot = snapshot()
        begun = self.clock()
        size = 0
        if world.is_first:
            size = self.store.save(shot.state, shot.log, shot.weights, shot.optimizer)
        self.step_ended_at = self.saved_at = self.clock()
        self.saving_seconds = self.saved_at - begun
        why = "finished" if finished else "running"
        if leave:
            why = "signal" if signalled else "time limit"
        saved(why, size, self.saving_seconds)
        if leave:
            # Together: when one process ends early, torchrun ends the others, also while they save.
            world.wait()
            reason = "the job's time is nearly over"
            if signalled:
                reason = f"received {self.signals.received or 'a signal in another process'}"
            raise Interrupted(f"{reason}: saved after step {step:,}. Start it again to go on.")
