"""Metrics of predicted numbers, for many weightings of the same sequences at once (see `metrics`).

`truth` and `outputs` are float64[n, 1]: the measured and the predicted value of each sequence.
"""

import numpy as np

# In the order of files.
METRICS = ("r2", "pearson", "spearman", "mae", "rmse")
# A spread below this part of the largest value is one of rounding, not of the sequences.
RELATIVE_ROUNDING = 1e-9


def squared_errors(truth: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """(predicted − measured)², float64[n]."""
    return ((outputs - truth) ** 2)[:, 0]


def all_metrics(truth: np.ndarray, outputs: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric of METRICS and the `loss`, the mean squared error, for each weighting float64[m, n].

    R² is the explained share of the variance of the given sequences: 1 is perfect, 0 as good as their mean,
    below 0 worse. A metric is NaN where measured or predicted values do not vary.
    """
    measured, predicted = truth[:, 0], outputs[:, 0]
    total = weights.sum(axis=1)
    loss = weights @ squared_errors(truth, outputs) / total
    variance = _covariance(measured, measured, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = 1 - loss / np.where(_varies(measured, variance), variance, np.nan)
    return {
        "r2": r2,
        "pearson": _correlation(measured, predicted, weights),
        "spearman": _correlation(midranks(measured, weights), midranks(predicted, weights), weights),
        "mae": weights @ np.abs(predicted - measured) / total,
        "rmse": np.sqrt(loss),
        "loss": loss,
    }


def midranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The rank of each value among those drawn, float64[m, n]; equal values share the mean of their ranks."""
    order = np.argsort(values, kind="stable")
    _, group = np.unique(values[order], return_inverse=True)
    ends = np.append(np.flatnonzero(np.diff(group)), len(values) - 1)
    up_to = np.cumsum(weights[:, order], axis=1)[:, ends]
    middle = up_to - np.diff(up_to, prepend=0, axis=1) / 2
    ranks = np.empty(weights.shape)
    ranks[:, order] = middle[:, group]
    return ranks


def _covariance(one: np.ndarray, other: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted covariance float64[m]; `one` and `other` are [n] or [m, n]."""
    total = weights.sum(axis=1, keepdims=True)
    deviations = [x - (weights * x).sum(axis=1, keepdims=True) / total for x in (one, other)]
    return (weights * deviations[0] * deviations[1]).sum(axis=1) / total[:, 0]


def _varies(values: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return np.sqrt(variance) > RELATIVE_ROUNDING * max(float(np.abs(values).max()), 1e-300)


def _correlation(one: np.ndarray, other: np.ndarray, weights: np.ndarray) -> np.ndarray:
    spreads = [_covariance(x, x, weights) for x in (one, other)]
    varies = _varies(one, spreads[0]) & _varies(other, spreads[1])
    product = np.sqrt(np.where(varies, spreads[0] * spreads[1], np.nan))
    return np.clip(_covariance(one, other, weights) / product, -1, 1)
