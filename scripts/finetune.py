"""Train a classifier of DNA sequences on top of a language model.

Reads a model directory (scripts/pretrain.py) and tables of training and validation sequences (columns id,
seq, label; scripts/prepare_task.py). The test split is not read.

Four ways:
  --backbone frozen   the language model stays as it is; its head and a new linear layer learn, from the
                      vectors in --train-embeddings and --validation-embeddings (scripts/embed.py). The
                      result is that of training through the frozen model, several times faster.
  --backbone partial  the topmost --training-layers of the model learn too, from the sequences.
  --backbone lora     low-rank matrices beside the model's learn (LoRA), from the sequences. They are merged
                      into the weights that are saved.
  --backbone full     everything learns, from the sequences.

Writes a directory that Transformers loads without this repository
(`AutoModelForSequenceClassification.from_pretrained(DIR)`, `pipeline("text-classification", DIR)`, which is
called with `truncation=True` to cut what is too long):

  config.json, model.safetensors, tokenizer files
  adapter/                   of --backbone lora: matrices and head, as `peft.PeftModel.from_pretrained` reads
                             them onto the language model as `AutoModelForSequenceClassification`, with the
                             classifier's `num_labels` and, of a ModernBERT, its `classifier_pooling`
  finetuning_log.jsonl       per epoch one "train" and one "evaluation" record: loss, accuracy or r2,
                             learning_rate; epoch 0 is before training
  finetuning_summary.json    problem, labels, settings, parameters by part of the model, and the epoch that
                             was kept

--problem says what a label is. The loss is cross-entropy (nats), with several labels the mean binary
cross-entropy over them (nats), of values the mean squared error in units of their variance: a regression
learns from values of mean 0 and standard deviation 1 and is saved so that it says them as they were given.

Of all epochs the one with the lowest validation loss is kept. With --checkpoints, a training through the
model that was killed goes on where it was saved and ends with the same bytes (on a CPU); exit code 75 says
that it left in time before the end of its job and wants to be started again.
"""

import json
import logging
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dnalm.finetune.settings import (
    BACKBONE_SETTINGS,
    ClassifierSettings,
    LearningSettings,
    ThroughBackboneSettings,
    TrainingSettings,
)
from dnalm.models.families import FAMILIES, choose_pooling, token_limit
from dnalm.problems.flags import add_problem_flag
from dnalm.problems.kinds import KINDS, Problem
from dnalm.problems.names import REGRESSION, SINGLE_LABEL
from dnalm.running.checkpointer import Checkpointer
from dnalm.running.checkpoints import fingerprint
from dnalm.running.code import sha256_of_modules
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.devices import (
    add_device_flags,
    add_precision_flag,
    choose_device,
    choose_precision,
    suggest_bf16,
)
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_directory, sha256_of_directory, sha256_of_file, write_json
from dnalm.running.loggers import Loggers, add_logger_flags, check_loggers
from dnalm.running.memory import checkpoint_gradients
from dnalm.running.runlock import check_held
from dnalm.running.settings import MemorySettings
from dnalm.running.versions import versions
from dnalm.sequences.strands import reverse_complement
from dnalm.sequences.tables import read_labelled_table

if TYPE_CHECKING:
    import torch
    from torch import nn

    from dnalm.finetune.classifier import Standardisation
    from dnalm.finetune.examples import Examples
    from dnalm.finetune.objectives import TargetScale
    from dnalm.finetune.training import State

logger = logging.getLogger("dnalm")

# The modules that decide the numbers of a training. Their code is part of the fingerprint.
CODE = (
    "dnalm.finetune.training",
    "dnalm.finetune.classifier",
    "dnalm.finetune.examples",
    "dnalm.finetune.trained",
    "dnalm.finetune.objectives",
    "dnalm.problems.kinds",
    "dnalm.problems.metrics",
    "dnalm.problems.multi_label",
    "dnalm.problems.regression",
    "dnalm.models.architecture",
    "dnalm.models.attention_masks",
    "dnalm.models.families",
    "dnalm.models.matrix_products",
    "dnalm.models.optimization",
    "dnalm.models.sharding",
    "dnalm.sequences.strands",
    "dnalm.tokenizers.batches",
    "dnalm.tokenizers.bpe",
    "dnalm.tokenizers.encoder",
    "dnalm.tokenizers.encoding",
    "dnalm.tokenizers.merges",
    "dnalm.tokenizers.overlapping",
    "dnalm.embed.embedding",
)


