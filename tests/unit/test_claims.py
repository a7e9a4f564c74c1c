"""Jobs of a machine without a scheduler share out its GPUs."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from dnalm.running import claims

SCRIPTS = Path(claims.__file__).parents[2]
JOB = """
import sys
sys.path.insert(0, sys.argv[1])
from dnalm.running.claims import claim
print(*claim(int(sys.argv[2]), range(4)), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path) -> Path:
    """A folder for temporary files of its own; this process holds nothing."""
    monkeypatch.setattr(claims, "_held", {})
    monkeypatch.setattr(claims, "_claimed", [])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def job(wanted: int) -> tuple[subprocess.Popen, str]:
    """Another process that claims GPUs, and which; it holds them until it ends."""
    words = [sys.executable, "-c", JOB, str(SCRIPTS), str(wanted)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def test_jobs_at_once_have_gpus_of_their_own_and_the_next_takes_what_a_killed_one_left():
    first, gpus = job(1)
    assert gpus == "0"
    second, gpus = job(2)
    assert gpus == "1 2"
    second.kill()
    second.communicate()
    assert claims.claim(2, range(4)) == [1, 2]
    assert claims.visible_to_workers() == {"CUDA_VISIBLE_DEVICES": "1,2"}
    # Too many: the last free one, and one that is shared.
    third, gpus = job(2)
    assert gpus == "0 3"
    for process in (first, third):
        process.communicate()


def test_who_asks_again_gets_the_same():
    assert claims.claim(1, [2, 3]) == [2]
    assert claims.claim(1, range(4)) == [2]


def test_without_a_place_for_locks_the_first_are_taken(machine):
    Path(tempfile.gettempdir(), f"dnalm-gpus-{claims.os.getuid()}").write_text("")
    assert claims.claim(2, range(4)) == [0, 1]
