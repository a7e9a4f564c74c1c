# Functions of the rules behind the evaluations: study, exploring, prediction, publishing, report.


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


def published_base_model(wildcards):
    """The repository of the Hub that a published model started from, if it started from one."""
    start = MODELS[publication(wildcards)["model"]]["checkpoint"]
    return start if start and is_hub_id(start) else None


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


def workflow_name():
    """The flag for what a card calls this workflow: `dna-modernbert 0.2.0, commit …`."""
    known = [" ".join(item) for item in (software.own_version(ROOT) | software.own_commit(ROOT)).items()]
    return {"workflow": ", ".join(known) or None}


# ---- Report ----


def of_models(pattern):
    return expand(pattern, model=MODELS)


def beside(summaries, log):
    """Logs lie in the directories whose summaries are the inputs; Snakemake cannot declare a file in a
    directory that is itself an output."""
    return [f"{summary.removesuffix('.json')}/{log}" for summary in summaries]


def folder_beside(configuration, name):
    """Snakemake's benchmarks and the logs are no inputs: they say nothing of a result, and a storage may not have
    them here."""
    return f"{Path(configuration).parent}/{name}"


def reported_packages():
    """The packages behind the report; publish has its own. Those of an image are told by the trainings alone."""
    if IMAGE:
        return {"image": IMAGE}
    environments = sorted(file.stem for file in (ROOT / "envs").glob("*.yaml") if file.stem != "publish")
    return digest.reported_packages(environments, with_conda=WITH_CONDA)


def of_evaluations(file):
    return [path for task in TASKS for path in evaluation_files(file, task)]
