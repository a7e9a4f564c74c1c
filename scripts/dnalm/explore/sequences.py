"""Labelled sequences in numbers that can be drawn: composition per class and split, boxes of a boxplot."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

# Points beyond the whiskers that a box keeps, the most extreme ones.
OUTLIERS = 8
# With more labels than this a picture per label says nothing; all sequences are one group then.
MOST_LABELS = 8
ALL = "all"


def grouped(table: pd.DataFrame, labels: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each label that has any, in the order of `labels`; all rows together with too many."""
    if len(labels) > MOST_LABELS:
        return [(ALL, table)]
    parts = [(label, table[table["label"] == label]) for label in labels]
    return [(label, part) for label, part in parts if len(part)]


def gc_content(sequences: Sequence[str]) -> np.ndarray:
    """Fraction of G and C among A, C, G, T of each upper-case sequence: float64[n]; 0 without any of them."""
    counts = np.array([[s.count(base) for base in "GCAT"] for s in sequences], np.int64).reshape(-1, 4)
    return counts[:, :2].sum(axis=1) / np.maximum(counts.sum(axis=1), 1)


def box(values: np.ndarray) -> dict[str, Any]:
    """A box of Tukey's boxplot: quartiles, whiskers to the last value within 1.5 interquartile ranges.

    Keys: n, mean, low, q1, median, q3, high, smallest, largest, outliers (the most extreme ones).
    """
    values = np.sort(np.asarray(values, np.float64))
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    reach = 1.5 * (q3 - q1)
    inside = values[(values >= q1 - reach) & (values <= q3 + reach)]
    outside = values[(values < q1 - reach) | (values > q3 + reach)]
    extreme = outside[np.argsort(-np.abs(outside - median), kind="stable")][:OUTLIERS]
    numbers = {
        "mean": values.mean(),
        "low": inside[0],
        "q1": q1,
        "median": median,
        "q3": q3,
        "high": inside[-1],
        "smallest": values[0],
        "largest": values[-1],
    }
    digits = _digits(float(np.abs(values).max()))
    return {
        "n": len(values),
        **{name: round(float(number), digits) for name, number in numbers.items()},
        "outliers": sorted(round(float(number), digits) for number in extreme),
    }


def _digits(largest: float) -> int:
    """Decimals to keep: six, and of small values, such as squared errors, six that count."""
    return 6 if largest >= 1e-3 or not largest else 5 - math.floor(math.log10(largest))
