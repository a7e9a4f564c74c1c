"""How many processes train, and on which GPUs."""

import os
from unittest import mock

import pytest

from dnalm.running import claims
from dnalm.running.errors import InputError
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


@pytest.mark.parametrize("claimed", [[], [2, 3]])
def test_workers_see_the_gpus_that_were_claimed_for_them(monkeypatch, tmp_path, claimed):
    monkeypatch.setattr(claims, "_claimed", claimed)
    seen = []

    def elastic_launch(config, program):
        return lambda *command: seen.append(os.environ.get("CUDA_VISIBLE_DEVICES"))

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", elastic_launch)
    with mock.patch.dict(os.environ):
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        launch(2, 1, tmp_path)
    assert seen == (["2,3"] if claimed else [None])
