"""The two splits that a simple predictor learns from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dnalm.evaluate.predictions import class_numbers
from dnalm.running.errors import InputError
from dnalm.sequences.tables import read_labelled_table, sort_labels


@dataclass(frozen=True)
class Split:
    """Sequences (upper case) and their class numbers int64[n], in the order of `table`."""

    table: pd.DataFrame
    sequences: list[str]
    classes: np.ndarray


def read_splits(train: Path, validation: Path) -> tuple[list[str], Split, Split]:
    """The labels in class order, the training and the validation split.

    Raises InputError if training has one label only, or validation one that training has not.
    """
    tables = [read_labelled_table(path) for path in (train, validation)]
    labels = labels_of(train, tables[0])
    learned, held_out = (
        Split(table, table["seq"].tolist(), class_numbers(table["label"], labels, path))
        for table, path in zip(tables, (train, validation), strict=True)
    )
    return labels, learned, held_out


def labels_of(path: Path, table: pd.DataFrame) -> list[str]:
    """The labels of a training table in class order. Raises InputError if there is only one."""
    labels = sort_labels(table["label"])
    if len(labels) < 2:
        raise InputError(f"{path}: every sequence has the label {labels[0]!r}. Two or more are needed.")
    return labels
