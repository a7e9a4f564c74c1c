"""What an evaluation writes and a comparison reads: predictions by sequence, and who predicted them."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnalm.evaluate.metrics import losses
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file, read_json

PROBABILITY = "probability_"


@dataclass
class Predictions:
    """Predictions of one predictor for sequences of known label, in the order of the test table."""

    labels: list[str]  # class names, in the order of the columns of `probabilities`
    ids: list[str]
    truth: np.ndarray  # int64[n], class numbers
    probabilities: np.ndarray  # float64[n, n_classes]


def read_metrics(path: Path) -> dict[str, Any]:
    """What scripts/evaluate.py says of one predictor. Raises InputError if the file is something else."""
    report = read_json(path)
    wanted = {"task", "name", "kind", "backbone", "n", "metrics", "loss"}
    if not isinstance(report, dict) or not wanted <= set(report):
        raise InputError(f"{path}: not a metrics file by scripts/evaluate.py. Give a metrics.json.")
    return report


def check_pairs(metrics: list[Path], predictions: list[Path]) -> None:
    """Raise InputError unless as many files of predictions as of metrics were given."""
    if len(metrics) != len(predictions):
        raise InputError("--metrics and --predictions need the same number of files, in the same order.")


def class_numbers(labels_of_rows: pd.Series, labels: list[str], path: str | Path) -> np.ndarray:
    """The class number of every row: int64[n]. Raises InputError for a label the predictor does not know."""
    numbers = labels_of_rows.map({label: number for number, label in enumerate(labels)})
    if numbers.isna().any():
        unknown = labels_of_rows[numbers.isna()].iloc[0]
        known = ", ".join(map(repr, labels[:10])) + (", …" if len(labels) > 10 else "")
        raise InputError(f"{path}: label {unknown!r} is unknown; the predictor was trained on {known}.")
    return numbers.to_numpy(dtype=np.int64)


def nine_digits(probabilities: np.ndarray) -> np.ndarray:
    """Round to nine significant digits, as they are written: enough to give any float32 back exactly.

    Done before anything is computed from them, so that whoever reads the table finds the same metrics.
    """
    rounded = [float(f"{value:.9g}") for value in probabilities.ravel()]
    return np.array(rounded).reshape(probabilities.shape)


def write_predictions(path: str | Path, predictions: Predictions, sequences: list[str]) -> None:
    """Write one row per sequence as TSV, atomically.

    Columns: id, label, predicted, correct (1 or 0), probability_<label> of every label, loss (nats), seq.
    """
    probabilities, labels = predictions.probabilities, predictions.labels
    predicted = probabilities.argmax(axis=1)
    columns = [PROBABILITY + label for label in labels]
    header = ["id", "label", "predicted", "correct", *columns, "loss", "seq"]
    loss = losses(predictions.truth, probabilities)
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(header) + "\n")
        for i, (name, sequence) in enumerate(zip(predictions.ids, sequences, strict=True)):
            truth, guess = predictions.truth[i], predicted[i]
            cells = [name, labels[truth], labels[guess], str(int(truth == guess))]
            cells += [f"{value:.9g}" for value in (*probabilities[i], loss[i])]
            file.write("\t".join([*cells, sequence]) + "\n")


def read_predictions(path: str | Path) -> Predictions:
    """Read what :func:`write_predictions` wrote. Raises InputError if the file is something else."""
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE)
        columns = [name for name in table.columns if name.startswith(PROBABILITY)]
        labels = [name.removeprefix(PROBABILITY) for name in columns]
        probabilities = table[columns].to_numpy(dtype=np.float64)
        truth = class_numbers(table["label"], labels, path)
        return Predictions(labels, table["id"].tolist(), truth, probabilities)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not a table of predictions by scripts/evaluate.py ({error}).") from None
