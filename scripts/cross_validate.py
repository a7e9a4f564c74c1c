"""Judge a way of training by cross-validation: train in every fold, and predict what that fold left out.

In:  --sequences, the test table of a task with folds (scripts/prepare_task.py --folds): id, seq, label and
     what each sequence is in `fold_1`, `fold_2`, …; with --embeddings also the vectors of all of them
     (scripts/embed.py). Behind these flags stands how to train, as by hand: a script's name and its flags, or
     several parted by `:::`. In them {fold} is a folder with train.tsv and validation.tsv of one fold, and
     train.npz and validation.npz, their vectors. The last script writes the predictor to {fold}/predictor:

       cross_validate.py --sequences test.tsv … baseline --baseline kmer --task t --train {fold}/train.tsv
         --validation {fold}/validation.tsv --output {fold}/predictor --summary {fold}/predictor.json

Out: metrics.json, predictions.tsv and curves.json as scripts/evaluate.py writes them, with each sequence
     predicted once, by the predictor whose training it was left out of. metrics.json has in addition
     cross_validation: sequences (tested in each fold), metrics (of each, and of the loss, what it is over the
     folds: mean, sd, low, high, values; of metrics that are defined in every fold).
     Calibration is that of all predictions together. Temperature and threshold are fitted in every fold on
     its validation sequences and judged on what it left out; said are their medians over the folds and the
     smallest n_validation, and in by_fold those of each fold. What is said of a stacked predictor are means
     over the folds, and the smallest n_validation.
     With --telemetry a JSON of what the trainings cost: model, task, backbone, and by fold seconds and
     cpu_seconds. The first fold's hold what loading the packages took.

Metrics and intervals are those of all predictions together. Predictors of two folds have most of their
training in common, so that an interval over sequences is an approximation, and no spread over folds is an
unbiased estimate of the variance (Bengio & Grandvalet 2004). One process trains in all folds, since a start
takes longer than many a training.
"""

import argparse
import importlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import evaluate
from dnalm.baseline.settings import COMBINED, STACKED
from dnalm.evaluate.calibration import Fitted, calibration_over_folds, fit
from dnalm.evaluate.predictions import Predictions, nine_digits, write_predictions
from dnalm.evaluate.repetitions import spread
from dnalm.evaluate.settings import EvaluateSettings, StrandSettings
from dnalm.finetune.settings import BACKBONE_SETTINGS
from dnalm.prepare_task.folds import TEST, TRAIN, VALIDATION, read_roles
from dnalm.problems.flags import add_problem_flag
from dnalm.problems.kinds import KINDS, Problem
from dnalm.problems.names import SINGLE_LABEL
from dnalm.running.commandline import add_settings_flags, collect_settings, parser, run
from dnalm.running.devices import add_batch_tokens_flag, add_device_flags, check_batch_tokens
from dnalm.running.errors import InputError
from dnalm.running.files import scratch_directory, write_json
from dnalm.sequences.tables import read_labelled_table, write_labelled_table

logger = logging.getLogger("dnalm")

# The scripts that train. Rules name the code of the one that they use.
TRAINERS = ("baseline", "baseline_cnn", "combine", "finetune", "stack")
FOLD, NEXT = "{fold}", ":::"


