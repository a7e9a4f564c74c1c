# Functions of the rules that train classifiers and baselines, and of those that judge them.


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


def training_memory_mb(wildcards, table_mb, attempt):
    # At most all layers learn where some do.
    trained = parameters(wildcards) if way(wildcards) in ("partial", "full") else 0
    return resources.finetune_memory_mb(parameters(wildcards), trained, table_mb, attempt)


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


def strands_of(task):
    """What the sheet says of a task, or of the task of which it is a subset."""
    return TASKS[whole_task(task)].strands


def strands_flag(task):
    """The one choice of strands, for whatever is evaluated and predicted of a task."""
    return settings_flags(StrandSettings, {"strands": strands_of(task)})


# Params of the rules that judge predictions: the class that metrics are about, the strands that are read, and how.
JUDGING = {
    "positive": lambda wildcards: flags({"positive": TASKS[whole_task(wildcards.task)].positive}),
    "strands": lambda wildcards: strands_flag(wildcards.task),
    "flags": settings_flags(EvaluateSettings, config["evaluate"]),
}


def reported_predictions(backbone):
    """The predictions of a classifier as an output, shown in Snakemake's own report too."""
    return report(
        f"<results>/evaluation/{{model}}/{{task}}/{backbone}/predictions.tsv",
        category="Classification",
        subcategory="{task}",
        labels={"model": "{model}", "backbone": backbone, "what": "predictions"},
        caption="../report/predictions.rst",
    )


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
