import errno
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dnalm.running import runlock
from dnalm.running.errors import Interrupted
from dnalm.running.files import atomic_directory
from dnalm.running.runlock import RunLock, Silence, check_held, read_owner, why_dead


class GaveUp(Exception):
    pass


def give_up():
    raise GaveUp


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def no_job(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.delenv("SLURM_CLUSTER_NAME", raising=False)


def fake_squeue(directory, answer, code=0):
    program = directory / "squeue"
    program.write_text(f"#!/bin/sh\necho '{answer}' {'>&2' if code else ''}\nexit {code}\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    return str(directory)


def test_it_is_held_and_released(tmp_path):
    with RunLock(tmp_path):
        owner = read_owner(tmp_path / "lock")
        assert (owner["pid"], owner["host"]) == (os.getpid(), socket.gethostname())
        assert why_dead(owner, Silence(tmp_path / "lock")) is None
    assert list(tmp_path.iterdir()) == []


def test_a_living_owner_is_waited_for(tmp_path):
    with RunLock(tmp_path), pytest.raises(GaveUp), RunLock(tmp_path, meanwhile=give_up):
        pass
    with RunLock(tmp_path, meanwhile=give_up):
        pass


def test_it_is_free_as_soon_as_the_owner_ends(tmp_path):
    first = RunLock(tmp_path)
    first.__enter__()
    rounds = []

    def end_of_owner():
        rounds.append(1)
        if len(rounds) == 3:
            first.__exit__()

    with RunLock(tmp_path, meanwhile=end_of_owner, poll_seconds=0.001) as lock:
        assert read_owner(tmp_path / "lock") == lock.owner
    assert len(rounds) == 3


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(Path(runlock.__file__).parents[2])!r})\n"
        "from dnalm.running.runlock import RunLock\nimport os, signal\n"
        f"RunLock({str(tmp_path)!r}).__enter__()\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert (tmp_path / "lock").exists()
    with RunLock(tmp_path, meanwhile=give_up):
        assert read_owner(tmp_path / "lock")["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def owner(**changes):
    return RunLock("unused").owner | changes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ticks": 1}, "another program"),
        ({"boot": "earlier"}, "restarted"),
        ({"pid": 2**22 + 1}, "has ended"),
    ],
)
def test_dead_owners_on_this_machine(tmp_path, changes, reason):
    (tmp_path / "lock").write_text(json.dumps(owner(**changes)))
    assert reason in why_dead(owner(**changes), Silence(tmp_path / "lock"))
    with RunLock(tmp_path, meanwhile=give_up):
        pass


def test_an_owner_outlives_that_the_clock_is_set(tmp_path, monkeypatch):
    theirs = owner()
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: 1e9)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert why_dead(theirs, Silence(tmp_path / "lock")) is None


@pytest.mark.parametrize(("error", "dead"), [(PermissionError, False), (ProcessLookupError, True)])
def test_an_owner_may_be_hidden(tmp_path, monkeypatch, error, dead):
    """/proc of some machines shows no processes of other users."""
    theirs = owner() | ANOTHER_USER

    def refuse(*_):
        raise error

    monkeypatch.setattr(runlock, "_process", refuse)
    monkeypatch.setattr(os, "kill", refuse)
    assert (why_dead(theirs, Silence(tmp_path / "lock")) is not None) == dead


@pytest.mark.parametrize(
    ("answer", "code", "dead"),
    [
        ("RUNNING", 0, False),
        ("COMPLETING", 0, False),
        ("PENDING", 0, True),
        ("PREEMPTED", 0, True),
        ("", 0, True),
        ("CANCELLED", 0, True),
        ("slurm_load_jobs error: Invalid job id specified", 1, True),
        ("slurm_load_jobs error: Unable to contact slurm controller", 1, False),
    ],
)
def test_owners_on_other_nodes_are_asked_for_at_slurm(tmp_path, monkeypatch, answer, code, dead):
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    monkeypatch.setenv("PATH", fake_squeue(bin_directory, answer, code), prepend=os.pathsep)
    lock = tmp_path / "lock"
    lock.write_text(json.dumps(owner(host="elsewhere", slurm_job_id="17")))
    assert bool(why_dead(read_owner(lock), Silence(lock))) == dead