def main(
    model: Path,
    train_sequences: Path,
    validation_sequences: Path,
    train_embeddings: Path | None,
    validation_embeddings: Path | None,
    backbone: str,
    settings: ClassifierSettings,
    training: TrainingSettings,
    precision: str,
    gpus: int,
    allow_cpu: bool,
    checkpoints: Path | None,
    checkpoint_every_minutes: float,
    stop_before_minutes: float,
    name: str,
    task: str,
    output: Path,
    summary_file: Path | None,
    loggers: Sequence[str] = (),
    events: Path = Path("events"),
    problem: str = SINGLE_LABEL,
) -> None:
    """Train the classifier and write its directory."""
    check_loggers(loggers)
    kind = KINDS[problem]
    train_table = read_labelled_table(train_sequences, kind)
    validation_table = read_labelled_table(validation_sequences, kind)
    labels = check_labels(kind, train_sequences, train_table, validation_sequences, validation_table)
    if problem == REGRESSION and (training.label_smoothing or training.class_weights != "none"):
        logger.info("%s: label smoothing and class weights do not concern the values of a regression", task)
    embeddings = [path for path in (train_embeddings, validation_embeddings) if path is not None]
    check_backbone(backbone, embeddings, checkpoints, precision)

    # PyTorch takes seconds to import; whatever can be wrong with the tables has shown by now.
    from dnalm.finetune import classifier, objectives, trained
    from dnalm.finetune import training as finetuning
    from dnalm.tokenizers.encoding import load_tokenizer

    # ----------------------------------------------------------------- network and examples
    loop = training.model_dump(include=set(LearningSettings.model_fields))
    recipe = finetuning.Recipe(**loop, seed=settings.seed, problem=problem)
    config = classifier.read_model_config(model)
    pooling = choose_pooling(config, settings.pooling)
    if pooling != settings.pooling:
        logger.info("%s classifiers read [CLS] only: pooling is %s", config["model_type"], pooling)
    max_tokens = token_limit(config, settings.max_tokens)
    tables = {"train": train_table, "validation": validation_table}
    labelled = Labelled(kind, labels, tables, load_tokenizer(model), max_tokens)
    if isinstance(training, ThroughBackboneSettings):
        device = choose_device(gpus, allow_cpu=allow_cpu)
        start = start_from_sequences(model, labelled, pooling, training, settings.seed, device, precision)
    else:
        start = start_from_embeddings(
            model, labelled, pooling, embeddings, settings.seed, training.standardise
        )
    module, learned, held_out = start.module, start.learned, start.held_out
    values = objectives.TargetScale.of(learned.labels) if problem == REGRESSION else None
    if values is not None:
        for examples in (learned, held_out):
            examples.labels = values.applied(examples.labels)
    parameters = trained.count_trained(start.weights, module)
    packages = versions() | (versions("peft") if trained.is_adapted(module) else {})
    logger.info(
        "%s, %s: %s trainable parameters, %s training sequences, labels %s",
        name,
        task,
        f"{parameters['trainable']:,}",
        f"{len(train_table):,}",
        ", ".join(labels),
    )

    # ----------------------------------------------------------------- training
    # Without what saves memory only.
    decided = training.model_dump(exclude=set(MemorySettings.model_fields)) | {"seed": settings.seed}
    # Everything that the result depends on, so that a checkpoint of another training is never picked up.
    fingerprinted = {
        "kind": "finetune",
        "problem": problem,
        "model": sha256_of_directory(model),
        "train": sha256_of_file(train_sequences),
        "validation": sha256_of_file(validation_sequences),
        "pooling": pooling,
        "max_tokens": max_tokens,
        "settings": decided,
        "precision": start.precision,
        "versions": packages,
        "code": sha256_of_modules(CODE),
    }
    checkpointer = None
    if checkpoints:
        checkpointer = Checkpointer(
            checkpoints,
            fingerprinted,
            every_minutes=checkpoint_every_minutes,
            stop_before_minutes=stop_before_minutes,
        )
    with checkpointer or nullcontext():
        watching = Loggers(
            loggers, events / fingerprint(fingerprinted), f"{name}/{task}/{backbone}", fingerprinted
        )
        result = finetuning.train(module, learned, held_out, recipe, checkpointer, watching)
        watching.close()
        # ------------------------------------------------------------- outputs
        kept = kept_epoch(result, backbone)
        summary = {
            "model": name,
            "task": task,
            "problem": problem,
            "backbone": backbone,
            "pooling": pooling,
            "labels": labels,
            "max_tokens": max_tokens,
            "cut": start.cut,
            "sequences": {"train": len(train_table), "validation": len(validation_table)},
            "label_counts": {
                name: count_labels(kind, table, labels)
                for name, table in (("train", train_table), ("validation", validation_table))
            },
            # Says how to cut longer sequences when the classifier is put to use (scripts/predict.py).
            "median_length": int(np.median(train_table["seq"].str.len())),
            "parameters": parameters,
            "parameters_total": parameters["total"],
            "parameters_trainable": parameters["trainable"],
            "settings": decided,
            "steps": result.step,
            "kept": kept,
            "precision": start.precision,
            "versions": packages,
        }
        write_classifier(output, model, labelled, pooling, start, values, result, summary)
        if summary_file:
            # The digest makes this small file stand for the directory: it changes when the classifier does.
            write_json(summary_file, summary | {"sha256": sha256_of_directory(output)})
        if checkpointer:
            checkpointer.discard()


