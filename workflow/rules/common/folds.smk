# Functions of the rules for tasks with folds: sizes, and commands that train in a fold.


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
