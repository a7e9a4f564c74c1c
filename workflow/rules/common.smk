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
from types import SimpleNamespace

import digest
import notes
import resources
import scheduling
import slurm_limits
import slurm_status
import software
from dnalm.baseline.settings import BASELINES as ALL_BASELINES
from dnalm.baseline.settings import COMBINED, STACKED, UNTRAINED, KmerSettings, baselines_of, stacks
from dnalm.baseline_cnn.settings import CnnSettings
from dnalm.corpora.settings import LinesSettings
from dnalm.embed_sequences.settings import VectorSettings
from dnalm.evaluate.settings import EvaluateSettings, StrandSettings
from dnalm.evaluate_language_model.settings import EvaluateLanguageModelSettings
from dnalm.explore.settings import BatchSettings, TaskSettings
from dnalm.extract_windows.settings import ExtractWindowsSettings
from dnalm.fill_mask.settings import GapSettings
from dnalm.finetune.settings import BACKBONE_SETTINGS, REPETITION, ClassifierSettings, SequenceSettings
from dnalm.predict.settings import ScanSettings
from dnalm.prepare_task.settings import FoldSettings, PrepareTaskSettings
from dnalm.problems.names import SINGLE_LABEL
from dnalm.pretrain.settings import PUBLISHED, ContextSettings, MaskingSettings, TrainingSettings
from dnalm.publish.settings import CardSettings
from dnalm.running.commandline import flag_words, settings_words
from dnalm.running.devices import SUBMITTED
from dnalm.running.errors import InputError
from dnalm.running.loggers import check_loggers
from dnalm.config_paths import is_hub_id, is_url, with_paths
from dnalm.running.files import sha256_of_file
from dnalm.running.settings import ArithmeticSettings, flag
from dnalm.score_variants.settings import VariantContextSettings
from dnalm.simulate_demo.settings import SimulateDemoSettings
from dnalm.study.variants import expand as variants_of
from dnalm.tokenizers.settings import ImportTokenizerSettings, TrainTokenizerSettings, UnknownBaseSettings
from error_message import error_message
from groups import SharedJobs
from as_module import check_paths, made_by, section_of
from snakemake import __version__ as snakemake_version
from snakemake.exceptions import WorkflowError
from snakemake.pathvars import Pathvars
from snakemake.scheduling.job_scheduler import JobScheduler
from sheets import sheet_text
from start import read_run

# Of the steps that wait for a core: checks of what was given, then what leads to language models, the longest
# chain, then all else.
BEFORE_ALL, LANGUAGE_MODEL = 2, 1

# The jobs that run here were submitted, and have the GPUs that they are told of; all else may run inside any job.
if workflow.remote_exec:
    os.environ[SUBMITTED] = "1"

# By the rules, so far, of a workflow that uses this one.
MADE_ELSEWHERE = made_by(workflow.rules)

try:
    if workflow.is_main_process:
        notes.check_writable(Path.cwd(), Path(workflow.main_snakefile).resolve())
    RUN = read_run(
        config,
        workflow.overwrite_configfiles or workflow.configfiles,
        beside_workflow,
        look_into_tables=workflow.is_main_process,
        section=section_of(config, workflow.modifier_stack[0].globals["config"]),
        made=MADE_ELSEWHERE,
    )
    results = RUN.config["results"]
    FOLDERS = {"results": results, "logs": f"{results}/logs", "benchmarks": f"{results}/benchmarks"}
    check_paths(workflow.modifier, FOLDERS)
    # Resources say how a result is computed, loggers where it is watched; not what it is.
    DECISIVE = {
        name: value
        for name, value in with_paths(RUN.config, as_configured).items()
        if name not in ("resources", "loggers")
    }
    # The notes about what lies in a storage have other names.
    if workflow.is_main_process and not workflow.storage_settings.default_storage_provider:
        notes.check_known(results, DECISIVE, RUN.source)
except InputError as error:
    raise WorkflowError(str(error))

