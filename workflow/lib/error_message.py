"""Find what went wrong in the logs of the rules, so that it stands at the end of the terminal's output."""

import os
import re
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# As written by scripts/dnalm/running/commandline.py: how a script was started, and an error, or an early stop
# of a step that can continue.
FIRST_WORDS = re.compile(r"^\S+ \S+ \$ ")
LAST_WORDS = re.compile(r"^\S+ \S+ (error|stopped): (.*)$")
# As written by Snakemake 9.27 of a job that failed, alone or in a group, and of one that was started again.
RULE = re.compile(r"^ *(?:Error in )?rule (\S+):$")
JOB = re.compile(r"^ *jobid: (\d+)$")
OUTPUT = re.compile(r"^ *output: (.+)$")
LOG = re.compile(r"^ *log: (.+) \(check log file\(s\) for error details\)$")
# What happens to a process that reads a file through memory when there is nothing to be had from the file.
LOST = re.compile(r"--log (\S+) .*died with <Signals\.SIGBUS: 7>")
INTERRUPTED = "died with <Signals.SIGINT: 2>"
FINISHED = re.compile(r"^Finished jobid: (\d+)\b")


def error_message(logs: Path, since: float, runs: Iterable[str] = ()) -> list[str]:
    """The messages that ended the logs below `logs` written since `since`, a time of this machine (s, epoch).

    `runs` are Snakemake's own logs. What they call failed and ended without a message was killed.
    """
    found = []
    since += _ahead(logs)
    said = [Path(run) for run in runs]
    killed = {log: rule for run in said for log, rule in failed(run).items()}
    lost = {Path(match[1]) for run in said for match in map(LOST.search, _lines(run)) if match}
    for log in sorted(logs.rglob("*.log")):
        lines = _lines(log) if log.stat().st_mtime >= since else []
        # A step that failed and was started again successfully ends its log with something else.
        if lines and (match := LAST_WORDS.match(lines[-1])):
            found.append(f"{match[1]} in {log}: {match[2]}")
        elif lines and log in lost:
            found.append(
                f"error in {log}: a file could not be read any more (SIGBUS). Its disk or file server "
                "failed, it was replaced on another machine, or /dev/shm is full. Start again."
            )
        elif lines and log in killed and FIRST_WORDS.match(lines[0]):
            found.append(
                f"{killed[log]} was killed, {log} ends without an error. Most often memory ran out. On one "
                "machine let less run at once (--resources mem_mb=…, --cores); where a scheduler kills, ask "
                f"for more (--set-resources {killed[log]}:mem_mb=…, or :runtime=…)."
            )
    return found


def failed(run: Path) -> dict[Path, str]:
    """The rule of each job that failed and did not succeed later, by its log, from a log of Snakemake.

    None where somebody typed Ctrl-C. With `--quiet progress` it is not said that a job finished; its outputs,
    which Snakemake removes after a failure, tell it too.
    """
    jobs: dict[str, tuple[Path, str]] = {}
    rule = job = output = ""
    for line in _lines(run):
        if match := RULE.match(line):
            rule = match[1]
        elif match := JOB.match(line):
            job = match[1]
        elif match := OUTPUT.match(line):
            output = match[1]
        elif match := LOG.match(line):
            if not all(Path(file).exists() for file in output.split(", ")):
                jobs[job] = (Path(match[1]), rule)
        elif match := FINISHED.match(line):
            jobs.pop(match[1], None)
        elif INTERRUPTED in line:
            return {}
    return dict(jobs.values())


def _ahead(folder: Path) -> float:
    """By how many seconds the clock that dates files there, a file server's, is ahead of this machine's."""
    with suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime - time.time()
    return 0.0


def _lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
