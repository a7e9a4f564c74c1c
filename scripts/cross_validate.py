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

A fold that is done is kept in --checkpoints and never trained again: killed at any moment, the same command
goes on with the training that was not done, and ends with the same bytes. Fine-tuning through the model goes
on within its fold (scripts/finetune.py). Exit code 75 says that it left in time before the end of its job, or
after a signal, and wants to be started again. Kept folds of other sequences, options, models, code or
versions are not taken. They stay when all is written, so that other bootstrap samples cost no training. What
a killed process (kill -9) took in a training that it did not end is no part of the costs.

Metrics and intervals are those of all predictions together. Predictors of two folds have most of their
training in common, so that an interval over sequences is an approximation, and no spread over folds is an
unbiased estimate of the variance (Bengio & Grandvalet 2004). One process trains in all folds, since a start
takes longer than many a training.
"""

import argparse
import importlib
import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import evaluate
from dnalm.baseline.settings import BASELINES, COMBINED, STACKED
from dnalm.cross_validate.kept import Fold, keep, read_kept
from dnalm.evaluate.calibration import calibration_over_folds
from dnalm.evaluate.predictions import Predictions, nine_digits, write_predictions
from dnalm.evaluate.repetitions import spread
from dnalm.evaluate.settings import EvaluateSettings, StrandSettings
from dnalm.prepare_task.folds import TEST, TRAIN, VALIDATION, read_roles
from dnalm.problems.flags import add_problem_flag
from dnalm.problems.kinds import KINDS, Problem
from dnalm.problems.names import SINGLE_LABEL
from dnalm.running.checkpointer import Checkpointer
from dnalm.running.code import SCRIPTS, digests
from dnalm.running.commandline import parsed_options, parser, run
from dnalm.running.devices import check_batch_tokens, choose_device, choose_precision
from dnalm.running.errors import InputError
from dnalm.running.files import read_json, sha256_of_directory, sha256_of_file, write_json
from dnalm.running.runlock import check_held
from dnalm.running.settings import MemorySettings, Settings
from dnalm.running.versions import versions
from dnalm.sequences.tables import read_clusters, read_labelled_table, write_labelled_table

logger = logging.getLogger("dnalm")

# The scripts that train. Rules name the code of the one that they use.
TRAINERS = (*dict.fromkeys(BASELINES.values()), "combine", "finetune", "stack")
# Options of theirs that change no result: where to compute, how much at once, when to save, what to show.
DECIDES_NOTHING = {
    "allow_cpu",
    "batch_tokens",
    "checkpoint_every_minutes",
    "checkpoints",
    "events",
    "gpus",
    "loggers",
    "stop_before_minutes",
}
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
    checkpoints: Path,
    stop_before_minutes: float,
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

    def judge(directory: Path, of_fold: np.ndarray, costs: dict[str, float], *, last: bool) -> Fold:
        """What is needed of a fold; the memory that its predictor takes is free for the next training."""
        judged = evaluate.load_predictor(directory, kind, batch_tokens, gpus, allow_cpu)
        judged = evaluate.reading_strands(evaluate.positive_class_last(judged, positive), strands.strands)
        outputs = judged.outputs(table["seq"][of_fold == TEST].tolist())
        fitted = None
        if problem == SINGLE_LABEL:
            fitted = evaluate.fit_on_validation(judged, measured, table[of_fold == VALIDATION], sequences)
        trained = about_training(directory, kind)
        # Tokenizer and limit are those of every fold.
        cut = evaluate.count_unread(directory, kind, table["seq"].tolist()) if last else None
        return Fold(outputs, judged.labels, judged.versions, fitted, trained, cut, costs)

    fingerprinted = {
        "kind": "cross_validate",
        "sequences": sha256_of_file(sequences),
        "embeddings": embeddings and sha256_of_file(embeddings),
        "trainings": [{"script": script} | decisive_options(script, words) for script, words in trainings],
        "predictor": {"kind": kind, "problem": problem, "positive": positive, "strands": strands.strands},
        "versions": installed_versions(),
        "code": code_of("cross_validate", *(script for script, _ in trainings)),
    }
    with Checkpointer(checkpoints, fingerprinted, stop_before_minutes=stop_before_minutes) as checkpointer:
        folds = train_folds(task, table, roles, vectors, trainings, judge, checkpointer)

        labels = folds[-1].labels
        truth = measured.targets(table["label"], labels, sequences)
        outputs = nine_digits(in_order([fold.outputs for fold in folds], list(roles.values())))
        clusters = read_clusters(sequences, len(table))
        about = {"task": task, "problem": problem, "name": name, "kind": kind, "backbone": backbone}
        report: dict[str, Any] = about | {"strands": strands.strands}
        report |= evaluate.measure_predictions(measured, truth, outputs, clusters, labels, positive, settings)
        report["cut"] = folds[-1].cut
        report["calibration"] = calibration_of(folds, roles, truth, outputs, settings.confidence)
        report["versions"] = folds[-1].versions
        report |= trainings_over_folds(folds, kind)
        report["cross_validation"] = over_folds(measured, truth, outputs, list(roles.values()))
        written = table["label"].tolist()
        predicted = Predictions(problem, labels, table["id"].tolist(), written, truth, outputs, clusters)
        check_held()
        write_predictions(predictions, predicted, table["seq"].tolist())
        write_json(curves, about | evaluate.curve_report(measured, truth, outputs, labels))
        write_json(metrics, report)
        if telemetry:
            costs_of_folds = [fold.costs for fold in folds]
            about_costs = {"model": name, "task": task, "backbone": backbone, "folds": costs_of_folds}
            write_json(telemetry, about_costs)
    evaluate.log_headline(report, measured, settings.confidence, "cross-validated")


# ----------------------------------------------------------------------------- what is trained, and on what


def read_trainings(words: list[str]) -> list[tuple[str, list[str]]]:
    """The scripts that train, each with its flags.

    Raises InputError for another script or none, and for two that write the same predictor.
    """
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
    trainings = [(command[0], command[1:]) for command in commands]
    outputs = [options_of(script, words)["output"] for script, words in trainings]
    if twice := next((path for path in outputs if outputs.count(path) > 1), None):
        raise InputError(f"two scripts write {twice}. Give each an --output of its own.")
    return trainings


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


# ----------------------------------------------------------------------------- folds


def train_folds(
    task: str,
    table: pd.DataFrame,
    roles: dict[str, np.ndarray],
    vectors: tuple[dict[str, np.ndarray], dict[str, Any]] | None,
    trainings: list[tuple[str, list[str]]],
    judge: Callable[..., Fold],
    checkpointer: Checkpointer,
) -> list[Fold]:
    """Train in every fold that is not done yet, and keep what `judge` says of its predictor.

    `roles` says by fold what each sequence of the table is in it; `vectors` are their embeddings.
    """
    folds: list[Fold] = []
    for fold, of_fold in roles.items():
        folder = checkpointer.store.directory / fold
        kept = folder.with_name(f"{fold}.json")
        if done := read_kept(kept):
            logger.info("%s: %s of %d is done already", task, fold.replace("_", " "), len(roles))
        else:
            logger.info("%s: %s of %d", task, fold.replace("_", " "), len(roles))
            write_fold(folder, table, of_fold, vectors)
            costs = train_all(trainings, folder, checkpointer)
            done = judge(folder / "predictor", of_fold, costs, last=len(folds) == len(roles) - 1)
            keep(kept, done)
        folds.append(done)
        shutil.rmtree(folder, ignore_errors=True)
    return folds


def write_fold(
    folder: Path,
    table: pd.DataFrame,
    roles: np.ndarray,
    vectors: tuple[dict[str, np.ndarray], dict[str, Any]] | None,
) -> None:
    """Write the training and the validation sequences of a fold, with their vectors, into a folder."""
    folder.mkdir(exist_ok=True)
    for split in (TRAIN, VALIDATION):
        chosen = np.flatnonzero(roles == split)
        write_labelled_table(folder / f"{split}.tsv", table.iloc[chosen])
        if vectors:
            from dnalm.embed.embedding import write_embeddings

            columns, about = vectors
            of_split = {name: column[chosen] for name, column in columns.items()}
            write_embeddings(folder / f"{split}.npz", of_split, about | {"split": split})


def train_all(
    trainings: list[tuple[str, list[str]]], folder: Path, checkpointer: Checkpointer
) -> dict[str, float]:
    """Train in a fold, and say what it took: `seconds` and `cpu_seconds`, those of earlier processes too.

    Not known is what a process took that was killed in a training.
    """
    file = folder / "costs.json"
    costs = dict.fromkeys(clock(), 0.0)
    with suppress(InputError):
        costs |= read_json(file)
    for script, words in trainings:
        checkpointer.leave_if_asked()
        began = clock()
        try:
            train(script, words, folder)
        finally:
            costs = {name: costs[name] + now - began[name] for name, now in clock().items()}
            write_json(file, costs)
    return costs


def train(script: str, words: list[str], folder: Path) -> None:
    """Do what the script does with these flags, in this process, with `folder` for {fold}.

    Nothing is done again that has ended. Fine-tuning through the model goes on from its checkpoints.
    """
    options = options_of(script, [word.replace(FOLD, str(folder)) for word in words])
    if is_made(options["output"], options.get("summary", options.get("summary_file"))):
        return
    # A head on a frozen backbone trains in seconds.
    if options.get("backbone", "frozen") != "frozen" and options["checkpoints"] is None:
        options["checkpoints"] = folder / "checkpoints"
    do: Callable[..., None] = importlib.import_module(script).main
    do(**options)


def about_training(predictor: Path, kind: str) -> dict[str, Any] | None:
    """What is said of the training of a predictor; None of baselines and of k-mers beside embeddings."""
    if kind in ("baseline", COMBINED):
        return None
    return evaluate.about_stacking(predictor) if kind == STACKED else evaluate.about_training(predictor)


def options_of(script: str, words: list[str]) -> dict[str, Any]:
    """What the script's `main` takes for these flags. Raises InputError for a value that is wrong."""
    trainer: Any = importlib.import_module(script)
    return parsed_options(trainer.command_line(), words)


