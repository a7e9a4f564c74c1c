"""Dry runs of Snakemake, many in a row: the import, most of the time of each, is paid once.

Started by `DryRuns` as a process of its own. It reads lines `[directory, [arguments]]` (JSON) and answers
each with the jobs that `snakemake -n`, run in a fork of itself in that directory, would execute.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


class DryRuns:
    """Asks which jobs would run. Use as a context manager."""

    def __enter__(self) -> "DryRuns":
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def jobs(self, directory: Path, *arguments: str) -> dict[str, set[str]]:
        """Jobs that `snakemake` would run in `directory`: their wildcards (`a=1, b=2`, or ""), by rule."""
        self.process.stdin.write(json.dumps([str(directory), arguments]) + "\n")
        self.process.stdin.flush()
        status, said, jobs = json.loads(self.process.stdout.readline())
        if status != 0:
            raise RuntimeError(said)
        by_rule: dict[str, set[str]] = {}
        for rule, wildcards in jobs:
            by_rule.setdefault(rule, set()).add(wildcards)
        return by_rule


def _dry_run(directory: str, arguments: list[str], answer: Path) -> int:
    """Run `snakemake -n`; note each job that it announces in `answer`."""
    from snakemake.cli import main
    from snakemake.jobs import Job

    jobs = []
    # What Snakemake prints names the rule only where the rule has no message of its own.
    Job.log_info = lambda job, **_: jobs.append(
        [job.rule.name, ", ".join(f"{k}={v}" for k, v in job.wildcards_dict.items())]
    )
    os.chdir(directory)
    try:
        main(["-n", "--cores", "2", *arguments])
        status = 0
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    answer.write_text(json.dumps(jobs))
    return status


def _serve() -> None:
    from snakemake.cli import get_argument_parser

    # Imports Snakemake and its plugins once, for all forks.
    get_argument_parser()
    with tempfile.TemporaryDirectory() as folder:
        answer, output = Path(folder) / "jobs.json", Path(folder) / "output"
        for line in sys.stdin:
            answer.write_text("[]")
            child = os.fork()
            if child == 0:
                with output.open("w") as file:
                    os.dup2(file.fileno(), 1)
                    os.dup2(file.fileno(), 2)
                    os._exit(_dry_run(*json.loads(line), answer))
            _, status = os.waitpid(child, 0)
            print(json.dumps([status, output.read_text(), json.loads(answer.read_text())]), flush=True)


if __name__ == "__main__":
    _serve()
