"""Judge a classifier or a baseline on the test split of a task.

In:  a classifier (scripts/finetune.py), a regression on k-mers and embeddings (scripts/combine.py), a
     baseline (scripts/baseline.py, scripts/baseline_cnn.py) or all of these stacked (scripts/stack.py), each
     a directory, and the test split: a table
     with the columns seq and label (and id); for calibration also the validation split.
Out: metrics.json     task, name, kind, backbone, labels (in class order, of two the positive one last),
                      positive_label and positive_because (null with more than two classes), n,
                      label_counts, bootstrap (samples, confidence, seed), metrics (each:
                      value, low, high), loss (the same, nats per sequence), confusion_matrix (rows: true
                      class, columns: predicted class), cut (sequences with more tokens than the model reads,
                      and bases that it did not read; null for baselines), calibration (null without a
                      validation split), versions; of a stacked predictor also stacked: n_validation, the
                      members with their weights, and the best_single of them on the validation split
     predictions.tsv  id, label, predicted, correct, probability_<label>…, loss, seq; rows as in the table
     curves.json      task, name, kind, backbone, positive_label, positive_fraction, and the points of the
                      curves: roc (fpr, tpr) and pr (recall, precision)

Intervals of shares of sequences are Wilson's, all others those of the BCa bootstrap. With two classes
precision, recall, F1, AUROC, AUPRC and the curves are those of the positive class (--positive; without it
the one whose opposite is named as its absence, such as non-enhancer, else the last in class order); with more
they are means over the classes. A metric that is not defined (AUROC of one class) is null. Predictions are
the predictor's own; temperature and threshold of the calibration are fitted on the validation split.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from dnalm.baseline.settings import COMBINED, STACKED
from dnalm.evaluate.calibration import calibration_report
from dnalm.evaluate.metrics import METRICS, confusion_matrices, curves, metric_intervals
from dnalm.evaluate.predictions import Predictions, class_numbers, nine_digits, write_predictions
from dnalm.evaluate.settings import EvaluateSettings
from dnalm.finetune.settings import BACKBONE_SETTINGS
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.devices import add_device_flags, choose_device
from dnalm.running.errors import InputError
from dnalm.running.files import read_json, write_json
from dnalm.running.versions import versions
from dnalm.sequences.labels import positive_class, positive_last
from dnalm.sequences.tables import read_labelled_table

logger = logging.getLogger("dnalm")


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
    batch_tokens: int | None,
    gpus: int,
    allow_cpu: bool,
    metrics: Path,
    predictions: Path,
    curves: Path,
) -> None:
    """Predict the test sequences once, and write metrics, predictions and curves."""
    table = read_labelled_table(test)
    sequences = table["seq"].tolist()
    probabilities, labels, versions = predict(predictor, kind, sequences, batch_tokens, gpus, allow_cpu)
    order = positive_last(labels, positive)
    probabilities, labels = nine_digits(probabilities[:, order]), [labels[number] for number in order]
    truth = class_numbers(table["label"], labels, test)

    about = {"task": task, "name": name, "kind": kind, "backbone": backbone}
    report = about | measure_predictions(truth, probabilities, labels, settings)
    report["positive_because"] = positive_class(labels, positive)[1] or None
    report["cut"] = count_unread(predictor, kind, sequences)
    report["calibration"] = None
    if validation:
        held_out = read_labelled_table(validation)
        fitted_on, _, _ = predict(predictor, kind, held_out["seq"].tolist(), batch_tokens, gpus, allow_cpu)
        report["calibration"] = calibration_report(
            truth,
            probabilities,
            class_numbers(held_out["label"], labels, validation),
            nine_digits(fitted_on[:, order]),
            settings.confidence,
        )
    report["versions"] = versions
    if kind == STACKED:
        report["stacked"] = about_stacking(predictor)
    elif kind not in ("baseline", COMBINED):
        report |= about_training(predictor)
    write_predictions(predictions, Predictions(labels, table["id"].tolist(), truth, probabilities), sequences)
    write_json(curves, about | curve_report(truth, probabilities, labels))
    write_json(metrics, report)
    accuracy = report["metrics"]["accuracy"]
    logger.info(
        "%s, %s: test accuracy %.3f (%.0f%% interval %.3f to %.3f) on %s sequences",
        *(task, f"{name}/{backbone}" if backbone else name, accuracy["value"], 100 * settings.confidence),
        *(accuracy["low"], accuracy["high"], f"{len(table):,}"),
    )


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
    about = read_json(stacked / "stacked.json")
    return {key: about[key] for key in ("n_validation", "members", "best_single")}


def predict(
    predictor: Path, kind: str, sequences: list[str], batch_tokens: int | None, gpus: int, allow_cpu: bool
) -> tuple[np.ndarray, list[str], dict[str, str]]:
    """Probabilities float64[n, n_classes], class names, and the versions of the packages that computed them.

    Models compute in fp32 here, on GPUs too, so that predictors differ by their weights only.
    """
    if not predictor.is_dir():
        raise InputError(f"{predictor}: no such directory.")
    # Imported here: baselines need no torch, models no baselines.
    if kind == "baseline":
        from dnalm.baseline.stored import load_baseline

        baseline = load_baseline(predictor)
        return baseline.predict_probabilities(sequences), baseline.labels, versions("numpy")
    if kind == STACKED:
        from dnalm.stack.predictor import StackedClassifier
    elif kind == COMBINED:
        from dnalm.combine.predictor import predict_probabilities
    else:
        from dnalm.finetune.classifier import predict_probabilities

    device = choose_device(gpus, allow_cpu=allow_cpu)
    if kind == STACKED:
        stacked = StackedClassifier(predictor, device)
        probabilities, labels = stacked.probabilities(sequences, batch_tokens), stacked.labels
        return probabilities, labels, versions("numpy", "torch", "transformers")
    probabilities, labels = predict_probabilities(predictor, sequences, batch_tokens, device)
    return probabilities, labels, versions("numpy", "torch", "transformers")


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


def measure_predictions(
    truth: np.ndarray,
    probabilities: np.ndarray,
    labels: list[str],
    settings: EvaluateSettings,
) -> dict:
    """The part of metrics.json that follows from the predictions."""
    intervals = metric_intervals(
        truth, probabilities, settings.bootstrap_samples, settings.seed, settings.confidence
    )
    matrix = confusion_matrices(truth, probabilities.argmax(axis=1), len(labels), np.ones((1, len(truth))))[0]
    return {
        "labels": labels,
        "positive_label": labels[-1] if len(labels) == 2 else None,
        "n": len(truth),
        "label_counts": {label: int((truth == number).sum()) for number, label in enumerate(labels)},
        "bootstrap": {
            "samples": settings.bootstrap_samples,
            "confidence": settings.confidence,
            "seed": settings.seed,
        },
        "metrics": {name: intervals[name] for name in METRICS},
        "loss": intervals["loss"],
        "confusion_matrix": matrix.astype(int).tolist(),
    }


def curve_report(truth: np.ndarray, probabilities: np.ndarray, labels: list[str]) -> dict:
    """The part of curves.json that follows from the predictions."""
    binary = len(labels) == 2
    return {
        "positive_label": labels[-1] if binary else None,
        # The precision of guessing: what a precision-recall curve has to be compared with.
        "positive_fraction": float((truth == 1).mean()) if binary else 1 / len(labels),
        **curves(truth, probabilities),
    }


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--predictor", type=Path, required=True, help="classifier or baseline directory")
    arguments.add_argument(
        "--kind",
        required=True,
        choices=["model", "published", "untrained", COMBINED, STACKED, "baseline"],
        help="a classifier on a pretrained backbone, on the same before its adaptation, on an untrained one, "
        "a regression on k-mers and embeddings (scripts/combine.py), several predictors stacked "
        "(scripts/stack.py), or a baseline",
    )
    arguments.add_argument("--name", required=True, help="name of the language model or baseline")
    arguments.add_argument(
        "--backbone",
        choices=[*BACKBONE_SETTINGS, COMBINED, STACKED],
        help="how the classifier was fine-tuned, or that it reads k-mers beside embeddings, or stacks all",
    )
    arguments.add_argument("--task", required=True, help="name of the task")
    arguments.add_argument("--test", type=Path, required=True, help="table of the test split")
    arguments.add_argument("--validation", type=Path, help="table of the validation split, for calibration")
    arguments.add_argument(
        "--positive",
        help="class that precision, recall, F1, AUROC and AUPRC are about, where there are two (default: the "
        "one whose opposite is named as its absence, else the last in order)",
    )
    add_settings_flags(arguments, EvaluateSettings)
    arguments.add_argument(
        "--batch-tokens",
        type=int,
        help="tokens in one forward pass of a model (default: 2048 on a CPU, 65536 on a GPU)",
    )
    add_device_flags(arguments)
    arguments.add_argument("--metrics", type=Path, required=True, help="JSON of metrics to write")
    arguments.add_argument("--predictions", type=Path, required=True, help="TSV of predictions to write")
    arguments.add_argument("--curves", type=Path, required=True, help="JSON of curves to write")
    run(main, arguments.parse_args())
