"""The splits of a task: cleaned, parted from what is held out and related to it, or dealt to folds."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnalm.prepare_task.checks import (
    FORWARD,
    MOLECULE,
    Leakage,
    content_keys,
    drop_duplicates,
    find_leakage,
)
from dnalm.prepare_task.folds import (
    COLUMN,
    DROPPED,
    TEST,
    TRAIN,
    VALIDATION,
    check_enough,
    check_roles,
    roles_in_folds,
)
from dnalm.prepare_task.homology import choose_clusters, find_clusters
from dnalm.prepare_task.labels import carried
from dnalm.prepare_task.settings import PrepareTaskSettings
from dnalm.problems.kinds import Problem
from dnalm.problems.names import REGRESSION
from dnalm.running.errors import InputError
from dnalm.sequences.columns import GROUP
from dnalm.sequences.tables import CLUSTER


def make_splits(
    kind: Problem,
    labels: list[str],
    tables: dict[str, pd.DataFrame],
    settings: PrepareTaskSettings,
    task: str,
    same: str,
) -> tuple[dict[str, pd.DataFrame], dict[str, dict], dict[str, Leakage]]:
    """Clean the tables by the column `same` (see `drop_duplicates`); cut them into train, validation, test.

    Returns the splits, for every table the counts of rows read, dropped by reason and kept, and the leakage
    of the test and (if given) the validation table, counted on the tables as they came.
    """
    train, test = tables["train"], tables["test"]
    leakage = {"test": find_leakage(train, test)}
    drop_leaked = settings.drop_leaked
    in_test = set(test["molecule"])
    counts: dict[str, dict] = {}
    values = kind.name == REGRESSION

    kept: dict[str, pd.DataFrame] = {}
    for name in ("train", "validation"):
        if name not in tables:
            continue
        cleaned = drop_duplicates(tables[name], values, same)
        leaked = cleaned.rows["molecule"].isin(in_test)
        kept[name] = cleaned.rows[~leaked] if drop_leaked else cleaned.rows
        counts[name] = {
            "read": len(tables[name]),
            "dropped_conflicting_labels": cleaned.conflicting,
            "dropped_duplicates": cleaned.duplicates,
            "of_which_reverse_complement": cleaned.of_which_reverse_complement,
            "dropped_in_test": int(leaked.sum()) if drop_leaked else 0,
        }
    if "validation" in tables:
        leakage["validation"] = find_leakage(train, tables["validation"])
        leaked = kept["train"]["molecule"].isin(set(tables["validation"]["molecule"]))
        counts["train"]["dropped_in_validation"] = int(leaked.sum()) if drop_leaked else 0
        if drop_leaked:
            kept["train"] = kept["train"][~leaked]
    related = drop_homologs(kept, test, counts, settings, task)
    if "validation" not in tables:
        keys = content_keys(kept["train"]["molecule"], settings.seed)
        groups = kind.membership(kept["train"]["label"], labels)
        together = kept_together(related["train"], kept["train"])
        chosen = choose_clusters(groups, together, keys, settings.validation_fraction)
        check_parted(carried(kind, kept["train"], labels), together, chosen, task)
        counts["train"]["moved_to_validation"] = int(chosen.sum())
        kept["validation"], kept["train"] = kept["train"][chosen], kept["train"][~chosen]
    for name in counts:
        counts[name]["kept"] = len(kept[name])
    # Nothing is dropped from the test table; its duplicates make the interval look narrower than it is.
    repeated = drop_duplicates(test, values, same)
    counts["test"] = {
        "read": len(test),
        "homologs_of_train": int(np.isin(related["test"], related["train"]).sum()),
        **count_related(related["test"]),
        "too_short_for_homologs": int((test["forward"].str.len() < settings.homolog_word_bp).sum()),
        "conflicting_labels": repeated.conflicting,
        "duplicates": repeated.duplicates,
        "of_which_reverse_complement": repeated.of_which_reverse_complement,
        "kept": len(test),
    }
    test = test.assign(**numbered(related["test"]))
    return {"train": kept["train"], "validation": kept["validation"], "test": test}, counts, leakage


def make_folds(
    kind: Problem,
    labels: list[str],
    table: pd.DataFrame,
    settings: PrepareTaskSettings,
    task: str,
    same: str,
    folds: int,
) -> tuple[dict[str, pd.DataFrame], dict[str, dict], dict[str, Leakage], dict[str, Any]]:
    """Clean the table, deal it to folds, and cut it into train and validation for what is put to use.

    Returns what `make_splits` does, of which the test split is all rows with what they are in each fold, and
    what is to be said of the folds.
    """
    cleaned = drop_duplicates(table, kind.name == REGRESSION, same)
    rows = cleaned.rows
    clusters = find_relatives(rows, settings)
    of_labels = carried(kind, rows, labels)
    together = kept_together(clusters, rows)
    check_enough(of_labels, together, folds, task)
    groups = kind.membership(rows["label"], labels)
    keys = content_keys(rows["molecule"], settings.seed)
    roles = roles_in_folds(groups, together, keys, folds, settings.validation_fraction)
    related = drop_relatives(rows, clusters, roles, settings.homologs, task)
    check_roles(of_labels, roles, task)
    chosen = choose_clusters(groups, together, keys, settings.validation_fraction)
    counts = {
        "train": {
            "read": len(table),
            "dropped_conflicting_labels": cleaned.conflicting,
            "dropped_duplicates": cleaned.duplicates,
            "of_which_reverse_complement": cleaned.of_which_reverse_complement,
            "dropped_in_test": 0,
            "homologs_of_test": 0,
            "moved_to_validation": int(chosen.sum()),
            "kept": int((~chosen).sum()),
        },
        "test": {
            "read": len(rows),
            "homologs_of_train": 0 if settings.homologs == "drop" else related,
            **count_related(clusters),
            "too_short_for_homologs": int((rows["forward"].str.len() < settings.homolog_word_bp).sum()),
            "conflicting_labels": 0,
            "duplicates": 0,
            "of_which_reverse_complement": 0,
            "kept": len(rows),
        },
    }
    sizes = np.bincount(np.unique(together, return_inverse=True)[1])
    fold_report = {
        "sequences": [int((role == TEST).sum()) for role in roles.values()],
        "clusters": len(sizes),
        "largest_cluster": int(sizes.max()),
        "related_in_other_folds": related,
    }
    splits = {
        "train": rows[~chosen],
        "validation": rows[chosen],
        "test": rows.assign(**roles, **numbered(clusters)),
    }
    return splits, counts, {"test": Leakage()}, fold_report


def drop_homologs(
    kept: dict[str, pd.DataFrame],
    test: pd.DataFrame,
    counts: dict[str, dict],
    settings: PrepareTaskSettings,
    task: str,
) -> dict[str, np.ndarray]:
    """Count, and if wished drop from `kept`, what is related to sequences of a split that is held out.

    Adds `homologs_of_test` and `homologs_of_validation` to `counts`, equal molecules included where these
    were kept. Returns the cluster of each row that is left. Raises InputError if there must be none.
    """
    parts = {**kept, "test": test}
    clusters = find_relatives(pd.concat(parts.values()), settings)
    ends = np.cumsum([len(part) for part in parts.values()])
    of = dict(zip(parts, np.split(clusters, ends[:-1]), strict=True))
    for name, held_out in (("train", "test"), ("validation", "test"), ("train", "validation")):
        if name not in kept or held_out not in of:
            continue
        related = np.isin(of[name], of[held_out])
        counts[name][f"homologs_of_{held_out}"] = int(related.sum())
        if related.any() and settings.homologs == "error":
            first = kept[name].iloc[int(np.flatnonzero(related)[0])]
            raise InputError(
                f"task {task}: {related.sum():,} {name} sequences are related to {held_out} sequences, the "
                f"first in line {first['line']} of the {name} table (id {first['id']}). Remove them, or set "
                "prepare_task.homologs to drop or report."
            )
        if settings.homologs == "drop":
            kept[name], of[name] = kept[name][~related], of[name][~related]
    return of


def drop_relatives(
    rows: pd.DataFrame, clusters: np.ndarray, roles: dict[str, np.ndarray], homologs: str, task: str
) -> int:
    """Count, and if wished leave out of a fold's training, relatives of what it tests.

    Changes `roles`, by fold, to DROPPED. There are none where clusters were dealt to folds. Returns how many
    sequences have relatives that are tested in another fold. Raises InputError if there must be none.
    """
    any_fold = np.zeros(len(rows), dtype=bool)
    for of_fold in roles.values():
        tested = of_fold == TEST
        related = ~tested & np.isin(clusters, clusters[tested])
        any_fold |= related
        if homologs == "drop":
            of_fold[related] = DROPPED
    if any_fold.any() and homologs == "error":
        first = rows.iloc[int(np.flatnonzero(any_fold)[0])]
        raise InputError(
            f"task {task}: {any_fold.sum():,} sequences are related to such of other groups, the first in "
            f"line {first['line']} of the table (id {first['id']}). Remove them, or set "
            "prepare_task.homologs to drop or report."
        )
    return int(any_fold.sum())


def find_relatives(rows: pd.DataFrame, settings: PrepareTaskSettings) -> np.ndarray:
    """The cluster of each row: int64[n]. Rows of one molecule share it, also those too short for words."""
    # Once for each molecule: a thousand copies of one would be compared pair by pair.
    molecule, first = pd.factorize(rows[MOLECULE])[0], ~rows.duplicated(MOLECULE).to_numpy()
    distinct = rows[FORWARD][first].tolist()
    return find_clusters(distinct, settings.homolog_word_bp, settings.homolog_fraction)[molecule]


def kept_together(clusters: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    """What is never parted, int64[n]: the groups that `rows` name, else `clusters` of related sequences.

    Not both: a family of repeats is on every chromosome, so that all of them would be one.
    """
    return pd.factorize(rows[GROUP])[0] if GROUP in rows else clusters


def check_groups(tables: dict[str, pd.DataFrame], paths: Mapping[str, Path], task: str) -> None:
    """Raise InputError if two of the given tables have rows of one group."""
    seen: dict[str, tuple[str, int]] = {}
    for name, table in tables.items():
        if GROUP not in table:
            return
        first = table.drop_duplicates(GROUP)
        for group, line in zip(first[GROUP], first["line"], strict=True):
            if group in seen:
                other, line_there = seen[group]
                raise InputError(
                    f"task {task}: the group {group!r} is in two tables, {paths[other]} line {line_there} "
                    f"and {paths[name]} line {line}. Give all its rows to one, or clear group_column in the "
                    "sheet."
                )
        seen |= {group: (name, line) for group, line in zip(first[GROUP], first["line"], strict=True)}


def count_related(clusters: np.ndarray) -> dict[str, int]:
    """How many tested sequences have relatives among them, and how many clusters there are; int64[n]."""
    sizes = np.bincount(clusters)
    return {"homologs_of_test": int(sizes[sizes > 1].sum()), "clusters": int((sizes > 0).sum())}


def numbered(clusters: np.ndarray) -> dict[str, np.ndarray]:
    """The column that says which sequences are related: numbers from 1 in the order of the rows."""
    return {CLUSTER: (pd.factorize(clusters)[0] + 1).astype(str)}


def check_parted(
    carried: Mapping[str, np.ndarray], together: np.ndarray, chosen: np.ndarray, task: str
) -> None:
    """Raise InputError if validation (`chosen`: bool[n]) takes all of a label, because they stay together.

    `carried`: bool[n] by label.
    """
    for label, of in carried.items():
        n, largest = int(of.sum()), int(np.unique(together[of], return_counts=True)[1].max(initial=0))
        if largest > 1 and chosen[of].all():
            of_label = f" of label {label!r}" if len(carried) > 1 else ""
            raise InputError(
                f"task {task}: {largest:,} of {n:,} training sequences{of_label} stay together, being "
                "related or of one group, so that none is left beside those for validation. Give a "
                "validation table or, if all share a piece by construction (an adapter, a vector), cut it "
                "off or raise prepare_task.homolog_fraction."
            )


def check_splits(
    kind: Problem, splits: dict[str, pd.DataFrame], labels: list[str], task: str, rows: Mapping[str, dict]
) -> None:
    """Raise InputError if a split is left without sequences of some label, or training without others.

    `rows`: of each table how many were read, and dropped by reason.
    """
    for name, needed in (("train", True), ("validation", False)):
        present = carried(kind, splits[name], labels)
        missing = [label for label, of in present.items() if needed and not of.any()]
        if missing or not len(splits[name]):
            what = f"no {name} sequence"
            if missing and kind.name != REGRESSION:
                what += f" of label {missing[0]!r}"
            counts = rows.get(name, rows["train"])
            reasons = {
                "dropped_in_test": "also in the test table",
                "dropped_in_validation": "also in the validation table",
                "dropped_conflicting_labels": "with two labels",
                "dropped_duplicates": "repeated",
                "moved_to_validation": "held out for validation",
            }
            found = [f"{counts[key]:,} {why}" for key, why in reasons.items() if counts.get(key)]
            gone = f" ({', '.join(found)}, of {counts['read']:,} rows)" if found else ""
            raise InputError(
                f"task {task}: {what} is left{gone}. Give more sequences, and others than those of the test."
            )
    learned = carried(kind, splits["train"], labels)
    everywhere = next((label for label, of in learned.items() if of.all()), None)
    if everywhere and kind.name != REGRESSION:
        raise InputError(
            f"task {task}: every training sequence that is left beside those for validation has the label "
            f"{everywhere!r}; nothing could be learned of it. Give more sequences without it."
        )


def fold_columns(table: pd.DataFrame) -> list[str]:
    """Names of the columns that say what a sequence is in each fold; none without folds."""
    return [name for name in table.columns if name.startswith(COLUMN)]


def learned_and_tested(splits: dict[str, pd.DataFrame]) -> Iterator[tuple[list[str], list[str]]]:
    """The sequences that are trained on and those that are tested on, together or in each fold."""
    test = splits["test"]
    if not fold_columns(test):
        yield splits["train"]["forward"].tolist(), test["forward"].tolist()
    for fold in fold_columns(test):
        tested = test[fold] == TEST
        learned = test[fold].isin([TRAIN, VALIDATION])
        yield test["forward"][learned].tolist(), test["forward"][tested].tolist()
