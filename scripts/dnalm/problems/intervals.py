"""How uncertain metrics are: intervals from bootstrap samples of sequences, and from their numbers.

`clusters` int64[n] tells which sequences are related: those of one cluster have the same number, counted from
0 in the order of their first sequence. Whole clusters are drawn (cluster bootstrap; Davison & Hinkley 1997,
section 3.8), since a predictor tends to be right about all relatives or about none. :func:`unrelated` gives
every sequence a cluster of its own.

A bootstrap sample is a weighting of the sequences (see `metrics`). Where few sequences tell something, it
shows too little of what could have been, and formulas that hold for few take its place or set a limit to it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from dnalm.problems.metrics import (
    METRICS,
    Ranking,
    all_metrics,
    class_rankings,
    confusion_metrics,
    ranking_areas,
)

# Leaving out one sequence at a time takes too long for many; groups of them tell the skewness as well.
JACKKNIFE_GROUPS = 400
# Which sequences count, and of which: both bool[n].
Share = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Measures:
    """What is measured of predictions of one kind.

    `names` in the order of tables; `of` (truth, outputs, weights) gives each of them and `loss`; `shares`
    (truth, outputs) says which are shares of sequences or means of such; `nearest` (truth, outputs, clusters,
    confidence) gives bounds of some, within which the bootstrap's have no place; `fewest` (truth) of how many
    sequences a metric tells that is 1 because none is misjudged.
    """

    names: tuple[str, ...]
    of: Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, np.ndarray]]
    shares: Callable[[np.ndarray, np.ndarray], dict[str, list[Share]]]
    nearest: Callable[[np.ndarray, np.ndarray, np.ndarray, float], dict[str, tuple[float, float]]]
    fewest: Callable[[np.ndarray], int]


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


def wilson_interval(successes: float, n: float, confidence: float) -> tuple[float, float]:
    """Bounds of a proportion (Wilson 1927): they hold for few trials and near 0 and 1."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (successes + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(successes * (n - successes) / n + z * z / 4)
    # At 0 and 1 they are the proportion itself, which rounding may miss.
    return max(0.0, min(middle - half, successes / n)), min(1.0, max(middle + half, successes / n))


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


def share_interval(share: Share, clusters: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """A share and the bounds of Wilson's interval, of as many independent sequences as tell as much."""
    right, of = share
    value, n = float(right[of].mean()), independent_trials(right[of], clusters[of])
    return value, *wilson_interval(value * n, n, confidence)


def mean_interval(parts: list[tuple[float, float, float]]) -> tuple[float, float]:
    """Bounds of the mean of independent values, from value, low and high of each (Zou & Donner 2008)."""
    values, lows, highs = np.array(parts).T
    mean, n = values.mean(), len(values)
    low = mean - math.sqrt(((values - lows) ** 2).sum()) / n
    high = mean + math.sqrt(((highs - values) ** 2).sum()) / n
    return float(low.clip(0, mean)), float(high.clip(mean, 1))


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


def areas_interval(
    rankings: list[Ranking], clusters: np.ndarray, confidence: float
) -> tuple[float, float] | None:
    """Bounds of the mean of several AUROCs, as if they were independent; None where none is defined."""
    parts = [area_interval(ranking, clusters, confidence) for ranking in rankings]
    defined = [part for part in parts if part]
    return mean_interval(defined) if defined else None


def two_class_intervals(
    truth: np.ndarray, predicted: np.ndarray, clusters: np.ndarray, confidence: float
) -> dict[str, tuple[float, float]]:
    """Bounds of MCC and F1 of two classes from those of either recall; empty where a class is missing.

    How far a metric moves with one recall at its bound and with the other is squared and added, as
    :func:`mean_interval` does. How frequent the classes are is taken as it is.
    """
    right, sizes = predicted == truth, np.bincount(truth, minlength=2)
    if not sizes.all():
        return {}
    (spared, spared_low, spared_high), (found, found_low, found_high) = (
        share_interval((right, truth == i), clusters, confidence) for i in (0, 1)
    )
    lower, higher = [(spared_low, found), (spared, found_low)], [(spared_high, found), (spared, found_high)]
    of = confusion_metrics(
        np.array([[[s, 1 - s], [1 - f, f]] for s, f in ((spared, found), *lower, *higher)]) * sizes[:, None]
    )
    bounds = {}
    for name, lowest in (("mcc", -1.0), ("f1", 0.0)):
        value, *others = of[name].tolist()
        low = value - math.hypot(*(value - other for other in others[:2]))
        high = value + math.hypot(*(other - value for other in others[2:]))
        bounds[name] = (max(lowest, low), min(1.0, high))
    return bounds


def class_shares(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, list[Share]]:
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


def class_nearest(
    truth: np.ndarray, probabilities: np.ndarray, clusters: np.ndarray, confidence: float
) -> dict[str, tuple[float, float]]:
    """Bounds of AUROC and, of two classes, MCC and F1, which hold for few sequences of a class."""
    areas = areas_interval(class_rankings(truth, probabilities), clusters, confidence)
    nearest = {"auroc": areas} if areas else {}
    if probabilities.shape[1] == 2:
        nearest |= two_class_intervals(truth, probabilities.argmax(axis=1), clusters, confidence)
    return nearest


def rarest_class(truth: np.ndarray) -> int:
    """Sequences of the rarest class that has any."""
    return int(min(count for count in np.bincount(truth) if count))


CLASS_MEASURES = Measures(METRICS, all_metrics, class_shares, class_nearest, rarest_class)


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
    Samples of a few positives show too little of what could have been, and so the bounds of AUROC, MCC and F1
    are never nearer than those of :func:`area_interval` and :func:`two_class_intervals`, which in turn know
    nothing of how scores are distributed and how frequent classes are. A metric that is 1 in every sample,
    because no sequence is misjudged, has the lower bound of a share without failure among the sequences of
    the rarest class. Of one that is the same in every sample although predictions differ (F1 where no
    sequence is called positive) the samples do not show how it varies.
    """
    values, samples = bootstrap_metrics(truth, probabilities, clusters, n_samples, seed, measures)
    jackknife = jackknife_metrics(truth, probabilities, clusters, measures)
    shares = measures.shares(truth, probabilities)
    nearest = measures.nearest(truth, probabilities, clusters, confidence)
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
        if name in shares and (differ or len(shares[name]) == 1):
            low, high = mean_interval([share_interval(share, clusters, confidence) for share in shares[name]])
        elif name in shares:
            # Who says the same of all has recalls of 0 and 1, whatever is drawn.
            low = high = value
        elif not len(defined) or not len(without):
            low = high = None
        elif name != "loss" and value == 1 and (defined == 1).all():
            low, high = wilson_interval(fewest, fewest, confidence)
        elif differ and (defined == value).all():
            low = high = None
        else:
            low, high = bca_interval(value, defined, without, confidence)
        if name in nearest and differ:
            bounds = (nearest[name], (low, high))
            low = min(low for low, _ in bounds if low is not None)
            high = max(high for _, high in bounds if high is not None)
        found[name] = {"value": value, "low": low, "high": high}
    return found
