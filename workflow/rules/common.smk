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
from dnalm.config_paths import is_hub_id, is_url
from dnalm.running.settings import ArithmeticSettings, flag
from dnalm.simulate_demo.settings import SimulateDemoSettings
from dnalm.study.variants import expand as variants_of
from dnalm.tokenizers.settings import ImportTokenizerSettings, TrainTokenizerSettings, UnknownBaseSettings
from error_message import error_message
from groups import SharedJobs
from as_module import check_prefix, section_of
from snakemake import __version__ as snakemake_version
from snakemake.exceptions import WorkflowError
from snakemake.scheduling.job_scheduler import JobScheduler
from start import read_run

# Of the steps that wait for a core: checks of what was given, then what leads to language models, the longest
# chain, then all else.
BEFORE_ALL, LANGUAGE_MODEL = 2, 1

# The jobs that run here were submitted, and have the GPUs that they are told of; all else may run inside any job.
if workflow.remote_exec:
    os.environ[SUBMITTED] = "1"

try:
    RUN = read_run(
        config,
        workflow.overwrite_configfiles or workflow.configfiles,
        beside_workflow,
        look_into_tables=workflow.is_main_process,
        section=section_of(config, workflow.modifier_stack[0].globals["config"]),
    )
    check_prefix(workflow.modifier.path_modifier, RUN.config["results"])
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
ASKED = [f"{section}.{name}" for section in ("predict", "embed_sequences") for name in config[section]]
PUSHED = [name for name, published in config["publish"].items() if published["repository"]]
# Jobs on other nodes do not have the token, nor need it.
if PUSHED and workflow.is_main_process and not os.environ.get("HF_TOKEN", "").strip():
    raise WorkflowError(
        f"publish.{PUSHED[0]}.repository is set, but the environment variable HF_TOKEN is not. Type "
        "`export HF_TOKEN=…` with a token that may write, or take the repository out."
    )


pathvars:
    results=config["results"],
    logs=f"{config['results']}/logs",
    benchmarks=f"{config['results']}/benchmarks",


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

# The scheduler is asked for `gpu` or, where it knows only generic resources, for `gres`; scripts are told
# `devices`. Rules that use GPUs also say how many nodes, tasks and CPUs, because a site's defaults for
# these would otherwise replace threads and mem_mb.
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
    folder = f"{config['results']}/logs/{training}.events"
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

# Short steps of many tasks, where the configuration wants fewer jobs.
SHARED_JOBS = SharedJobs(workflow, [*TASKS, *SUBSETS], config["resources"]["tasks_per_job"])


wildcard_constraints:
    genome="|".join(map(re.escape, CORPORA)),
    task="|".join(map(re.escape, [*SUBSETS, *TASKS])) or "no_task",
    tokenizer="|".join(map(re.escape, config["tokenizers"])),
    model="|".join(
        map(re.escape, [*VARIANTS, *ALL_MODELS, *PUBLISHED_MODELS, *UNTRAINED_MODELS, *STUDY_UNTRAINED])
    ),
    trained_model="|".join(map(re.escape, MODELS)),
    backbone=rf"({'|'.join(BACKBONE_SETTINGS)})({REPETITION}\d+)?|{COMBINED}|{STACKED}",
    split="train|validation|test",
    baseline="|".join(ALL_BASELINES),
    name="|".join(map(re.escape, config["predict"])) or "no_prediction",
    gap="|".join(map(re.escape, config["fill_mask"])) or "no_gap",
    asked="|".join(map(re.escape, ASKED)) or "nothing",
    embedded="|".join(map(re.escape, config["embed_sequences"])) or "no_sequences",
    publication="|".join(map(re.escape, config["publish"])) or "no_publication",


def asked_sequences(wildcards):
    """The settings of sequences that are asked about."""
    section, name = wildcards.asked.split(".")
    return config[section][name]


def command(script, *arguments):
    """The shell command of a script. `exec`: signals reach the script itself, not a shell around it."""
    return " ".join(["exec", PYTHON, shlex.quote(f"{SCRIPTS}/{script}.py"), *arguments])


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


def read_parameters(model, backbone):
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
    return [os.path.getsize(path) for path in own]


def own_checksum(genome):
    """The checksum of a genome that is not downloaded. Downloads are checked as they come."""
    return None if is_url(genome.fasta) else genome.sha256


