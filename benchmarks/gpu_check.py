"""Does training work on this machine's GPUs, and how well do they work? A table to paste; exit code 1 if not.

    make gpu-check
    python benchmarks/gpu_check.py [--cpu]

Takes a few minutes with a GPU. Without one, or with --cpu, the same checks run on the CPU with a tiny
network: a test of the checks, no measurement. Corpus and task are simulated: lines written in a few motifs,
and sequences that are told apart by theirs, so that there is something to learn.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from gpu_checks.findings import Finding
from gpu_checks.finetuning import check_finetuning, check_gradient, check_running_out_finetuning
from gpu_checks.inference import check_inference, check_language_model
from gpu_checks.interruptions import check_kill, check_kill_finetuning
from gpu_checks.memory import check_memory, check_running_out
from gpu_checks.place import ON_CPU, ON_GPU, Place
from gpu_checks.plain import check_plain
from gpu_checks.pretraining import check_compiled, check_precision, check_several

from dnalm.running.devices import choose_device
from dnalm.running.errors import InputError

# Those that start other processes come before this one computes: where each GPU is for one process at a time
# ("exclusive process"), it would keep them out, and elsewhere take memory from them.
CHECKS = (
    check_kill,
    check_several,
    check_kill_finetuning,
    check_precision,
    check_plain,
    check_memory,
    check_running_out,
    check_inference,
    check_language_model,
    check_gradient,
    check_finetuning,
    check_running_out_finetuning,
    check_compiled,
)


def findings(place: Place) -> Iterator[Finding]:
    """All checks; one that fails with an error is a finding too."""
    for check in CHECKS:
        begun = time.monotonic()
        try:
            yield from check(place)
        except Exception as error:
            said = error.stderr.decode() if isinstance(error, subprocess.CalledProcessError) else str(error)
            last = said.strip().splitlines()[-1:] or [""]
            yield Finding(check.__name__, f"{type(error).__name__}: {last[0]}", "no error", False)
        print(f"  ({check.__name__}: {time.monotonic() - begun:.0f} s)", file=sys.stderr, flush=True)


def row(finding: Finding) -> str:
    """A line of the Markdown table."""
    verdict = {None: "", True: "good", False: "**bad**"}[finding.good]
    cells = [finding.check, finding.measured, finding.expected, verdict]
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def machine(device: torch.device) -> str:
    """What was checked, in words."""
    if device.type == "cuda":
        count, name = torch.cuda.device_count(), torch.cuda.get_device_name(device)
        where = f"{count} × {name}, CUDA {torch.version.cuda}"
    else:
        where = (
            f"CPU ({platform.machine()}, {os.cpu_count()} cores), a test of the checks: no GPU was measured"
        )
    return f"{where}; torch {torch.__version__}; {date.today():%Y-%m-%d}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cpu", action="store_true", help="check the CPU, also where there is a GPU")
    options = parser.parse_args()
    try:
        # Set up as the scripts do; all GPUs, since several are checked together. A job that was granted one
        # which torch does not see is told so.
        chosen = choose_device(0 if options.cpu else max(1, torch.cuda.device_count()))
    except InputError as error:
        sys.exit(str(error))
    on_gpu = chosen.type == "cuda"
    device = torch.device("cuda", 0) if on_gpu else chosen
    bad = 0
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        place = Place(Path(folder), ON_GPU if on_gpu else ON_CPU, device)
        print(
            f"{machine(device)}\n\n| check | measured | expected | |\n| --- | --- | --- | --- |", flush=True
        )
        for finding in findings(place):
            bad += finding.good is False
            print(row(finding), flush=True)
    if bad:
        sys.exit(f"\n{bad} of the checks failed.")


if __name__ == "__main__":
    main()
