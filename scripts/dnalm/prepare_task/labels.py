"""Which labels a task has, and whether its tables agree on them."""

import re
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd

from dnalm.problems.kinds import Problem
from dnalm.problems.names import MULTI_LABEL, REGRESSION
from dnalm.running.errors import InputError


def carried(kind: Problem, rows: pd.DataFrame, labels: list[str]) -> dict[str, np.ndarray]:
    """Which rows carry each label: bool[n]; of values all rows under one name."""
    if kind.name == REGRESSION:
        return {"all": np.ones(len(rows), dtype=bool)}
    return dict(zip(labels, kind.membership(rows["label"], labels).T, strict=False))


def check_labels(kind: Problem, tables: dict[str, pd.DataFrame], inputs: dict[str, Path]) -> list[str]:
    """The labels of the task in class order. Raises InputError if the tables do not agree on them."""
    labels = kind.labels_of(tables["train"]["label"])
    if kind.name == REGRESSION:
        for name, table in tables.items():
            if np.ptp(kind.targets(table["label"], labels, inputs[name])) == 0:
                raise InputError(
                    f"{inputs[name]}: every sequence has the value {table['label'].iloc[0]}; nothing could "
                    "be learned or measured. Give sequences of different values."
                )
        return labels
    check_written_alike(kind, labels, tables["train"], inputs["train"])
    if kind.name == MULTI_LABEL:
        check_several_labels(kind, labels, tables, inputs)
        return labels
    if len(labels) < 2:
        raise InputError(
            f"{inputs['train']}: every sequence has the label {labels[0]!r}. Give sequences of two or more "
            "labels."
        )
    for name in ("test", "validation"):
        if name not in tables:
            continue
        check_known(kind, labels, tables[name], inputs[name])
        if tables[name]["label"].nunique() < 2:
            raise InputError(
                f"{inputs[name]}: every sequence has the label {tables[name]['label'].iloc[0]!r}; nothing "
                "could be measured on it. Give sequences of two or more labels."
            )
    return labels


def check_known(kind: Problem, labels: list[str], table: pd.DataFrame, path: Path) -> None:
    """Raise InputError for the first label of a table that no training sequence has."""
    unknown = set(kind.labels_of(table["label"])) - set(labels)
    for line, label in zip(table["line"], table["label"], strict=True) if unknown else ():
        if found := unknown & set(kind.labels_of([label])):
            known = ", ".join(map(repr, labels[:10])) + (", …" if len(labels) > 10 else "")
            raise InputError(
                f"{path} line {line}: label {min(found)!r} does not occur in training ({known}). Correct "
                "the label or add training sequences for it."
            )


def check_written_alike(kind: Problem, labels: list[str], train: pd.DataFrame, path: Path) -> None:
    """Raise InputError if two labels are one to a person: `Yes` and `yes`, `1` and `01`, two kinds of `é`."""
    seen: dict[str, str] = {}
    for label, of in carried(kind, train, labels).items():
        same = _as_seen(label)
        same = str(int(same)) if re.fullmatch(r"[-+]?[0-9]+", same) else same
        if same in seen:
            line = train["line"].to_numpy()[of][0]
            raise InputError(
                f"{path} line {line}: the label is {label!r}, but others are {seen[same]!r}: two classes? "
                "Write both alike, or name one otherwise."
            )
        seen[same] = label


def _as_seen(label: str) -> str:
    """A label as a person tells it from others: case, width and the encoding of its letters do not count."""
    folded = unicodedata.normalize("NFKC", label).casefold()
    return " ".join("".join(letter for letter in folded if unicodedata.category(letter) != "Cf").split())


def check_several_labels(
    kind: Problem, labels: list[str], tables: dict[str, pd.DataFrame], inputs: dict[str, Path]
) -> None:
    """Raise InputError unless some training sequences carry each label, some do not, and all are known.

    Also if some other table has no label that some of its sequences carry and some do not.
    """
    if len(labels) < 2:
        raise InputError(
            f"{inputs['train']}: a task of the problem {MULTI_LABEL} needs two or more labels, such as a;b; "
            f"here there is {labels[0] if labels else 'none'}."
        )
    for name, table in tables.items():
        check_known(kind, labels, table, inputs[name])
    targets = {name: kind.targets(table["label"], labels, inputs[name]) for name, table in tables.items()}
    everywhere = targets["train"].all(axis=0)
    if everywhere.any():
        raise InputError(
            f"{inputs['train']}: every sequence has the label {labels[int(everywhere.argmax())]!r}; nothing "
            "could be learned of it. Give sequences without it, or leave the label out."
        )
    for name, carrying in targets.items():
        if not np.ptp(carrying, axis=0).any():
            raise InputError(
                f"{inputs[name]}: every sequence has the same labels; nothing could be measured on it. Give "
                "sequences of different labels."
            )
