"""Leaderboards of a study: variants with their spread over seeds, and their differences to one reference.

Two sources of chance are kept apart. The *interval* is over test sequences: what another test split of the
same kind would give. The *spread* is over seeds: what another training of the same kind would give.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import rankdata, t

from dnalm.problems.intervals import bootstrap_weights, interval

AVERAGED = ("accuracy", "mcc", "auroc")


@dataclass
class Entry:
    """One evaluated predictor on one task."""

    task: str
    name: str
    backbone: str | None
    settings: dict[str, Any]  # what makes it, seeds aside; empty for a baseline
    kind: str
    metrics: dict[str, float | None]  # those of AVERAGED
    accuracy: dict[str, float]  # with its interval
    right: np.ndarray  # float64[n]: 1 where the prediction of a test sequence is right
    clusters: np.ndarray  # int64[n]: which test sequences are related, see `dnalm.problems.intervals`
    cost: dict[str, float | None] = field(default_factory=dict)


@dataclass
class Group:
    """Entries of one task that differ in seeds only."""

    entries: list[Entry]

    @property
    def right(self) -> np.ndarray:
        """Share of the seeds that are right about each test sequence: float64[n]."""
        return np.mean([entry.right for entry in self.entries], axis=0)


def grouped(entries: Sequence[Entry]) -> list[Group]:
    """The entries of a task by what makes them, in their order."""
    groups: dict[tuple, list[Entry]] = defaultdict(list)
    for entry in entries:
        name = entry.name if not entry.settings else ""
        groups[(name, entry.kind, entry.backbone, *sorted(map(str, entry.settings.items())))].append(entry)
    return [Group(of_one) for of_one in groups.values()]


def leaderboard(
    entries: Sequence[Entry], reference: str, n_samples: int, seed: int, confidence: float
) -> list[dict[str, Any]]:
    """One row per variant of a task, the most accurate first.

    A row has `name` (of its first seed), `kind`, `backbone`, `settings`, `seeds`, `accuracy` (value, low,
    high over test sequences), `seed_spread` (standard deviation over seeds, None of one), the means of
    AVERAGED, the mean cost, and, but for the reference itself, `difference` (accuracy minus that of
    `reference`, paired: value, low, high), `p` (:func:`paired_p`) and `p_adjusted` (Holm 1979, over the
    rows).
    """
    groups = grouped(entries)
    lead = next(group for group in groups if group.entries[0].name == reference)
    clusters = lead.entries[0].clusters
    weights = np.concatenate(list(bootstrap_weights(clusters, n_samples, seed)))
    drawn = weights.sum(axis=1)
    rows = []
    for group in groups:
        first, gain = group.entries[0], group.right - lead.right
        accuracies = [entry.accuracy["value"] for entry in group.entries]
        accuracy: dict[str, Any] = dict(first.accuracy)
        if len(group.entries) > 1:
            samples = weights @ group.right / drawn
            accuracy = interval(float(group.right.mean()), samples, confidence)
        row: dict[str, Any] = {
            "name": first.name,
            "kind": first.kind,
            "backbone": first.backbone,
            "settings": first.settings,
            "seeds": len(group.entries),
            "accuracy": accuracy,
            "seed_spread": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None,
            **{name: _mean([entry.metrics[name] for entry in group.entries]) for name in AVERAGED[1:]},
            "cost": {name: _mean([entry.cost.get(name) for entry in group.entries]) for name in first.cost},
            "difference": None,
            "p": None,
        }
        if group is not lead:
            row["difference"] = interval(float(gain.mean()), weights @ gain / drawn, confidence)
            row["p"] = paired_p(gain, clusters)
        rows.append(row)
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_adjusted"] = adjusted
    return sorted(rows, key=lambda row: -row["accuracy"]["value"])


def paired_p(gain: np.ndarray, clusters: np.ndarray) -> float:
    """p value of a mean gain of zero, two-sided; gain: float64[n], clusters: int64[n].

    A paired t-test whose standard error is that of whole clusters (Liang & Zeger 1986), with as many degrees
    of freedom as there are clusters but one. Without relatives that is the ordinary one.
    """
    n_clusters = int(clusters.max()) + 1
    of_cluster = np.bincount(clusters, weights=gain - gain.mean())
    variance = (of_cluster**2).sum() * n_clusters / max(1, n_clusters - 1) / len(gain) ** 2
    # Without a single difference, or with one cluster, there is nothing to test.
    if not gain.any() or n_clusters == 1:
        return 1.0
    with np.errstate(divide="ignore"):
        return float(2 * t.sf(abs(gain.mean()) / np.sqrt(variance), n_clusters - 1))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p values that hold for all comparisons together (Holm 1979); None stays None."""
    given = sorted((p, i) for i, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    so_far = 0.0
    for rank, (p, i) in enumerate(given):
        so_far = max(so_far, min(1.0, (len(given) - rank) * p))
        adjusted[i] = so_far
    return adjusted


def over_tasks(boards: Mapping[str, list[dict[str, Any]]], confidence: float = 0.95) -> list[dict[str, Any]]:
    """One row per variant over all tasks, by mean accuracy: `mean_accuracy`, `mean_rank`, `better`, `worse`.

    `better` and `worse` count the tasks on which the adjusted p value of the difference to the reference is
    below 1 - `confidence`. Equal accuracies share the mean of their ranks (Demšar 2006).
    """
    found: dict[tuple, list[tuple[float, dict[str, Any]]]] = defaultdict(list)
    for rows in boards.values():
        # Means over seeds differ in the last bits.
        ranks = rankdata([-round(row["accuracy"]["value"], 9) for row in rows])
        for rank, row in zip(ranks, rows, strict=True):
            key = (row["kind"], row["backbone"], *sorted(map(str, row["settings"].items())))
            found[(row["name"] if not row["settings"] else "", *key)].append((rank, row))
    table = []
    for ranked in found.values():
        first = ranked[0][1]
        told = [
            row["difference"]["value"]
            for _, row in ranked
            if row["difference"] and row["p_adjusted"] < 1 - confidence
        ]
        table.append(
            {key: first[key] for key in ("name", "kind", "backbone", "settings")}
            | {
                "tasks": len(ranked),
                "mean_accuracy": float(np.mean([row["accuracy"]["value"] for _, row in ranked])),
                "mean_rank": float(np.mean([rank for rank, _ in ranked])),
                "better": sum(value > 0 for value in told),
                "worse": sum(value < 0 for value in told),
            }
        )
    return sorted(table, key=lambda row: (row["mean_rank"], -row["mean_accuracy"]))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
