"""What an evaluation writes and a comparison reads: predictions by sequence, and who predicted them."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnalm.baseline.settings import COMBINED, STACKED
from dnalm.problems.kinds import KINDS
from dnalm.problems.names import REGRESSION
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file, read_json
from dnalm.sequences.tables import CLUSTER, read_clusters

# Kinds of predictors in the order of tables: a classifier on a pretrained backbone, on the same before its
# adaptation, on an untrained one; k-mers and embeddings together; several stacked; no language model at all.
PREDICTORS = ("model", "published", "untrained", COMBINED, STACKED, "baseline")
PROBABILITY = "probability_"
COLUMNS = ("id", "label", "predicted")


@dataclass
class Predictions:
    """Predictions of one predictor for sequences of known label, in the order of the test table."""

    problem: str  # the kind of the task, a key of `dnalm.problems.kinds.KINDS`
    labels: list[str]  # names of the outputs, in the order of their columns
    ids: list[str]
    written: list[str]  # the labels as they stand in the table
    truth: np.ndarray  # targets of the kind, [n] or [n, n_labels]
    outputs: np.ndarray  # float64[n, n_labels]
    clusters: np.ndarray  # int64[n]: which sequences are related, see `dnalm.problems.intervals`


def read_metrics(path: Path) -> dict[str, Any]:
    """What scripts/evaluate.py says of one predictor. Raises InputError if the file is something else."""
    report = read_json(path)
    wanted = {"task", "problem", "name", "kind", "backbone", "n", "metrics", "loss"}
    if not isinstance(report, dict) or not wanted <= set(report):
        raise InputError(f"{path}: not a metrics file by scripts/evaluate.py. Give a metrics.json.")
    return report


def identity(metrics: Mapping[str, Any]) -> str:
    """What comparisons call the predictor of a metrics.json: NAME/BACKBONE, or NAME without a backbone."""
    return f"{metrics['name']}/{metrics['backbone']}" if metrics["backbone"] else metrics["name"]


def check_pairs(metrics: list[Path], predictions: list[Path]) -> None:
    """Raise InputError unless as many files of predictions as of metrics were given."""
    if len(metrics) != len(predictions):
        raise InputError("--metrics and --predictions need the same number of files, in the same order.")


def nine_digits(probabilities: np.ndarray) -> np.ndarray:
    """Round to nine significant digits, as they are written: enough to give any float32 back exactly.

    Done before anything is computed from them, so that whoever reads the table finds the same metrics.
    """
    rounded = [float(f"{value:.9g}") for value in probabilities.ravel()]
    return np.array(rounded).reshape(probabilities.shape)


def write_predictions(path: str | Path, predictions: Predictions, sequences: list[str]) -> None:
    """Write one row per sequence as TSV, atomically.

    Columns: id, label, predicted; of classes and labels: correct (1 or 0; with several labels: all of them),
    probability_<label> of every label; of numbers: error (predicted minus label); loss; cluster (the
    same number for related sequences); seq.
    """
    kind, outputs = KINDS[predictions.problem], predictions.outputs
    predicted = kind.predicted(outputs, predictions.labels)
    loss = kind.losses(predictions.truth, outputs)
    if predictions.problem == REGRESSION:
        columns, further = ["error"], outputs - predictions.truth
    else:
        columns = ["correct", *(PROBABILITY + label for label in predictions.labels)]
        again = kind.targets(predicted, predictions.labels, path)
        correct = (again == predictions.truth).reshape(len(again), -1).all(axis=1)
        further = np.column_stack([correct, outputs])
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join([*COLUMNS, *columns, "loss", CLUSTER, "seq"]) + "\n")
        for i, (name, sequence) in enumerate(zip(predictions.ids, sequences, strict=True)):
            numbers = [f"{value:.9g}" for value in (*further[i], loss[i])]
            cluster = str(predictions.clusters[i] + 1)
            cells = [name, predictions.written[i], predicted[i], *numbers, cluster, sequence]
            file.write("\t".join(cells) + "\n")


def read_predictions(path: str | Path, problem: str) -> Predictions:
    """Read what :func:`write_predictions` wrote. Raises InputError if the file is something else."""
    kind = KINDS[problem]
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE)
        if problem == REGRESSION:
            labels, columns = kind.labels_of([]), ["predicted"]
        else:
            columns = [name for name in table.columns if name.startswith(PROBABILITY)]
            labels = [name.removeprefix(PROBABILITY) for name in columns]
        outputs = table[columns].to_numpy(dtype=np.float64)
        written = table["label"].tolist()
        truth = kind.targets(written, labels, path)
        clusters = read_clusters(path, len(table))
        return Predictions(problem, labels, table["id"].tolist(), written, truth, outputs, clusters)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not a table of predictions by scripts/evaluate.py ({error}).") from None
