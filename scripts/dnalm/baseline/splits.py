"""The two splits that a simple predictor learns from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dnalm.problems.kinds import Problem
from dnalm.running.errors import InputError
from dnalm.sequences.tables import read_labelled_table


@dataclass(frozen=True)
class Split:
    """Sequences (upper case) and their targets (see `dnalm.problems.kinds`), in the order of `table`."""

    table: pd.DataFrame
    sequences: list[str]
    targets: np.ndarray


def read_splits(kind: Problem, train: Path, validation: Path) -> tuple[list[str], Split, Split]:
    """The labels in their order, the training and the validation split.

    Raises InputError if training has one label only, or validation one that training has not.
    """
    labels, learned = read_training(kind, train)
    return labels, learned, _split(kind, labels, validation, read_labelled_table(validation, kind))


def read_training(kind: Problem, path: Path) -> tuple[list[str], Split]:
    """The labels in their order and the training split. Raises InputError if there is only one label."""
    table = read_labelled_table(path, kind)
    if table["label"].nunique() < 2:
        raise InputError(
            f"{path}: every sequence has the label {table['label'][0]!r}. Two or more are needed."
        )
    labels = kind.labels_of(table["label"])
    return labels, _split(kind, labels, path, table)


def _split(kind: Problem, labels: list[str], path: Path, table: pd.DataFrame) -> Split:
    return Split(table, table["seq"].tolist(), kind.targets(table["label"], labels, path))
