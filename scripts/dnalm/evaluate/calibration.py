"""Do probabilities mean what they say? Calibration, temperature and thresholds.

`truth` is int64[n] (class numbers), `probabilities` float64[n, n_classes]. What is fitted, a temperature
and a threshold, is fitted on the validation split and then judged on the test split.
"""

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from dnalm.evaluate.metrics import (
    SMALLEST_PROBABILITY,
    confusion_matrices,
    confusion_metrics,
    losses,
    wilson_interval,
)

# As in Guo et al. 2017.
ERROR_BINS = 15
CURVE_BINS = 10
# Temperatures beyond these say that a classifier knows nothing, or everything.
LOG_TEMPERATURES = (-3.0, 3.0)
THRESHOLD_METRICS = ("accuracy", "precision", "recall", "f1", "mcc")


def calibration_report(
    truth: np.ndarray,
    probabilities: np.ndarray,
    validation_truth: np.ndarray,
    validation_probabilities: np.ndarray,
    confidence: float,
) -> dict[str, Any]:
    """Calibration of the test split: as predicted, and after a temperature fitted on the validation split.

    Keys: `n_validation`, `temperature`, `error` and `loss` (each `as_predicted` and `scaled`), `curve` (see
    :func:`calibration_curve`), and with two classes `threshold`: its `value` and the metrics of the test
    split at it, else None.
    """
    temperature = fit_temperature(validation_truth, validation_probabilities)
    scaled = scale(probabilities, temperature)
    threshold = None
    if probabilities.shape[1] == 2:
        value = best_threshold(validation_truth, validation_probabilities[:, 1])
        threshold = {"value": value} | metrics_at(truth, probabilities[:, 1], value)
    return {
        "n_validation": len(validation_truth),
        "temperature": temperature,
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


def scale(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities whose logits are divided by `temperature` (Guo et al. 2017): the same shape and order."""
    logits = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY)) / temperature
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
    """The probability of the positive class from which calling it positive gives the highest MCC.

    Halfway between two neighbouring scores; 0.5 where no threshold is better than it. `scores`: float64[n].
    """
    distinct = np.unique(scores)
    candidates = np.append(0.5, (distinct[1:] + distinct[:-1]) / 2)
    order = np.argsort(scores, kind="stable")
    ordered, positive = scores[order], (truth == 1)[order]
    below = np.searchsorted(ordered, candidates, side="left")
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


def metrics_at(truth: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, float]:
    """Accuracy, precision, recall, F1 and MCC where scores from `threshold` up are called positive."""
    called = (scores >= threshold).astype(np.int64)
    confusion = confusion_matrices(truth, called, 2, np.ones((1, len(truth))))
    found = confusion_metrics(confusion)
    return {name: float(found[name][0]) for name in THRESHOLD_METRICS}