def is_made(predictor: Path, summary: Path | None) -> bool:
    """Whether a script that trains has ended: its summary comes last, with the SHA-256 of the directory."""
    if summary is None or not summary.is_file() or not predictor.is_dir():
        return False
    try:
        return read_json(summary)["sha256"] == sha256_of_directory(predictor)
    except InputError:
        return False


# ----------------------------------------------------------------------------- what a result depends on


def decisive_options(script: str, words: list[str]) -> dict[str, Any]:
    """The options of a training that its result depends on, with checksums in place of given files."""
    options = options_of(script, words)
    if options.get("backbone", "frozen") != "frozen":
        device = choose_device(options["gpus"], allow_cpu=options["allow_cpu"])
        options["precision"] = choose_precision(options["precision"], device)
    return {name: decisive(value) for name, value in options.items() if name not in DECIDES_NOTHING}


def decisive(value: Any) -> Any:
    """What a result depends on of an option, as JSON can hold it."""
    if isinstance(value, Settings):
        return value.model_dump(mode="json", exclude=set(MemorySettings.model_fields))
    if isinstance(value, list):
        return [decisive(one) for one in value]
    if isinstance(value, Path):
        if value.is_dir():
            return sha256_of_directory(value)
        return sha256_of_file(value) if value.is_file() else str(value)
    return value