config, SIMULATION, GENOMES, TASKS = RUN.config, RUN.simulation, RUN.genomes, RUN.tasks
SIMULATED_TASKS = [
    name
    for name, task in TASKS.items()
    if SIMULATION and Path(task.files["train"]).is_relative_to(SIMULATION)
]
# All that is learned from, by name: genomes, and sequences from elsewhere.
CORPORA = [*GENOMES, *config["corpora"]]
FROM_TASKS = [name for name, corpus in config["corpora"].items() if corpus["task"] is not None]
FROM_LINES = [name for name, corpus in config["corpora"].items() if corpus["lines"] is not None]
# Whose sequences a classifier or a language model is asked about.
ASKED = [
    f"{section}.{name}"
    for section in ("predict", "embed_sequences", "score_variants")
    for name in config[section]
]
PUSHED = [name for name, published in config["publish"].items() if published["repository"]]
# Jobs on other nodes do not have the token, nor need it.
if PUSHED and workflow.is_main_process and not os.environ.get("HF_TOKEN", "").strip():
    raise WorkflowError(
        f"publish.{PUSHED[0]}.repository is set, but the environment variable HF_TOKEN is not. Type "
        "`export HF_TOKEN=…` with a token that may write, or take the repository out."
    )


# Not by the directive `pathvars:`, over which those of a workflow that uses this one would win.
workflow.pathvars.update(Pathvars.from_module(FOLDERS))

STARTED = time.time()

if workflow.is_main_process:
    scheduling.pass_only_when_needed(JobScheduler)
# The jobs of a cluster run under other plugins.
if workflow.is_main_process and "snakemake_executor_plugin_slurm" in sys.modules:
    slurm_status.make_patient(sys.modules["snakemake_executor_plugin_slurm"])
    slurm_limits.keep_within_limits(sys.modules["snakemake_executor_plugin_slurm"])

MODELS = config["models"]
TRAINED_MODELS = [name for name, settings in MODELS.items() if settings["training"] is not None]
# Variants of a study are made like models and stand in its own chapter of the report alone.
STUDY = variants_of(config)
VARIANTS = STUDY.variants
ALL_MODELS = MODELS | STUDY.models
UNTRAINED_MODELS = [f"{m}{UNTRAINED}" for m in MODELS] if config["baseline"]["untrained"] else []
# What a checkpoint was before this workflow trained it further.
ADAPTED_MODELS = [name for name in TRAINED_MODELS if MODELS[name]["checkpoint"] is not None]
PUBLISHED_MODELS = [f"{m}{PUBLISHED}" for m in ADAPTED_MODELS]
STUDY_UNTRAINED = [v.language_model for v in VARIANTS.values() if v.language_model.endswith(UNTRAINED)]
AS_PUBLISHED = [name for name in MODELS if name not in TRAINED_MODELS] + PUBLISHED_MODELS
BACKBONES = config["finetune"]["backbones"]
BASELINES = [name for name in ALL_BASELINES if config["baseline"][name]]
STACKING = stacks(config["baseline"], BACKBONES)
SPLITS = ["train", "validation"]

# With conda or an image, `python` is the one in there. Without, it is the one that runs Snakemake, also where
# its virtual environment was not activated.
METHODS = workflow.deployment_settings.deployment_method
try:
    WITH_CONDA = software.with_conda(METHODS, speak=workflow.is_main_process)
except LookupError as error:
    raise WorkflowError(str(error))
IMAGE = config["resources"]["image"] if software.with_images(METHODS) else None
PYTHON = "python" if WITH_CONDA or IMAGE else shlex.quote(sys.executable)
SCRIPTS = ROOT / "scripts"

# What `resources.on_gpus` is told.
GRES = config["resources"]["gres"]
PRETRAIN_GPUS = config["resources"]["pretrain_gpus"]
PRETRAIN_NODES = config["resources"]["pretrain_nodes"]
EMBED_GPUS = config["resources"]["embed_gpus"]

# Go on with the CPU where a granted GPU cannot be seen. It changes no result, hence no rule's params.
ALLOW_CPU = "--allow-cpu" if config["resources"]["allow_cpu"] else ""

# Packages of conda environments and images are seen by the scripts alone.
if workflow.is_main_process and not (WITH_CONDA or IMAGE):
    try:
        check_loggers(config["loggers"])
    except InputError as error:
        raise WorkflowError(str(error))


