import logging
import os
import signal
import time

import pytest

from dnalm.running.budget import StopSignals, TimeBudget, parse_time_left, slurm_seconds_left


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1-02:03:04\n", 93784),
        ("2:00:00", 7200),
        ("05:10", 310),
        ("10", 10),
        ("0:00", 0),
        ("UNLIMITED", None),
        ("NOT_SET", None),
        ("INVALID", None),
        ("", None),
    ],
)
def test_times_of_squeue(text, seconds):
    assert parse_time_left(text) == seconds


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_training_stops_before_the_end():
    clock = Clock()
    budget = TimeBudget(10, clock=clock, ask=lambda: 7200 - clock.now)
    clock.now = 6500
    assert not budget.is_over(60)
    assert budget.is_over(150)
    clock.now = 6601
    assert budget.is_over()


def test_a_short_job_still_gets_something_done():
    clock = Clock()
    budget = TimeBudget(10, clock=clock, ask=lambda: 60 - clock.now)
    clock.now = 40
    assert not budget.is_over()
    clock.now = 46
    assert budget.is_over()


def test_a_changed_limit_is_noticed_and_silence_is_no_change():
    clock, answers = Clock(), [3600.0, 7200.0, None]
    budget = TimeBudget(10, clock=clock, ask=lambda: answers.pop(0))
    clock.now = 3500
    assert not budget.is_over()
    clock.now = 4000
    assert not budget.is_over()
    assert answers == []


def test_without_slurm_time_never_ends(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert slurm_seconds_left() is None
    assert not TimeBudget(10).is_over(1e9)


@pytest.fixture
def image(monkeypatch, tmp_path):
    """A Slurm job inside of an Apptainer image: none of Slurm's programs is there."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)


def test_without_squeue_the_end_is_what_the_job_was_told_at_its_start(image, monkeypatch, caplog):
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 7200))
    with caplog.at_level(logging.INFO, logger="dnalm"):
        budget = TimeBudget(10)
    assert not budget.is_over(60)
    assert budget.is_over(6601)
    assert "the job ends in" in caplog.text
    assert "squeue" not in caplog.text


def test_an_end_that_nobody_tells_is_said_once(image, caplog):
    with caplog.at_level(logging.WARNING, logger="dnalm"):
        budget = TimeBudget(10)
        assert not budget.is_over(1e9)
    assert len(caplog.records) == 1
    assert "nobody tells when this Slurm job ends" in caplog.text


def test_a_scheduler_that_was_busy_at_the_start_is_asked_again():
    clock, answers = Clock(), [None, 6000.0]
    budget = TimeBudget(10, clock=clock, ask=lambda: answers.pop(0))
    assert not budget.is_over(1e9)
    clock.now = 301
    assert not budget.is_over(60)
    assert budget.is_over(5401)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_signals_become_a_wish(number):
    before = signal.getsignal(number)
    with StopSignals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), number)
        assert signals.received == number.name
    assert signal.getsignal(number) == before


def test_who_waits_around_another_knows_of_its_signals():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as outer:
        with StopSignals() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
            assert inner.received == outer.received == "SIGTERM"
        with StopSignals() as later:
            assert later.received == "SIGTERM", "it came before"
    with StopSignals() as other:
        assert other.received is None
    assert signal.getsignal(signal.SIGTERM) == before