@dataclass(frozen=True)
class Labelled:
    """The sequences of a task, and how they are read: `tables` by split, train and validation."""

    kind: Problem
    labels: list[str]
    tables: dict[str, pd.DataFrame]
    tokenizer: Any
    max_tokens: int


@dataclass(frozen=True)
class Start:
    """A classifier before it learns, and what it learns from and is judged on.

    `weights` are those of the whole classifier with the configuration `config`; `module` is what learns of
    it, from `features` where these are standardised. `cut` by split: what of the sequences is not read.
    """

    config: dict[str, Any]
    weights: "dict[str, torch.Tensor]"
    module: "nn.Module"
    learned: "Examples"
    held_out: "Examples"
    cut: dict[str, dict[str, Any]]
    precision: str
    features: "Standardisation | None" = None


def start_from_embeddings(
    model: Path, labelled: Labelled, pooling: str, embeddings: list[Path], seed: int, standardise: bool
) -> Start:
    """A head on a frozen backbone, and the vectors of the sequences."""
    from dnalm.finetune import classifier

    config = classifier.read_model_config(model)
    weights = classifier.initial_weights(model, len(labelled.labels), seed)
    cut = count_cuts(labelled.tokenizer, labelled.tables, labelled.max_tokens, encoded={})
    learned, held_out = (
        read_vectors(path, table, labelled.kind, labelled.labels, pooling, model, labelled.max_tokens)
        for path, table in zip(embeddings, labelled.tables.values(), strict=True)
    )
    features = None
    if standardise:
        features = classifier.Standardisation.of(learned.vectors)
        # The start is that of every other way; only the coordinates in which it learns differ.
        config, weights = classifier.with_bias(config, weights)
        weights = features.unfolded(config, weights)
        for examples in (learned, held_out):
            examples.vectors = features.applied(examples.vectors)
    module = classifier.head_with(config, weights)
    return Start(config, weights, module, learned, held_out, cut, "fp32", features)


def start_from_sequences(
    model: Path,
    labelled: Labelled,
    pooling: str,
    training: ThroughBackboneSettings,
    seed: int,
    device: "torch.device",
    precision: str,
) -> Start:
    """The whole classifier, of which `training` says what learns, and the tokens of the sequences."""
    from dnalm.finetune import classifier, trained
    from dnalm.finetune.examples import Tokens
    from dnalm.tokenizers.encoding import encode

    config = classifier.read_model_config(model)
    weights = classifier.initial_weights(model, len(labelled.labels), seed)
    encoded = {
        split: encode(labelled.tokenizer, table["seq"].tolist(), labelled.max_tokens)
        for split, table in labelled.tables.items()
    }
    cut = count_cuts(labelled.tokenizer, labelled.tables, labelled.max_tokens, encoded)
    chosen = choose_precision(precision, device)
    whole = classifier.full_model(model, weights, len(labelled.labels), pooling, labelled.kind.name)
    suggest_bf16(precision, device, whole)
    if training.gradient_checkpointing:
        checkpoint_gradients(whole)
    module = trained.prepare(whole, training, seed).to(device)
    learned, held_out = (
        Tokens(
            tokens,
            targets_of(labelled.kind, table, labelled.labels),
            config["pad_token_id"],
            device,
            chosen == "bf16",
        )
        for tokens, table in zip(encoded.values(), labelled.tables.values(), strict=True)
    )
    if training.reverse_complement:
        turned = [reverse_complement(sequence) for sequence in labelled.tables["train"]["seq"]]
        learned.opposite = encode(labelled.tokenizer, turned, labelled.max_tokens)
    return Start(config, weights, module, learned, held_out, cut, chosen)


