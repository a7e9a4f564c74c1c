"""The profile for Grid Engine, with stand-ins for its programs; docs/executors.md tells of a real one."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import yaml
from workflow_jobs import REPOSITORY

PROFILE = REPOSITORY / "workflow" / "profiles" / "gridengine"
WAITS = " 7 0.50000 pretrain.8 me   qw     11/30/2026 20:47:42                  1\n"
RUNS = " 7 0.50000 pretrain.8 me   Rr     11/30/2026 20:47:42 all.q@node1      1\n"
IN_ERROR = " 7 0.00000 pretrain.8 me   Eqw    11/30/2026 20:47:42                  1\n"
REASON = "error reason   1:   can't open output file\n"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Makes a stand-in for a program: a shell script before all others on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)

    def make(name: str, body: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)

    return make


GONE = ("Following jobs do not exist: \n7\n", "", 1)


@pytest.mark.parametrize(
    ("told", "listed", "code", "output", "state"),
    [
        ("job_number: 7\n", RUNS, 0, "", "running"),
        ("job_number: 7\n", WAITS, 0, "", "running"),
        ("error: commlib error: got select error (Connection refused)\n", "", 1, "", "running"),
        ("", "", 1, "", "running"),
        # A reason that is past: the job was started again.
        (REASON, RUNS, 0, "", "running"),
        (REASON, "", 1, "", "running"),
        (REASON, IN_ERROR, 0, "", "failed"),
        (*GONE, "said\njob script ended with 0\n", "success"),
        (*GONE, "job script ended with 1\n", "failed"),
        # Grid Engine had started it twice.
        (*GONE, "job script ended with 1\njob script ended with 0\n", "success"),
        (*GONE, "1 of 1 steps (100%) done\n", "failed"),
        (*GONE, None, "failed"),
    ],
)
def test_what_became_of_a_job(programs, tmp_path, told, listed, code, output, state):
    (tmp_path / "told").write_text(told)
    (tmp_path / "listed").write_text(listed)
    programs("qstat", f'[ "$1" = -j ] && cat told || cat listed; exit {code}')
    programs("qdel", "echo $* > deleted")
    programs("sleep", "")
    if output is not None:
        (tmp_path / ".snakemake" / "gridengine_logs").mkdir(parents=True)
        (tmp_path / ".snakemake" / "gridengine_logs" / "7.log").write_text(output)
    answer = subprocess.run([PROFILE / "status.sh", "7"], capture_output=True, text=True)
    assert (answer.returncode, answer.stdout) == (0, f"{state}\n")
    # It would wait until somebody looks after it.
    assert (tmp_path / "deleted").exists() == (listed is IN_ERROR)


@pytest.mark.parametrize(
    ("gpus", "threads", "memory"), [(0, 1, "h_vmem=14001m"), (0, 4, "h_vmem=3501m"), (2, 8, "gpu=2")]
)
def test_what_is_asked_for(programs, gpus, threads, memory):
    command = yaml.safe_load((PROFILE / "config.yaml").read_text())["cluster-generic-submit-cmd"]
    asked = SimpleNamespace(runtime=90, mem_mb=10_000, gpu=gpus)
    programs("qsub", "echo $*")
    said = subprocess.check_output(f'{command.format(threads=threads, resources=asked)} "job.sh"', shell=True)
    assert said.decode() == f"-terse -pe smp {threads} -l h_rt=5400 -l {memory} job.sh\n"


@pytest.fixture
def job(tmp_path):
    """Starts the job script around a command, in a process group of its own."""

    def start(command: str, **environment: str) -> subprocess.Popen:
        text = (PROFILE / "jobscript.sh").read_text().format(properties="{}", exec_job=command)
        (tmp_path / "job.sh").write_text(text)
        return subprocess.Popen(
            ["/bin/sh", tmp_path / "job.sh"],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


def test_the_signal_before_the_kill_reaches_a_training_and_nothing_else(job, tmp_path):
    program = tmp_path / "train.py"
    program.write_text(
        f"import sys, time; sys.path.insert(0, {str(REPOSITORY / 'scripts')!r})\n"
        "from dnalm.running.budget import StopSignals\n"
        "with StopSignals() as signals:\n"
        f"    open({str(tmp_path / 'ready')!r}, 'w').close()\n"
        "    while not signals.received: time.sleep(0.01)\n"
        "print(signals.received, flush=True)\n"
        "sys.exit(75)\n"
    )
    started = job(f"{sys.executable} {program} && exit 0 || exit 1")
    while not (tmp_path / "ready").exists():
        assert started.poll() is None
        time.sleep(0.01)
    os.killpg(started.pid, signal.SIGUSR2)
    assert started.communicate(timeout=30)[0] == "SIGUSR2\njob script ended with 1\n"


@pytest.mark.parametrize(("dealt", "seen"), [("1 3", "1,3"), ("0", "0"), ("", "unset"), ("gpu0", "unset")])
def test_the_job_has_the_path_and_the_gpus_that_it_was_given(job, monkeypatch, dealt, seen):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    started = job('echo "$PATH ${CUDA_VISIBLE_DEVICES:-unset}"', SGE_O_PATH="/mine:/bin", SGE_HGR_gpu=dealt)
    assert started.communicate(timeout=30)[0] == f"/mine:/bin {seen}\njob script ended with 0\n"
