"""Judge a classifier, a regression or a baseline on the test split of a task.

In:  a classifier (scripts/finetune.py), a linear model on k-mers and embeddings (scripts/combine.py), a
     baseline (scripts/baseline.py, scripts/baseline_cnn.py) or all of these stacked (scripts/stack.py), each
     a directory, and the test split: a table with the columns seq and label (and id, and cluster, the same
     text for related sequences); for calibration also the validation split.
Out: metrics.json     task, problem, name, kind, backbone, labels (in their order, of two classes the
                      positive one last), positive_label and positive_because (null but with two classes),
                      strands, n, label_counts (null of values), bootstrap (samples, confidence, seed, and
                      how many clusters there are to draw),
                      metrics (each: value, low, high), loss (the same), confusion_matrix (rows: true class,
                      columns: predicted class; null but of classes), per_label (with several labels the
                      metrics of each, else null), cut (sequences with more tokens than the model reads, and
                      bases that it did not read; null for baselines), calibration (null without a validation
                      split, and but of classes), versions; of a stacked predictor also stacked: n_validation,
                      the members with their weights, and the best_single of them on the validation split
     predictions.tsv  id, label, predicted; of values error, else correct and probability_<label>…; loss,
                      cluster, seq; rows as in the table
     curves.json      task, problem, name, kind, backbone, positive_label, positive_fraction, and the points
                      of the curves: roc (fpr, tpr) and pr (recall, precision); of values instead scatter
                      (measured, predicted), of many sequences a part of them

The predictor knows the problem: one class, several labels, or a value for each sequence. Intervals of shares
of sequences are Wilson's, that of balanced accuracy follows from them, all others are those of the BCa
bootstrap, which for AUROC and, of two classes, MCC and F1 are at least as wide as formulas tell that hold
for few sequences. Related sequences are drawn together, and count for as
many independent ones as vary as much. With two classes precision, recall, F1,
AUROC, AUPRC and the curves are those of the positive class (--positive; without it the one whose opposite is
named as its absence, such as non-enhancer, else the last in class order); with more classes or several
labels they are means over them, or as their names say. A metric that is not defined (AUROC of one class) is
null, and so are the bounds of one that is the same in every bootstrap sample of predictions that differ.
Losses are in nats per sequence, of values squared errors. Predictions are the predictor's own, labels those
above 0.5; temperature and threshold of the calibration are fitted on the validation split.
"""

import logging
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnalm.baseline.settings import COMBINED, STACKED
from dnalm.evaluate.calibration import Fitted, calibration_report, fit
from dnalm.evaluate.predictions import PREDICTORS, Predictions, nine_digits, write_predictions
from dnalm.evaluate.settings import EvaluateSettings, StrandSettings
from dnalm.evaluate.strands import predict_strands
from dnalm.finetune.settings import BACKBONE_SETTINGS
from dnalm.problems.intervals import metric_intervals
from dnalm.problems.kinds import KINDS, Problem
from dnalm.problems.metrics import confusion_matrices, curves, mean_curves
from dnalm.problems.names import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.devices import add_batch_tokens_flag, add_device_flags, check_batch_tokens, choose_device
from dnalm.running.errors import InputError
from dnalm.running.files import read_json, write_json
from dnalm.running.versions import versions
from dnalm.sequences.labels import positive_class, positive_last
from dnalm.sequences.tables import read_clusters, read_labelled_table

logger = logging.getLogger("dnalm")

# Of each of several labels.
LABEL_METRICS = ("auroc", "auprc", "f1", "precision", "recall", "mcc")
# More points than this make a picture heavy and no clearer.
SCATTER_POINTS = 1000