def count_cuts(
    tokenizer: Any,
    tables: dict[str, pd.DataFrame],
    max_tokens: int,
    encoded: Mapping[str, Sequence[np.ndarray]],
) -> dict[str, dict[str, Any]]:
    """By split, how many sequences are cut and how many bases stay unread; for the summary and the log.

    `encoded`: by split the ids of its sequences, where they are at hand.
    """
    from dnalm.tokenizers.cut import count_cut

    found = {}
    for name, table in tables.items():
        cut = count_cut(tokenizer, table["seq"].tolist(), max_tokens, encoded.get(name))
        if warning := cut.warning(f"sequences of the {name} split"):
            logger.warning(warning)
        found[name] = cut.summary()
    return found


def write_classifier(
    output: Path,
    model: Path,
    labelled: Labelled,
    pooling: str,
    start: Start,
    values: "TargetScale | None",
    result: "State",
    summary: dict[str, Any],
) -> None:
    """Write the directory, whole or not at all: the weights of the epoch that is kept, the log, the summary.

    They are of features and of `values` as they are, whatever scale was learned on.
    """
    from dnalm.finetune import classifier, trained
    from dnalm.finetune.training import put_weights

    with atomic_directory(output, check_held) as directory:
        put_weights(start.module, result.best_weights)
        if trained.is_adapted(start.module):
            trained.save_adapter(directory / trained.ADAPTER, start.module, values)
        weights = trained.merged(start.weights, start.module)
        if start.features is not None:
            weights = start.features.folded(start.config, weights)
        if values is not None:
            output_layer = FAMILIES[start.config["model_type"]].classifier_head.output
            weights = values.folded(output_layer, weights)
        classifier.save_classifier(
            directory, model, weights, labelled.labels, pooling, labelled.max_tokens, labelled.kind.name
        )
        lines = [json.dumps(record, allow_nan=False) + "\n" for record in result.log]
        (directory / "finetuning_log.jsonl").write_text("".join(lines))
        write_json(directory / "finetuning_summary.json", summary)


def check_backbone(backbone: str, embeddings: list[Path], checkpoints: Path | None, precision: str) -> None:
    """Raise InputError if something was given that does not go with what learns, or is missing."""
    if backbone == "frozen" and len(embeddings) < 2:
        raise InputError(
            "--backbone frozen needs --train-embeddings and --validation-embeddings. "
            "Make them with scripts/embed.py."
        )
    if backbone != "frozen" and embeddings:
        raise InputError(f"--backbone {backbone} trains from the sequences. Leave the embeddings out.")
    if backbone == "frozen" and checkpoints:
        raise InputError("--checkpoints: a head alone trains in seconds. Leave it out.")
    if backbone == "frozen" and precision == "bf16":
        raise InputError("--precision: a head alone learns in fp32. Give it to scripts/embed.py instead.")


def kept_epoch(result: "State", backbone: str) -> dict[str, Any]:
    """Which epoch is kept, by which rule, and whether more epochs could be better; for the summary."""
    evaluations = [record for record in result.log if record["event"] == "evaluation"]
    kept = next(record for record in evaluations if record["epoch"] == result.best_epoch)
    measured = {key: value for key, value in kept.items() if key not in ("event", "epoch", "step")}
    logger.info(
        "kept epoch %d of %d: validation %s",
        *(kept["epoch"], evaluations[-1]["epoch"]),
        ", ".join(f"{name} {value:.4f}" for name, value in measured.items()),
    )
    unfinished = still_improving(result.log)
    if unfinished:
        logger.info(
            "validation loss was still falling: more epochs (finetune.%s.epochs) may improve it", backbone
        )
    return {
        "rule": "lowest validation loss",
        "epoch": kept["epoch"],
        **measured,
        "still_improving": unfinished,
    }