ANOTHER_USER = {"uid": os.getuid() + 1}
HIDDEN = ("slurm_load_jobs error: Invalid job id specified", 1)


@pytest.mark.parametrize(
    ("changes", "cluster_here", "answer", "code", "believed"),
    [
        # PrivateData=jobs: a running job of another user is not told from one that has ended.
        (ANOTHER_USER, None, *HIDDEN, False),
        (ANOTHER_USER, None, "", 0, False),
        (ANOTHER_USER, None, "COMPLETED", 0, True),
        # A job of another cluster, whose number stands for another job here, or for none.
        ({"slurm_cluster": "north"}, "south", *HIDDEN, False),
        ({"slurm_cluster": "north"}, "south", "COMPLETED", 0, False),
        ({"slurm_cluster": "north"}, None, *HIDDEN, False),
        ({"slurm_cluster": None}, "south", *HIDDEN, False),
        ({"slurm_cluster": "north"}, "north", *HIDDEN, True),
    ],
)
def test_slurm_is_believed_about_jobs_that_it_shows_here(
    tmp_path, monkeypatch, changes, cluster_here, answer, code, believed
):
    """Others are judged by their heartbeat."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", fake_squeue(tmp_path / "bin", answer, code), prepend=os.pathsep)
    if cluster_here:
        monkeypatch.setenv("SLURM_CLUSTER_NAME", cluster_here)
    lock, clock = tmp_path / "lock", Clock()
    lock.write_text(json.dumps(owner(host="elsewhere", slurm_job_id="17") | changes))
    silence = Silence(lock, clock)
    assert bool(why_dead(read_owner(lock), silence)) == believed
    clock.now += runlock.SILENCE_SECONDS + 1
    assert ("no sign of life" in why_dead(read_owner(lock), silence)) != believed


def test_a_suspended_job_of_another_user_keeps_its_lock(tmp_path, monkeypatch):
    """It is silent, and Slurm says why."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", fake_squeue(tmp_path / "bin", "SUSPENDED"), prepend=os.pathsep)
    lock, clock = tmp_path / "lock", Clock()
    lock.write_text(json.dumps(owner(host="elsewhere", slurm_job_id="17") | ANOTHER_USER))
    silence = Silence(lock, clock)
    assert why_dead(read_owner(lock), silence) is None
    clock.now += runlock.SILENCE_SECONDS + 1
    assert why_dead(read_owner(lock), silence) is None


def test_the_same_number_on_another_cluster_is_another_job(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    scancel = tmp_path / "bin" / "scancel"
    scancel.write_text('#!/bin/sh\ntouch "${0%/*}/cancelled"\n')
    scancel.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "south")
    theirs = owner(host="elsewhere", slurm_job_id="17", slurm_cluster="north")
    (tmp_path / "lock").write_text(json.dumps(theirs))
    assert why_dead(theirs, Silence(tmp_path / "lock")) is None
    namesake = theirs | {"host": socket.gethostname(), "boot": "theirs"}
    assert why_dead(namesake, Silence(tmp_path / "lock")) is None
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    runlock.cancel_pending(theirs)
    assert not (tmp_path / "bin" / "cancelled").exists()


def test_locks_of_earlier_versions_are_judged_as_before(tmp_path, monkeypatch):
    """They name neither user nor cluster."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", fake_squeue(tmp_path / "bin", *HIDDEN), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "south")
    theirs = owner(host="elsewhere", slurm_job_id="17")
    del theirs["uid"], theirs["slurm_cluster"]
    assert why_dead(theirs, Silence(tmp_path / "lock")) == "Slurm job 17 has ended"


def test_a_job_that_slurm_started_again_on_another_node_goes_on_at_once(tmp_path, monkeypatch):
    """Slurm keeps the job's number, so squeue says of it that it runs."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", fake_squeue(tmp_path / "bin", "RUNNING"), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").write_text(json.dumps(owner(host="elsewhere")))
    with RunLock(tmp_path / "run", meanwhile=give_up) as lock:
        assert read_owner(lock.path) == lock.owner


