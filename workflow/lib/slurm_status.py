"""Makes the Slurm executor plugin (2.8.0) patient, so that nothing ends in waiting for ever.

The plugin asks once for the state of its jobs and believes what it hears. Three things then never end: a job
in a state that it does not count as failed (PREEMPTED, where partitions cancel; NODE_FAIL), a job whose end
Slurm has forgotten, and any job if squeue fails at the wrong moment, because the plugin then turns to sacct,
which knows nothing without accounting. And a submission to an absent scheduler counts as a failed job.

:func:`make_patient` replaces the plugin's one question by ours, and lets it submit only to a scheduler that
answers.
"""

import asyncio
import logging
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

# Seconds between two questions to a scheduler that does not answer.
PAUSE = 10.0
# Each question may take this long.
TIMEOUT = 60.0
# At least one question in so many times `slurm-init-seconds-before-status-checks`.
SELDOMNESS = 6
# Final states that the plugin does not know as failures. A job that Slurm starts again is PENDING.
FAILED = {
    "PREEMPTED": "CANCELLED",
    "NODE_FAIL": "FAILED",
    "REVOKED": "FAILED",
    "LAUNCH_FAILED": "FAILED",
    "RECONFIG_FAIL": "FAILED",
}
# The Snakemake inside of a job says this last, in the job's log.
DONE = "steps (100%) done"


class Jobs:
    """The jobs that the plugin waits for: job id to the file of the job's output."""

    def __init__(self) -> None:
        self.logs: dict[str, Path | None] = {}

    async def states(self, command: str, logger: logging.Logger) -> tuple[dict[str, str], float]:
        """What the plugin's `query_job_status` returns: state by job id, and seconds.

        `command` is the plugin's squeue or sacct; only the name of its jobs, `--name`, is used.
        """
        begun = time.monotonic()
        words = command.split()
        name = words[words.index("--name") + 1]
        squeue = ["squeue", "--noheader", "--states=all", f"--name={name}", "--format=%i|%T"]
        while (answer := await asyncio.to_thread(query, squeue)) is None:
            if time.monotonic() - begun < 2 * PAUSE:
                logger.warning("Slurm does not answer; jobs go on meanwhile. Waiting for squeue.")
            await asyncio.sleep(PAUSE)
        found = {job: FAILED.get(state, state) for job, state in table(answer)}
        # Tasks of an array that wait are listed together, as 17_[1-5].
        if forgotten := [job for job in self.logs if job not in found and "_" not in job]:
            found |= await asyncio.to_thread(self.ends_of, forgotten)
        return found, time.monotonic() - begun

    def ends_of(self, jobs: Iterable[str]) -> dict[str, str]:
        """How jobs ended that squeue does not know any more: from accounting, else from their output."""
        answer = query(
            [
                "sacct",
                "-X",
                "--noheader",
                "--parsable2",
                "--format=JobIDRaw,State",
                f"--jobs={','.join(jobs)}",
            ]
        )
        # "CANCELLED by 0"
        states = {job: state.split()[0] for job, state in table(answer or "")}
        result = {}
        for job in jobs:
            if job in states:
                result[job] = FAILED.get(states[job], states[job])
            else:
                log = self.logs[job]
                done = log is not None and log.is_file() and DONE in log.read_text(errors="replace")[-10_000:]
                result[job] = "COMPLETED" if done else "FAILED"
        return result


def query(command: list[str]) -> str | None:
    """Standard output of one of Slurm's programs, None if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def table(text: str) -> list[tuple[str, str]]:
    """Lines `id|state`."""
    rows = [line.strip().split("|") for line in text.splitlines()]
    return [(row[0], row[1]) for row in rows if len(row) == 2 and row[0] and row[1].strip()]


def wait_for_scheduler(logger: logging.Logger) -> None:
    """Return as soon as a slurmctld answers; at once where no scontrol can ask it, as on some gateways."""
    if shutil.which("scontrol") is None:
        return
    said = False
    while " is UP" not in (query(["scontrol", "ping"]) or ""):
        if not said:
            logger.warning("Slurm does not answer; waiting before the next job is submitted.")
            said = True
        time.sleep(PAUSE)


def make_patient(plugin: Any) -> None:
    """Replace parts of the module `snakemake_executor_plugin_slurm`; a second call changes nothing."""
    executor = plugin.Executor
    if getattr(executor, "is_patient", False):
        return
    jobs = Jobs()
    check: Callable[..., AsyncIterator[Any]] = executor.check_active_jobs
    run_job, run_array_jobs = executor.run_job, executor.run_array_jobs

    async def check_active_jobs(self: Any, active_jobs: list[Any]) -> AsyncIterator[Any]:
        jobs.logs = {job.external_jobid: (job.aux or {}).get("slurm_logfile") for job in active_jobs}
        async for job in check(self, active_jobs):
            yield job
        # One squeue for all jobs is cheap. The plugin asks ever less often, down to every three minutes,
        # and the next step waits for that.
        often = SELDOMNESS * self.workflow.executor_settings.init_seconds_before_status_checks
        self.next_seconds_between_status_checks = min(self.next_seconds_between_status_checks, often)

    def submit(self: Any, job: Any) -> None:
        wait_for_scheduler(self.logger)
        run_job(self, job)

    def submit_array(self: Any, array: list[Any]) -> None:
        wait_for_scheduler(self.logger)
        run_array_jobs(self, array)

    plugin.query_job_status = jobs.states
    executor.check_active_jobs = check_active_jobs
    executor.run_job, executor.run_array_jobs = submit, submit_array
    executor.is_patient = True
