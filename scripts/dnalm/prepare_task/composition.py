"""What a sequence shows without being read: can its length or its letters alone tell the label?"""

from typing import Any

import numpy as np
import pandas as pd

from dnalm.evaluate.metrics import ranking_areas

# An area of 0.5 is chance. Above this one, and by more than so many standard errors of chance, it is told.
TELLING_AREA = 0.6
STANDARD_ERRORS = 3.0


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


def telling_areas(rows: pd.DataFrame, labels: list[str]) -> dict[str, dict[str, Any]]:
    """How well each of the numbers of :func:`composition` alone tells the labels apart.

    Of every label against the others the area under the ROC curve is taken, in the direction that is above
    0.5, and of the labels the one with the largest: `auroc`, `label`, and `tells`, whether it is more than
    chance and worth a warning. `rows` have `seq` (as it came, with its case) and `label`.
    """
    found = {}
    for name, values in composition(rows["seq"]).items():
        areas = {label: _area(rows["label"].to_numpy() == label, values) for label in labels}
        label = max(areas, key=lambda key: areas[key])
        n_label = int((rows["label"] == label).sum())
        n_other = len(rows) - n_label
        error = np.sqrt((len(rows) + 1) / (12 * n_label * n_other))
        found[name] = {
            "auroc": round(areas[label], 6),
            "label": label,
            "tells": bool(areas[label] >= TELLING_AREA and areas[label] - 0.5 > STANDARD_ERRORS * error),
        }
    return found


def _area(positive: np.ndarray, values: np.ndarray) -> float:
    area = float(ranking_areas(positive, values, np.ones((1, len(values))))[0][0])
    return max(area, 1 - area)