def main(
    predictor: Path,
    kind: str,
    name: str,
    backbone: str | None,
    task: str,
    test: Path,
    validation: Path | None,
    positive: str | None,
    settings: EvaluateSettings,
    strands: StrandSettings,
    batch_tokens: int | None,
    gpus: int,
    allow_cpu: bool,
    metrics: Path,
    predictions: Path,
    curves: Path,
) -> None:
    """Predict the test sequences once, and write metrics, predictions and curves."""
    check_batch_tokens(batch_tokens)
    judged = load_predictor(predictor, kind, batch_tokens, gpus, allow_cpu)
    judged = reading_strands(positive_class_last(judged, positive), strands.strands)
    problem = KINDS[judged.problem]
    table = read_labelled_table(test, problem)
    sequences, labels = table["seq"].tolist(), judged.labels
    outputs = nine_digits(judged.outputs(sequences))
    truth = problem.targets(table["label"], labels, test)
    clusters = read_clusters(test, len(table))

    about = {"task": task, "problem": problem.name, "name": name, "kind": kind, "backbone": backbone}
    report: dict[str, Any] = about | {"strands": strands.strands}
    report |= measure_predictions(problem, truth, outputs, clusters, labels, positive, settings)
    report["cut"] = count_unread(predictor, kind, sequences)
    report["calibration"] = None
    if validation and problem.name == SINGLE_LABEL:
        fitted = fit_on_validation(judged, problem, read_labelled_table(validation, problem), validation)
        report["calibration"] = calibration_report(truth, outputs, fitted, settings.confidence)
    report["versions"] = judged.versions
    if kind == STACKED:
        report["stacked"] = about_stacking(predictor)
    elif kind not in ("baseline", COMBINED):
        report |= about_training(predictor)
    written = table["label"].tolist()
    predicted = Predictions(problem.name, labels, table["id"].tolist(), written, truth, outputs, clusters)
    write_predictions(predictions, predicted, sequences)
    write_json(curves, about | curve_report(problem, truth, outputs, labels))
    write_json(metrics, report)
    log_headline(report, problem, settings.confidence, "test")


def log_headline(report: dict[str, Any], problem: Problem, confidence: float, how: str) -> None:
    """Say the metric that leads; `how` it was measured."""
    name, backbone = report["name"], report["backbone"]
    logger.info(
        "%s, %s: %s %s %s on %s sequences",
        *(report["task"], f"{name}/{backbone}" if backbone else name, how, problem.headline),
        *(in_words(report["metrics"][problem.headline], confidence), f"{report['n']:,}"),
    )


def in_words(value: dict[str, float | None], confidence: float) -> str:
    """A metric with its interval, for the log."""
    if value["value"] is None:
        return "is not defined"
    if value["low"] is None or value["high"] is None:
        return f"{value['value']:.3f}"
    interval = f"{100 * confidence:g}% interval {value['low']:.3f} to {value['high']:.3f}"
    return f"{value['value']:.3f} ({interval})"


def about_training(classifier: Path) -> dict[str, Any]:
    """What scripts/finetune.py says of a classifier's training: its seed, and might more epochs have helped?

    A classifier from elsewhere has no summary; its seed is not known, and it is not suspected.
    """
    file = classifier / "finetuning_summary.json"
    if not file.exists():
        return {"seed": None, "still_improving": False}
    summary = read_json(file)
    return {"seed": summary["settings"]["seed"], "still_improving": summary["kept"]["still_improving"]}


def about_stacking(stacked: Path) -> dict[str, Any]:
    """What scripts/stack.py says of its fit."""
    from dnalm.stack.predictor import DESCRIPTION

    about = read_json(stacked / DESCRIPTION)
    return {key: about[key] for key in ("n_validation", "members", "best_single")}


@dataclass(frozen=True)
class Predictor:
    """What can be judged: `outputs` maps sequences to float64[n, n_labels], see `dnalm.problems.kinds`."""

    problem: str
    labels: list[str]
    outputs: Callable[[list[str]], np.ndarray]
    versions: dict[str, str]  # of the packages that compute


def positive_class_last(judged: Predictor, positive: str | None) -> Predictor:
    """The same predictor with the positive one of two classes as the last column."""
    if judged.problem != SINGLE_LABEL:
        return judged
    order = positive_last(judged.labels, positive)
    return replace(
        judged,
        labels=[judged.labels[number] for number in order],
        outputs=lambda sequences: judged.outputs(sequences)[:, order],
    )


