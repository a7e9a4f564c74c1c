"""What Slurm says of the job that runs here, and how this job starts another step of its own."""

import os
import re
import socket
import subprocess
from collections.abc import Mapping

# What the next srun needs. It takes nearly every other variable that begins with SLURM_ or SRUN_ for one of
# its options, and in a step most of them describe this step: its one node, its tasks.
NEEDED = ("SLURM_CLUSTER_NAME", "SLURM_CONF", "SLURM_JOBID", "SLURM_JOB_ID")


def ask(*command: str) -> str | None:
    """What one of Slurm's programs says; None without an answer (no such program, or a busy scheduler)."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def ask_of_job(form: str) -> str | None:
    """What squeue says of this job in its format `form`, such as `%D`; None outside of Slurm too."""
    job = os.environ.get("SLURM_JOB_ID")
    return ask("squeue", "-h", "-j", job, "-o", form) if job else None


def node_count() -> int | None:
    """How many nodes this job has, 1 outside of Slurm; None where Slurm does not answer.

    The environment does not tell: what it says in a step is how many nodes the step has.
    """
    if "SLURM_JOB_ID" not in os.environ:
        return 1
    answer = ask_of_job("%D")
    return int(answer) if answer and answer.isdigit() else None


def node_name() -> str:
    """Slurm's name of this node; outside of Slurm, the machine's."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def node_addresses() -> dict[str, str]:
    """Name of each node of this job -> where the others reach it; empty where Slurm does not answer.

    Where Slurm itself does (NodeAddr) or, on clusters that tell users nothing of nodes, the name again.
    """
    listed = ask_of_job("%N")
    names = ask("scontrol", "show", "hostnames", listed) if listed else None
    if not names:
        return {}
    told = ask("scontrol", "--oneliner", "show", "node", listed or "") or ""
    addresses = dict(re.findall(r"NodeName=(\S+) .*\bNodeAddr=(\S+)", told))
    return {name: addresses.get(name, name) for name in names.split()}


def for_another_step(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for an srun of this job's that shall see the whole job, not the step that runs here."""
    return {
        name: value
        for name, value in environment.items()
        if name in NEEDED or not name.startswith(("SLURM_", "SRUN_"))
    }
