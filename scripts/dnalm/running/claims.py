"""Which of a machine's GPUs this process computes on, where nobody deals them out.

Snakemake counts GPUs (`--resources gpu=2`) without saying which is whose, and every process that is told
nothing takes the first. So each takes a lock on the GPUs that it uses: a file in this machine's folder for
temporary files, locked by flock. The kernel lets go of it when the process ends, however it ends.
"""

import fcntl
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

# GPU -> the file descriptor of its lock, which stays open until this process ends.
_held: dict[int, int] = {}
# What the last claim gave: GPUs that are held, and those that have to be shared.
_claimed: list[int] = []


def claim(wanted: int, gpus: Sequence[int]) -> list[int]:
    """`wanted` of the `gpus` (numbers as CUDA has them), if possible such that no other process holds.

    Those that are left are shared: jobs at once are as many as the user allows. Whoever asks again gets the
    same ones.
    """
    own = [gpu for gpu in gpus if gpu in _held]
    for gpu in gpus:
        if len(own) < wanted and gpu not in _held and _lock(gpu):
            own.append(gpu)
    shared = [gpu for gpu in gpus if gpu not in own]
    _claimed[:] = sorted((own + shared)[:wanted])
    return _claimed.copy()


def visible_to_workers() -> dict[str, str]:
    """The variable that shows the claimed GPUs, and no others, to the processes that this one starts."""
    return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, _claimed))} if _claimed else {}


def _lock(gpu: int) -> bool:
    """Whether this process holds the GPU from now on. False also where no lock can be made."""
    folder = Path(tempfile.gettempdir()) / f"dnalm-gpus-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        file = os.open(folder / str(gpu), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return False
    _held[gpu] = file
    return True
