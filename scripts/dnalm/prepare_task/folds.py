"""Folds of cross-validation: every sequence is tested once, by who knows neither it nor a relative of it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from dnalm.prepare_task.homology import choose_clusters
from dnalm.running.errors import InputError

# Begins the names of the columns that say what a sequence is in each fold.
COLUMN = "fold_"
TRAIN, VALIDATION, TEST = "train", "validation", "test"
# What is related to what the fold tests, where that is to be left out (see `splits.drop_relatives`).
DROPPED = "dropped"


def deal_clusters(membership: np.ndarray, clusters: np.ndarray, keys: np.ndarray, folds: int) -> np.ndarray:
    """Deal whole clusters to folds, so that every group has about the same share in each: int64[n].

    `membership` is bool[n, n_groups]: the labels, or parts of the range of values, that sequences belong to.

    Large clusters come first, those of one size group by group, and then in the order of the smallest key
    among their members; each goes to the fold that has the least of its groups, of equal ones to the
    smallest. If no cluster has several members, the numbers of every label in two folds differ by one at
    most, and so do those of all sequences.
    """
    membership = membership[:, membership.any(axis=0)].astype(int)
    rare = 1 / membership.sum(axis=0) ** 2
    members_of: dict[int, list[int]] = {}
    for place in np.argsort(keys, kind="stable"):
        members_of.setdefault(int(clusters[place]), []).append(int(place))
    held = np.zeros((folds, membership.shape[1]), dtype=int)
    sizes = np.zeros(folds, dtype=int)
    dealt = np.empty(len(membership), dtype=np.int64)
    having = {cluster: membership[members].sum(axis=0) for cluster, members in members_of.items()}
    for cluster in sorted(members_of, key=lambda c: (-len(members_of[c]), *having[c])):
        members, size = members_of[cluster], having[cluster]
        # The sum over folds and groups of squared shares grows least there.
        fold = np.lexsort((sizes, held @ (size * rare)))[0]
        dealt[members] = fold
        held[fold] += size
        sizes[fold] += len(members)
    return dealt


def roles_in_folds(
    membership: np.ndarray, clusters: np.ndarray, keys: np.ndarray, folds: int, validation_fraction: float
) -> dict[str, np.ndarray]:
    """What each sequence is in each fold, by the name of its column: `train`, `validation` or `test` [n].

    Of the sequences that a fold does not test, whole clusters are held out for validation.
    """
    dealt = deal_clusters(membership, clusters, keys, folds)
    columns = {}
    for fold in range(folds):
        roles = np.where(dealt == fold, TEST, TRAIN).astype(object)
        others = np.flatnonzero(dealt != fold)
        held_out = choose_clusters(membership[others], clusters[others], keys[others], validation_fraction)
        roles[others[held_out]] = VALIDATION
        columns[f"{COLUMN}{fold + 1}"] = roles
    return columns


def check_enough(carried: Mapping[str, np.ndarray], clusters: np.ndarray, folds: int, task: str) -> None:
    """Raise InputError if a label has fewer clusters than there are folds. `carried`: bool[n] by label."""
    for label, of in carried.items():
        n_sequences, n_clusters = int(of.sum()), len(set(clusters[of]))
        if n_clusters < folds:
            of_label = f" of label {label!r}" if len(carried) > 1 else ""
            related = (
                f", {n_clusters:,} if those that stay together count as one"
                if n_clusters < n_sequences
                else ""
            )
            raise InputError(
                f"task {task}: too few sequences{of_label} for {folds} folds: {n_sequences:,}{related}. "
                "Lower the number in the column 'folds' of the task sheet, or give more sequences."
            )


def check_roles(carried: Mapping[str, np.ndarray], roles: Mapping[str, np.ndarray], task: str) -> None:
    """Raise InputError if some fold has a label that nothing could be learned of, or nothing to validate."""
    for name, of_fold in roles.items():
        more = "Give more sequences, or another number of folds."
        if not (of_fold == VALIDATION).any():
            raise InputError(f"task {task}: in {name} no sequence is left for validation. {more}")
        learned = {label: of[of_fold == TRAIN] for label, of in carried.items()}
        if missing := next((label for label, of in learned.items() if not of.any()), None):
            of_label = f" of label {missing!r}" if len(carried) > 1 else ""
            raise InputError(
                f"task {task}: in {name} no training sequence{of_label} is left beside those for validation "
                f"and testing and their relatives. {more}"
            )
        everywhere = next((label for label, of in learned.items() if of.all()), None)
        if everywhere and len(carried) > 1:
            raise InputError(
                f"task {task}: in {name} every training sequence has the label {everywhere!r}. {more}"
            )


def read_roles(path: Path) -> dict[str, np.ndarray]:
    """The columns of :func:`roles_in_folds` of a table of sequences. Raises InputError if it has none."""
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    roles = {name: table[name].to_numpy() for name in table.columns if name.startswith(COLUMN)}
    if not roles:
        raise InputError(
            f"{path}: no column {COLUMN}1. Make the table with scripts/prepare_task.py and --folds."
        )
    return roles
