"""Classification metrics, and the points of ROC and precision-recall curves.

Everything is computed for many weightings of the same sequences at once: a bootstrap sample is nothing but a
weight for every sequence (how often it was drawn), so that one sort serves all samples. `weights` is
float64[n_samples, n], `truth` int64[n] (class numbers), `probabilities` float64[n, n_classes]; a metric is
float64[n_samples], NaN where it is not defined. With weights of 1 the values are those of scikit-learn.

With two classes precision, recall, F1, AUROC and AUPRC are those of the positive class, the last one. With
more classes they are means over the classes (AUROC and AUPRC: each class against the others).
"""

import numpy as np

# In the order of files; that of the report is `dnalm.problems.names.METRIC_NAMES`.
METRICS = (
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "precision_weighted",
    "recall_weighted",
    "f1_weighted",
    "mcc",
    "auroc",
    "auprc",
)
CURVE_POINTS = 500
# A probability of 0 for the true class would make the loss infinite; float32 softmax can give it.
SMALLEST_PROBABILITY = 1e-12
# Which sequences are positive, bool[n], and the score that ranks them, float64[n].
Ranking = tuple[np.ndarray, np.ndarray]


def losses(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Negative log probability of the true class in nats: float64[n]."""
    of_truth = probabilities[np.arange(len(truth)), truth]
    return -np.log(np.maximum(of_truth, SMALLEST_PROBABILITY))


def all_metrics(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric of METRICS and the mean `loss` in nats, for each weighting of the sequences."""
    n_classes = probabilities.shape[1]
    confusion = confusion_matrices(truth, probabilities.argmax(axis=1), n_classes, weights)
    result = confusion_metrics(confusion)
    areas = [ranking_areas(*ranking, weights) for ranking in class_rankings(truth, probabilities)]
    # A class without sequences in a sample has no curve there; the others still have.
    result["auroc"] = mean_of_defined(np.array([auroc for auroc, _ in areas]))
    result["auprc"] = mean_of_defined(np.array([auprc for _, auprc in areas]))
    result["loss"] = (weights @ losses(truth, probabilities)) / weights.sum(axis=1)
    return result


def class_rankings(truth: np.ndarray, probabilities: np.ndarray) -> list[Ranking]:
    """Of two classes the positive one against the other, of more each against the others."""
    n_classes = probabilities.shape[1]
    positives = [n_classes - 1] if n_classes == 2 else range(n_classes)
    return [(truth == i, probabilities[:, i]) for i in positives]


def confusion_matrices(
    truth: np.ndarray, predicted: np.ndarray, n_classes: int, weights: np.ndarray
) -> np.ndarray:
    """Weight of every pair of true (row) and predicted class: float64[n_samples, n_classes, n_classes]."""
    cells = truth * n_classes + predicted
    indicator = np.zeros((len(truth), n_classes * n_classes))
    indicator[np.arange(len(truth)), cells] = 1
    return (weights @ indicator).reshape(len(weights), n_classes, n_classes)


def confusion_metrics(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics that depend on the confusion matrix only. `confusion` is [n_samples, classes, classes]."""
    n_classes = confusion.shape[1]
    total = confusion.sum(axis=(1, 2))
    right = np.diagonal(confusion, axis1=1, axis2=2)
    actual, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    # 0/0 counts as 0, as usual: a class never predicted has precision 0.
    precision = ratio(right, predicted)
    recall = ratio(right, actual)
    f1 = ratio(2 * right, actual + predicted)
    share = actual / total[:, None]

    def averaged(values: np.ndarray) -> np.ndarray:
        return values[:, -1] if n_classes == 2 else values.mean(axis=1)

    # Matthews correlation for any number of classes (Gorodkin 2004); 0 where one side never varies.
    covariance = right.sum(axis=1) * total - (actual * predicted).sum(axis=1)
    spread = (total**2 - (actual**2).sum(axis=1)) * (total**2 - (predicted**2).sum(axis=1))
    return {
        "accuracy": right.sum(axis=1) / total,
        "balanced_accuracy": mean_of_defined(np.where(actual > 0, recall, np.nan).T),
        "precision": averaged(precision),
        "recall": averaged(recall),
        "f1": averaged(f1),
        "precision_weighted": (precision * share).sum(axis=1),
        "recall_weighted": (recall * share).sum(axis=1),
        "f1_weighted": (f1 * share).sum(axis=1),
        "mcc": ratio(covariance, np.sqrt(np.maximum(spread, 0))),
    }


def ranking_areas(
    positive: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Areas under the ROC curve and (average precision) the precision-recall curve, each [n_samples].

    `positive` is bool[n], `scores` float[n]. Sequences of equal score count as one step of the curve. NaN
    where a sample has no positive or (AUROC) no negative sequence.
    """
    order = np.argsort(-scores, kind="stable")
    step_ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    ordered = weights[:, order]
    true_positives = np.cumsum(ordered * positive[order], axis=1)[:, step_ends]
    false_positives = np.cumsum(ordered * ~positive[order], axis=1)[:, step_ends]
    n_positive, n_negative = true_positives[:, -1], false_positives[:, -1]
    new_true = np.diff(true_positives, prepend=0, axis=1)
    new_false = np.diff(false_positives, prepend=0, axis=1)
    above = (new_false * (true_positives - new_true / 2)).sum(axis=1)
    precision = ratio(true_positives, true_positives + false_positives)
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = above / (n_positive * n_negative)
        auprc = (new_true * precision).sum(axis=1) / n_positive
    undefined = (n_positive == 0) | (n_negative == 0)
    return np.where(undefined, np.nan, auroc), np.where(n_positive == 0, np.nan, auprc)


def curves(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, dict[str, list[float]] | None]:
    """ROC and precision-recall curve of the positive class, or with more than two classes their means.

    `roc` has `fpr` and `tpr`, `pr` has `recall` and `precision`, each of CURVE_POINTS points at most; None
    where a curve is not defined. A mean curve is the mean of the classes' values at equal `fpr` or `recall`.
    """
    n_classes = probabilities.shape[1]
    if n_classes == 2:
        roc, pr = _curve_points(truth == 1, probabilities[:, 1])
        return {"roc": roc and _thinned(roc), "pr": pr and _thinned(pr)}
    return mean_curves(truth[:, None] == np.arange(n_classes), probabilities)


def mean_curves(positive: np.ndarray, probabilities: np.ndarray) -> dict[str, dict[str, list[float]] | None]:
    """The mean of the curves of every column of bool[n, k] and float64[n, k]; see :func:`curves`."""
    points = [_curve_points(positive[:, i], probabilities[:, i]) for i in range(positive.shape[1])]
    grid = np.linspace(0, 1, 201)
    return {
        "roc": _mean_curve([roc for roc, _ in points if roc], "fpr", "tpr", grid),
        "pr": _mean_curve([pr for _, pr in points if pr], "recall", "precision", grid),
    }


def _curve_points(positive: np.ndarray, scores: np.ndarray) -> tuple[dict | None, dict | None]:
    """Every corner of the ROC and the precision-recall curve, from the highest threshold down."""
    order = np.argsort(-scores, kind="stable")
    step_ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true_positives = np.cumsum(positive[order])[step_ends]
    false_positives = np.cumsum(~positive[order])[step_ends]
    n_positive, n_negative = true_positives[-1], false_positives[-1]
    if not n_positive:
        return None, None
    recall = true_positives / n_positive
    precision = true_positives / (true_positives + false_positives)
    # The curve begins at recall 0 with the precision of its first step, not with a made-up 1.
    pr = {"recall": np.append(0, recall), "precision": np.append(precision[0], precision)}
    if not n_negative:
        return None, pr
    return {"fpr": np.append(0, false_positives / n_negative), "tpr": np.append(0, recall)}, pr


def _thinned(curve: dict[str, np.ndarray]) -> dict[str, list[float]]:
    n = len(next(iter(curve.values())))
    kept = np.unique(np.linspace(0, n - 1, min(n, CURVE_POINTS)).round().astype(int))
    return {name: np.round(values[kept], 6).tolist() for name, values in curve.items()}


def _mean_curve(curves: list[dict], x: str, y: str, grid: np.ndarray) -> dict[str, list[float]] | None:
    if not curves:
        return None
    mean = np.mean([np.interp(grid, curve[x], curve[y]) for curve in curves], axis=0)
    return {x: np.round(grid, 6).tolist(), y: np.round(mean, 6).tolist()}


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis without NaN; NaN where nothing is defined."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    total = np.where(defined, values, 0).sum(axis=0)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
