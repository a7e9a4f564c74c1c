"""The rows that are written of what is classified: windows one by one, or alleles beside the reference."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dnalm.evaluate.predictions import PROBABILITY
from dnalm.predict.settings import ScanSettings
from dnalm.problems.kinds import Problem
from dnalm.problems.names import REGRESSION, SINGLE_LABEL
from dnalm.sequences.variants import Allele, AllelesLeftOut, allele_windows, read_vcf
from dnalm.sequences.windows import LeftOut, Window, read_windows

PLACE = ["sequence", "start", "end", "id"]
VARIANT = ["position", "reference", "alternative"]


class Rows(Protocol):
    """Everything in a file, in its order, and the rows of the table.

    items: what one row is about each. unit: what they are called. sequences_each: how many there are in one.
    In the methods `some` are k of them, and `outputs` float64[k * sequences_each, labels] what the classifier
    says of their sequences.
    """

    items: Iterator[Any]
    unit: str
    sequences_each: int

    def total(self) -> int:
        """How many items there are, as far as is known yet."""

    def header(self, problem: Problem, labels: list[str]) -> list[str]:
        """The names of the columns."""

    def sequences(self, some: list[Any]) -> list[str]:
        """The sequences to classify, upper case."""

    def rows(
        self, some: list[Any], outputs: np.ndarray, problem: Problem, labels: list[str]
    ) -> Iterator[list]:
        """One row for each."""

    def track(
        self, some: list[Any], outputs: np.ndarray, problem: Problem, label: int
    ) -> Iterator[tuple[str, int, int, float]]:
        """Sequence, start, end and what is shown there of one column of `outputs`, for each."""

    def left_out(self) -> str:
        """A sentence on what has no row; empty where everything has one."""


class WindowRows:
    """Windows and whole sequences, a row each."""

    unit, sequences_each = "sequences", 1

    def __init__(self, path: Path, kind: str, genome: Path | None, window: int, settings: ScanSettings):
        self.path, self.max_unknown_fraction = path, settings.max_unknown_fraction
        self.counts = LeftOut()
        self.items, self.number = read_windows(
            path, kind, genome, window, settings.stride, settings.max_unknown_fraction, self.counts
        )

    def total(self) -> int:
        return self.number - self.counts.windows

    def header(self, problem: Problem, labels: list[str]) -> list[str]:
        return [*PLACE, "predicted", *probability_columns(problem, labels)]

    def sequences(self, some: list[Window]) -> list[str]:
        return [window.bases for window in some]

    def rows(
        self, some: list[Window], outputs: np.ndarray, problem: Problem, labels: list[str]
    ) -> Iterator[list]:
        for window, said in zip(some, answers(outputs, problem, labels), strict=True):
            yield [*place_of(window), *said]

    def track(
        self, some: list[Window], outputs: np.ndarray, problem: Problem, label: int
    ) -> Iterator[tuple[str, int, int, float]]:
        for window, value in zip(some, outputs[:, label].tolist(), strict=True):
            yield window.sequence, window.start, window.end, value

    def left_out(self) -> str:
        return self.counts.say(self.path, self.max_unknown_fraction)


class AlleleRows:
    """Alternative alleles of a VCF file, each beside the reference."""

    unit, sequences_each = "alleles", 2

    def __init__(self, path: Path, genome: Path, window: int, settings: ScanSettings):
        self.path = path
        self.counts = AllelesLeftOut(window, settings.max_unknown_fraction)
        self.number = sum(1 for _ in read_vcf(path, AllelesLeftOut()))
        self.items = allele_windows(path, genome, self.counts)

    def total(self) -> int:
        return self.number - self.counts.in_passing

    def header(self, problem: Problem, labels: list[str]) -> list[str]:
        columns = ["predicted", *probability_columns(problem, labels)]
        alternative = [f"alternative_{column}" for column in columns]
        what = "change" if problem.name == REGRESSION else "log_odds_change"
        changes = [f"{what}_{label}" for label in labels]
        return [*PLACE, *VARIANT, *columns, *alternative, *changes]

    def sequences(self, some: list[tuple[Allele, Window, Window]]) -> list[str]:
        return [window.bases for window in chain.from_iterable(pair for _, *pair in some)]

    def rows(
        self,
        some: list[tuple[Allele, Window, Window]],
        outputs: np.ndarray,
        problem: Problem,
        labels: list[str],
    ) -> Iterator[list]:
        reference, alternative = (answers(outputs[k::2], problem, labels) for k in (0, 1))
        change = written(changes(outputs, problem))
        for (allele, window, _), *said in zip(some, reference, alternative, change, strict=True):
            yield [*place_of(window), *variant_of(allele), *chain.from_iterable(said)]

    def track(
        self, some: list[tuple[Allele, Window, Window]], outputs: np.ndarray, problem: Problem, label: int
    ) -> Iterator[tuple[str, int, int, float]]:
        for (allele, *_), value in zip(some, changes(outputs, problem)[:, label].tolist(), strict=True):
            yield allele.chromosome, allele.start, allele.end, value

    def left_out(self) -> str:
        return self.counts.say(self.path)


def rows_of(path: Path, kind: str, genome: Path | None, window: int, settings: ScanSettings) -> Rows:
    """The rows of a file of this kind, a key of `dnalm.sequences.inputs.KIND_NAMES`."""
    if kind == "vcf":
        assert genome is not None
        return AlleleRows(path, genome, window, settings)
    return WindowRows(path, kind, genome, window, settings)


def place_of(window: Window) -> list:
    return [window.sequence, window.start, window.end, window.id]


def variant_of(allele: Allele) -> list:
    return [allele.start + 1, allele.reference, allele.alternative]


def probability_columns(problem: Problem, labels: list[str]) -> list[str]:
    """The names of the columns of probabilities; a value has none."""
    return [PROBABILITY + label for label in labels if problem.name != REGRESSION]


def answers(outputs: np.ndarray, problem: Problem, labels: list[str]) -> Iterator[list[str]]:
    """What is predicted of each sequence, and the probabilities, as they are written."""
    probabilities: Sequence[list[str]] = written(outputs)
    if problem.name == REGRESSION:
        probabilities = [[]] * len(outputs)
    for predicted, row in zip(problem.predicted(outputs, labels), probabilities, strict=True):
        yield [predicted, *row]


def changes(outputs: np.ndarray, problem: Problem) -> np.ndarray:
    """Alternative less reference, float64[n, labels], from outputs for both in turn, float64[2 n, labels].

    Of probabilities the log odds are compared, in nats: where a classifier is sure, its probability moves
    little whatever happens. Rounded as it is written, so that no zero has a sign.
    """
    scores = outputs if problem.name == REGRESSION else log_odds(outputs, problem)
    return np.round(scores[1::2] - scores[::2], 6) + 0.0


def log_odds(outputs: np.ndarray, problem: Problem) -> np.ndarray:
    """ln(p / (1 - p)) of every probability, float64[n, labels]; no probability counts as less than 1e-300."""
    against = 1 - outputs
    if problem.name == SINGLE_LABEL:
        # The others, added up: near 1 a difference would have few digits left.
        others = ~np.eye(outputs.shape[1], dtype=bool)
        against = outputs @ others.astype(float)
    return np.log(np.maximum(outputs, 1e-300)) - np.log(np.maximum(against, 1e-300))


def written(values: np.ndarray) -> list[list[str]]:
    """float64[n, k] with six decimals."""
    return [[f"{value:.6f}" for value in row] for row in values.tolist()]