def own_checksums(task):
    """Checksums, as SPLIT=SUM, of a task's files that are not downloaded. Downloads are checked as they come."""
    files = TASKS[task].files
    return [f"{split}={sum}" for split, sum in TASKS[task].sha256.items() if not is_url(files[split])]


def size_mb(files):
    """Total size in MB of the inputs that exist already; 0 for a dry run on an empty folder."""
    return sum(os.path.getsize(f) for f in files if os.path.isfile(f)) / 1e6


def task_of_corpus(wildcards):
    return config["corpora"][wildcards.genome]["task"]


# ---- Tokenizers ----


LEARNED = [name for name, settings in config["tokenizers"].items() if settings["train"] is not None]


def tokenizer_source(wildcards):
    source = config["tokenizers"][wildcards.tokenizer]["source"]
    if source is None:
        return []
    return f"resources/downloads/tokenizers/{wildcards.tokenizer}" if is_hub_id(source) else source


def learning(wildcards, key):
    return config["tokenizers"][wildcards.tokenizer]["train"][key]


# ---- Language models ----


def tokens(split, wildcards):
    tokenizer = model_settings(wildcards.model)["tokenizer"]
    return expand(
        "<results>/tokens/{tokenizer}/{genome}.{split}", tokenizer=tokenizer, genome=CORPORA, split=split
    )


def token_summaries(split, wildcards):
    return [f"{folder}.json" for folder in tokens(split, wildcards)]


def training_tokens(wildcards):
    """At most so many tokens does a pretraining read; None if it counts epochs, of a corpus not made yet."""
    settings = model_settings(wildcards.model)
    steps, batch_size = settings["training"]["steps"], settings["training"]["batch_size"]
    return steps and steps * batch_size * settings["max_tokens"]


def tokenizer_of(wildcards):
    return f"<results>/tokenizers/{model_settings(wildcards.model)['tokenizer']}"


def start_of(wildcards):
    """The architecture file or the checkpoint that a model starts from."""
    settings = model_settings(wildcards.model)
    if settings["architecture"]:
        return settings["architecture"]
    if is_hub_id(settings["checkpoint"]):
        name = configured(wildcards.model)
        return f"resources/downloads/checkpoints/{name if name in MODELS else config['study']['model']}"
    return settings["checkpoint"]


def start_flag(wildcards):
    return "--architecture" if model_settings(wildcards.model)["architecture"] else "--checkpoint"


def published_reference(pattern, wildcards):
    """Files of what an adapted model was before; none for other models."""
    reference = f"{wildcards.model}{PUBLISHED}"
    return expand(pattern, model=reference) if reference in PUBLISHED_MODELS else []


def gap_model(wildcards):
    return f"<results>/models/{config['fill_mask'][wildcards.gap]['model']}"


def gap_parameters(wildcards):
    settings = MODELS[config["fill_mask"][wildcards.gap]["model"]]
    return resources.parameters_of(settings["architecture"] or settings["checkpoint"])


def embedding_settings(wildcards):
    return config["embed_sequences"][wildcards.embedded]


def embedding_model(wildcards):
    return f"<results>/models/{embedding_settings(wildcards)['model']}"


def embedding_parameters(wildcards):
    return read_parameters(embedding_settings(wildcards)["model"], None)


# ---- Classifiers ----


def way(wildcards):
    """How a classifier is trained: `frozen` of `frozen` and of `frozen-seed43`."""
    return wildcards.backbone.partition(REPETITION)[0]


def training_settings(wildcards):
    """How a classifier is trained; where the strand decides the label, on the given strand only."""
    settings = config["finetune"][way(wildcards)]
    one_strand = strands_of(wildcards.task) == "forward" and "reverse_complement" in settings
    return settings | {"reverse_complement": False} if one_strand else settings


def seed_of(wildcards):
    """The seed of a classifier: that of the configuration, unless it repeats the training with another."""
    return int(wildcards.backbone.partition(REPETITION)[2] or classifier_settings(wildcards.model)["seed"])


def baseline_flags(baseline, task):
    """The flags of a baseline's training, but for its files."""
    if ALL_BASELINES[baseline] == "baseline_cnn":
        return f"{strands_flag(task)} {settings_flags(CnnSettings, config['baseline'])}"
    return settings_flags(KmerSettings, config["baseline"])


