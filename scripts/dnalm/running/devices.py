"""Where to compute, and with which precision; a clear word within seconds if that cannot be."""

import argparse
import importlib.util
import logging
import os
import re
import shutil
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from dnalm.running.claims import claim
from dnalm.running.commandline import COMPUTER
from dnalm.running.errors import InputError
from dnalm.running.settings import ArithmeticSettings

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("dnalm")

# What a wrong copy of would break or slow down a training run without a word.
CHECKED_PACKAGES = ("torch", "transformers", "tokenizers", "numpy")

# Smaller networks gain little from bf16 on a CPU, or lose: benchmarks/README.md.
WORTH_BF16 = 10_000_000

# Set by the workflow in jobs that it submits to a scheduler.
SUBMITTED = "DNALM_SUBMITTED"

# What Slurm says in a job, or in a step of it, that has GPUs: their numbers, of which 0 is one, and how many.
SLURM_GPUS = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS_ON_NODE")

# Variables that another scheduler sets in its jobs: of each group all.
SCHEDULERS = {
    "PBS": ("PBS_JOBID",),
    "LSF": ("LSB_JOBID",),
    "Grid Engine": ("JOB_ID", "SGE_TASK_ID"),
    "HTCondor": ("_CONDOR_JOB_AD",),
    "OAR": ("OAR_JOB_ID",),
    "Flux": ("FLUX_JOB_ID",),
}


def add_device_flags(arguments: argparse.ArgumentParser) -> None:
    """Add `--gpus` and `--allow-cpu`, what :func:`choose_device` wants to know."""
    arguments.add_argument(
        "--gpus", type=int, default=0, help="GPUs that this job asked for (default %(default)s: use the CPU)"
    )
    arguments.add_argument(
        "--allow-cpu",
        action="store_true",
        help="compute on the CPU where a GPU was granted but cannot be seen",
    )


def usual_batch_tokens(device: "torch.device | str") -> int:
    """Tokens of one forward pass: on a CPU few enough for its cache, on a GPU many."""
    return 1280 if str(device) == "cpu" else 65536


def add_batch_tokens_flag(arguments: argparse.ArgumentParser) -> None:
    """Add `--batch-tokens`, which :func:`check_batch_tokens` checks."""
    arguments.add_argument(
        "--batch-tokens",
        type=int,
        help="tokens in one forward pass, padding included "
        f"(default: {usual_batch_tokens('cpu')} on a CPU, {usual_batch_tokens('cuda')} on a GPU)",
    )


def add_precision_flag(arguments: argparse.ArgumentParser) -> None:
    """Add `--precision`, what :func:`choose_precision` wants to know."""
    field = ArithmeticSettings.model_fields["precision"]
    arguments.add_argument(
        "--precision",
        choices=get_args(field.annotation),
        default=field.default,
        help=f"{field.description} (default {field.default})",
    )


def add_inference_flags(arguments: argparse.ArgumentParser) -> None:
    """Add the flags of scripts that only read with a model, and those of :func:`add_device_flags`."""
    add_batch_tokens_flag(arguments)
    add_precision_flag(arguments)
    add_device_flags(arguments)


def check_batch_tokens(batch_tokens: int | None) -> None:
    """Raise InputError unless `--batch-tokens` is left out or at least 1."""
    if batch_tokens is not None and batch_tokens < 1:
        raise InputError(f"--batch-tokens is {batch_tokens}; it must be at least 1.")