def test_a_job_that_would_start_again_without_need_is_cancelled(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    fake_squeue(tmp_path / "bin", "PENDING")
    scancel = tmp_path / "bin" / "scancel"
    scancel.write_text('#!/bin/sh\necho "$@" >> "${0%/*}/cancelled"\n')
    scancel.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").write_text(json.dumps(owner(host="elsewhere", slurm_job_id="17")))
    with RunLock(tmp_path / "run", meanwhile=give_up):
        assert (tmp_path / "bin" / "cancelled").read_text() == "--state=PENDING 17\n"


@pytest.mark.parametrize("offset", [-86400, 0, 86400])
def test_silent_owners_that_nobody_knows_are_dead_after_ten_minutes_of_watching(tmp_path, offset):
    """Whatever the owner's clock says."""
    lock, clock = tmp_path / "lock", Clock()
    lock.write_text(json.dumps(owner(host="elsewhere")))
    silence = Silence(lock, clock)
    for beat in range(1, 5):
        os.utime(lock, (1e9 + offset + beat, 1e9 + offset + beat))
        assert why_dead(read_owner(lock), silence) is None
        clock.now += runlock.SILENCE_SECONDS - 1
        assert why_dead(read_owner(lock), silence) is None
    clock.now += 2
    assert "no sign of life" in why_dead(read_owner(lock), silence)


def test_a_damaged_lock_is_no_living_owner_for_ever(tmp_path, monkeypatch):
    lock = tmp_path / "lock"
    lock.write_text("{")
    with pytest.raises(GaveUp), RunLock(tmp_path, meanwhile=give_up):
        pass
    monkeypatch.setattr(runlock, "SILENCE_SECONDS", 0.0)
    with RunLock(tmp_path, poll_seconds=0.001):
        pass


@pytest.mark.parametrize(
    "owner", [{"slurm_job_id": "--user=ann"}, {"slurm_job_id": "7,8"}, {"pid": "1"}, {"pid": [1]}, [1], "x"]
)
def test_what_a_lock_says_becomes_no_other_command(tmp_path, owner):
    """Whoever may write into a shared folder could have other jobs cancelled."""
    (tmp_path / "lock").write_text(json.dumps(owner))
    assert read_owner(tmp_path / "lock") == {}


def test_a_link_that_was_made_but_answered_file_exists_is_the_lock(tmp_path, monkeypatch):
    """NFS sends a request again whose reply was lost."""
    link = os.link

    def lost_reply(source, target):
        link(source, target)
        raise FileExistsError(17, "File exists")

    monkeypatch.setattr(os, "link", lost_reply)
    with RunLock(tmp_path, meanwhile=give_up) as lock:
        assert read_owner(lock.path) == lock.owner


def test_a_lock_that_another_node_replaces_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    """NFS: the file that was opened is gone at the server."""
    read_text, failures = Path.read_text, iter([errno.ESTALE, errno.ESTALE])

    def stale(path, *words, **more):
        if path.name == "lock" and (number := next(failures, None)):
            raise OSError(number, os.strerror(number))
        return read_text(path, *words, **more)

    with RunLock(tmp_path, meanwhile=give_up) as lock:
        monkeypatch.setattr(Path, "read_text", stale)
        assert read_owner(lock.path) == lock.owner
        check_held()


def test_a_file_server_that_was_away_does_not_end_the_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(runlock, "HEARTBEAT_SECONDS", 0.001)
    read, away = runlock.read_owner, iter(range(3))

    def answer(path):
        if next(away, None) is not None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    monkeypatch.setattr(runlock, "read_owner", answer)
    with RunLock(tmp_path, meanwhile=give_up) as lock:
        os.utime(lock.path, (0, 0))
        for _ in range(1000):
            if lock.path.stat().st_mtime > 0:
                break
            time.sleep(0.005)
        assert lock.path.stat().st_mtime > 0


def test_a_lock_that_cannot_be_removed_hides_no_error(tmp_path, monkeypatch):
    """The file system became read-only in the middle."""

    def refuse(path, **_):
        if path.name == "lock":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    with pytest.raises(OSError, match="step-1"), RunLock(tmp_path):
        monkeypatch.setattr(Path, "unlink", refuse)
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "step-1")