def code_of(*scripts: str) -> dict[str, str]:
    """Digests of all code that can change what is kept of a fold, by file."""
    return {file: sha256 for script in scripts for file, sha256 in digests(SCRIPTS / f"{script}.py").items()}


def installed_versions() -> dict[str, str]:
    """Versions of the packages that train and predict; not every environment has all of them."""
    found: dict[str, str] = {}
    for package in ("numpy", "scipy", "scikit-learn", "torch", "transformers", "peft"):
        with suppress(PackageNotFoundError):
            found |= versions(package)
    return found


def clock() -> dict[str, float]:
    """`seconds` and `cpu_seconds` (of this process and its children) since some moment."""
    spent = os.times()
    processor = spent.user + spent.system + spent.children_user + spent.children_system
    return {"seconds": time.perf_counter(), "cpu_seconds": processor}


# ----------------------------------------------------------------------------- all folds together


def in_order(outputs: list[np.ndarray], roles: list[np.ndarray]) -> np.ndarray:
    """The outputs of all folds, float64[n, n_labels], in the order of the table."""
    together = np.empty((len(roles[0]), outputs[0].shape[1]))
    for of_fold, predicted in zip(roles, outputs, strict=True):
        together[of_fold == TEST] = predicted
    return together


def calibration_of(
    folds: list[Fold],
    roles: dict[str, np.ndarray],
    truth: np.ndarray,
    probabilities: np.ndarray,
    confidence: float,
) -> dict[str, Any] | None:
    """How well the probabilities are calibrated; None of labels and values, which have no such fit."""
    fitted = [fold.fitted for fold in folds if fold.fitted]
    if not fitted:
        return None
    left_out_of = np.argmax([of_fold == TEST for of_fold in roles.values()], axis=0)
    return calibration_over_folds(truth, probabilities, fitted, left_out_of, confidence)


def trainings_over_folds(folds: list[Fold], kind: str) -> dict[str, Any]:
    """What metrics.json says of trainings: of stacked predictors their fits, of classifiers seed and end."""
    trained = [fold.trained for fold in folds if fold.trained]
    if kind == STACKED:
        return {"stacked": stacked_over_folds(trained)}
    if not trained:
        return {}
    unfinished = any(of_fold["still_improving"] for of_fold in trained)
    return {"seed": trained[0]["seed"], "still_improving": unfinished}


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


def command_line() -> argparse.ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--sequences", type=Path, required=True, help="table of all sequences, with columns fold_1, …")
    add("--embeddings", type=Path, help="their embeddings (.npz), if the training reads such")
    add_problem_flag(arguments)
    evaluate.add_evaluation_flags(arguments)
    add(
        "--checkpoints",
        type=Path,
        default=Path("checkpoints"),
        help="directory for what an interrupted cross-validation goes on from, kept apart from the output",
    )
    add(
        "--stop-before-minutes",
        type=float,
        default=5.0,
        help="begin no training and leave so many minutes before the Slurm job ends (default %(default)g)",
    )
    add("--telemetry", type=Path, help="JSON of what the trainings cost, to write")
    add(
        "training",
        nargs=argparse.REMAINDER,
        help=f"a script that trains ({', '.join(TRAINERS)}) and its flags; several are parted by {NEXT}",
    )
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