def choose_device(gpus: int, *, allow_cpu: bool = False) -> "torch.device":
    """The device to compute on: CUDA if `gpus` > 0 and torch sees one, else the CPU.

    `gpus` is the number of GPUs that this job asked for. Where a scheduler granted GPUs (:func:`_granted`)
    and torch sees fewer, InputError: a run on the CPU would be hundreds of times slower than its owner
    believes. `allow_cpu` permits it. Elsewhere (a laptop) the CPU is used. InputError also for a GPU that
    this torch has no kernels for. Of a machine with more GPUs than asked for, where nobody deals them out,
    those that no other job computes on come first.
    """
    import torch

    if gpus < 1:
        return torch.device("cpu")
    check_packages()
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if seen < gpus and not allow_cpu and _granted():
        raise InputError(
            f"this job asked for {gpus} GPU{'s' if gpus > 1 else ''}, but torch sees {seen} "
            f"({_why_no_gpu()}). Ask the scheduler for GPUs, install a torch with CUDA, "
            "or allow the CPU with --allow-cpu (resources.allow_cpu in the configuration)."
        )
    if seen == 0:
        logger.info("no GPU: computing on the CPU")
        return torch.device("cpu")
    # On Hopper and newer, torch would take cuDNN's attention first (pytorch/pytorch#162073). It builds a plan
    # for each new shape of a batch, half a second and more (modelscope/FunASR#3704), and batches here have
    # dozens; and with a mask its gradients were NaN at some lengths (pytorch/pytorch#196678).
    torch.backends.cuda.enable_cudnn_sdp(False)
    # Where nobody deals out GPUs, any of those seen will do. Workers were given theirs.
    choose = seen > gpus and not _granted() and "RANK" not in os.environ
    able = _with_kernels(range(seen if choose else min(gpus, seen)), min(gpus, seen))
    if not choose:
        _tell(able[0])
        return torch.device("cuda")
    first, *others = claim(gpus, able)
    _tell(first)
    if not others:
        # Also what names no GPU computes there. Where several are used, this process only starts workers.
        torch.cuda.set_device(first)
    return torch.device("cuda", first)


def _tell(gpu: int) -> None:
    """Log what computes, for the report."""
    import torch

    logger.info("%s%s, CUDA %s", COMPUTER, torch.cuda.get_device_name(gpu), torch.version.cuda)


def _with_kernels(gpus: Sequence[int], wanted: int) -> list[int]:
    """Those GPUs that this torch has kernels for. Raises InputError if they are fewer than `wanted`."""
    import torch

    built_for = torch.cuda.get_arch_list()
    capabilities = {gpu: torch.cuda.get_device_capability(gpu) for gpu in gpus}
    able = [gpu for gpu in gpus if has_kernels(capabilities[gpu], built_for)]
    if len(able) < wanted:
        unable = next(gpu for gpu in gpus if gpu not in able)
        major, minor = capabilities[unable]
        raise InputError(
            f"GPU {unable} ({torch.cuda.get_device_name(unable)}) has compute capability {major}.{minor}, "
            f"but torch {torch.__version__} is built for {' '.join(built_for)}. Install a torch for it (for "
            "a V100: of the CUDA 12.6 wheels, https://download.pytorch.org/whl/cu126), or ask for another "
            "GPU, or for none."
        )
    return able


def has_kernels(capability: tuple[int, int], built_for: Sequence[str]) -> bool:
    """Whether a torch built for these architectures computes on a GPU of this compute capability.

    `sm_80` is machine code, for GPUs of the same major and the same or a higher minor number; `compute_80` is
    translated for any that is not older (NVIDIA, "Ada GPU Architecture Compatibility Guide"). True where
    nothing is known.
    """
    # A letter at the end (sm_90a) narrows it down further; who knows of no reason to refuse does not.
    found = [re.match(r"(sm|compute)_(\d+)(\d)", architecture) for architecture in built_for]
    versions = [(match[1], (int(match[2]), int(match[3]))) for match in found if match is not None]
    return not versions or any(
        capability >= built and (kind == "compute" or capability[0] == built[0]) for kind, built in versions
    )


