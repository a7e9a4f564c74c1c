"""The hardware that the workflow's rules ask for."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from dnalm.running.settings import Settings


def check_word(text: str) -> str:
    """A name as Slurm has them. Raises ValueError."""
    if not re.fullmatch(r"[\w.@,+-]+", text):
        raise ValueError(
            f"is {text!r}, but such names are of letters, digits and . @ , + - _ only. Correct it."
        )
    return text


def check_image(text: str) -> str:
    """The path or address of an image. Snakemake hands it to a shell as it is. Raises ValueError."""
    if not re.fullmatch(r"[\w./][\w./:@%+=,-]*", text):
        raise ValueError(
            f"is {text!r}, which a shell would take for something else. Give a path or an address of "
            "letters, digits and . / : @ % + = , - _ only."
        )
    return text


# The names that NVIDIA's library gives to GPUs, such as nvidia_a100-sxm4-80gb, are types on many clusters.
NO_HYPHENS = (
    "but Snakemake's Slurm plugin takes no type with a hyphen. Ask for GPUs of any type, and choose a model "
    "by the partition (resources.gpu_partition) or by a feature of its nodes, such as --set-resources "
    "pretrain:constraint=a100; `sinfo -o '%P %G %f'` lists both."
)


def check_generic_resource(text: str) -> str:
    """`name` or `name:type` of Slurm's generic resources, without a number. Raises ValueError."""
    if re.fullmatch(r"[\w.:-]+", text) and "-" in text:
        raise ValueError(f"is {text!r}, {NO_HYPHENS}")
    if not re.fullmatch(r"[A-Za-z0-9_]+(:(?!\d+$)[A-Za-z0-9_.]+)?", text):
        raise ValueError(
            f"is {text!r}, but must be a name, or a name and a type, such as gpu or gpu:a100. How many there "
            "are is said elsewhere."
        )
    return text


Word = Annotated[str, AfterValidator(check_word)]


class ResourceSettings(Settings):
    """Hardware that the rules ask for. Changing it never reruns a finished step."""

    pretrain_gpus: int = Field(
        1,
        ge=0,
        le=1024,
        description="GPUs for pretraining, on each node. Several are used by one process each.",
    )
    pretrain_nodes: int = Field(
        1,
        ge=1,
        le=1024,
        description="Nodes for pretraining, each with `pretrain_gpus` GPUs. Several need Slurm.",
    )
    embed_gpus: int = Field(1, ge=0, le=1, description="GPUs for embedding sequences and evaluating models.")
    finetune_gpus: int = Field(1, ge=0, le=1, description="GPUs for fine-tuning through the backbone.")
    gres: Annotated[str, AfterValidator(check_generic_resource)] | None = Field(
        None,
        description="For Slurm clusters that know GPUs only as generic resources (`--gres`): the name, or "
        "name and type, such as `gpu` or `gpu:a100`.",
    )
    partition: Word | None = Field(
        None, description="Slurm partition of all jobs; without it, the cluster's default."
    )
    gpu_partition: Word | None = Field(
        None,
        description="Slurm partition of jobs that use GPUs; without it, `partition`.",
    )
    account: Word | None = Field(
        None,
        description="Slurm account that all jobs are charged to. A cluster without accounting (`sacctmgr "
        "show user` fails) must leave it out.",
    )
    tasks_per_job: int | None = Field(
        None,
        ge=1,
        description="Many small tasks on a cluster: so many of them share one job in each short step. "
        "Without it, every step of every task is a job of its own.",
    )
    image: Annotated[str, AfterValidator(check_image)] | None = Field(
        None,
        min_length=1,
        description="Apptainer image with all packages (`envs/apptainer.def`), used with "
        "`--software-deployment-method apptainer`.",
    )
    pretrain_threads: int = Field(8, ge=1, le=1024, description="CPU cores for pretraining.")
    pretrain_hours: float = Field(
        24.0,
        gt=0,
        le=10_000,
        description="Longest time limit of one pretraining job; a training of few steps asks for less. "
        "Training saves its state before the limit and continues in the next job.",
    )
    allow_cpu: bool = Field(
        False,
        description="Go on with the CPU where the scheduler granted a GPU that PyTorch cannot see, instead "
        "of stopping with an error.",
    )
