"""A submitted job says so to its script, which then counts on the GPUs that the job asked for."""

import os

import pytest
from snakemake_interface_executor_plugins.settings import ExecMode
from workflow_jobs import REPOSITORY, workflow_jobs

from dnalm.running.devices import SUBMITTED


@pytest.mark.parametrize(("mode", "submitted"), [(ExecMode.DEFAULT, False), (ExecMode.REMOTE, True)])
def test_only_submitted_jobs_count_on_gpus(monkeypatch, mode, submitted):
    # Set, so that it is put back as it was.
    monkeypatch.setenv(SUBMITTED, "")
    monkeypatch.delenv(SUBMITTED)
    workflow_jobs(REPOSITORY / "config" / "config.yaml", exec_mode=mode)
    assert (SUBMITTED in os.environ) == submitted