def still_improving(log: list[dict[str, Any]]) -> bool:
    """Whether the validation loss fell by more than 0.01 in the last fifth of the epochs.

    The training was then too short to say how good the classifier can be. The loss is in nats per sequence,
    that of values in units of their variance.
    """
    losses = [record["loss"] for record in log if record["event"] == "evaluation"]
    fifth = max(1, (len(losses) - 1) // 5)
    return min(losses[:-fifth]) - min(losses[-fifth:]) > 0.01


def check_labels(
    kind: Problem,
    train_path: Path,
    train_table: pd.DataFrame,
    validation_path: Path,
    validation_table: pd.DataFrame,
) -> list[str]:
    """The names of the outputs in their order. Raises InputError if they cannot be learned."""
    labels = kind.labels_of(train_table["label"])
    if train_table["label"].nunique() < 2:
        raise InputError(f"{train_path}: every label is {train_table['label'][0]}. At least two are needed.")
    kind.targets(validation_table["label"], labels, validation_path)
    return labels


def count_labels(kind: Problem, table: pd.DataFrame, labels: list[str]) -> dict[str, int]:
    """Sequences per label, also for labels without any; of values how many there are."""
    if kind.name == REGRESSION:
        return {labels[0]: len(table)}
    carried = kind.membership(table["label"], labels)
    return {label: int(of.sum()) for label, of in zip(labels, carried.T, strict=False)}


def read_vectors(
    path: Path,
    table: pd.DataFrame,
    kind: Problem,
    labels: list[str],
    pooling: str,
    model: Path,
    max_tokens: int,
) -> Any:
    """Embeddings as training examples. Raises InputError unless they were made from `table` by `model`."""
    import torch

    from dnalm.embed.embedding import model_digest, read_embeddings
    from dnalm.finetune.examples import Vectors

    read = read_embeddings(path, pooling)
    remedy = "Embed the sequences again with scripts/embed.py."
    if read.ids != table["id"].tolist() or read.labels != table["label"].tolist():
        raise InputError(f"{path}: these are the embeddings of other sequences. {remedy}")
    if read.about["model_sha256"] != model_digest(model):
        raise InputError(f"{path}: these embeddings are from another model than {model}. {remedy}")
    if (embedded_with := read.about["max_tokens"]) != max_tokens:
        raise InputError(
            f"{path}: embedded with --max-tokens {embedded_with}, here it is {max_tokens}. {remedy}"
        )
    return Vectors(torch.from_numpy(read.vectors), targets_of(kind, table, labels))


def targets_of(kind: Problem, table: pd.DataFrame, labels: list[str]) -> Any:
    """The labels of a table as the loss takes them: int64[n] or float32[n, n_labels]."""
    from dnalm.finetune.objectives import as_targets

    return as_targets(kind.targets(table["label"], labels, "labels"))


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--model", type=Path, required=True, help="model directory of the language model")
    arguments.add_argument("--train-sequences", type=Path, required=True, help="TSV of the training split")
    arguments.add_argument(
        "--validation-sequences", type=Path, required=True, help="TSV of the validation split"
    )
    arguments.add_argument(
        "--train-embeddings", type=Path, help="their embeddings (.npz); frozen backbone only"
    )
    arguments.add_argument(
        "--validation-embeddings", type=Path, help="their embeddings (.npz); frozen backbone only"
    )
    arguments.add_argument(
        "--backbone",
        choices=tuple(BACKBONE_SETTINGS),
        default="frozen",
        help="what learns (default %(default)s: only the head)",
    )
    add_problem_flag(arguments)
    add_settings_flags(arguments, ClassifierSettings)
    add_settings_flags(arguments, BACKBONE_SETTINGS, "training", chosen_by="backbone")
    arguments.add_argument(
        "--checkpoints",
        type=Path,
        help="where training through the model saves its state, to go on from after an interruption "
        "(default: nowhere)",
    )
    arguments.add_argument(
        "--checkpoint-every-minutes",
        type=float,
        default=10.0,
        help="minutes between two checkpoints (default %(default)g)",
    )
    arguments.add_argument(
        "--stop-before-minutes",
        type=float,
        default=5.0,
        help="save and leave so many minutes before the Slurm job ends (default %(default)g); with "
        "--checkpoints",
    )
    add_logger_flags(arguments)
    arguments.add_argument("--name", required=True, help="name of the language model, for the summary")
    arguments.add_argument("--task", required=True, help="name of the task, for the summary")
    arguments.add_argument("--output", type=Path, required=True, help="classifier directory to write")
    arguments.add_argument(
        "--summary",
        dest="summary_file",
        type=Path,
        help="also write the summary here, with the SHA-256 of the directory (default: nowhere)",
    )
    add_precision_flag(arguments)
    add_device_flags(arguments)
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
