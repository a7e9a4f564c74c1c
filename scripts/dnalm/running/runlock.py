"""A lock that stops two jobs from training into one directory, and that does not outlive its owner.

The lock is a file that names the owner's host, process and Slurm job. It is taken over when the owner is
known to be dead: the process is gone (same host), the job runs no more or runs again elsewhere, or, where
nobody can be asked, the file has not been touched during ten minutes of watching. Slurm can be asked about
jobs of its own cluster only, and may keep those of other users to itself (PrivateData=jobs).

A proof of death can be wrong, for instance about a node that has lost its network only. Therefore whoever
publishes something calls :func:`check_held` right before; a holder that was replaced then stops.
"""

import errno
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dnalm.running.errors import Interrupted
from dnalm.running.files import disk_errors_name
from dnalm.running.progress import duration

logger = logging.getLogger("dnalm")

HEARTBEAT_SECONDS = 30.0
SILENCE_SECONDS = 600.0
# While the lock is held: its path and token, for this process and for the workers that it starts.
HELD = "DNALM_LOCK"
# States of a Slurm job in which its processes may be alive. A job that is PENDING after it has run waits
# to be started again: what it ran before is gone.
ALIVE = {
    "RUNNING",
    "COMPLETING",
    "SUSPENDED",
    "CONFIGURING",
    "STOPPED",
    "RESIZING",
    "SIGNALING",
    "STAGE_OUT",
}


class RunLock:
    """Use as a context manager: waits until the lock is free, holds it, and removes it at the end.

    `meanwhile` is called about every `poll_seconds` while waiting; it may raise to give up. Of two locks, one
    within the other, :func:`check_held` checks the inner one while it is held, and then the outer one again.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        meanwhile: Callable[[], None] = lambda: None,
        poll_seconds: float = 5.0,
    ):
        self.path = Path(directory).absolute() / "lock"
        self.meanwhile, self.poll_seconds = meanwhile, poll_seconds
        self.owner = {
            "token": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "boot": _boot_id(),
            "pid": os.getpid(),
            "ticks": _process(os.getpid())[1],
            "uid": os.getuid(),
            "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
            "slurm_cluster": os.environ.get("SLURM_CLUSTER_NAME"),
        }
        self._stop = threading.Event()

    def __enter__(self) -> "RunLock":
        said = False
        silence = Silence(self.path)
        while not self._take():
            owner = read_owner(self.path)
            reason = why_dead(owner, silence) if owner is not None else None
            if owner is not None and reason:
                logger.info("the lock of %s is released: %s", describe(owner), reason)
                self._break(owner)
                cancel_pending(owner)
                continue
            if not said and owner is not None:
                logger.info(
                    "%s is training this model; waiting for it to end (lock: %s)", describe(owner), self.path
                )
                said = True
            self.meanwhile()
            time.sleep(self.poll_seconds)
        self._around = os.environ.get(HELD)
        os.environ[HELD] = json.dumps([str(self.path), self.owner["token"]])
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        os.environ.pop(HELD, None)
        if self._around is not None:
            os.environ[HELD] = self._around
        # What went wrong before is to be told; the lock of a process that has ended is released by itself.
        with suppress(OSError):
            if read_owner(self.path) == self.owner:
                self.path.unlink(missing_ok=True)

    def _take(self) -> bool:
        # A hard link either is made or not, on network file systems too, and the file is complete when
        # its name appears.
        own = self.path.with_name(f".lock.{self.owner['host']}.{os.getpid()}")
        # Who ends fine-tuning takes the folder away, beside those who wait there.
        own.parent.mkdir(parents=True, exist_ok=True)
        try:
            with disk_errors_name(self.path):
                own.write_text(json.dumps(self.owner))
            return self._link(own)
        finally:
            own.unlink(missing_ok=True)

    def _link(self, own: Path) -> bool:
        """Give the lock's name to a file that says who holds it. Whether nobody else had been faster."""
        try:
            os.link(own, self.path)
        except FileExistsError:
            # NFS repeats a request whose reply was lost, and then says so of a link that was made.
            return read_owner(self.path) == self.owner
        except OSError:
            # A file system without hard links. Exclusive creation excludes as well, but for a moment the
            # file is empty.
            try:
                with open(self.path, "x") as file:
                    file.write(json.dumps(self.owner))
            except FileExistsError:
                return False
        return True

    def _break(self, owner: dict[str, Any]) -> None:
        # Of several processes that find the same dead owner, one moves the file away; nobody can remove
        # the lock of the one who comes next.
        aside = self.path.with_name(f".lock.dead.{self.owner['host']}.{os.getpid()}")
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            aside.unlink(missing_ok=True)
            return
        if read_owner(aside) != owner:
            # Somebody was faster and holds the lock already: give it back.
            try:
                os.link(aside, self.path)
            except FileExistsError:
                logger.info("two processes broke the lock %s at once", self.path)
            except OSError:
                # A file system without hard links.
                os.rename(aside, self.path)
        aside.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            # A file server may be away for a while.
            with suppress(OSError):
                # After this one was replaced, the file is the next owner's.
                if read_owner(self.path) != self.owner:
                    return
                os.utime(self.path)


