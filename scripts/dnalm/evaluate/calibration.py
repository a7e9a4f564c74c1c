"""Do probabilities mean what they say? Calibration, temperature and thresholds.

`truth` is int64[n] (class numbers), `probabilities` float64[n, n_classes]. What is fitted, a temperature
and a threshold, is fitted on the validation split and then judged on the test split. In a cross-validation
it is fitted in every fold on the fold's own validation sequences and judged on what the fold left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from dnalm.problems.intervals import wilson_interval
from dnalm.problems.metrics import SMALLEST_PROBABILITY, confusion_matrices, confusion_metrics, losses

# As in Guo et al. 2017.
ERROR_BINS = 15
CURVE_BINS = 10
# Temperatures beyond these say that a classifier knows nothing, or everything.
LOG_TEMPERATURES = (-3.0, 3.0)
THRESHOLD_METRICS = ("accuracy", "precision", "recall", "f1", "mcc")


@dataclass(frozen=True)
class Fitted:
    """What validation sequences say of a classifier's probabilities."""

    n_validation: int
    temperature: float
    threshold: float | None  # None but with two classes


def fit(truth: np.ndarray, probabilities: np.ndarray) -> Fitted:
    """Temperature and, with two classes, threshold, from validation sequences."""
    threshold = best_threshold(truth, probabilities[:, 1]) if probabilities.shape[1] == 2 else None
    return Fitted(len(truth), fit_temperature(truth, probabilities), threshold)


def calibration_report(
    truth: np.ndarray, probabilities: np.ndarray, fitted: Fitted, confidence: float
) -> dict[str, Any]:
    """Calibration of the test split: as predicted, and after what was `fitted` on the validation split.

    Keys: `n_validation`, `temperature`, `error` and `loss` (each `as_predicted` and `scaled`), `curve` (see
    :func:`calibration_curve`), and with two classes `threshold`: its `value` and the metrics of the test
    split at it, else None.
    """
    return _judged(truth, probabilities, [fitted], np.zeros(len(truth), dtype=np.int64), confidence)


def calibration_over_folds(
    truth: np.ndarray,
    probabilities: np.ndarray,
    fitted: Sequence[Fitted],
    fold: np.ndarray,
    confidence: float,
) -> dict[str, Any]:
    """:func:`calibration_report` of the predictions of all folds together.

    fold: int64[n], the fold that left a sequence out; by it each sequence is scaled and called with what was
          `fitted` in that fold.

    `n_validation` is that of the fold with fewest, `temperature` and the threshold's `value` are medians over
    the folds; `by_fold` has all three fold by fold (`threshold` None but with two classes).
    """
    report = _judged(truth, probabilities, fitted, fold, confidence)
    by_fold: dict[str, Any] = {
        "n_validation": [of_fold.n_validation for of_fold in fitted],
        "temperature": [of_fold.temperature for of_fold in fitted],
        "threshold": [of_fold.threshold for of_fold in fitted] if report["threshold"] else None,
    }
    return report | {"by_fold": by_fold}


def _judged(
    truth: np.ndarray,
    probabilities: np.ndarray,
    fitted: Sequence[Fitted],
    number: np.ndarray,
    confidence: float,
) -> dict[str, Any]:
    """What is said of probabilities when each sequence is judged by `fitted[number]`; number: int64[n]."""
    temperatures = np.array([one.temperature for one in fitted])
    scaled = scale(probabilities, temperatures[number])
    threshold = None
    if probabilities.shape[1] == 2:
        thresholds = np.array([one.threshold for one in fitted], dtype=np.float64)
        called_at = metrics_at(truth, probabilities[:, 1], thresholds[number])
        threshold = {"value": float(np.median(thresholds))} | called_at
    return {
        "n_validation": min(one.n_validation for one in fitted),
        "temperature": float(np.median(temperatures)),
        "error": {
            "as_predicted": expected_calibration_error(truth, probabilities),
            "scaled": expected_calibration_error(truth, scaled),
        },
        "loss": {
            "as_predicted": float(losses(truth, probabilities).mean()),
            "scaled": float(losses(truth, scaled).mean()),
        },
        "curve": calibration_curve(truth, probabilities, confidence),
        "threshold": threshold,
    }


