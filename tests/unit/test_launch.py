"""How many processes train, and on which GPUs."""

import os
import signal
from unittest import mock

import pytest

from dnalm.running import claims
from dnalm.running.budget import StopSignals
from dnalm.running.errors import InputError, Interrupted
from dnalm.running.launch import launch, processes_wanted


@pytest.mark.parametrize(
    ("asked", "seen", "processes"), [(0, 0, 1), (1, 0, 1), (0, 8, 1), (1, 8, 1), (4, 8, 4), (4, 2, 2)]
)
def test_auto_is_one_process_per_gpu_that_was_asked_for(asked, seen, processes):
    assert processes_wanted("auto", asked, seen) == processes


def test_a_number_is_taken_as_far_as_there_are_gpus():
    assert processes_wanted("3", 0, 0) == 3
    assert processes_wanted("2", 4, 8) == 2
    with pytest.raises(InputError, match="--processes is 3, but this job asked for 2 GPUs and sees 8"):
        processes_wanted("3", 2, 8)


@pytest.mark.parametrize("processes", ["0", "-1", "many", "1.5"])
def test_anything_else_is_an_error(processes):
    with pytest.raises(InputError, match=f"--processes is {processes}; a number"):
        processes_wanted(processes, 0, 0)


@pytest.fixture
def seen_by_workers(monkeypatch, tmp_path):
    """What workers see of a variable: `seen_by_workers(processes, name, value before)`."""

    def seen(processes: int, name: str, before: str | None) -> str | None:
        values = []

        def elastic_launch(config, program):
            return lambda *command: values.append(os.environ.get(name))

        monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", elastic_launch)
        with mock.patch.dict(os.environ):
            os.environ.pop(name, None)
            if before is not None:
                os.environ[name] = before
            launch(processes, 1, tmp_path)
        return values[0]

    return seen


@pytest.mark.parametrize("claimed", [[], [2, 3]])
def test_workers_see_the_gpus_that_were_claimed_for_them(monkeypatch, seen_by_workers, claimed):
    monkeypatch.setattr(claims, "_claimed", claimed)
    assert seen_by_workers(2, "CUDA_VISIBLE_DEVICES", None) == ("2,3" if claimed else None)


@pytest.mark.parametrize(
    ("before", "threads"), [(None, "4"), ("16", "4"), ("3", "3"), ("4", "4"), ("", "4"), ("16,2", "4")]
)
def test_workers_share_the_cores(monkeypatch, seen_by_workers, before, threads):
    """Snakemake sets the variable to what the rule has, for all of them together."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    assert seen_by_workers(4, "OMP_NUM_THREADS", before) == threads


@pytest.mark.parametrize("before", [True, False], ids=["before torchrun", "while torchrun prepares"])
def test_a_signal_before_there_are_workers_is_not_lost(monkeypatch, tmp_path, before):
    def end_of_job():
        os.kill(os.getpid(), signal.SIGTERM)

    started = []

    def elastic_launch(config, program):
        if not before:
            end_of_job()
        return lambda *words: started.append(words)

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", elastic_launch)
    # Programs that other tests started are none.
    monkeypatch.setattr("dnalm.running.launch._children", list)
    with mock.patch.dict(os.environ), StopSignals():
        if before:
            end_of_job()
        with pytest.raises(Interrupted, match=r"received SIGTERM before training began\. Start it again"):
            launch(2, 1, tmp_path)
    assert not started
