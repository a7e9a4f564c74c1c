"""Take a smaller training split of a task, to learn how much labelled data matters.

In:  the three splits of a prepared task (scripts/prepare_task.py): TSV with `id`, `seq`, `label`.
Out: the same three tables; of training only `--size` sequences, with the labels in their original shares as
     far as whole numbers allow, in the order of the table. A smaller subset of the same seed is part of a
     larger one.
"""

import shutil
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pandas as pd

from dnalm.running.commandline import parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file
from dnalm.sequences.tables import read_labelled_table, write_labelled_table


def main(
    train: Path,
    validation: Path,
    test: Path,
    size: int,
    seed: int,
    output_train: Path,
    output_validation: Path,
    output_test: Path,
) -> None:
    """Write a subset of training, and validation and test as they are."""
    table = read_labelled_table(train)
    if size > len(table):
        raise InputError(
            f"{train}: {size:,} training sequences are asked for, but there are {len(table):,}. "
            "Take the number out of study.train_sequences."
        )
    chosen = table.iloc[subset(table["label"], size, seed)]
    if missing := set(table["label"]) - set(chosen["label"]):
        raise InputError(
            f"{train}: {size:,} training sequences are too few to hold one of label {min(missing)!r}."
        )
    write_labelled_table(output_train, chosen)
    for given, output in ((validation, output_validation), (test, output_test)):
        with atomic_file(output) as temporary:
            shutil.copyfile(given, temporary)


def subset(labels: pd.Series, size: int, seed: int) -> np.ndarray:
    """Rows int64[size], ascending, in which every label has about its share.

    Each label's rows are shuffled and spread evenly over 0 to 1; the first `size` rows in that order are
    taken.
    """
    generator = np.random.default_rng(seed)
    place = np.empty(len(labels))
    for label in sorted(labels.unique()):
        rows = np.flatnonzero(labels == label)
        place[generator.permutation(rows)] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.sort(np.argsort(place, kind="stable")[:size])


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--train", type=Path, required=True, help="TSV of the training split")
    add("--validation", type=Path, required=True, help="TSV of the validation split")
    add("--test", type=Path, required=True, help="TSV of the test split")
    add("--size", type=int, required=True, help="training sequences to take")
    add("--seed", type=int, default=42, help="seed of the choice (default %(default)s)")
    add("--output-train", type=Path, required=True, help="TSV of the subset to write")
    add("--output-validation", type=Path, required=True, help="TSV of the validation split to write")
    add("--output-test", type=Path, required=True, help="TSV of the test split to write")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
