"""What differs between the kinds of tasks; everything else is written once against a :class:`Problem`.

`targets` are what a predictor has to say, `scores` what its last layer says, `outputs` what is made of them:

                               targets                            outputs
  single_label_classification  class numbers int64[n]             probabilities, rows sum to 1
  multi_label_classification   0 and 1, float64[n, n_labels]      a probability for each label
  regression                   values float64[n, 1]               the predicted values

Scores and outputs are float64[n, n_labels]; a regression has one "label", called `value`.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from dnalm.problems import multi_label, regression
from dnalm.problems.intervals import CLASS_MEASURES, Measures
from dnalm.problems.metrics import losses
from dnalm.problems.names import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from dnalm.running.errors import InputError

# Labels that mean that there is none, in the tables of R, pandas, Excel and others.
_MISSING = {"na", "n/a", "#n/a", "nan", "null", "none", "<na>", ".", "?"}
_DECIMAL = re.compile(r"[-+]?([0-9]*\.[0-9]+|[0-9]+\.)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+")
_SEVERAL = re.compile(r"[^;,|\s]+([;,|][^;,|\s]+)+")
SEPARATOR = ";"
# Of a label, in letters: it becomes a column of tables and a line of figures.
LONGEST_LABEL = 200
# Beyond it, squares of values are more than single precision holds.
LARGEST_VALUE = 1e15
VALUE = "value"
# Parts of about equally many sequences that a validation split of values is drawn from.
STRATA = 10


def sort_labels(labels: Iterable[str]) -> list[str]:
    """Distinct labels in the order that gives them their class numbers.

    By value if all are whole numbers (`2` before `10`), else alphabetically. The last label of a task
    with two classes is its positive class.
    """
    distinct = set(labels)
    if all(re.fullmatch(r"-?[0-9]+", label) for label in distinct):
        return sorted(distinct, key=lambda label: (int(label), label))
    return sorted(distinct)


class Problem(ABC):
    """A kind of task."""

    name: ClassVar[str]
    measures: ClassVar[Measures]
    # The metric that leads the report and answers the questions of a comparison.
    headline: ClassVar[str]
    # The metrics whose paired differences a comparison tells.
    differences: ClassVar[tuple[str, ...]]
    # The metric that a training is followed by, and what its log calls it.
    progress: ClassVar[str] = "accuracy"
    progress_name: ClassVar[str] = "accuracy"

    @abstractmethod
    def check_label(self, place: str, label: str) -> None:
        """Raise InputError for a label that cannot be one of this kind. `place` begins the message."""

    @abstractmethod
    def labels_of(self, column: Iterable[str]) -> list[str]:
        """The names of the outputs, in their order, from the labels of the training sequences."""

    @abstractmethod
    def targets(self, column: Iterable[str], labels: Sequence[str], path: object) -> np.ndarray:
        """The targets of labels as they are written. Raises InputError, with `path`, for an unknown one."""

    @abstractmethod
    def membership(self, column: Iterable[str], labels: Sequence[str]) -> np.ndarray:
        """bool[n, k]: the groups of which a validation split takes the same share each."""

    @abstractmethod
    def outputs(self, scores: np.ndarray) -> np.ndarray:
        """What the scores of the last layer mean."""

    @abstractmethod
    def losses(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """The loss of every sequence, float64[n]."""

    @abstractmethod
    def predicted(self, outputs: np.ndarray, labels: Sequence[str]) -> list[str]:
        """What is predicted, as labels are written."""

    @abstractmethod
    def without_sequence(self, targets: np.ndarray, n_labels: int) -> np.ndarray:
        """float64[n_labels]: the best outputs of who does not read the sequence, from training."""

    def accuracy(self, targets: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        """One number, by its name, to follow a training by; 0 where it is not defined."""
        found = self.measures.of(targets, outputs, np.ones((1, len(targets))))
        value = float(found[self.progress][0])
        return {self.progress_name: 0.0 if math.isnan(value) else value}


class SingleLabel(Problem):
    """One class for each sequence."""

    name = SINGLE_LABEL
    measures = CLASS_MEASURES
    headline = "accuracy"
    differences = ("accuracy", "mcc", "auroc")

    def check_label(self, place: str, label: str) -> None:
        _check_known(place, label, "name the class otherwise")
        if _DECIMAL.fullmatch(label):
            raise InputError(
                f"{place}, a measured number rather than a class. Name classes by words or whole numbers; to "
                f"predict the number, write {REGRESSION} into the column problem of the task sheet."
            )
        if _SEVERAL.fullmatch(label):
            raise InputError(
                f"{place}, which looks like several labels. Join them with {SEPARATOR!r} and write "
                f"{MULTI_LABEL} into the column problem of the task sheet, or name the combination otherwise."
            )

    def labels_of(self, column: Iterable[str]) -> list[str]:
        return sort_labels(column)

    def targets(self, column: Iterable[str], labels: Sequence[str], path: object) -> np.ndarray:
        numbers = {label: number for number, label in enumerate(labels)}
        column = list(column)
        _check_labels_known(column, labels, path)
        return np.array([numbers[label] for label in column], np.int64)

    def membership(self, column: Iterable[str], labels: Sequence[str]) -> np.ndarray:
        return np.array(list(column), dtype=str)[:, None] == np.array(labels)

    def outputs(self, scores: np.ndarray) -> np.ndarray:
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def losses(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        return losses(targets, outputs)

    def predicted(self, outputs: np.ndarray, labels: Sequence[str]) -> list[str]:
        return [labels[number] for number in outputs.argmax(axis=1)]

    def without_sequence(self, targets: np.ndarray, n_labels: int) -> np.ndarray:
        return np.bincount(targets, minlength=n_labels) / len(targets)

    def accuracy(self, targets: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        return {"accuracy": float((outputs.argmax(axis=1) == targets).mean())}


class MultiLabel(Problem):
    """Any number of labels for each sequence, none included."""

    name = MULTI_LABEL
    measures = Measures(
        multi_label.METRICS,
        multi_label.all_metrics,
        multi_label.shares,
        multi_label.nearest,
        lambda truth: int(min((count for count in truth.sum(axis=0) if count), default=len(truth))),
    )
    headline = "auroc_macro"
    differences = ("auroc_macro", "auprc_macro", "f1_macro")
    progress = "label_accuracy"

    def check_label(self, place: str, label: str) -> None:
        for part in _parts(label):
            remedy = "leave it empty where a sequence has none of the labels"
            _check_known(place, part, remedy)
        if label and ("" in map(str.strip, label.split(SEPARATOR))):
            raise InputError(f"{place}: a label between two {SEPARATOR!r} is empty. Write it like a;b.")
        if len(set(_parts(label))) < len(_parts(label)):
            raise InputError(f"{place}: a label is named twice. Name each once.")

    def labels_of(self, column: Iterable[str]) -> list[str]:
        return sort_labels(part for label in column for part in _parts(label))

    def targets(self, column: Iterable[str], labels: Sequence[str], path: object) -> np.ndarray:
        carried = [_parts(label) for label in column]
        _check_labels_known([part for parts in carried for part in parts], labels, path)
        rows = [[float(label in parts) for label in labels] for parts in carried]
        return np.array(rows).reshape(-1, len(labels))

    def membership(self, column: Iterable[str], labels: Sequence[str]) -> np.ndarray:
        carried = self.targets(column, labels, "") == 1
        return np.hstack([carried, ~carried.any(axis=1, keepdims=True)])

    def outputs(self, scores: np.ndarray) -> np.ndarray:
        return np.exp(-np.logaddexp(0, -scores))

    def losses(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        return multi_label.binary_losses(targets, outputs)

    def predicted(self, outputs: np.ndarray, labels: Sequence[str]) -> list[str]:
        above = outputs > multi_label.THRESHOLD
        return [
            SEPARATOR.join(label for label, there in zip(labels, row, strict=True) if there) for row in above
        ]

    def without_sequence(self, targets: np.ndarray, n_labels: int) -> np.ndarray:
        return targets.mean(axis=0)


class Regression(Problem):
    """A number for each sequence."""

    name = REGRESSION
    measures = Measures(
        regression.METRICS, regression.all_metrics, lambda *_: {}, lambda *_: {}, lambda truth: len(truth)
    )
    headline = "r2"
    differences = ("r2", "pearson", "spearman")
    progress = progress_name = "r2"

    def check_label(self, place: str, label: str) -> None:
        _check_known(place, label, "give its value")
        try:
            value = float(label)
        except ValueError:
            value = math.nan
        if LARGEST_VALUE < abs(value) < math.inf:
            raise InputError(
                f"{place}, larger than {LARGEST_VALUE:g}. Give values in another unit, or their logarithms."
            )
        if not math.isfinite(value):
            raise InputError(
                f"{place}, which is no number. A task of the problem {REGRESSION} needs numbers such as 0.5."
            )

    def labels_of(self, column: Iterable[str]) -> list[str]:
        return [VALUE]

    def targets(self, column: Iterable[str], labels: Sequence[str], path: object) -> np.ndarray:
        column = list(column)
        for label in column:
            self.check_label(f"{path}: a label is {label!r}", label)
        return np.array([float(label) for label in column]).reshape(-1, 1)

    def membership(self, column: Iterable[str], labels: Sequence[str]) -> np.ndarray:
        values = self.targets(column, labels, "")[:, 0]
        if not len(values):
            return np.zeros((0, 1), dtype=bool)
        borders = np.unique(np.quantile(values, np.linspace(0, 1, STRATA + 1)[1:-1]))
        groups = np.searchsorted(borders, values, side="right")
        return groups[:, None] == np.unique(groups)

    def outputs(self, scores: np.ndarray) -> np.ndarray:
        return scores

    def losses(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        return regression.squared_errors(targets, outputs)

    def predicted(self, outputs: np.ndarray, labels: Sequence[str]) -> list[str]:
        return [f"{value:.9g}" for value in outputs[:, 0]]

    def without_sequence(self, targets: np.ndarray, n_labels: int) -> np.ndarray:
        return targets.mean(axis=0)


def _check_known(place: str, label: str, remedy: str) -> None:
    if label.lower() in _MISSING:
        raise InputError(f"{place}, which usually means that none is known. Remove the line, or {remedy}.")
    if len(label) > LONGEST_LABEL:
        raise InputError(
            f"{place[:80]}…, {len(label):,} letters long; at most {LONGEST_LABEL} are a label. Shorten it."
        )


def _check_labels_known(found: Iterable[str], labels: Sequence[str], path: object) -> None:
    known = set(labels)
    unknown = next((label for label in found if label not in known), None)
    if unknown is not None:
        names = ", ".join(map(repr, labels[:10])) + (", …" if len(labels) > 10 else "")
        raise InputError(f"{path}: label {unknown!r} is unknown; the predictor was trained on {names}.")


def _parts(label: str) -> list[str]:
    return [part.strip() for part in label.split(SEPARATOR) if part.strip()]


KINDS: dict[str, Problem] = {kind.name: kind for kind in (SingleLabel(), MultiLabel(), Regression())}
