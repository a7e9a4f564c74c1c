"""Where to compute, and with which precision; a clear word within seconds if that cannot be."""

import argparse
import importlib.util
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dnalm.running.errors import InputError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("dnalm")

# What a wrong copy of would break or slow down a training run without a word.
CHECKED_PACKAGES = ("torch", "transformers", "tokenizers", "numpy")


def add_device_flags(arguments: argparse.ArgumentParser) -> None:
    """Add `--gpus` and `--allow-cpu`, what :func:`choose_device` wants to know."""
    arguments.add_argument(
        "--gpus", type=int, default=0, help="GPUs that this job asked for (default 0: use the CPU)"
    )
    arguments.add_argument(
        "--allow-cpu",
        action="store_true",
        help="compute on the CPU where a GPU was granted but cannot be seen",
    )


def usual_batch_tokens(device: "torch.device | str") -> int:
    """Tokens of one forward pass: on a CPU few enough for its cache, on a GPU many."""
    return 1280 if str(device) == "cpu" else 65536


def add_inference_flags(arguments: argparse.ArgumentParser) -> None:
    """Add the flags of scripts that only read with a model, and those of :func:`add_device_flags`."""
    arguments.add_argument(
        "--batch-tokens",
        type=int,
        help="tokens in one forward pass, padding included "
        f"(default: {usual_batch_tokens('cpu')} on a CPU, {usual_batch_tokens('cuda')} on a GPU)",
    )
    arguments.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="arithmetic of the model; auto: bf16 on GPUs that have it, else fp32 (default auto)",
    )
    add_device_flags(arguments)


def check_batch_tokens(batch_tokens: int | None) -> None:
    """Raise InputError unless `--batch-tokens` is left out or at least 1."""
    if batch_tokens is not None and batch_tokens < 1:
        raise InputError(f"--batch-tokens is {batch_tokens}; it must be at least 1.")


def choose_device(gpus: int, *, allow_cpu: bool = False) -> "torch.device":
    """The device to compute on: CUDA if `gpus` > 0 and torch sees one, else the CPU.

    `gpus` is the number of GPUs that this job asked for. Where a scheduler granted GPUs (a Slurm job,
    or CUDA_VISIBLE_DEVICES is set) and torch sees fewer, InputError: a run on the CPU would be hundreds
    of times slower than its owner believes. `allow_cpu` permits it. Elsewhere (a laptop) the CPU is used.
    """
    import torch

    if gpus < 1:
        return torch.device("cpu")
    check_packages()
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    granted = "SLURM_JOB_ID" in os.environ or visible not in ("", "-1", "NoDevFiles")
    if granted and seen < gpus and not allow_cpu:
        raise InputError(
            f"this job asked for {gpus} GPU{'s' if gpus > 1 else ''}, but torch sees {seen} "
            f"({_why_no_gpu(visible)}). Ask the scheduler for GPUs, install a torch with CUDA, "
            "or allow the CPU with --allow-cpu."
        )
    if seen == 0:
        logger.info("no GPU: computing on the CPU")
        return torch.device("cpu")
    return torch.device("cuda")


def choose_precision(precision: str, device: "torch.device") -> str:
    """`bf16` or `fp32`. `auto` is bf16 on GPUs that have it (Ampere and later) and fp32 elsewhere.

    bf16 on hardware without it is refused: on a CPU without AMX or AVX-512 BF16 it is about 64 times slower
    than fp32.
    """
    import torch

    if device.type == "cuda":
        # Emulated bf16 on older GPUs is slower than fp32.
        has_bf16 = torch.cuda.get_device_capability(device)[0] >= 8
    else:
        capabilities = torch.cpu.get_capabilities()
        has_bf16 = any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))
    if precision == "auto":
        return "bf16" if has_bf16 and device.type == "cuda" else "fp32"
    if precision == "bf16" and not has_bf16:
        raise InputError("precision is bf16, which this hardware does not have. Use auto or fp32.")
    return precision


def check_packages(names: tuple[str, ...] = CHECKED_PACKAGES) -> None:
    """Raise InputError if a package comes from outside the running Python's own environment.

    The usual culprits are ~/.local and PYTHONPATH: on a cluster, a conda environment without torch would
    quietly take another torch from there, with other results or no GPU.
    """
    roots = [Path(sys.prefix).resolve()]
    in_environment = sys.prefix != sys.base_prefix or os.environ.get("CONDA_PREFIX") == sys.prefix
    if not in_environment:
        return
    settings = Path(sys.prefix) / "pyvenv.cfg"
    if settings.is_file() and "include-system-site-packages = true" in settings.read_text().lower():
        roots.append(Path(sys.base_prefix).resolve())
    for name in names:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            raise InputError(f"the package {name} is not installed in {sys.prefix}.")
        # Not resolved: package managers such as uv link files from a cache outside of the environment.
        origin = Path(os.path.abspath(found.origin))
        if not any(origin.is_relative_to(root) or origin.is_relative_to(sys.prefix) for root in roots):
            raise InputError(
                f"the package {name} is loaded from {origin.parent}, outside of the environment "
                f"{sys.prefix}. "
                "Unset PYTHONPATH and set PYTHONNOUSERSITE=1, or install it into the environment."
            )


def _why_no_gpu(visible: str) -> str:
    import torch

    if not torch.backends.cuda.is_built():
        return f"torch {torch.__version__} is built for the CPU only"
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return "this machine has no NVIDIA device"
    return f"CUDA_VISIBLE_DEVICES={visible or 'unset'}, torch {torch.__version__}, CUDA {torch.version.cuda}"
