import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dnalm.running import runlock
from dnalm.running.runlock import RunLock, read_owner, why_dead


class GaveUp(Exception):
    pass


def give_up():
    raise GaveUp


def fake_squeue(directory, answer, code=0):
    program = directory / "squeue"
    program.write_text(f"#!/bin/sh\necho '{answer}' {'>&2' if code else ''}\nexit {code}\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    return str(directory)


def test_it_is_held_and_released(tmp_path):
    with RunLock(tmp_path):
        owner = read_owner(tmp_path / "lock")
        assert (owner["pid"], owner["host"]) == (os.getpid(), socket.gethostname())
        assert why_dead(owner, tmp_path / "lock") is None
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
        ({"started": 1.0}, "another program"),
        ({"boot": "earlier"}, "restarted"),
        ({"pid": 2**22 + 1}, "has ended"),
    ],
)
def test_dead_owners_on_this_machine(tmp_path, changes, reason):
    (tmp_path / "lock").write_text(json.dumps(owner(**changes)))
    assert reason in why_dead(owner(**changes), tmp_path / "lock")
    with RunLock(tmp_path, meanwhile=give_up):
        pass


@pytest.mark.parametrize(
    ("answer", "code", "dead"),
    [
        ("RUNNING", 0, False),
        ("COMPLETING", 0, False),
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
    assert bool(why_dead(read_owner(lock), lock)) == dead


def test_silent_owners_that_nobody_knows_are_dead_after_ten_minutes(tmp_path):
    lock = tmp_path / "lock"
    lock.write_text(json.dumps(owner(host="elsewhere")))
    assert why_dead(read_owner(lock), lock) is None
    long_ago = time.time() - runlock.SILENCE_SECONDS - 60
    os.utime(lock, (long_ago, long_ago))
    assert "no sign of life" in why_dead(read_owner(lock), lock)


def test_a_damaged_lock_is_no_living_owner_for_ever(tmp_path):
    lock = tmp_path / "lock"
    lock.write_text("{")
    with pytest.raises(GaveUp), RunLock(tmp_path, meanwhile=give_up):
        pass
    os.utime(lock, (1, 1))
    with RunLock(tmp_path, meanwhile=give_up):
        pass
