"""Several processes for one training, through torchrun, inside of the script that trains.

The launching process holds the run's lock, passes on signals, and gives back one clear message.
Workers are the same script with the same arguments, with torchrun's variables (RANK, WORLD_SIZE, …) in the
environment.
"""

import ctypes
import json
import logging
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dnalm.running.budget import StopSignals
from dnalm.running.errors import RETRY_EXIT_CODE, InputError, Interrupted

logger = logging.getLogger("dnalm")

# Set for the workers of `launch`; a worker started by a torchrun of the user's own does without it.
LAUNCHED = "DNALM_LAUNCHED"
# After one worker has failed, the others wait for it in vain; they get this long to notice.
SHUTDOWN_SECONDS = 10


def is_worker() -> bool:
    """Whether torchrun started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def leads() -> bool:
    """Whether this process takes the run's lock: the one that launches, or trains alone.

    Under a torchrun of the user's own (several nodes) it is the first worker.
    """
    return not is_worker() or (LAUNCHED not in os.environ and os.environ["RANK"] == "0")


def processes_wanted(processes: str, gpus_seen: int) -> int:
    """How many processes to train with: a number, or `auto`: one per GPU, one on the CPU."""
    if processes == "auto":
        return max(1, gpus_seen)
    try:
        number = int(processes)
    except ValueError:
        number = 0
    if number < 1:
        raise InputError(f"--processes is {processes}; a number of 1 or more, or auto, was expected.")
    if gpus_seen and number > gpus_seen:
        raise InputError(
            f"--processes is {number}, but there are {gpus_seen} GPUs. Each process needs its own."
        )
    return number


def launch(processes: int) -> None:
    """Run this script again in `processes` workers and wait for them.

    Raises Interrupted when they saved and stopped early, InputError with the first failed worker's own
    message when one failed; the others are then ended.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # torchrun reports each start, signal and failure at length; one line of ours replaces that.
    for name in ("torch.distributed.elastic", "torch.distributed.launcher", "torch.distributed.nn"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ[LAUNCHED] = str(os.getpid())
    # One machine: no need to find out its name or network, which fails on some of them.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    # Otherwise each process would start as many threads as there are cores.
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))

    with tempfile.TemporaryDirectory(prefix="dnalm-") as scratch, _PassOn() as signals:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=f"dnalm-{os.getpid()}",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            # Ours are passed on by _PassOn; torchrun's own handling gives workers 30 s and then kills them
            # in the middle of saving. This one is never sent.
            signals_to_handle="SIGUSR2",
            logs_specs=DefaultLogsSpecs(log_dir=scratch),
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        try:
            elastic_launch(config, sys.executable)(os.path.abspath(sys.argv[0]), *sys.argv[1:])
        except ChildFailedError as error:
            raise _verdict(error.failures, processes, signals.received) from None
        finally:
            signals.stop()


def _verdict(failures: dict[int, Any], processes: int, received: str | None) -> Exception:
    """One error for what happened to the workers; `failures`: torchrun's ProcessFailure by rank."""
    for failure in failures.values():
        if failure.exitcode == RETRY_EXIT_CODE:
            return Interrupted(failure.message)
    if received:
        # The signal came before the workers listened to it.
        return Interrupted(f"received {received} before training began. Start it again to go on.")

    def likely_cause(item: tuple[int, Any]) -> tuple[bool, bool, int]:
        # When one worker dies, the others lose their connection to it: that is not what happened first.
        _, failure = item
        lost_connection = any(
            word in failure.message for word in ("gloo", "NCCL", "DistBackendError", "DistNetwork")
        )
        return failure.exitcode == -signal.SIGTERM, lost_connection, failure.timestamp

    rank, failure = min(failures.items(), key=likely_cause)
    if failure.exitcode < 0:
        hint = " Perhaps it ran out of memory." if failure.exitcode == -signal.SIGKILL else ""
        name = failure.signal_name()
        return InputError(f"worker {rank} of {processes} was ended by {name}.{hint} Start it again to go on.")
    return InputError(f"worker {rank} of {processes}: {failure.message}")


class _PassOn(StopSignals):
    """Passes SIGTERM and SIGINT on to the workers, which save and leave."""

    def _note(self, number: int, frame: object) -> None:
        super()._note(number, frame)
        for pid in _children():
            # A worker may have ended in between.
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue

    def stop(self) -> None:
        """No more signals to pass on."""
        for number in self._previous:
            signal.signal(number, signal.SIG_IGN)


def _children() -> list[int]:
    """Process ids of this process's own children."""
    import psutil

    return [child.pid for child in psutil.Process().children()]


def die_with_parent() -> None:
    """Have the kernel end this process when torchrun's process dies (Linux); no orphan trains on."""
    parent = int(os.environ.get(LAUNCHED, os.getppid()))
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    # It may have died before the kernel was told.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def as_worker() -> Iterator[None]:
    """Run the block as one of several processes: die with torchrun, and leave a message for it on failure."""
    die_with_parent()
    if int(os.environ["RANK"]) > 0:
        # One voice is enough; errors still come through.
        logger.setLevel(logging.ERROR)
    try:
        yield
    except Exception as error:
        _report(error)
        if LAUNCHED in os.environ:
            # The launching process says it. Waiting for the others in a clean shutdown could take for ever.
            for handler in logger.handlers:
                if isinstance(handler, logging.FileHandler) and handler.stream is not None:
                    handler.stream.write(f"worker {os.environ['RANK']}: {traceback.format_exc()}")
            logging.shutdown()
            os._exit(RETRY_EXIT_CODE if isinstance(error, Interrupted) else 1)
        raise


def _report(error: BaseException) -> None:
    """Leave this worker's message where torchrun looks for it."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not file:
        return
    message = (
        str(error) if isinstance(error, InputError | Interrupted) else f"{type(error).__name__}: {error}"
    )
    reply: dict[str, Any] = {"message": " ".join(message.split()), "timestamp": int(time.time())}
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(json.dumps(reply))
