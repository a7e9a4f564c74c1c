"""What a sequence shows without being read: can its length or its letters alone tell the label?"""

from typing import Any

import numpy as np
import pandas as pd

from dnalm.problems.metrics import ranking_areas
from dnalm.problems.regression import all_metrics

# An area of 0.5 is chance. Above this one, and by more than so many standard errors of chance, it is told.
TELLING_AREA = 0.6
STANDARD_ERRORS = 3.0
# Of values: a rank correlation of 0 is chance.
TELLING_CORRELATION = 0.2


def composition(sequences: pd.Series) -> dict[str, np.ndarray]:
    """Length in bp, and the fractions of G and C, of lower case and of N: float64[n] each."""
    lengths = sequences.str.len().to_numpy(dtype=float)
    upper = sequences.str.upper()
    return {
        "length": lengths,
        "gc": (upper.str.count("[GC]") / np.maximum(upper.str.count("[ACGT]"), 1)).to_numpy(),
        "lower_case": sequences.str.count("[a-z]").to_numpy() / lengths,
        "n": upper.str.count("N").to_numpy() / lengths,
    }


def telling_areas(sequences: pd.Series, carried: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """How well each of the numbers of :func:`composition` alone tells the labels apart.

    Of every label against the others the area under the ROC curve is taken, in the direction that is above
    0.5, and of the labels the one with the largest: `auroc`, `label`, and `tells`, whether it is more than
    chance and worth a warning. `sequences` are as they came, with their case; `carried` says of every label
    which of them carry it, bool[n].
    """
    found = {}
    for name, values in composition(sequences).items():
        areas = {label: _area(positive, values) for label, positive in carried.items()}
        label = max(areas, key=lambda key: areas[key])
        n_label = int(carried[label].sum())
        error = chance_error(n_label, len(values) - n_label)
        found[name] = {
            "auroc": round(areas[label], 6),
            "label": label,
            "tells": bool(areas[label] >= TELLING_AREA and areas[label] - 0.5 > STANDARD_ERRORS * error),
        }
    return found


def chance_error(n_label: int, n_other: int) -> float:
    """Standard error of the area under the ROC curve of labels drawn at random (Mann and Whitney 1947)."""
    return float(np.sqrt((n_label + n_other + 1) / (12 * n_label * n_other)))


def telling_correlations(sequences: pd.Series, values: np.ndarray) -> dict[str, dict[str, Any]]:
    """How well each of the numbers of :func:`composition` alone tells the `values` float64[n].

    `spearman` is the rank correlation, None where the number is the same for all sequences, and `tells`
    whether it is more than chance and worth a warning.
    """
    found = {}
    for name, numbers in composition(sequences).items():
        weights = np.ones((1, len(values)))
        rank = float(all_metrics(values[:, None], numbers[:, None], weights)["spearman"][0])
        told = abs(rank) >= TELLING_CORRELATION and abs(rank) > STANDARD_ERRORS / np.sqrt(len(values) - 1)
        found[name] = {"spearman": None if np.isnan(rank) else round(rank, 6), "tells": bool(told)}
    return found


def _area(positive: np.ndarray, values: np.ndarray) -> float:
    area = float(ranking_areas(positive, values, np.ones((1, len(values))))[0][0])
    return max(area, 1 - area)