def test_a_lock_that_was_taken_from_the_wrong_one_is_given_back_without_hard_links(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "link", no_links)
    with RunLock(tmp_path, meanwhile=give_up) as lock:
        RunLock(tmp_path)._break(owner(token="of one who is dead"))
        assert read_owner(lock.path) == lock.owner
        check_held()
    assert list(tmp_path.iterdir()) == []


def test_a_holder_that_was_replaced_publishes_nothing_and_leaves_the_lock_alone(tmp_path):
    with RunLock(tmp_path / "run") as lock:
        check_held()
        theirs = owner(host="elsewhere", slurm_job_id="18")
        lock.path.write_text(json.dumps(theirs))
        taken_over = pytest.raises(Interrupted, match=r"elsewhere, Slurm job 18 has taken over")
        with taken_over, atomic_directory(tmp_path / "model", check_held) as folder:
            (folder / "weights").write_text("1")
        lock.path.unlink()
        with pytest.raises(Interrupted, match="was taken from this process"):
            check_held()
        lock.path.write_text(json.dumps(theirs))
    assert read_owner(lock.path) == theirs
    assert not (tmp_path / "model").exists()


def test_workers_of_the_holder_are_checked_as_well(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(Path(runlock.__file__).parents[2])!r})\n"
        "from dnalm.running.runlock import check_held\ncheck_held()\n"
    )
    worker = [sys.executable, "-c", code]
    with RunLock(tmp_path) as lock:
        assert subprocess.run(worker).returncode == 0
        lock.path.write_text(json.dumps(owner(host="elsewhere")))
        assert "has taken over" in subprocess.run(worker, capture_output=True, text=True).stderr
    assert subprocess.run(worker).returncode == 0


def test_a_directory_with_the_same_content_is_left_to_its_readers(tmp_path):
    def publish(content):
        with atomic_directory(tmp_path / "model") as folder:
            (folder / "weights").write_text(content)
        return (tmp_path / "model" / "weights").stat().st_ino

    first = publish("1")
    assert publish("1") == first
    assert publish("2") != first
    assert (tmp_path / "model" / "weights").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_outer_lock_counts_again_after_the_inner_one(tmp_path):
    with RunLock(tmp_path / "folds"):
        with RunLock(tmp_path / "fold"):
            check_held()
        check_held()
        (tmp_path / "folds" / "lock").unlink()
        with pytest.raises(Interrupted, match=r"folds/lock was taken from this process"):
            check_held()
    check_held()


def test_a_lock_for_which_the_disk_has_no_room_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    def no_room(path, text):
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", no_room)
    with pytest.raises(OSError) as told, RunLock(tmp_path / "training"):
        pass
    assert told.value.filename.startswith(str(tmp_path / "training"))
    assert not list((tmp_path / "training").iterdir())


def test_whoever_waited_begins_where_the_folder_is_gone(tmp_path):
    """As fine-tuning takes its checkpoints away, with the lock in them, when it ends."""
    folder = tmp_path / "checkpoints"

    def end() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    with RunLock(folder), RunLock(folder, poll_seconds=0.01, meanwhile=end):
        check_held()
        assert read_owner(folder / "lock")["pid"] == os.getpid()