def reading_strands(judged: Predictor, strands: str) -> Predictor:
    """The same predictor, which reads the `strands` of every sequence."""
    return replace(judged, outputs=lambda sequences: predict_strands(judged.outputs, sequences, strands))


def load_predictor(
    directory: Path, kind: str, batch_tokens: int | None, gpus: int, allow_cpu: bool
) -> Predictor:
    """Load a predictor of one of the kinds of --kind.

    Models compute in fp32 here, on GPUs too, so that predictors differ by their weights only.
    """
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory.")
    # Imported here: baselines need no torch, models no baselines.
    if kind == "baseline":
        from dnalm.baseline.stored import load_baseline

        baseline = load_baseline(directory)
        return Predictor(baseline.problem, baseline.labels, baseline.outputs, versions("numpy"))
    packages = versions("numpy", "torch", "transformers")
    device = choose_device(gpus, allow_cpu=allow_cpu)
    if kind == STACKED:
        from dnalm.stack.predictor import StackedClassifier

        stacked = StackedClassifier(directory, device)
        outputs = partial(stacked.outputs, batch_tokens=batch_tokens)
        return Predictor(stacked.problem.name, stacked.labels, outputs, packages)
    if kind == COMBINED:
        from dnalm.combine.predictor import Combined

        combined = Combined(directory, device)
        outputs = partial(combined.outputs, batch_tokens=batch_tokens)
        return Predictor(combined.problem, combined.labels, outputs, packages)
    from dnalm.finetune.classifier import Classifier

    model = Classifier(directory, device)
    outputs = partial(model.outputs, batch_tokens=batch_tokens)
    return Predictor(model.problem.name, model.labels, outputs, packages)


def count_unread(predictor: Path, kind: str, sequences: list[str]) -> dict[str, Any] | None:
    """How many sequences a model cuts and how many bases it does not read. Baselines read everything."""
    if kind == STACKED:
        from dnalm.stack.predictor import classifier_of

        member = classifier_of(predictor)
        return count_unread(member, "model", sequences) if member else None
    if kind == "baseline":
        return None
    from dnalm.tokenizers.cut import count_cut
    from dnalm.tokenizers.encoding import load_tokenizer, reading_limit

    if kind == COMBINED:
        tokenizer = load_tokenizer(predictor / "language_model")
        max_tokens = read_json(predictor / "combined.json")["max_tokens"]
    else:
        tokenizer = load_tokenizer(predictor)
        max_tokens = reading_limit(tokenizer)
    cut = count_cut(tokenizer, sequences, max_tokens)
    if warning := cut.warning("sequences of the test split"):
        logger.warning(warning)
    return cut.summary()


def fit_on_validation(judged: Predictor, problem: Problem, held_out: pd.DataFrame, place: Path) -> Fitted:
    """Temperature and threshold of a predictor of classes from validation sequences, which `place` holds."""
    targets = problem.targets(held_out["label"], judged.labels, place)
    return fit(targets, nine_digits(judged.outputs(held_out["seq"].tolist())))