def loggers(training):
    """Flags of the loggers, which write beside the training's log. They change no result, hence no params."""
    folder = f"{shlex.quote(config['results'])}/logs/{training}.events"
    return f"{flags({'loggers': config['loggers']})} --events {folder}" if config["loggers"] else ""


# Path variables such as <results> are not known inside params.
CHECKPOINTS = f"{config['results']}/checkpoints"


# Tasks of which only so many training sequences are used, by name.
SUBSETS = {
    f"{task},train={size}": (task, size)
    for task in TASKS
    for size in (config["study"] or {}).get("train_sequences", [])
}

# Tasks without a test split of their own.
CROSS_VALIDATED = [name for name, task in TASKS.items() if task.folds]
TESTED_ONCE = [name for name in [*SUBSETS, *TASKS] if name not in CROSS_VALIDATED]

# Short steps of many tasks, where the configuration wants fewer jobs. A task has most jobs where its classifiers are
# evaluated: those of variants and models, with their repetitions, and what is combined and stacked of each model.
SHARED_JOBS = SharedJobs(
    workflow,
    [*TASKS, *SUBSETS],
    config["resources"]["tasks_per_job"],
    len(BACKBONES)
    * (
        len(VARIANTS)
        + config["finetune"]["repetitions"] * len([*MODELS, *PUBLISHED_MODELS, *UNTRAINED_MODELS])
    )
    + 2 * len(MODELS),
)


def one_of(names):
    """The constraint of a wildcard that is one of these names; without any, nothing fits."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    genome=one_of(CORPORA),
    task=one_of([*SUBSETS, *TASKS]),
    tokenizer=one_of(config["tokenizers"]),
    model=one_of([*VARIANTS, *ALL_MODELS, *PUBLISHED_MODELS, *UNTRAINED_MODELS, *STUDY_UNTRAINED]),
    trained_model=one_of(MODELS),
    backbone=rf"({'|'.join(BACKBONE_SETTINGS)})({REPETITION}\d+)?|{COMBINED}|{STACKED}",
    split="train|validation|test",
    baseline="|".join(ALL_BASELINES),
    name=one_of(config["predict"]),
    gap=one_of(config["fill_mask"]),
    asked=one_of(ASKED),
    embedded=one_of(config["embed_sequences"]),
    scored=one_of(config["score_variants"]),
    publication=one_of(config["publish"]),


def asked_sequences(wildcards):
    """The settings of sequences that are asked about."""
    section, name = wildcards.asked.split(".")
    return config[section][name]


def command(script, *arguments):
    """The shell command of a script. `exec`: signals reach the script itself, not a shell around it."""
    return " ".join(["exec", PYTHON, shlex.quote(f"{SCRIPTS}/{script}.py"), *arguments])


def command_of_many(script, arguments):
    """The shell command of a script that takes more files than a command line may have, in a large run.

    The words go through a pipe (`words_of_command`).
    """
    return command(script, f"- < <(printf '%s\\0' {arguments})")


def code(script, environment):
    """Params of a rule that change with its script's code, or the packages of its environment, and only then."""
    return digest.code(script, environment, with_conda=WITH_CONDA)


def settings_flags(section, values, prefix=""):
    """The flags of a script for the settings of a class; `values` may hold others too."""
    return shlex.join(settings_words(section, values, prefix))


def precision_flag(name):
    """The flag for what a model, or its untrained or published reference, computes in."""
    return settings_flags(ArithmeticSettings, model_settings(name))


def flags(values):
    """Other flags: {"a_b": 1} becomes `--a-b 1`; None is left out."""
    return shlex.join(word for name, value in values.items() for word in flag_words(flag(name), value))


def model_settings(name):
    """The settings of a model; an untrained or published reference has those of its model."""
    return ALL_MODELS[configured(name)]


def configured(name):
    """The name in the configuration of a model, of its untrained or published reference, or of a variant."""
    return language_model(name).removesuffix(UNTRAINED).removesuffix(PUBLISHED)


