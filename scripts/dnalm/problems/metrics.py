"""Classification metrics with intervals, and the points of ROC and precision-recall curves.

Everything is computed for many weightings of the same sequences at once: a bootstrap sample is nothing but a
weight for every sequence (how often it was drawn), so that one sort serves all samples. `weights` is
float64[n_samples, n], `truth` int64[n] (class numbers), `probabilities` float64[n, n_classes]; a metric is
float64[n_samples], NaN where it is not defined. With weights of 1 the values are those of scikit-learn.

`clusters` int64[n] tells which sequences are related: those of one cluster have the same number, counted from
0 in the order of their first sequence. Whole clusters are drawn (cluster bootstrap; Davison & Hinkley 1997,
section 3.8), since a predictor tends to be right about all relatives or about none. :func:`unrelated` gives
every sequence a cluster of its own.

With two classes precision, recall, F1, AUROC and AUPRC are those of the positive class, the last one. With
more classes they are means over the classes (AUROC and AUPRC: each class against the others).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

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
# Leaving out one sequence at a time takes too long for many; groups of them tell the skewness as well.
JACKKNIFE_GROUPS = 400
# A probability of 0 for the true class would make the loss infinite; float32 softmax can give it.
SMALLEST_PROBABILITY = 1e-12


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


def metrics_of_samples(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """:func:`all_metrics`, but of two classes no balanced accuracy of a sample that lacks one of them.

    As AUROC it is not defined there: the recall of the other class alone is 1 for who names nothing else.
    """
    result = all_metrics(truth, probabilities, weights)
    if probabilities.shape[1] == 2:
        lacks_one = np.any([weights @ (truth == i) == 0 for i in np.unique(truth)], axis=0)
        result["balanced_accuracy"] = np.where(lacks_one, np.nan, result["balanced_accuracy"])
    return result


def class_rankings(truth: np.ndarray, probabilities: np.ndarray) -> list["Ranking"]:
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


def unrelated(n: int) -> np.ndarray:
    """Clusters of `n` sequences of which none is related to another."""
    return np.arange(n)


def bootstrap_weights(
    clusters: np.ndarray, n_samples: int, seed: int, block: int = 100
) -> Iterator[np.ndarray]:
    """Draw `n_samples` bootstrap samples of whole `clusters`, as blocks of weights float64[<= block, n].

    The samples depend on the clusters and the seed only, so that two predictors of the same sequences are
    compared on the same samples.
    """
    generator, n = np.random.default_rng(seed), int(clusters.max()) + 1
    for start in range(0, n_samples, block):
        size = min(block, n_samples - start)
        drawn = generator.integers(0, n, size=(size, n)) + n * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        # Clusters of one sequence each stand in the order of the sequences: no copy is needed.
        yield times if n == len(clusters) else times[:, clusters]


def worth_of_clusters(clusters: np.ndarray) -> float:
    """As many independent sequences tell as much as all, if relatives are judged alike (Kish 1965).

    That is n² / Σ size², the least that they are worth.
    """
    sizes = np.bincount(clusters).astype(float)
    return float(len(clusters) ** 2 / (sizes**2).sum())


def independent_trials(right: np.ndarray, clusters: np.ndarray) -> float:
    """How many independent sequences tell as much of a share as these do, of which `right` bool[n] count.

    That is the effective sample size of surveys (Korn & Graubard 1998): value · (1 − value) / variance, where
    the variance is that of a mean of whole clusters; never more than n. Where clusters do not vary, relatives
    count as judged alike.
    """
    value, n = right.mean(), len(right)
    # Of whole numbers, so that rounding makes no variance where there is none.
    variance = float((np.bincount(clusters, n * right - right.sum()) ** 2).sum()) / n**4
    if variance > 0 and 0 < value < 1:
        return min(n, value * (1 - value) / variance)
    return worth_of_clusters(clusters)


def class_shares(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, list["Share"]]:
    """Which metrics of classes are shares of sequences, or the mean of such."""
    n_classes, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
    right, every = predicted == truth, np.ones(len(truth), bool)
    recalls = [(right, truth == i) for i in np.unique(truth)]
    shares = {"accuracy": [(right, every)], "recall_weighted": [(right, every)], "balanced_accuracy": recalls}
    if n_classes == 2:
        called = {"recall": truth == 1, "precision": predicted == 1}
        return shares | {name: [(right, of)] for name, of in called.items() if of.any()}
    # A class that no tested sequence has counts as 0 here.
    return shares | ({"recall": recalls} if len(recalls) == n_classes else {})


def rarest_class(truth: np.ndarray) -> int:
    """Sequences of the rarest class that has any."""
    return int(min(count for count in np.bincount(truth) if count))


# Which sequences count, and of which: both bool[n].
Share = tuple[np.ndarray, np.ndarray]
# Which sequences are positive, bool[n], and the score that ranks them, float64[n].
Ranking = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Measures:
    """What is measured of predictions of one kind.

    `names` in the order of tables; `of` (truth, outputs, weights) gives each of them and `loss`; `shares`
    (truth, outputs) says which are shares of sequences or means of such, `areas` which are an AUROC or the
    mean of several; `fewest` (truth) of how many sequences a metric tells that is 1 because none is
    misjudged.
    """

    names: tuple[str, ...]
    of: Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, np.ndarray]]
    shares: Callable[[np.ndarray, np.ndarray], dict[str, list[Share]]]
    areas: Callable[[np.ndarray, np.ndarray], dict[str, list[Ranking]]]
    fewest: Callable[[np.ndarray], int]


CLASS_MEASURES = Measures(
    METRICS,
    metrics_of_samples,
    class_shares,
    lambda truth, probabilities: {"auroc": class_rankings(truth, probabilities)},
    rarest_class,
)


def bootstrap_metrics(
    truth: np.ndarray,
    probabilities: np.ndarray,
    clusters: np.ndarray,
    n_samples: int,
    seed: int,
    measures: Measures = CLASS_MEASURES,
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """All metrics on the sequences as they are, and on `n_samples` bootstrap samples of them.

    Clusters are drawn with replacement, independently of labels. Returns the values and the samples
    float64[n_samples] by name of the metric, `loss` included.
    """
    as_they_are = measures.of(truth, probabilities, np.ones((1, len(truth))))
    blocks = [
        measures.of(truth, probabilities, weights) for weights in bootstrap_weights(clusters, n_samples, seed)
    ]
    values = {name: float(value[0]) for name, value in as_they_are.items()}
    return values, {name: np.concatenate([block[name] for block in blocks]) for name in values}


def interval(value: float, samples: np.ndarray, confidence: float) -> dict[str, float | None]:
    """`value` with the bounds of its percentile interval; None where something is not defined."""
    defined = samples[~np.isnan(samples)]
    if np.isnan(value) or not len(defined):
        return {"value": None if np.isnan(value) else float(value), "low": None, "high": None}
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return {"value": float(value), "low": float(low), "high": float(high)}


def jackknife_metrics(
    truth: np.ndarray,
    probabilities: np.ndarray,
    clusters: np.ndarray,
    measures: Measures = CLASS_MEASURES,
    groups: int = JACKKNIFE_GROUPS,
) -> dict[str, np.ndarray]:
    """All metrics without one cluster at a time, or of many clusters without one group at a time."""
    n = int(clusters.max()) + 1
    left_out = clusters % min(n, groups)
    blocks = [
        measures.of(truth, probabilities, (left_out != group[:, None]).astype(np.float64))
        for group in np.array_split(np.arange(min(n, groups)), max(1, groups // 50))
        if len(group) and n > 1
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]} if blocks else {}


def wilson_interval(successes: float, n: float, confidence: float) -> tuple[float, float]:
    """Bounds of a proportion (Wilson 1927): they hold for few trials and near 0 and 1."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (successes + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(successes * (n - successes) / n + z * z / 4)
    # At 0 and 1 they are the proportion itself, which rounding may miss.
    return max(0.0, min(middle - half, successes / n)), min(1.0, max(middle + half, successes / n))