def main(
    sequences: Path,
    embeddings: Path | None,
    training: list[str],
    kind: str,
    name: str,
    backbone: str | None,
    task: str,
    problem: str,
    positive: str | None,
    settings: EvaluateSettings,
    strands: StrandSettings,
    batch_tokens: int | None,
    gpus: int,
    allow_cpu: bool,
    metrics: Path,
    predictions: Path,
    curves: Path,
    telemetry: Path | None = None,
) -> None:
    """Train and predict in every fold, and write what was measured of all predictions together."""
    check_batch_tokens(batch_tokens)
    trainings = read_trainings(training)
    measured = KINDS[problem]
    table = read_labelled_table(sequences, measured)
    roles = read_roles(sequences)
    vectors = read_vectors(embeddings, table) if embeddings else None

    def predict(
        predictor: Path, of_fold: np.ndarray
    ) -> tuple[np.ndarray, Fitted | None, list[str], dict[str, str]]:
        """Outputs for what a fold left out, what its validation sequences say of them, labels, versions.

        Probabilities of classes alone can be calibrated. The memory that the predictor takes is free for the
        next training.
        """
        judged = evaluate.load_predictor(predictor, kind, batch_tokens, gpus, allow_cpu)
        judged = evaluate.reading_strands(evaluate.positive_class_last(judged, positive), strands.strands)
        outputs, fitted = judged.outputs(table["seq"][of_fold == TEST].tolist()), None
        if problem == SINGLE_LABEL:
            held_out = table[of_fold == VALIDATION]
            probabilities = nine_digits(judged.outputs(held_out["seq"].tolist()))
            fitted = fit(measured.targets(held_out["label"], judged.labels, sequences), probabilities)
        return outputs, fitted, judged.labels, judged.versions

    outputs: list[np.ndarray] = []
    fitted: list[Fitted] = []
    trained: list[dict[str, Any]] = []
    costs: list[dict[str, float]] = []
    for fold, of_fold in roles.items():
        logger.info("%s: %s of %d", task, fold.replace("_", " "), len(roles))
        with scratch_directory(metrics.with_name(fold)) as folder:
            write_fold(folder, table, of_fold, vectors)
            began = clock()
            for script, words in trainings:
                train(script, words, folder)
            costs.append({name: now - began[name] for name, now in clock().items()})
            predictor = folder / "predictor"
            said, fitted_of_fold, labels, packages = predict(predictor, of_fold)
            outputs.append(said)
            if fitted_of_fold:
                fitted.append(fitted_of_fold)
            if kind not in ("baseline", COMBINED):
                about_fold = evaluate.about_stacking if kind == STACKED else evaluate.about_training
                trained.append(about_fold(predictor))
            if len(outputs) == len(roles):
                # Tokenizer and limit are those of every fold.
                cut = evaluate.count_unread(predictor, kind, table["seq"].tolist())
    together = nine_digits(in_order(outputs, list(roles.values())))

    truth = measured.targets(table["label"], labels, sequences)
    about = {"task": task, "problem": problem, "name": name, "kind": kind, "backbone": backbone}
    report: dict[str, Any] = about | {"strands": strands.strands}
    report |= evaluate.measure_predictions(measured, truth, together, labels, positive, settings)
    calibration = None
    if fitted:
        left_out_of = np.argmax([of_fold == TEST for of_fold in roles.values()], axis=0)
        calibration = calibration_over_folds(truth, together, fitted, left_out_of, settings.confidence)
    report |= {"cut": cut, "calibration": calibration, "versions": packages}
    if kind == STACKED:
        report["stacked"] = stacked_over_folds(trained)
    elif trained:
        unfinished = any(of_fold["still_improving"] for of_fold in trained)
        report |= {"seed": trained[0]["seed"], "still_improving": unfinished}
    report["cross_validation"] = over_folds(measured, truth, together, list(roles.values()))
    written = table["label"].tolist()
    predicted = Predictions(problem, labels, table["id"].tolist(), written, truth, together)
    write_predictions(predictions, predicted, table["seq"].tolist())
    write_json(curves, about | evaluate.curve_report(measured, truth, together, labels))
    write_json(metrics, report)
    if telemetry:
        write_json(telemetry, {"model": name, "task": task, "backbone": backbone, "folds": costs})
    evaluate.log_headline(report, measured, settings.confidence, "cross-validated")


def read_trainings(words: list[str]) -> list[tuple[str, list[str]]]:
    """The scripts that train, each with its flags. Raises InputError for another script or none."""
    commands: list[list[str]] = [[]]
    for word in words:
        if word == NEXT:
            commands.append([])
        else:
            commands[-1].append(word)
    for command in commands:
        if not command or command[0] not in TRAINERS:
            raise InputError(
                f"{command[0] if command else 'nothing'!r} is no script that trains. Behind the flags comes "
                f"one of {', '.join(TRAINERS)} with its own flags."
            )
    return [(command[0], command[1:]) for command in commands]