def scale(probabilities: np.ndarray, temperature: float | np.ndarray) -> np.ndarray:
    """Probabilities whose logits are divided by a temperature (Guo et al. 2017): the same shape and order.

    temperature: one for all sequences, or one for each: float64[n]
    """
    divisor = np.asarray(temperature)[..., np.newaxis]
    logits = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY)) / divisor
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def fit_temperature(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature with the lowest loss; 1 where none is better than the probabilities as they are."""

    def loss(log_temperature: float) -> float:
        return float(losses(truth, scale(probabilities, np.exp(log_temperature))).mean())

    found = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-4})
    # Six digits: the last ones differ between machines.
    return round(float(np.exp(found.x)), 6) if found.fun < loss(0.0) - 1e-9 else 1.0


def expected_calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean distance between the confidence in the predicted class and how often it is right.

    Over 15 bins of confidence of equal width (Guo et al. 2017), weighted by the sequences in each.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    number = np.minimum((confidence * ERROR_BINS).astype(int), ERROR_BINS - 1)
    gaps = np.bincount(number, weights=right, minlength=ERROR_BINS) - np.bincount(
        number, weights=confidence, minlength=ERROR_BINS
    )
    return float(np.abs(gaps).sum() / len(truth))


def calibration_curve(
    truth: np.ndarray, probabilities: np.ndarray, confidence: float
) -> list[dict[str, float]]:
    """How often a predicted probability comes true, in 10 groups of about equally many sequences.

    The probability is that of the positive class, with more than two classes that of the predicted one. Each
    group has the mean `predicted` probability, the share `observed` with its Wilson interval (`low`, `high`)
    and `n`. Sequences of equal probability stay in one group.
    """
    if probabilities.shape[1] == 2:
        scores, positive = probabilities[:, 1], truth == 1
    else:
        scores, positive = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, CURVE_BINS + 1)[1:-1]))
    group = np.searchsorted(edges, scores, side="right")
    points = []
    for number in np.unique(group):
        chosen = group == number
        n, hits = int(chosen.sum()), int(positive[chosen].sum())
        low, high = wilson_interval(hits, n, confidence)
        predicted = float(scores[chosen].mean())
        points.append({"predicted": predicted, "observed": hits / n, "low": low, "high": high, "n": n})
    return points


def best_threshold(truth: np.ndarray, scores: np.ndarray) -> float:
    """The probability of the positive class above which calling it positive gives the highest MCC.

    Halfway between two neighbouring scores; 0.5 where no threshold is better than it. `scores`: float64[n].
    """
    distinct = np.unique(scores)
    candidates = np.append(0.5, (distinct[1:] + distinct[:-1]) / 2)
    order = np.argsort(scores, kind="stable")
    ordered, positive = scores[order], (truth == 1)[order]
    below = np.searchsorted(ordered, candidates, side="right")
    missed = np.append(0, np.cumsum(positive))[below]
    rejected = below - missed
    found, false = positive.sum() - missed, (~positive).sum() - rejected
    confusion = np.stack([np.stack([rejected, false], axis=1), np.stack([missed, found], axis=1)], axis=1)
    values = np.round(confusion_metrics(confusion.astype(np.float64))["mcc"], 9)
    best = np.flatnonzero(values == values.max())
    if best[0] == 0:
        return 0.5
    # Of equally good ones, the one nearest to one half.
    return float(candidates[best[np.argmin(np.abs(candidates[best] - 0.5))]])


def metrics_at(truth: np.ndarray, scores: np.ndarray, threshold: float | np.ndarray) -> dict[str, float]:
    """Accuracy, precision, recall, F1 and MCC where scores above `threshold` are called positive.

    At 0.5 these are the metrics of the predicted class, which of two as likely is the first.

    threshold: one for all sequences, or one for each: float64[n]
    """
    called = (scores > threshold).astype(np.int64)
    confusion = confusion_matrices(truth, called, 2, np.ones((1, len(truth))))
    found = confusion_metrics(confusion)
    return {name: float(found[name][0]) for name in THRESHOLD_METRICS}