def classifier_flags(wildcards):
    """The flags of fine-tuning, but for its files."""
    classifier = classifier_settings(wildcards.model) | {"seed": seed_of(wildcards)}
    training = settings_flags(BACKBONE_SETTINGS[way(wildcards)], training_settings(wildcards))
    # Embeddings were computed in it; what learns from them alone is small.
    precision = "" if way(wildcards) == "frozen" else precision_flag(wildcards.model)
    return f"{settings_flags(ClassifierSettings, classifier)} {training} {precision}"


def features(wildcards):
    """Embeddings for the frozen backbone; training through the backbone computes its own."""
    if way(wildcards) != "frozen":
        return {}
    model = language_model(wildcards.model)
    return {split: f"<results>/embeddings/{model}/{wildcards.task}.{split}.npz" for split in SPLITS}


def finetune_gpus(wildcards):
    return 0 if way(wildcards) == "frozen" else config["resources"]["finetune_gpus"]


def finetune_memory_mb(wildcards, input, attempt):
    return training_memory_mb(wildcards, size_mb([input.train_sequences]), attempt)


def training_memory_mb(wildcards, table_mb, attempt):
    # At most all layers learn where some do.
    trained = parameters(wildcards) if way(wildcards) in ("partial", "full") else 0
    return resources.finetune_memory_mb(parameters(wildcards), trained, table_mb, attempt)


def finetune_runtime_min(wildcards, input, attempt):
    return training_runtime_min(wildcards, size_mb([input.train_sequences]), attempt)


def training_runtime_min(wildcards, table_mb, attempt):
    epochs = config["finetune"][way(wildcards)]["epochs"]
    if way(wildcards) == "frozen":
        return resources.head_runtime_min(table_mb, epochs, attempt)
    return resources.finetune_runtime_min(
        read_mb(wildcards.model, table_mb),
        parameters(wildcards),
        epochs,
        finetune_gpus(wildcards),
        attempt,
    )


# ---- Cross-validation ----


def all_embeddings(wildcards):
    """The embeddings of all sequences of a task, for a head on a frozen backbone."""
    model = language_model(wildcards.model)
    embedded = way(wildcards) == "frozen"
    return {"embeddings": f"<results>/embeddings/{model}/{wildcards.task}.test.npz"} if embedded else {}


def cross_validation_gpus(wildcards):
    """A head learns on the CPU; what is left out is read by the whole model."""
    return EMBED_GPUS if way(wildcards) == "frozen" else config["resources"]["finetune_gpus"]


def stacking_gpus(wildcards):
    return max(cross_validation_gpus(trained_as(wildcards, backbone)) for backbone in BACKBONES)


def trained_as(wildcards, backbone):
    """The wildcards of a classifier that is trained in this way."""
    return SimpleNamespace(model=wildcards.model, task=wildcards.task, backbone=backbone)


def folds_mb(wildcards, input):
    """Size in MB of all that is learned from, in all folds."""
    return TASKS[wildcards.task].folds * size_mb([input.sequences])


def predicted_mb(wildcards, input):
    """Size in MB of all that is predicted: every sequence once, and in each fold those for validation."""
    in_folds = TASKS[wildcards.task].folds * config["prepare_task"]["validation_fraction"]
    return (1 + in_folds) * size_mb([input.sequences])


# ---- Evaluation ----


def strands_of(task):
    """What the sheet says of a task, or of the task of which it is a subset."""
    return TASKS[whole_task(task)].strands


def strands_flag(task):
    """The one choice of strands, for whatever is evaluated and predicted of a task."""
    return settings_flags(StrandSettings, {"strands": strands_of(task)})


def readings_of(task):
    """How often a sequence is read to predict it."""
    return 2 if strands_of(task) == "both" else 1


def kind_of(model):
    """What a reader takes a model for: as configured, the same untrained, or before its adaptation."""
    if language_model(model).endswith(UNTRAINED):
        return "untrained"
    return "published" if model.endswith(PUBLISHED) else "model"


def stacked_members(wildcards):
    """Directories of the predictors of a task that are stacked; that of the majority class says nothing."""
    classifiers = [*BACKBONES, *([COMBINED] if config["baseline"]["combined"] else [])]
    return [
        *(f"<results>/baselines/{name}/{wildcards.task}" for name in BASELINES if name != "majority"),
        *(f"<results>/classifiers/{wildcards.model}/{wildcards.task}/{name}" for name in classifiers),
    ]


def classifier_evaluations(task, backbones):
    """Folders of the evaluations of all models and their references, trained in these ways."""
    return expand(
        "<results>/evaluation/{model}/{task}/{backbone}",
        backbone=backbones,
        model=[*MODELS, *PUBLISHED_MODELS, *UNTRAINED_MODELS],
        task=task,
    )