def read_vectors(path: Path, table: pd.DataFrame) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The columns of a file of embeddings, and what it says of itself.

    Raises InputError unless they are those of the sequences of `table`.
    """
    from dnalm.embed.embedding import POOLINGS, read_embeddings

    read = read_embeddings(path, POOLINGS[0])
    if read.ids != table["id"].tolist():
        raise InputError(
            f"{path}: these are embeddings of other sequences. Embed these with scripts/embed.py."
        )
    with np.load(path) as data:
        return {name: data[name] for name in data.files if name != "about"}, read.about


def write_fold(
    folder: Path,
    table: pd.DataFrame,
    roles: np.ndarray,
    vectors: tuple[dict[str, np.ndarray], dict[str, Any]] | None,
) -> None:
    """Write the training and the validation sequences of a fold, with their vectors, into a folder."""
    for split in (TRAIN, VALIDATION):
        chosen = np.flatnonzero(roles == split)
        write_labelled_table(folder / f"{split}.tsv", table.iloc[chosen])
        if vectors:
            from dnalm.embed.embedding import write_embeddings

            columns, about = vectors
            of_split = {name: column[chosen] for name, column in columns.items()}
            write_embeddings(folder / f"{split}.npz", of_split, about | {"split": split})


def train(script: str, words: list[str], folder: Path) -> None:
    """Do what the script does with these flags, in this process, with `folder` for {fold}."""
    trainer: Any = importlib.import_module(script)
    flags: argparse.ArgumentParser = trainer.command_line()
    options = vars(flags.parse_args([word.replace(FOLD, str(folder)) for word in words]))
    # The log is that of this script.
    options.pop("log")
    do: Callable[..., None] = trainer.main
    do(**collect_settings(options))


def clock() -> dict[str, float]:
    """`seconds` and `cpu_seconds` (of this process and its children) since some moment."""
    spent = os.times()
    processor = spent.user + spent.system + spent.children_user + spent.children_system
    return {"seconds": time.perf_counter(), "cpu_seconds": processor}


def in_order(outputs: list[np.ndarray], roles: list[np.ndarray]) -> np.ndarray:
    """The outputs of all folds, float64[n, n_labels], in the order of the table."""
    together = np.empty((len(roles[0]), outputs[0].shape[1]))
    for of_fold, predicted in zip(roles, outputs, strict=True):
        together[of_fold == TEST] = predicted
    return together


def stacked_over_folds(folds: list[dict[str, Any]]) -> dict[str, Any]:
    """What scripts/stack.py says of its fits: means over the folds, and the smallest validation split."""
    members = [
        {"name": same[0]["name"]}
        | {key: float(np.mean([of[key] for of in same])) for key in ("weight", "loss", "accuracy")}
        for same in zip(*(of_fold["members"] for of_fold in folds), strict=True)
    ]
    return {
        "n_validation": min(of_fold["n_validation"] for of_fold in folds),
        "members": members,
        "best_single": min(members, key=lambda member: member["loss"])["name"],
    }


def over_folds(problem: Problem, truth: np.ndarray, outputs: np.ndarray, roles: list[np.ndarray]) -> dict:
    """How much the metrics differ between folds: the part `cross_validation` of metrics.json."""
    by_fold: list[dict[str, float]] = []
    for of_fold in roles:
        tested = of_fold == TEST
        found = problem.measures.of(truth[tested], outputs[tested], np.ones((1, int(tested.sum()))))
        by_fold.append({name: float(found[name][0]) for name in (*problem.measures.names, "loss")})
    values = {name: [of_fold[name] for of_fold in by_fold] for name in by_fold[0]}
    return {
        "sequences": [int((of_fold == TEST).sum()) for of_fold in roles],
        "metrics": {name: spread(numbers) for name, numbers in values.items() if np.isfinite(numbers).all()},
    }


if __name__ == "__main__":
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--sequences", type=Path, required=True, help="table of all sequences, with columns fold_1, …")
    add("--embeddings", type=Path, help="their embeddings (.npz), if the training reads such")
    add(
        "--kind",
        required=True,
        choices=["model", "published", "untrained", COMBINED, STACKED, "baseline"],
        help="what is trained, as of scripts/evaluate.py",
    )
    add("--name", required=True, help="name of the language model or baseline")
    add(
        "--backbone", choices=[*BACKBONE_SETTINGS, COMBINED, STACKED], help="how the classifier is fine-tuned"
    )
    add("--task", required=True, help="name of the task")
    add_problem_flag(arguments)
    add("--positive", help="class that precision, recall, F1, AUROC and AUPRC are about (see evaluate)")
    add_settings_flags(arguments, EvaluateSettings)
    add_settings_flags(arguments, StrandSettings, "strands")
    add_batch_tokens_flag(arguments)
    add_device_flags(arguments)
    add("--metrics", type=Path, required=True, help="JSON of metrics to write")
    add("--predictions", type=Path, required=True, help="TSV of predictions to write")
    add("--curves", type=Path, required=True, help="JSON of curves to write")
    add("--telemetry", type=Path, help="JSON of what the trainings cost, to write")
    add(
        "training",
        nargs=argparse.REMAINDER,
        help=f"a script that trains ({', '.join(TRAINERS)}) and its flags; several are parted by {NEXT}",
    )
    run(main, arguments.parse_args())