def check_held() -> None:
    """Raise Interrupted if this process, or the one that started it, was given the lock and has it no more.

    Called right before something is published. Without a lock there is nothing to check.
    """
    if HELD not in os.environ:
        return
    path, token = json.loads(os.environ[HELD])
    owner = read_owner(Path(path))
    if owner is None:
        raise Interrupted(f"the lock {path} was taken from this process; nothing is written. Start it again.")
    if owner.get("token") != token:
        raise Interrupted(f"{describe(owner)} has taken over this training; nothing is written here.")


class Silence:
    """For how long the lock has not been touched, by this process's own clock.

    The clocks of two nodes and of the file server may differ; whether a time stamp changes does not depend
    on them. What happened before the first look does not count.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic):
        self.path, self.clock = path, clock
        self._stamp: tuple[int, int] | None = None
        self._since = clock()

    def seconds(self) -> float:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            stamp = None
        else:
            stamp = (status.st_ino, status.st_mtime_ns)
        if stamp is None or stamp != self._stamp:
            self._stamp, self._since = stamp, self.clock()
        return self.clock() - self._since


def read_owner(path: Path) -> dict[str, Any] | None:
    """Who holds the lock; None if nobody does. An unreadable file counts as an unknown owner."""
    try:
        owner = json.loads(_read(path))
        if not isinstance(owner, dict) or not isinstance(owner.get("pid", 0), int):
            return {}
        # It becomes a word of commands that end jobs.
        job = owner.get("slurm_job_id")
        return owner if job is None or re.fullmatch("[0-9]+", str(job)) else {}
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        return {}


def _read(path: Path) -> str:
    """The file's text, of the new file where it is replaced on another node between opening and reading."""
    for _ in range(3):
        try:
            return path.read_text()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return path.read_text()


def why_dead(owner: dict[str, Any], silence: Silence) -> str | None:
    """Why the owner cannot be alive, in words, or None if it may be."""
    host, pid, same_start = owner.get("host"), owner.get("pid"), owner.get("boot") == _boot_id()
    job = owner.get("slurm_job_id") if _on_this_cluster(owner) else None
    # Nodes of two clusters may have one name.
    if host == socket.gethostname() and pid and (same_start or _on_this_cluster(owner)):
        if not same_start:
            return "the machine was restarted since"
        try:
            letter, ticks = _process(pid)
        except OSError:
            return None if _is_hidden(pid) else f"process {pid} has ended"
        # Process numbers are used again; the start tells one process from the next.
        if ticks != owner.get("ticks", ticks):
            return f"process {pid} is another program by now"
        return f"process {pid} has ended" if letter == "Z" else None
    if job and job == os.environ.get("SLURM_JOB_ID"):
        # Slurm keeps the number of a job that it starts again, and does so when the old processes are gone.
        return f"Slurm started job {job} again, on another node"
    state = slurm_job_state(job) if job else None
    if state == "" and owner.get("uid", os.getuid()) != os.getuid():
        # Slurm may hide a running job of another user, and then says the same as of one that it forgot.
        state = None
    if state is not None:
        return None if state in ALIVE else f"Slurm job {job} {_fate(state)}"
    if (seconds := silence.seconds()) > SILENCE_SECONDS:
        return f"no sign of life for {duration(seconds)}"
    return None


def _on_this_cluster(owner: dict[str, Any]) -> bool:
    """Whether the Slurm that is asked here knows the owner's job by its number; other clusters count, too.

    Locks of earlier versions do not name their cluster and count as of this one.
    """
    here = os.environ.get("SLURM_CLUSTER_NAME")
    return bool(owner.get("slurm_cluster", here) == here)


def _fate(state: str) -> str:
    return "waits to be started again" if state in ("PENDING", "REQUEUED") else "has ended"


def slurm_job_state(job: str) -> str | None:
    """State of a Slurm job as squeue names it, "" if it knows none, None if squeue cannot tell."""
    if shutil.which("squeue") is None:
        return None
    try:
        answer = subprocess.run(
            ["squeue", "-h", "-j", job, "-t", "all", "-o", "%T"], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0:
        return "" if "Invalid job id" in answer.stderr else None
    return answer.stdout.strip()


def cancel_pending(owner: dict[str, Any]) -> None:
    """Cancel the Slurm job of a dead owner if it waits to be started again.

    Nobody watches such a job any more: this process does its work. Started later, it would remove and
    rewrite finished files under the eyes of their readers.
    """
    job = owner.get("slurm_job_id") if _on_this_cluster(owner) else None
    if not job or job == os.environ.get("SLURM_JOB_ID") or shutil.which("scancel") is None:
        return
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(["scancel", "--state=PENDING", job], capture_output=True, timeout=30)


def describe(owner: dict[str, Any]) -> str:
    """The owner in words."""
    job = f", Slurm job {owner['slurm_job_id']}" if owner.get("slurm_job_id") else ""
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}{job}"


def _process(pid: int) -> tuple[str, int]:
    """A process's state, "Z" of one that has ended, and its start in clock ticks since that of the machine.

    A time of day would change when somebody sets the clock. Raises OSError if there is none, or it is hidden.
    """
    # The name before may hold blanks and brackets.
    words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return words[0].decode(), int(words[19])


def _is_hidden(pid: int) -> bool:
    """Whether there is such a process of another user; some machines hide those (hidepid)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        pass
    return False


def _boot_id() -> str:
    """Tells one start of the machine from the next, and one container's host from another."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