def evaluations(task):
    """Folders with metrics.json, predictions.tsv and curves.json: the leading classifier first."""
    models = classifier_evaluations(task, BACKBONES)
    if config["baseline"]["combined"]:
        models += expand(f"<results>/evaluation/{{model}}/{{task}}/{COMBINED}", model=MODELS, task=task)
    models += stacked_evaluations(task, MODELS)
    return models + expand("<results>/evaluation/{baseline}/{task}", baseline=BASELINES, task=task)


def stacked_evaluations(task, models):
    """Folders of the evaluations of the stacked predictors; none where nothing is stacked."""
    stacked = STACKING and TASKS[task].problem == SINGLE_LABEL
    pattern = f"<results>/evaluation/{{model}}/{{task}}/{STACKED}"
    return expand(pattern, model=models, task=task) if stacked else []


def evaluation_files(file, task):
    return [f"{folder}/{file}" for folder in evaluations(task)]


def repeated_metrics(task):
    """metrics.json of the classifiers that repeat a training with another seed."""
    seeds = [config["finetune"]["seed"] + i for i in range(1, config["finetune"]["repetitions"])]
    backbones = [f"{backbone}{REPETITION}{seed}" for backbone in BACKBONES for seed in seeds]
    return [f"{folder}/metrics.json" for folder in classifier_evaluations(task, backbones)]


# ---- Study ----


def studied(task):
    """Folders of all evaluations of a study on one task: variants, all stacked with its model, baselines."""
    variants = expand(
        "<results>/evaluation/{model}/{task}/{backbone}", model=VARIANTS, task=task, backbone=BACKBONES
    )
    stacked = stacked_evaluations(task, [config["study"]["model"]] if VARIANTS else [])
    return (
        variants + stacked + expand("<results>/evaluation/{baseline}/{task}", baseline=BASELINES, task=task)
    )


def learning_curve(subset):
    """Folders of the evaluations on one size of training set: the model, untrained, and the baselines."""
    model = config["study"]["model"]
    return expand(
        "<results>/evaluation/{model}/{task}/{backbone}",
        model=[model, *([f"{model}{UNTRAINED}"] if UNTRAINED_MODELS else [])],
        task=subset,
        backbone=BACKBONES,
    ) + expand("<results>/evaluation/{baseline}/{task}", baseline=BASELINES, task=subset)


def study_folders():
    """The folders of everything that a study compares; the model itself also without subsets."""
    folders = [folder for task in TASKS for folder in studied(task)]
    for subset, (task, _) in SUBSETS.items():
        folders += [*learning_curve(subset), *learning_curve(task)]
    return list(dict.fromkeys(folders))


# ---- Exploring ----


USED_TOKENIZERS = sorted({settings["tokenizer"] for settings in MODELS.values()})
# Frozen backbones have embeddings of all models anyway.
MAPPED_MODELS = [*MODELS, *PUBLISHED_MODELS, *UNTRAINED_MODELS] if "frozen" in BACKBONES else [*MODELS]
EXPLORED_CLASSIFIERS = [(model, backbone) for model in MODELS for backbone in BACKBONES]


def explored_predictions(task):
    return [
        f"<results>/evaluation/{model}/{task}/{backbone}/predictions.tsv"
        for model, backbone in EXPLORED_CLASSIFIERS
    ]


# ---- Prediction ----


def prediction_settings(wildcards):
    return config["predict"][wildcards.name]


def prediction_classifier(wildcards):
    return "<results>/classifiers/{model}/{task}/{backbone}".format(**prediction_settings(wildcards))


def predicting_parameters(wildcards):
    return read_parameters(
        prediction_settings(wildcards)["model"], prediction_settings(wildcards)["backbone"]
    )


# ---- Publishing ----


def publication(wildcards):
    return config["publish"][wildcards.publication]


def published_directory(wildcards):
    settings = publication(wildcards)
    form = (
        "<results>/classifiers/{model}/{task}/{backbone}" if settings["task"] else "<results>/models/{model}"
    )
    return form.format(**settings)


def published_classifier(wildcards):
    """What is known of a classifier; nothing of a language model."""
    settings = publication(wildcards)
    if not settings["task"]:
        return {}
    return {
        "finetuning": "<results>/classifiers/{model}/{task}/{backbone}.json".format(**settings),
        "evaluation": "<results>/evaluation/{model}/{task}/{backbone}/metrics.json".format(**settings),
        "comparison": "<results>/evaluation/{task}.comparison.json".format(**settings),
        "checks": "<results>/tasks/{task}/checks.json".format(**settings),
    }


