"""Trainings that are killed."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from safetensors.torch import load_file

from gpu_checks.findings import Finding
from gpu_checks.place import Place


def resumed(
    place: Place,
    check: str,
    apart: float,
    weights: Sequence[Mapping[str, torch.Tensor]],
    interrupted: bool = True,
) -> Finding:
    """That a training which was interrupted ends where one ends that was left alone.

    `apart`: their losses. `weights`: of both. `interrupted`: whether it was, in time.
    """
    one, other = weights
    same = all(torch.equal(one[key], other[key]) for key in one)
    on_cpu = place.device.type == "cpu"
    return Finding(
        check,
        f"{'' if interrupted else 'NOT killed in time; '}loss {apart:.1e} apart, "
        f"weights {'the same' if same else 'not the same'}",
        "weights the same" if on_cpu else "≤ 0.02 nats",
        interrupted and (same if on_cpu else apart <= 0.02),
    )


def kill_and_resume(
    place: Place, check: str, command: Callable[[str], list[str]], undisturbed: str, killed: str
) -> Finding:
    """Run a script undisturbed, and once more killed and started again."""
    subprocess.run(command(undisturbed), check=True, capture_output=True)
    process = subprocess.Popen(command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = place.folder / "checkpoints" / killed
    while process.poll() is None and not any(checkpoints.glob("*/step-*")):
        time.sleep(0.01)
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command(killed), check=True, capture_output=True)
    weights = [load_file(place.folder / name / "model.safetensors") for name in (undisturbed, killed)]
    apart = abs(place.losses(killed)[-1] - place.losses(undisturbed)[-1])
    return resumed(place, check, apart, weights, running)


def check_kill(place: Place) -> Iterator[Finding]:
    """A training that is killed goes on and ends where one that was left alone ends."""
    yield kill_and_resume(place, "kill -9 and resume", place.pretraining, place.model.name, "killed")


def check_kill_finetuning(place: Place) -> Iterator[Finding]:
    """So does a fine-tuning by its script, with dropout and low-rank matrices that are merged in the end."""
    yield kill_and_resume(
        place, "fine-tuning, lora: kill -9 and resume", place.finetuning, "tuned", "tuned_killed"
    )