def choose_precision(precision: str, device: "torch.device") -> str:
    """`bf16` or `fp32`. `auto` is bf16 on GPUs that have it (Ampere and later) and fp32 elsewhere.

    bf16 on hardware without it is refused: on a CPU without AMX or AVX-512 BF16 it is about 64 times slower
    than fp32.
    """
    if precision == "auto":
        return "bf16" if device.type == "cuda" and _has_bf16(device) else "fp32"
    if precision == "bf16" and not _has_bf16(device):
        raise InputError("precision is bf16, which this hardware does not have. Use auto or fp32.")
    return precision


def suggest_bf16(precision: str, device: "torch.device", model: "torch.nn.Module") -> None:
    """Log that bf16 takes less time, where the CPU is made for it and nobody chose a precision."""
    made_for_it = device.type == "cpu" and _has_bf16(device)
    parameters = sum(weights.numel() for weights in model.parameters())
    if precision == "auto" and made_for_it and parameters >= WORTH_BF16:
        logger.info(
            "computing in fp32; this CPU takes half to two thirds of the time in bf16 "
            "(models.<name>.precision), with other rounding"
        )


def _has_bf16(device: "torch.device") -> bool:
    """Whether the hardware multiplies in bf16, faster than in fp32."""
    import torch

    if device.type == "cuda":
        # Emulated bf16 on older GPUs is slower than fp32.
        return torch.cuda.get_device_capability(device)[0] >= 8
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def check_compiler(device: "torch.device") -> None:
    """Raise InputError unless there is the compiler that `torch.compile` calls, found as it finds it.

    That is a C compiler for GPUs (triton/runtime/build.py), a C++ compiler for CPUs
    (torch/_inductor/cpp_builder.py).
    """
    usual: tuple[str, ...]
    if device.type == "cuda":
        language, variable, usual = "C", "CC", ("gcc", "clang")
    else:
        language, variable, usual = "C++", "CXX", ("clang++" if sys.platform == "darwin" else "g++",)
    given = os.environ.get(variable)
    if not any(map(shutil.which, usual if given is None else (given,))):
        looked_for = " or ".join(usual) if given is None else f"{variable}={given}"
        raise InputError(
            f"--training-compile needs a {language} compiler, but there is no {looked_for}. Install one, "
            f"load your cluster's module, name it in the variable {variable}, or set compile to false."
        )


def check_compiled() -> None:
    """Raise InputError where others may have put what `torch.compile` would run.

    It keeps what it has translated in a folder of /tmp whose name anyone on the machine can guess, and takes
    whatever is in there.
    """
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    folder = Path(cache_dir())
    about = folder.stat()
    if about.st_uid != os.geteuid() or about.st_mode & stat.S_IWOTH:
        raise InputError(
            f"{folder}: others may write to it, and --training-compile would run what they put there. Set "
            "TORCHINDUCTOR_CACHE_DIR to a folder of your own."
        )


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


def _granted() -> bool:
    """Whether this process was given GPUs to compute on, so that its owner counts on them.

    A job that the workflow submitted has asked for them. Somebody's own job, such as an interactive one or a
    pod of Kubernetes, may as well be where to work without any: only one that has GPUs counts.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    *numbers, count = (os.environ.get(name, "") for name in SLURM_GPUS)
    of_slurm = any(numbers) or count not in ("", "0")
    in_job = any(all(name in os.environ for name in names) for names in SCHEDULERS.values())
    return (
        SUBMITTED in os.environ
        or of_slurm
        or visible not in ("", "-1", "NoDevFiles")
        or ((in_job or "KUBERNETES_SERVICE_HOST" in os.environ) and _has_nvidia_device())
    )


def _has_nvidia_device() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))


def _why_no_gpu() -> str:
    import torch

    if not torch.backends.cuda.is_built():
        return f"torch {torch.__version__} is built for the CPU only"
    if not _has_nvidia_device():
        return "this machine has no NVIDIA device"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or "unset"
    return f"CUDA_VISIBLE_DEVICES={visible}, torch {torch.__version__}, CUDA {torch.version.cuda}"