def language_model(name):
    """The name of the network that a classifier reads; variants of a study may share one."""
    return VARIANTS[name].language_model if name in VARIANTS else name


def classifier_settings(name):
    """The settings of fine-tuning for the classifiers of a model or variant."""
    return config["finetune"] | (VARIANTS[name].classifier if name in VARIANTS else {})


def read_parameters(model, backbone=None):
    """Parameters of all that is loaded to predict: a stacked predictor loads all of its members."""
    settings = model_settings(model)
    one = resources.parameters_of(settings["architecture"] or settings["checkpoint"])
    return one * (len(BACKBONES) + config["baseline"]["combined"] if backbone == STACKED else 1)


def read_mb(model, sequence_mb):
    """How many million bases, in tokens of usual length, take a model as long as these do in its own."""
    return sequence_mb * resources.tokens_factor(config["tokenizers"][model_settings(model)["tokenizer"]])


def parameters(wildcards):
    return read_parameters(wildcards.model, getattr(wildcards, "backbone", None))


def downloaded(kind, name, url):
    """Where a fetch rule puts a URL. The file keeps its name, so that people recognise it."""
    return f"resources/downloads/{kind}/{name}/{Path(url.split('?')[0]).name}"


def genome_fasta(wildcards):
    fasta = GENOMES[wildcards.genome].fasta
    return downloaded("genomes", wildcards.genome, fasta) if is_url(fasta) else fasta


def whole_task(task):
    """The name in the sheet of a task or of a subset of it."""
    return SUBSETS[task][0] if task in SUBSETS else task


def task_file(task, split):
    path = TASKS[task].files[split]
    return downloaded("tasks", f"{task}/{split}", path) if is_url(path) else path


def given_file(task, split):
    """The file of a split that a task may have, in a list."""
    return [task_file(task, split)] if split in TASKS[task].files else []


def problem_of(wildcards):
    """The kind of a task, or of the one that a subset is of."""
    return TASKS[whole_task(wildcards.task)].problem


def given_bytes(*paths):
    """Sizes of the user's own files, as a param. Snakemake looks into an input only if it is newer than the
    output, and so would miss a file that was replaced by an older one."""
    own = [p for p in paths if not is_url(p) and not (SIMULATION and Path(p).is_relative_to(SIMULATION))]
    return [os.path.getsize(path) for path in own if not MADE_ELSEWHERE(path)]


def own_checksum(genome):
    """The checksum of a genome that is not downloaded. Downloads are checked as they come."""
    return None if is_url(genome.fasta) else genome.sha256


def own_checksums(task):
    """Checksums, as SPLIT=SUM, of a task's files that are not downloaded. Downloads are checked as they come."""
    files = TASKS[task].files
    return [f"{split}={sum}" for split, sum in TASKS[task].sha256.items() if not is_url(files[split])]


def unless_own(path):
    """A file as an input, or [] for none and for one of this workflow's own.

    Snakemake knows inputs by their paths, and those of a new version, or seen from a run that was moved, are
    others. So they are params, by their content (`own_content`).
    """
    own = path is None or Path(path).resolve().is_relative_to((ROOT / "resources").resolve())
    return [] if own else path


def own_content(path):
    """The name and digest of one of this workflow's own files; None for other files."""
    return f"{Path(path).name} {sha256_of_file(Path(path))[:10]}" if path and not unless_own(path) else None


def size_mb(files):
    """Total size in MB of the inputs that exist already; 0 for a dry run on an empty folder."""
    return sum(os.path.getsize(f) for f in files if os.path.isfile(f)) / 1e6


# Resources of the rules that work on tables, by the size of all their inputs.
FOR_TABLES = {
    "mem_mb": lambda wildcards, input, attempt: resources.table_memory_mb(size_mb(input), attempt),
    "runtime": lambda wildcards, input, attempt: resources.table_runtime_min(size_mb(input), attempt),
}


def task_of_corpus(wildcards):
    return config["corpora"][wildcards.genome]["task"]


include: "common/language_models.smk"
include: "common/classifiers.smk"
include: "common/folds.smk"
include: "common/outputs.smk"
