"""Metrics of several labels per sequence, for many weightings of the same sequences at once (see `metrics`).

`truth` is float64[n, n_labels] of 0 and 1, `outputs` the probability of each label, float64[n, n_labels]. A
label is predicted where its probability is above 0.5.
"""

import numpy as np

from dnalm.problems.intervals import Share, areas_interval
from dnalm.problems.metrics import SMALLEST_PROBABILITY, Ranking, mean_of_defined, ranking_areas, ratio

# In the order of files.
METRICS = (
    "auroc_macro",
    "auprc_macro",
    "f1_macro",
    "f1_micro",
    "precision_micro",
    "recall_micro",
    "label_accuracy",
    "exact_match",
)
THRESHOLD = 0.5


def binary_losses(truth: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Mean over the labels of −ln(probability given to what is true of each), in nats: float64[n]."""
    of_truth = np.where(truth == 1, outputs, 1 - outputs)
    return -np.log(np.maximum(of_truth, SMALLEST_PROBABILITY)).mean(axis=1)


def all_metrics(truth: np.ndarray, outputs: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric of METRICS and the mean `loss` in nats, for each weighting float64[m, n].

    Macro: the mean over the labels. Micro: over all pairs of sequence and label. A label that every or no
    sequence of a sample carries has no curve there; the others still have.
    """
    total = weights.sum(axis=1)
    carried, predicted = truth == 1, outputs > THRESHOLD
    curves = [ranking_areas(*ranking, weights) for ranking in rankings(truth, outputs)]
    right = weights @ (carried & predicted).astype(float)
    of_predicted, of_carried = weights @ predicted.astype(float), weights @ carried.astype(float)
    sums = [part.sum(axis=1) for part in (right, of_predicted, of_carried)]
    agree = carried == predicted
    return {
        "auroc_macro": mean_of_defined(np.array([auroc for auroc, _ in curves])),
        "auprc_macro": mean_of_defined(np.array([auprc for _, auprc in curves])),
        # 0/0 counts as 0, as usual.
        "f1_macro": ratio(2 * right, of_predicted + of_carried).mean(axis=1),
        "f1_micro": ratio(2 * sums[0], sums[1] + sums[2]),
        "precision_micro": ratio(sums[0], sums[1]),
        "recall_micro": ratio(sums[0], sums[2]),
        "label_accuracy": (weights @ agree.mean(axis=1)) / total,
        "exact_match": (weights @ agree.all(axis=1).astype(float)) / total,
        "loss": (weights @ binary_losses(truth, outputs)) / total,
    }


def rankings(truth: np.ndarray, outputs: np.ndarray) -> list[Ranking]:
    """Who carries each label, and the probabilities of it."""
    return [(carried == 1, output) for carried, output in zip(truth.T, outputs.T, strict=True)]


def shares(truth: np.ndarray, outputs: np.ndarray) -> dict[str, list[Share]]:
    """Which metrics are shares of sequences."""
    right = ((truth == 1) == (outputs > THRESHOLD)).all(axis=1)
    return {"exact_match": [(right, np.ones(len(right), bool))]}


def nearest(
    truth: np.ndarray, outputs: np.ndarray, clusters: np.ndarray, confidence: float
) -> dict[str, tuple[float, float]]:
    """Bounds of the mean AUROC which hold for few sequences of a label."""
    areas = areas_interval(rankings(truth, outputs), clusters, confidence)
    return {"auroc_macro": areas} if areas else {}
