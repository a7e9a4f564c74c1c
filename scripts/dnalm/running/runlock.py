"""A lock that stops two jobs from training into one directory, and that does not outlive its owner.

The lock is a file that names the owner's host, process and Slurm job. It is taken over when the owner is
known to be dead: the process is gone (same host), the job is no longer in the queue (other host), or, where
neither can be asked, the owner has not touched the file for ten minutes.
"""

import json
import logging
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from dnalm.running.progress import duration

logger = logging.getLogger("dnalm")

HEARTBEAT_SECONDS = 30.0
SILENCE_SECONDS = 600.0


class RunLock:
    """Use as a context manager: waits until the lock is free, holds it, and removes it at the end.

    `meanwhile` is called about every `poll_seconds` while waiting; it may raise to give up.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        meanwhile: Callable[[], None] = lambda: None,
        poll_seconds: float = 5.0,
    ):
        self.path = Path(directory) / "lock"
        self.meanwhile, self.poll_seconds = meanwhile, poll_seconds
        self.owner = {
            "host": socket.gethostname(),
            "boot": _boot_id(),
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
        }
        self._stop = threading.Event()

    def __enter__(self) -> "RunLock":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        said = False
        while not self._take():
            owner = read_owner(self.path)
            reason = why_dead(owner, self.path) if owner is not None else None
            if reason:
                logger.info("the lock of %s is released: %s", describe(owner), reason)
                self._break(owner)
                continue
            if not said and owner is not None:
                logger.info(
                    "%s is training this model; waiting for it to end (lock: %s)", describe(owner), self.path
                )
                said = True
            self.meanwhile()
            time.sleep(self.poll_seconds)
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if read_owner(self.path) == self.owner:
            self.path.unlink(missing_ok=True)

    def _take(self) -> bool:
        # A hard link either is made or not, on network file systems too, and the file is complete when
        # its name appears.
        own = self.path.with_name(f".lock.{self.owner['host']}.{os.getpid()}")
        own.write_text(json.dumps(self.owner))
        try:
            os.link(own, self.path)
        except FileExistsError:
            return False
        except OSError:
            # A file system without hard links. Exclusive creation excludes as well, but for a moment the
            # file is empty.
            try:
                with open(self.path, "x") as file:
                    file.write(json.dumps(self.owner))
            except FileExistsError:
                return False
        finally:
            own.unlink(missing_ok=True)
        return True

    def _break(self, owner: dict[str, Any]) -> None:
        # Of several processes that find the same dead owner, one moves the file away; nobody can remove
        # the lock of the one who comes next.
        aside = self.path.with_name(f".lock.dead.{self.owner['host']}.{os.getpid()}")
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return
        if read_owner(aside) != owner:
            # Somebody was faster and holds the lock already: give it back.
            try:
                os.link(aside, self.path)
            except FileExistsError:
                logger.info("two processes broke the lock %s at once", self.path)
        aside.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            try:
                os.utime(self.path)
            except OSError:
                return


def read_owner(path: Path) -> dict[str, Any] | None:
    """Who holds the lock; None if nobody does. An unreadable file counts as an unknown owner."""
    try:
        owner = json.loads(path.read_text())
        return owner if isinstance(owner, dict) else {}
    except FileNotFoundError:
        return None
    except ValueError:
        return {}


def why_dead(owner: dict[str, Any], path: Path) -> str | None:
    """Why the owner cannot be alive, in words, or None if it may be."""
    host, pid, job = owner.get("host"), owner.get("pid"), owner.get("slurm_job_id")
    if host == socket.gethostname() and pid:
        if owner.get("boot") != _boot_id():
            return "the machine was restarted since"
        try:
            # Process numbers are used again; the start time tells one process from the next.
            if abs(psutil.Process(pid).create_time() - owner.get("started", 0)) > 1:
                return f"process {pid} is another program by now"
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return f"process {pid} has ended"
        except psutil.NoSuchProcess:
            return f"process {pid} has ended"
        except psutil.AccessDenied:
            return None
        return None
    if job and (state := slurm_job_state(job)) is not None:
        return f"Slurm job {job} has ended" if state == "" else None
    silence = _now_on(path.parent) - path.stat().st_mtime if path.exists() else 0.0
    if silence > SILENCE_SECONDS:
        return f"no sign of life for {duration(silence)}"
    return None


def slurm_job_state(job: str) -> str | None:
    """State of a Slurm job as squeue names it, "" if it is not in the queue, None if squeue cannot tell."""
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
    state = answer.stdout.strip()
    running = {
        "RUNNING",
        "COMPLETING",
        "PENDING",
        "SUSPENDED",
        "CONFIGURING",
        "REQUEUED",
        "STOPPED",
        "RESIZING",
    }
    return state if state in running else ""


def describe(owner: dict[str, Any]) -> str:
    """The owner in words."""
    job = f", Slurm job {owner['slurm_job_id']}" if owner.get("slurm_job_id") else ""
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}{job}"


def _boot_id() -> str:
    """Tells one start of the machine from the next, and one container's host from another."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _now_on(directory: Path) -> float:
    """The file server's clock, which may differ from this machine's."""
    probe = directory / f".clock.{socket.gethostname()}.{os.getpid()}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