def share_interval(share: Share, clusters: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """A share and the bounds of Wilson's interval, of as many independent sequences as tell as much."""
    right, of = share
    value, n = float(right[of].mean()), independent_trials(right[of], clusters[of])
    return value, *wilson_interval(value * n, n, confidence)


def area_interval(
    ranking: Ranking, clusters: np.ndarray, confidence: float
) -> tuple[float, float, float] | None:
    """An AUROC and its bounds (Newcombe 2006, method 5); None where there are no positives or no negatives.

    They follow from the area and the numbers of positives and negatives alone, as if the scores of both were
    exponentially distributed (Hanley & McNeil 1982): so they hold for a handful of positives, too. Relatives
    count as judged alike.
    """
    positive, scores = ranking
    area = float(ranking_areas(positive, scores, np.ones((1, len(scores))))[0][0])
    if math.isnan(area):
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    some, others = worth_of_clusters(clusters[positive]), worth_of_clusters(clusters[~positive])

    def too_far(true: float) -> bool:
        beyond_one_pair = (some + others) / 2 - 1
        spread = 1 + beyond_one_pair * ((1 - true) / (2 - true) + true / (1 + true))
        return (area - true) ** 2 > z * z * true * (1 - true) * spread / (some * others)

    def bound(outside: float) -> float:
        inside = area
        # Every round halves what is left of 1; doubles have 53 bits.
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if too_far(middle) else (middle, outside)
        return inside

    return area, bound(0.0), bound(1.0)


def mean_interval(parts: list[tuple[float, float, float]]) -> tuple[float, float]:
    """Bounds of the mean of independent values, from value, low and high of each (Zou & Donner 2008)."""
    values, lows, highs = np.array(parts).T
    mean, n = values.mean(), len(values)
    low = mean - math.sqrt(((values - lows) ** 2).sum()) / n
    high = mean + math.sqrt(((highs - values) ** 2).sum()) / n
    return float(low.clip(0, mean)), float(high.clip(mean, 1))


def bca_interval(
    value: float, samples: np.ndarray, jackknife: np.ndarray, confidence: float
) -> tuple[float, float]:
    """Bounds by the bias-corrected and accelerated bootstrap (Efron 1987).

    `samples`: of the bootstrap, `jackknife`: without each sequence or group; neither holds NaN.
    """
    normal = NormalDist()
    below = (np.mean(samples < value) + np.mean(samples <= value)) / 2
    # With all samples on one side the correction would be endless.
    edge = 1 / (2 * len(samples))
    bias = normal.inv_cdf(float(np.clip(below, edge, 1 - edge)))
    deviations = jackknife.mean() - jackknife
    spread = float((deviations**2).sum()) ** 1.5
    acceleration = float((deviations**3).sum()) / (6 * spread) if spread > 0 else 0.0
    bounds = []
    for z in (normal.inv_cdf((1 - confidence) / 2), normal.inv_cdf((1 + confidence) / 2)):
        shifted = bias + (bias + z) / (1 - acceleration * (bias + z))
        bounds.append(float(np.quantile(samples, normal.cdf(shifted))))
    return bounds[0], bounds[1]


def metric_intervals(
    truth: np.ndarray,
    probabilities: np.ndarray,
    clusters: np.ndarray,
    n_samples: int,
    seed: int,
    confidence: float,
    measures: Measures = CLASS_MEASURES,
) -> dict[str, dict[str, float | None]]:
    """Every metric of the `measures` and `loss` with value, low and high; None where something is not
    defined.

    Shares of sequences (accuracy; with two classes also precision and recall) have Wilson's interval, a mean
    of shares (balanced accuracy) that which follows from theirs, all others that of the BCa bootstrap. A
    share of related sequences is as uncertain as that of fewer independent ones (:func:`independent_trials`).
    The samples of a few positives show too little of how an AUROC varies, and so its bounds are never nearer
    than those of :func:`area_interval`, which in turn know nothing of how the scores are distributed. A
    metric that is 1 in every sample, because no sequence is misjudged, has the lower bound of a share without
    failure among the sequences of the rarest class. One that is the same in every sample although predictions
    differ (F1 where no sequence is called positive) has no interval: the samples do not show how it varies.
    """
    values, samples = bootstrap_metrics(truth, probabilities, clusters, n_samples, seed, measures)
    jackknife = jackknife_metrics(truth, probabilities, clusters, measures)
    shares, areas = measures.shares(truth, probabilities), measures.areas(truth, probabilities)
    fewest = measures.fewest(truth) * worth_of_clusters(clusters) / len(clusters)
    differ = bool((probabilities != probabilities[0]).any())
    found: dict[str, dict[str, float | None]] = {}
    for name, value in values.items():
        defined = samples[name][~np.isnan(samples[name])]
        without = jackknife.get(name, defined[:0])
        without = without[~np.isnan(without)]
        low: float | None
        high: float | None
        if np.isnan(value):
            found[name] = {"value": None, "low": None, "high": None}
            continue
        # Who says the same of all has recalls of 0 and 1, whatever is drawn.
        if name in shares and (differ or len(shares[name]) == 1):
            low, high = mean_interval([share_interval(share, clusters, confidence) for share in shares[name]])
        elif not len(defined) or not len(without):
            low = high = None
        elif name != "loss" and value == 1 and (defined == 1).all():
            low, high = wilson_interval(fewest, fewest, confidence)
        elif differ and (defined == value).all():
            low = high = None
        else:
            low, high = bca_interval(value, defined, without, confidence)
        if name in areas and differ and low is not None and high is not None:
            rankings = (area_interval(ranking, clusters, confidence) for ranking in areas[name])
            nearest = mean_interval([bounds for bounds in rankings if bounds])
            low, high = min(low, nearest[0]), max(high, nearest[1])
        found[name] = {"value": value, "low": low, "high": high}
    return found


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
