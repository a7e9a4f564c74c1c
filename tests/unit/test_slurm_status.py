"""What Snakemake is told about its Slurm jobs when Slurm forgets, fails or says unusual things."""

import asyncio
import logging
import os
import stat

import pytest

import slurm_status
from slurm_status import Jobs, make_patient, wait_for_scheduler

PLUGIN_S_QUERY = "squeue --format '%i|%T' --states=all --noheader --name run_1"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Puts programs on the PATH: `slurm("squeue", "shell code")`."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(slurm_status, "PAUSE", 0.01)

    def program(name, code):
        file = tmp_path / name
        file.write_text(f"#!/bin/sh\n{code}\n")
        file.chmod(file.stat().st_mode | stat.S_IEXEC)

    program("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    return program


def states(awaited):
    jobs = Jobs()
    jobs.logs = awaited
    return asyncio.run(jobs.states(PLUGIN_S_QUERY, logging.getLogger("test")))[0]


def test_states_are_those_of_squeue(slurm):
    slurm("squeue", '[ "$3" = --name=run_1 ] && printf "1|RUNNING\\n2|COMPLETED\\n3|TIMEOUT\\n"')
    assert states(dict.fromkeys("123")) == {"1": "RUNNING", "2": "COMPLETED", "3": "TIMEOUT"}


@pytest.mark.parametrize("state", ["PREEMPTED", "NODE_FAIL", "REVOKED"])
def test_every_final_state_but_success_counts_as_a_failure(slurm, state):
    slurm("squeue", f"echo '1|{state}'")
    assert states({"1": None})["1"] in ("FAILED", "CANCELLED")


# Each question leaves a line beside the program.
ASKED = 'echo >> "${0%/*}/asked"; [ $(wc -l < "${0%/*}/asked") -gt'


def test_an_absent_scheduler_is_waited_for(slurm):
    """The fifth question is answered."""
    slurm("squeue", f"{ASKED} 4 ] && echo '1|RUNNING'")
    assert states({"1": None}) == {"1": "RUNNING"}


def test_the_end_of_a_forgotten_job_comes_from_accounting(slurm):
    slurm("squeue", "true")
    slurm("sacct", 'printf "1|CANCELLED by 0\\n2|COMPLETED\\n3|PREEMPTED\\n"')
    assert states(dict.fromkeys("123")) == {"1": "CANCELLED", "2": "COMPLETED", "3": "CANCELLED"}


def test_without_accounting_the_end_of_a_forgotten_job_comes_from_its_output(slurm, tmp_path):
    slurm("squeue", "true")
    (tmp_path / "done.log").write_text("[date]\nFinished jobid: 0\n1 of 1 steps (100%) done\n")
    (tmp_path / "killed.log").write_text("[date]\nslurmstepd: error: *** STEP 2.0 CANCELLED\n")
    awaited = {"1": tmp_path / "done.log", "2": tmp_path / "killed.log", "3": tmp_path / "no.log"}
    assert states(awaited) == {"1": "COMPLETED", "2": "FAILED", "3": "FAILED"}


def test_waiting_tasks_of_an_array_are_not_forgotten_jobs(slurm):
    slurm("squeue", "echo '17_[1-5]|PENDING'")
    assert states({"17_3": None}) == {"17_[1-5]": "PENDING"}


def test_jobs_are_submitted_to_a_scheduler_that_answers(slurm, tmp_path):
    up = "Slurmctld(primary) at login is UP"
    slurm("scontrol", f"{ASKED} 2 ] && echo '{up}'")
    wait_for_scheduler(logging.getLogger("test"))
    assert (tmp_path / "asked").read_text() == "\n" * 3


def test_jobs_are_submitted_where_nothing_can_ask_the_scheduler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    wait_for_scheduler(logging.getLogger("test"))


def test_the_plugin_that_is_installed_has_what_is_replaced(monkeypatch):
    import snakemake_executor_plugin_slurm as plugin

    # A workflow that was planned in this process may have replaced it already.
    monkeypatch.setattr(plugin.Executor, "is_patient", False, raising=False)
    monkeypatch.setattr(plugin, "query_job_status", None)
    before = {
        name: getattr(plugin.Executor, name) for name in ("check_active_jobs", "run_job", "run_array_jobs")
    }
    for name, function in before.items():
        monkeypatch.setattr(plugin.Executor, name, function)
    make_patient(plugin)
    assert plugin.query_job_status is not None
    once = {name: getattr(plugin.Executor, name) for name in before}
    assert all(once[name] is not function for name, function in before.items())
    make_patient(plugin)
    assert once == {name: getattr(plugin.Executor, name) for name in before}