# ---- Report ----


def of_models(pattern):
    return expand(pattern, model=MODELS)


def beside(summaries, log):
    """Logs lie in the directories whose summaries are the inputs; Snakemake cannot declare a file in a
    directory that is itself an output."""
    return [f"{summary.removesuffix('.json')}/{log}" for summary in summaries]


def of_evaluations(file):
    return [path for task in TASKS for path in evaluation_files(file, task)]


# What the rules that train in folds have in common. {{fold}} is the folder of a fold.
OF_ALL_FOLDS = (
    "--sequences {input.sequences:q} --task {wildcards.task} --problem {params.problem}"
    " {params.positive} {params.strands} {params.flags} --checkpoints {params.checkpoints:q}"
    " --metrics {output.metrics:q} --predictions {output.predictions:q} --curves {output.curves:q}"
)
OF_A_FOLD = "--task {wildcards.task} --problem {params.problem}"
SPLITS_OF_A_FOLD = "--train '{{fold}}/train.tsv' --validation '{{fold}}/validation.tsv'"
EMBEDDINGS_OF_A_FOLD = (
    "--train-embeddings '{{fold}}/train.npz' --validation-embeddings '{{fold}}/validation.npz'"
)
# Between two commands.
THEN = ":::"


def code_of(environment, *scripts):
    """Params that change with the code of the scripts that train, which no script imports."""
    return [part for script in scripts for part in code(script, environment)]


def written(predictor):
    """Where a predictor of a fold is written; what is evaluated is called `predictor`."""
    return f"--output '{{{{fold}}}}/{predictor}' --summary '{{{{fold}}}}/{predictor}.json'"


def baseline_in_fold(script, baseline, training, predictor):
    """The command that trains a baseline in a fold; its words may be params."""
    command_words = [script, "--baseline", baseline, training, OF_A_FOLD, SPLITS_OF_A_FOLD]
    return " ".join([*command_words, written(predictor)])


def finetune_in_fold(backbone, embeddings, training, predictor):
    """The command that trains a classifier in a fold; its words may be params."""
    return " ".join(
        [
            "finetune --name {wildcards.model} --model {input.model_directory:q} --gpus {resources.devices}",
            f"--backbone {backbone} {embeddings} {training}",
            "--train-sequences '{{fold}}/train.tsv' --validation-sequences '{{fold}}/validation.tsv'",
            OF_A_FOLD,
            written(predictor),
            ALLOW_CPU,
        ]
    )


def combine_in_fold(predictor):
    """The command that trains on k-mers and embeddings in a fold, beside the k-mers in kmer/predictor."""
    return " ".join(
        [
            "combine --name {wildcards.model} --model {input.model_directory:q}",
            "--kmer '{{fold}}/kmer/predictor' --pooling {params.pooling}",
            OF_A_FOLD,
            SPLITS_OF_A_FOLD,
            EMBEDDINGS_OF_A_FOLD,
            written(predictor),
        ]
    )


def stack_in_fold():
    """The commands that train all members in a fold and stack them, in the order of the rule stack."""
    names = [name for name in BASELINES if name != "majority"]
    commands = [
        baseline_in_fold(ALL_BASELINES[name], name, f"{{params.{name}}}", f"{name}/predictor")
        for name in names
    ]
    members = [f"{name}/predictor" for name in names]
    for backbone in BACKBONES:
        embeddings = EMBEDDINGS_OF_A_FOLD if backbone == "frozen" else ""
        commands.append(finetune_in_fold(backbone, embeddings, f"{{params.{backbone}}}", backbone))
        members.append(backbone)
    if config["baseline"]["combined"]:
        if "kmer" not in names:
            commands.append(baseline_in_fold("baseline", "kmer", "{params.kmer}", "kmer/predictor"))
        commands.append(combine_in_fold(COMBINED))
        members.append(COMBINED)
    stacked = [
        "stack --name {wildcards.model} --task {wildcards.task} --gpus {resources.devices} --members",
        *(f"'{{{{fold}}}}/{member}'" for member in members),
        "--validation '{{fold}}/validation.tsv'",
        written("predictor"),
        ALLOW_CPU,
    ]
    return f" {THEN} ".join([*commands, " ".join(stacked)])
