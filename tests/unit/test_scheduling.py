"""How often Snakemake looks for jobs to start while jobs wait for a core."""

import threading
from types import SimpleNamespace

import pytest
from snakemake.scheduling.job_scheduler import JobRateLimiter, JobScheduler
from snakemake.settings.types import MaxJobsPerTimespan

from scheduling import pass_only_when_needed


@pytest.fixture
def timers(monkeypatch):
    """Timers that were started; they end where a test says so, however busy the machine is."""
    started = []

    class Timer:
        def __init__(self, delay, function, arguments=()):
            self.end = lambda: function(*arguments)

        def start(self):
            started.append(self)

    monkeypatch.setattr(threading, "Timer", Timer)
    return started


@pytest.fixture
def scheduler():
    """A scheduler of Snakemake's class that may start two jobs in an hour; with nothing to do."""
    patient = type("Patient", (JobScheduler,), {})
    pass_only_when_needed(patient)
    made = patient.__new__(patient)
    made.workflow = SimpleNamespace(dag=SimpleNamespace(has_unfinished_queue_input_jobs=lambda: False))
    made._open_jobs = threading.Semaphore(0)
    made.job_rate_limiter = JobRateLimiter(MaxJobsPerTimespan(2, "1h"))
    return made


def passes(scheduler, timers) -> int:
    """How many passes begin when all timers have ended."""
    while timers:
        timers.pop().end()
    begun = 0
    while scheduler._open_jobs.acquire(blocking=False):
        begun += 1
    return begun


def ask(scheduler) -> None:
    scheduler._schedule_reevalutation(scheduler.job_rate_limiter.timespan)


def test_jobs_that_wait_for_a_core_wait_for_one_that_ends(scheduler, timers):
    scheduler.job_rate_limiter.register_jobs(1)
    ask(scheduler)
    assert passes(scheduler, timers) == 0


def test_jobs_beyond_the_limit_are_started_later_by_one_pass(scheduler, timers):
    for _ in range(3):
        scheduler.job_rate_limiter.register_jobs(2)
        for _ in range(5):
            ask(scheduler)
        assert passes(scheduler, timers) == 1


def test_other_reasons_for_a_pass_are_kept(scheduler, timers):
    scheduler._schedule_reevalutation(0.01)
    assert passes(scheduler, timers) == 1
    scheduler.workflow.dag.has_unfinished_queue_input_jobs = lambda: True
    ask(scheduler)
    assert passes(scheduler, timers) == 1


def test_a_second_workflow_of_a_process_changes_nothing(scheduler):
    before = type(scheduler)._schedule_reevalutation
    pass_only_when_needed(type(scheduler))
    assert type(scheduler)._schedule_reevalutation is before
