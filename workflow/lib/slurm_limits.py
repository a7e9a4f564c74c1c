"""Keeps the time that jobs ask for within what their partition allows.

Slurm never starts a job that asks for more than its partition's MaxTime. Trainings that do not fit save their
state and go on in the next job; other steps ask for a multiple of what they need.
"""

import re
import shlex
import subprocess
from typing import Any

from snakemake.logging import logger

DAY = 24 * 60


def keep_within_limits(plugin: Any) -> None:
    """Let the module `snakemake_executor_plugin_slurm` ask for less; a second call changes nothing."""
    submit_command = plugin.get_submit_command
    if getattr(submit_command, "keeps_within_limits", False):
        return
    limits: dict[str, int] = {}
    said: set[str] = set()

    def within_limits(job: Any, params: dict[str, Any], *arguments: Any, **options: Any) -> str:
        command = submit_command(job, params, *arguments, **options)
        if not said:
            limits.update(time_limits())
            said.add("")
        partition = (shlex.split(params["partition"]) or [""])[-1]
        asked, longest = job.resources.get("runtime"), limit_of(partition, limits)
        if longest is None or not isinstance(asked, int) or asked <= longest:
            return command
        if partition not in said:
            said.add(partition)
            logger.warning(f"Partition {partition} allows {longest} min; jobs that need more ask for that.")
        return re.sub(rf" -t {asked}\b", f" -t {longest}", command, count=1)

    within_limits.keeps_within_limits = True  # type: ignore[attr-defined]
    plugin.get_submit_command = within_limits


def limit_of(partitions: str, limits: dict[str, int]) -> int | None:
    """The shortest limit of one or several partitions, `a,b`; None if none is known."""
    return min((limits[name] for name in partitions.split(",") if name in limits), default=None)


def time_limits() -> dict[str, int]:
    """MaxTime of each partition that has one, in minutes; empty if sinfo does not say."""
    try:
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%R|%l"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    rows = [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 1]
    limits = {name.strip(): minutes(time.strip()) for name, time in rows}
    return {name: limit for name, limit in limits.items() if limit}


def minutes(time: str) -> int | None:
    """Whole minutes of `D-HH:MM:SS`, `HH:MM:SS` or `MM:SS`; None for `infinite` and other words."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", time)
    if not found:
        return None
    days, hours, rest, _ = (int(part or 0) for part in found.groups())
    return DAY * days + 60 * hours + rest
