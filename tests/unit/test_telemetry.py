from itertools import count

import pytest
import torch

from dnalm.pretrain.telemetry import Sessions, TrainingMonitor


def train(folder, first, last, *, saves=(), ended=None):
    """A process that makes the steps after `first` up to `last`; without `ended` it is then killed."""
    # Steps that compute nothing may take no time that counts.
    seconds = count()
    monitor = TrainingMonitor(
        100, device=torch.device("cpu"), quiet=True, sessions=Sessions(folder), clock=lambda: next(seconds)
    )
    monitor.begin(first)
    for step in range(first + 1, last + 1):
        monitor.end_step(step, all_tokens=64, all_flops=1e9)
        if step in saves:
            monitor.saved("running", 1, 0.0)
    if ended:
        monitor.note(ended)


def test_steps_that_a_killed_process_made_after_its_last_checkpoint_are_made_twice(tmp_path):
    train(tmp_path, 0, 15, saves=[10])
    train(tmp_path, 10, 12)
    train(tmp_path, 10, 20, saves=[20], ended="signal")
    train(tmp_path, 20, 100, ended="finished")
    totals = Sessions(tmp_path).totals()
    assert totals["steps_repeated"] == 5 + 2
    assert totals["interruptions"] == {"killed": 2, "signal": 1}


def test_a_process_killed_while_it_notes_its_step_is_known_by_its_last_summary(tmp_path):
    train(tmp_path, 0, 15, saves=[10])
    (tmp_path / "sessions" / "0001.step").write_text("")
    train(tmp_path, 8, 100, ended="finished")
    assert Sessions(tmp_path).totals()["steps_repeated"] == 2


def test_the_share_of_the_peak_is_over_the_time_in_steps(tmp_path):
    now = iter([0.0, 0.0, 2.0, 2.0, *[6.0] * 20])
    monitor = TrainingMonitor(
        10, device=torch.device("cpu"), quiet=True, peak_flops=1e12, clock=lambda: next(now)
    )
    monitor.begin(0)
    monitor.end_step(1, all_tokens=64, all_flops=1.6e12)
    assert monitor.mfu() == pytest.approx(0.4, rel=0.01)


def test_unknown_hardware_has_no_share_of_its_peak(tmp_path):
    train(tmp_path, 0, 3, ended="finished")
    totals = Sessions(tmp_path).totals()
    assert totals["mfu"] is None and totals["flops_per_second"] > 0
