# Configuration, sheets, and the small functions that rules share. Nothing heavy is imported here: every
# cluster job reads this file again.

import json
import os
import platform
import re
import shlex
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "lib"))

import resources as need
from digest import code_digest
from last_words import last_words
from settings import (
    UNTRAINED,
    SettingsError,
    check_config,
    is_hub_id,
    is_url,
    read_genomes,
    read_tasks,
)
from snakemake import __version__ as snakemake_version
from snakemake.exceptions import WorkflowError

try:
    config = check_config(
        config, " + ".join(map(str, workflow.overwrite_configfiles or workflow.configfiles))
    )
    SIMULATION = f"{config['results']}/simulation" if config["simulation"] is not None else None
    GENOMES = read_genomes(config["genomes"], made_by_workflow=SIMULATION)
    TASKS = read_tasks(config["tasks"], made_by_workflow=SIMULATION)
except SettingsError as error:
    raise WorkflowError(str(error))

for name, prediction in config["predictions"].items():
    if prediction["task"] not in TASKS:
        raise WorkflowError(
            f"predictions.{name}.task is '{prediction['task']}', which {config['tasks']} does not list."
        )


pathvars:
    results=config["results"],
    logs=f"{config['results']}/logs",
    benchmarks=f"{config['results']}/benchmarks",


STARTED = time.time()
MODELS = config["models"]
UNTRAINED_MODELS = [f"{m}{UNTRAINED}" for m in MODELS] if config["baselines"]["untrained"] else []
BACKBONES = config["finetune"]["backbones"]
BASELINES = [name for name in ("majority", "kmer") if config["baselines"][name]]
SPLITS = ["train", "validation"]

# With conda, `python` is that of the rule's environment. Without, it is the one that runs Snakemake, also
# where its virtual environment was not activated.
WITH_CONDA = any("conda" in str(method).lower() for method in workflow.deployment_settings.deployment_method)
PYTHON = "python" if WITH_CONDA else shlex.quote(sys.executable)
SCRIPTS = os.path.relpath(Path(workflow.basedir).parent / "scripts")
RUN = f"exec {PYTHON} {SCRIPTS}"

# The scheduler is asked for `gpu` or, where it knows only generic resources, for `gres`; scripts are told
# `devices`. Rules that use GPUs also say how many nodes, tasks and CPUs, because a site's defaults for
# these would otherwise replace threads and mem_mb.
GRES = config["resources"]["gres"]
PRETRAIN_GPUS = config["resources"]["pretrain_gpus"]
EMBED_GPUS = config["resources"]["embed_gpus"]

# Go on with the CPU where a granted GPU cannot be seen. It changes no result, hence no rule's params.
ALLOW_CPU = "--allow-cpu" if config["resources"]["allow_cpu"] else ""


# Path variables such as <results> are not known inside shell commands.
CHECKPOINTS = f"{config['results']}/checkpoints"
BENCHMARKS = f"{config['results']}/benchmarks"


wildcard_constraints:
    genome="|".join(map(re.escape, GENOMES)),
    task="|".join(map(re.escape, TASKS)) or "no_task",
    tokenizer="|".join(map(re.escape, config["tokenizers"])),
    model="|".join(map(re.escape, [*MODELS, *UNTRAINED_MODELS])),
    trained_model="|".join(map(re.escape, MODELS)),
    backbone="frozen|full",
    split="train|validation|test",
    baseline="majority|kmer",
    name="|".join(map(re.escape, config["predictions"])) or "no_prediction",


def flags(settings, prefix=""):
    """Settings as command-line flags: {"a_b": 1} becomes `--a-b 1`; None is left out."""
    words = []
    for key, value in settings.items():
        flag = f"--{prefix}{key}".replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, (list, tuple)):
            words += [flag, *map(str, value)] if value else []
        elif value is not None:
            words += [flag, str(value)]
    return shlex.join(words)


def model_settings(name):
    """The settings of a model; those of an untrained baseline are those of its model."""
    return MODELS[name.removesuffix(UNTRAINED)]


def parameters(wildcards):
    return need.parameters_of(model_settings(wildcards.model)["architecture"])


def downloaded(kind, name, url):
    """Where a fetch rule puts a URL. The file keeps its name, so that people recognise it."""
    return f"resources/downloads/{kind}/{name}/{Path(url.split('?')[0]).name}"


def genome_fasta(wildcards):
    fasta = GENOMES[wildcards.genome].fasta
    return downloaded("genomes", wildcards.genome, fasta) if is_url(fasta) else fasta


def task_file(task, split):
    path = TASKS[task].files[split]
    return downloaded("tasks", f"{task}/{split}", path) if is_url(path) else path


def size_mb(files):
    """Total size in MB of the inputs that exist already; 0 for a dry run on an empty folder."""
    return sum(os.path.getsize(f) for f in files if os.path.isfile(f)) / 1e6