def measure_predictions(
    problem: Problem,
    truth: np.ndarray,
    outputs: np.ndarray,
    clusters: np.ndarray,
    labels: list[str],
    positive: str | None,
    settings: EvaluateSettings,
) -> dict:
    """The part of metrics.json that follows from the predictions."""
    how = (settings.bootstrap_samples, settings.seed, settings.confidence)
    intervals = metric_intervals(truth, outputs, clusters, *how, problem.measures)
    report: dict[str, Any] = {
        "labels": labels,
        "positive_label": None,
        "n": len(truth),
        "label_counts": None,
        "bootstrap": dict(zip(("samples", "seed", "confidence"), how, strict=True))
        | {"clusters": len(set(clusters.tolist()))},
        "metrics": {name: intervals[name] for name in problem.measures.names},
        "loss": intervals["loss"],
        "confusion_matrix": None,
        "per_label": None,
    }
    if problem.name == SINGLE_LABEL:
        ones = np.ones((1, len(truth)))
        matrix = confusion_matrices(truth, outputs.argmax(axis=1), len(labels), ones)[0]
        report["positive_label"] = labels[-1] if len(labels) == 2 else None
        report["label_counts"] = {label: int((truth == i).sum()) for i, label in enumerate(labels)}
        report["confusion_matrix"] = matrix.astype(int).tolist()
    if problem.name == MULTI_LABEL:
        report["label_counts"] = {label: int(truth[:, i].sum()) for i, label in enumerate(labels)}
        report["per_label"] = {
            label: binary_metrics(truth[:, i], outputs[:, i], clusters, how) for i, label in enumerate(labels)
        }
    report["positive_because"] = None
    if report["positive_label"] is not None:
        report["positive_because"] = positive_class(labels, positive)[1]
    return report


def binary_metrics(
    carried: np.ndarray, probability: np.ndarray, clusters: np.ndarray, how: tuple[int, int, float]
) -> dict:
    """The metrics of one of several labels, as those of a task of two classes."""
    two = np.column_stack([1 - probability, probability])
    found = metric_intervals(carried.astype(np.int64), two, clusters, *how)
    return {name: found[name] for name in LABEL_METRICS}


def curve_report(problem: Problem, truth: np.ndarray, outputs: np.ndarray, labels: list[str]) -> dict:
    """The part of curves.json that follows from the predictions."""
    if problem.name == REGRESSION:
        shown = np.unique(np.linspace(0, len(truth) - 1, min(len(truth), SCATTER_POINTS)).round().astype(int))
        points = {"measured": truth[shown, 0].tolist(), "predicted": outputs[shown, 0].tolist()}
        return {"positive_label": None, "positive_fraction": None, "scatter": points}
    if problem.name == MULTI_LABEL:
        share = float(truth.mean())
        return {"positive_label": None, "positive_fraction": share, **mean_curves(truth == 1, outputs)}
    binary = len(labels) == 2
    return {
        "positive_label": labels[-1] if binary else None,
        # The precision of guessing: what a precision-recall curve has to be compared with.
        "positive_fraction": float((truth == 1).mean()) if binary else 1 / len(labels),
        **curves(truth, outputs),
    }


def add_evaluation_flags(arguments: ArgumentParser) -> None:
    """Add what tells who predicts what, how that is judged, and where it is written."""
    add = arguments.add_argument
    add(
        "--kind",
        required=True,
        choices=PREDICTORS,
        help="a classifier on a pretrained backbone, on the same before its adaptation, on an untrained one, "
        "a regression on k-mers and embeddings (scripts/combine.py), several predictors stacked "
        "(scripts/stack.py), or a baseline",
    )
    add("--name", required=True, help="name of the language model or baseline")
    add(
        "--backbone",
        choices=[*BACKBONE_SETTINGS, COMBINED, STACKED],
        help="how the classifier is fine-tuned, or that it reads k-mers beside embeddings, or stacks all",
    )
    add("--task", required=True, help="name of the task")
    add(
        "--positive",
        help="class that precision, recall, F1, AUROC and AUPRC are about, where there are two (default: the "
        "one whose opposite is named as its absence, else the last in order)",
    )
    add_settings_flags(arguments, EvaluateSettings)
    add_settings_flags(arguments, StrandSettings, "strands")
    add_batch_tokens_flag(arguments)
    add_device_flags(arguments)
    add("--metrics", type=Path, required=True, help="JSON of metrics to write")
    add("--predictions", type=Path, required=True, help="TSV of predictions to write")
    add("--curves", type=Path, required=True, help="JSON of curves to write")


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--predictor", type=Path, required=True, help="classifier or baseline directory")
    arguments.add_argument("--test", type=Path, required=True, help="table of the test split")
    arguments.add_argument("--validation", type=Path, help="table of the validation split, for calibration")
    add_evaluation_flags(arguments)
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
