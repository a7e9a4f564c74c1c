"""Keeps Snakemake's scheduler (9.27) from passing over waiting jobs all the time.

Snakemake starts at most so many jobs in a time (`--max-jobs-per-timespan`, 100 in a second if nobody says
otherwise). After each pass over jobs that are ready it asks for another one a second later, by a timer of
its own, also where the limit is not reached. So each job that ends begins one more endless chain of passes
as long as any job waits for a core, and after some hundred jobs a core does nothing else.

Only the limit, and queues of input files that others fill, make time itself a reason for a pass: otherwise a
job has to end first, and that begins one.
"""

import threading
from typing import Any


def pass_only_when_needed(scheduler: type[Any]) -> None:
    """Replace `scheduler._schedule_reevalutation`; `scheduler` is Snakemake's class JobScheduler.

    Once: a process may read several workflows.
    """
    plain = scheduler._schedule_reevalutation
    if getattr(plain, "is_patient", False):
        return

    def schedule_reevaluation(self: Any, delay: float) -> None:
        limiter = self.job_rate_limiter
        if (
            limiter is None
            or delay != limiter.timespan
            or self.workflow.dag.has_unfinished_queue_input_jobs()
        ):
            plain(self, delay)
        elif limiter.get_free_jobs() == 0 and not getattr(self, "is_pass_due", False):
            self.is_pass_due = True
            timer = threading.Timer(delay, again, [self])
            # Nobody waits for it when Snakemake ends.
            timer.daemon = True
            timer.start()

    def again(self: Any) -> None:
        # First, so that a pass that begins at once can ask for the next one.
        self.is_pass_due = False
        self._open_jobs.release()

    schedule_reevaluation.is_patient = True  # type: ignore[attr-defined]
    scheduler._schedule_reevalutation = schedule_reevaluation
