"""Snakemake as a person types it: a process of its own."""

import subprocess
import sys
from pathlib import Path


def snakemake(folder: Path, *words: str | Path, cores: int = 2) -> subprocess.CompletedProcess:
    """Run it in `folder`, for 15 minutes at most."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
