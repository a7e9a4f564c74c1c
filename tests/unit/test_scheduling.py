"""How often Snakemake looks for jobs to start while jobs wait for a core."""

import threading
from types import SimpleNamespace

import pytest
from snakemake.scheduling.job_scheduler import JobRateLimiter, JobScheduler
from snakemake.settings.types import MaxJobsPerTimespan

from scheduling import pass_only_when_needed


@pytest.fixture
def scheduler():
    """A scheduler of Snakemake's class that may start two jobs in a tenth of a second; with nothing to do."""
    patient = type("Patient", (JobScheduler,), {})
    pass_only_when_needed(patient)
    made = patient.__new__(patient)
    made.workflow = SimpleNamespace(dag=SimpleNamespace(has_unfinished_queue_input_jobs=lambda: False))
    made._open_jobs = threading.Semaphore(0)
    made.job_rate_limiter = JobRateLimiter(MaxJobsPerTimespan(2, "0.1s"))
    return made


def wait_for_pass(scheduler, seconds: float) -> bool:
    return scheduler._open_jobs.acquire(timeout=seconds)


def ask(scheduler) -> None:
    scheduler._schedule_reevalutation(scheduler.job_rate_limiter.timespan)


def test_jobs_that_wait_for_a_core_wait_for_one_that_ends(scheduler):
    scheduler.job_rate_limiter.register_jobs(1)
    ask(scheduler)
    assert not wait_for_pass(scheduler, 0.3)


def test_jobs_beyond_the_limit_are_started_later_by_one_pass(scheduler):
    for _ in range(3):
        scheduler.job_rate_limiter.register_jobs(2)
        for _ in range(5):
            ask(scheduler)
        assert wait_for_pass(scheduler, 5)
        assert not wait_for_pass(scheduler, 0.3)


def test_other_reasons_for_a_pass_are_kept(scheduler):
    scheduler._schedule_reevalutation(0.01)
    assert wait_for_pass(scheduler, 5)
    scheduler.workflow.dag.has_unfinished_queue_input_jobs = lambda: True
    ask(scheduler)
    assert wait_for_pass(scheduler, 5)


def test_a_second_workflow_of_a_process_changes_nothing(scheduler):
    before = type(scheduler)._schedule_reevalutation
    pass_only_when_needed(type(scheduler))
    assert type(scheduler)._schedule_reevalutation is before
