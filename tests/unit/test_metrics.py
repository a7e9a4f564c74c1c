"""The metrics against scikit-learn, also on bootstrap samples, and the intervals around them."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from dnalm.problems.intervals import (
    area_interval,
    bca_interval,
    bootstrap_metrics,
    bootstrap_weights,
    interval,
    jackknife_metrics,
    mean_interval,
    metric_intervals,
    unrelated,
    wilson_interval,
)
from dnalm.problems.metrics import (
    METRICS,
    all_metrics,
    confusion_matrices,
    curves,
    losses,
    mean_curves,
)


@st.composite
def predictions(draw):
    """Class numbers and probabilities of 2 to 4 classes, with many ties."""
    n_classes, n = draw(st.integers(2, 4)), draw(st.integers(1, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    steps = draw(st.sampled_from([2, 5, 1000]))
    scores = generator.integers(1, steps + 1, size=(n, n_classes)).astype(float)
    return generator.integers(0, n_classes, size=n), scores / scores.sum(axis=1, keepdims=True)


def by_scikit_learn(truth, probabilities) -> dict[str, float]:
    n_classes = probabilities.shape[1]
    predicted, labels = probabilities.argmax(axis=1), list(range(n_classes))
    averaged = {"average": "binary"} if n_classes == 2 else {"average": "macro"}
    options = {"labels": labels, "zero_division": 0}
    present = np.bincount(truth, minlength=n_classes) > 0
    recalls = sk.recall_score(truth, predicted, average=None, **options)
    result = {
        "accuracy": sk.accuracy_score(truth, predicted),
        "balanced_accuracy": recalls[present].mean(),
        "precision": sk.precision_score(truth, predicted, **averaged, **options),
        "recall": sk.recall_score(truth, predicted, **averaged, **options),
        "f1": sk.f1_score(truth, predicted, **averaged, **options),
        "precision_weighted": sk.precision_score(truth, predicted, average="weighted", **options),
        "recall_weighted": sk.recall_score(truth, predicted, average="weighted", **options),
        "f1_weighted": sk.f1_score(truth, predicted, average="weighted", **options),
        "mcc": sk.matthews_corrcoef(truth, predicted),
        "loss": sk.log_loss(truth, probabilities, labels=labels),
    }
    positives = [1] if n_classes == 2 else labels
    both = [i for i in positives if 0 < (truth == i).sum() < len(truth)]
    some = [i for i in positives if (truth == i).any()]
    mean = lambda values: np.mean(values) if values else np.nan  # noqa: E731
    result["auroc"] = mean([sk.roc_auc_score(truth == i, probabilities[:, i]) for i in both])
    result["auprc"] = mean([sk.average_precision_score(truth == i, probabilities[:, i]) for i in some])
    return result


@settings(max_examples=150, deadline=None)
@given(predictions())
def test_equal_to_scikit_learn(case):
    truth, probabilities = case
    found = all_metrics(truth, probabilities, np.ones((1, len(truth))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = by_scikit_learn(truth, probabilities)
    assert set(found) == {*METRICS, "loss"} == set(expected)
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-9, nan_ok=True), name


@settings(max_examples=50, deadline=None)
@given(predictions(), st.integers(0, 5))
def test_weights_are_the_same_as_drawing_rows(case, seed):
    truth, probabilities = case
    weights = next(bootstrap_weights(unrelated(len(truth)), 3, seed))
    assert (weights.sum(axis=1) == len(truth)).all()
    found = all_metrics(truth, probabilities, weights)
    for sample in range(3):
        rows = np.repeat(np.arange(len(truth)), weights[sample].astype(int))
        drawn = all_metrics(truth[rows], probabilities[rows], np.ones((1, len(rows))))
        for name in found:
            assert found[name][sample] == pytest.approx(drawn[name][0], abs=1e-9, nan_ok=True), name


@settings(max_examples=50, deadline=None)
@given(predictions())
def test_curves_enclose_the_areas(case):
    truth, probabilities = case
    truth, probabilities = (
        (truth > 0).astype(int),
        np.stack([1 - probabilities[:, 1], probabilities[:, 1]], axis=1),
    )
    found, areas = curves(truth, probabilities), all_metrics(truth, probabilities, np.ones((1, len(truth))))
    if truth.any() and not truth.all():
        roc, pr = found["roc"], found["pr"]
        assert np.trapezoid(roc["tpr"], roc["fpr"]) == pytest.approx(areas["auroc"][0], abs=1e-4)
        steps = np.diff(pr["recall"]) * np.array(pr["precision"][1:])
        assert steps.sum() == pytest.approx(areas["auprc"][0], abs=1e-4)
        for values in (*roc.values(), pr["recall"]):
            assert np.all(np.diff(values) >= 0)
    else:
        assert found["roc"] is None


def test_curves_are_thin_and_mean_curves_exist():
    generator = np.random.default_rng(0)
    truth, scores = generator.integers(0, 2, 5000), generator.random(5000)
    two = curves(truth, np.stack([1 - scores, scores], axis=1))
    assert len(two["roc"]["fpr"]) == len(two["pr"]["recall"]) == 500
    assert (two["roc"]["fpr"][0], two["roc"]["tpr"][-1]) == (0, 1)
    three = generator.dirichlet([1, 1, 1], 5000)
    mean = curves(generator.integers(0, 3, 5000), three)
    assert np.trapezoid(mean["roc"]["tpr"], mean["roc"]["fpr"]) == pytest.approx(0.5, abs=0.03)


def two_classes(scores) -> np.ndarray:
    """Probabilities of two classes, of which `scores` are those of the second."""
    return np.stack([1 - np.array(scores), scores], axis=1)


def test_the_corners_of_curves_by_hand():
    """Two of four are positive; two have the same score, which is one step of the curve."""
    found = curves(np.array([0, 1, 0, 1]), two_classes([0.1, 0.9, 0.8, 0.7]))
    assert found["roc"] == {"fpr": [0, 0, 0.5, 0.5, 1], "tpr": [0, 0.5, 0.5, 1, 1]}
    assert found["pr"] == {"recall": [0, 0.5, 0.5, 1, 1], "precision": [1, 1, 0.5, 0.666667, 0.5]}
    tied = curves(np.array([0, 1, 0, 1]), two_classes([0.1, 0.5, 0.5, 0.7]))
    assert tied["roc"] == {"fpr": [0, 0, 0.5, 1], "tpr": [0, 0.5, 1, 1]}


def test_curves_that_are_not_defined():
    """Without positives there is none; without negatives no false-positive rate."""
    scores = two_classes([0.1, 0.9, 0.8])
    assert curves(np.zeros(3, int), scores) == {"roc": None, "pr": None}
    assert curves(np.ones(3, int), scores) == {
        "roc": None,
        "pr": {"recall": [0, 0.333333, 0.666667, 1], "precision": [1, 1, 1, 1]},
    }
    assert mean_curves(np.zeros((3, 2), bool), scores) == {"roc": None, "pr": None}


def test_a_mean_curve_is_the_mean_at_every_half_percent():
    """One label in perfect order, two in reverse order; a fourth, which nobody carries, has no curve."""
    positive = np.array([[True, True, True, False], [False, False, False, False]])
    found = mean_curves(positive, np.array([[0.9, 0.1, 0.1, 0.5], [0.1, 0.9, 0.9, 0.5]]))
    grid = [round(i / 200, 6) for i in range(201)]
    assert found["roc"] == {"fpr": grid, "tpr": [0.333333] * 200 + [1.0]}
    # In reverse order the precision rises from 0 at recall 0 to one half at recall 1.
    assert found["pr"]["recall"] == grid
    assert found["pr"]["precision"][100] == pytest.approx((1 + 0.25 + 0.25) / 3)
    # Of three classes, each against the others.
    three = curves(np.array([2, 0, 1]), np.array([[0.1, 0.1, 0.8], [0.7, 0.2, 0.1], [0.2, 0.6, 0.2]]))
    assert three["roc"]["tpr"] == [1.0] * 201


def test_samples_depend_on_the_seed_only():
    in_blocks = np.concatenate(list(bootstrap_weights(unrelated(50), 25, seed=1, block=25)))
    assert in_blocks.shape == (25, 50)
    assert np.array_equal(
        in_blocks, np.concatenate(list(bootstrap_weights(unrelated(50), 25, seed=1, block=25)))
    )
    assert not np.array_equal(
        in_blocks, np.concatenate(list(bootstrap_weights(unrelated(50), 25, seed=2, block=25)))
    )
    # Nor on the blocks in which they are made.
    assert np.array_equal(
        in_blocks, np.concatenate(list(bootstrap_weights(unrelated(50), 25, seed=1, block=10)))
    )


def test_interval_covers_the_standard_error():
    """Accuracy of 400 sequences near 0.8 has a standard error of 0.02."""
    truth = np.zeros(400, dtype=int)
    truth[200:] = 1
    probabilities = np.tile([0.9, 0.1], (400, 1))
    probabilities[200:320] = [0.1, 0.9]
    values, samples = bootstrap_metrics(truth, probabilities, unrelated(400), 2000, seed=3)
    found = interval(values["accuracy"], samples["accuracy"], 0.95)
    assert found["value"] == 0.8
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * 0.02, rel=0.1)


def test_what_is_not_defined_is_none():
    truth, probabilities = np.zeros(5, dtype=int), np.tile([0.6, 0.4], (5, 1))
    values, samples = bootstrap_metrics(truth, probabilities, unrelated(5), 10, seed=0)
    assert interval(values["auroc"], samples["auroc"], 0.95) == {"value": None, "low": None, "high": None}
    assert interval(values["accuracy"], samples["accuracy"], 0.95) == {"value": 1, "low": 1, "high": 1}


def test_an_interval_needs_a_value_and_a_sample_that_are_defined():
    samples = np.array([np.nan, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert interval(0.5, samples, 0.8) == pytest.approx({"value": 0.5, "low": 0.1, "high": 0.9})
    assert interval(np.nan, samples, 0.8) == {"value": None, "low": None, "high": None}
    assert interval(0.5, samples[:1], 0.8) == {"value": 0.5, "low": None, "high": None}


def test_loss_is_finite_and_confusion_has_true_rows():
    truth = np.array([0, 1, 1])
    probabilities = np.array([[0.0, 1.0], [0.5, 0.5], [0.1, 0.9]])
    assert losses(truth, probabilities) == pytest.approx([-np.log(1e-12), np.log(2), -np.log(0.9)])
    matrix = confusion_matrices(truth, probabilities.argmax(axis=1), 2, np.ones((1, 3)))[0]
    assert matrix.tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(("n", "accuracy"), [(40, 0.95), (40, 0.6), (60, 0.99), (100, 0.8), (400, 0.95)])
def test_the_interval_of_an_accuracy_covers_it(n, accuracy):
    """Of 95% intervals about 95% hold the true value, also for few sequences and near 1; exact, no draws."""
    k = np.arange(n + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    chances = np.exp(logs[n] - logs[k] - logs[n - k] + k * np.log(accuracy) + (n - k) * np.log(1 - accuracy))
    covered = [low <= accuracy <= high for low, high in (wilson_interval(i, n, 0.95) for i in k)]
    assert 0.92 <= chances[np.array(covered)].sum() <= 0.99


def test_wilson_intervals_as_published():
    """Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, 15 of 148, 0 of 20 and 1 of 29."""
    for successes, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson_interval(successes, n, 0.95) == pytest.approx((low, high), abs=5e-5)
    # Rounding leads no bound out of 0 to 1, nor past the proportion.
    assert all(
        wilson_interval(n, n, 0.95)[1] == 1 and wilson_interval(0, n, 0.9)[0] == 0 for n in range(1, 300)
    )


def test_bca_bounds_are_those_of_scipy():
    from scipy.stats import bootstrap

    data = np.random.default_rng(5).exponential(size=25)
    for statistic in (np.mean, np.var):
        theirs = bootstrap((data,), statistic, n_resamples=999, confidence_level=0.9, method="BCa", rng=1)
        jackknife = np.array([statistic(np.delete(data, i)) for i in range(25)])
        ours = bca_interval(statistic(data), theirs.bootstrap_distribution, jackknife, 0.9)
        assert ours == pytest.approx(tuple(theirs.confidence_interval), rel=1e-9)


def test_bca_bounds_exist_where_all_samples_lie_on_one_side():
    """As if half a sample lay on the other; where leaving one out changes nothing, nothing is skewed."""
    from statistics import NormalDist

    samples, z = np.arange(11.0), NormalDist().inv_cdf(0.95)
    share = NormalDist().inv_cdf(1 - 1 / 22)
    for value, sign in ((99.0, 1), (-99.0, -1)):
        expected = [10 * NormalDist().cdf(2 * sign * share + side * z) for side in (-1, 1)]
        assert bca_interval(value, samples, np.ones(5), 0.9) == pytest.approx(expected)
    # Of samples that equal the value half lie on either side: nothing to correct.
    tied = np.array([0.0, 1.0, 1.0, 1.0, 2.0])
    assert bca_interval(1.0, tied, np.ones(5), 0.9) == pytest.approx(np.quantile(tied, [0.05, 0.95]))


@pytest.mark.parametrize("groups", [400, 7, 3])
def test_the_jackknife_leaves_out_one_sequence_or_one_group_at_a_time(groups):
    generator = np.random.default_rng(3)
    truth, probabilities = generator.integers(0, 2, 7), two_classes(generator.random(7))
    found = jackknife_metrics(truth, probabilities, unrelated(7), groups=groups)
    for number in range(min(7, groups)):
        rest = [i for i in range(7) if i % min(7, groups) != number]
        alone = all_metrics(truth[rest], probabilities[rest], np.ones((1, len(rest))))
        for name, value in alone.items():
            assert found[name][number] == pytest.approx(value[0], nan_ok=True), name
    assert all(len(values) == min(7, groups) for values in found.values())
    assert jackknife_metrics(truth[:1], probabilities[:1], unrelated(1)) == {}


@pytest.mark.parametrize(("n", "shift"), [(40, 1.2), (60, 2.0), (200, 1.2)])
def test_the_interval_of_an_area_covers_it(n, shift):
    """Two normal distributions `shift` apart have an AUROC of Phi(shift / sqrt 2)."""
    from statistics import NormalDist

    truth, area = np.arange(n) % 2, NormalDist().cdf(shift / 2**0.5)
    generator, covered, repeats = np.random.default_rng(7), 0, 150
    for repeat in range(repeats):
        scores = 1 / (1 + np.exp(-(generator.normal(size=n) + shift * truth)))
        found = metric_intervals(truth, two_classes(scores), unrelated(n), 200, repeat, 0.95)["auroc"]
        covered += found["low"] <= area <= found["high"]
    # 150 draws have a standard error of 0.018.
    assert covered / repeats >= 0.90


@pytest.mark.parametrize(
    ("unseen", "shift"), [(0.0, 1.5), (0.5, 6.0)], ids=["alike", "half of the positives are not seen"]
)
def test_intervals_hold_where_positives_are_rare(unseen, shift):
    """About four of 100 are positive. Of the bootstrap alone 87 of 100 intervals would hold the AUROC and 57
    each of the others; of the formula alone, in the second case, fewer than 90 the AUROC."""
    from statistics import NormalDist

    phi, cutoff, repeats = NormalDist().cdf, 2.5, 150
    recall = unseen * phi(-cutoff) + (1 - unseen) * phi(shift - cutoff)
    share = 0.02 + 0.98 * 0.04
    called = share * recall + (1 - share) * phi(-cutoff)
    true = {
        "auroc": unseen / 2 + (1 - unseen) * phi(shift / 2**0.5),
        "balanced_accuracy": (phi(cutoff) + recall) / 2,
        "f1": 2 * share * recall / (share + called),
        "mcc": share * (recall - called) / (share * (1 - share) * called * (1 - called)) ** 0.5,
    }
    generator, covered = np.random.default_rng(4), dict.fromkeys(true, 0)
    for repeat in range(repeats):
        truth = (generator.random(100) < 0.04).astype(int)
        truth[:2] = 1
        seen = truth * (generator.random(100) >= unseen)
        scores = 1 / (1 + np.exp(cutoff - generator.normal(size=100) - shift * seen))
        found = metric_intervals(truth, two_classes(scores), unrelated(100), 200, repeat, 0.95)
        for name, value in true.items():
            covered[name] += found[name]["low"] <= value <= found[name]["high"]
    assert min(covered.values()) / repeats >= 0.92, covered


@given(
    positives=st.integers(1, 200),
    negatives=st.integers(1, 200),
    confidence=st.floats(0.5, 0.999),
    seed=st.integers(0, 999),
)
def test_bounds_of_an_area_are_where_the_difference_is_as_large_as_chance(
    positives, negatives, confidence, seed
):
    """Hanley & McNeil 1982, equations 1 and 2, with the variance at the bound as Newcombe 2006 has it."""
    from statistics import NormalDist

    scores = np.random.default_rng(seed).normal(size=positives + negatives)
    positive = np.arange(len(scores)) < positives
    area, low, high = area_interval((positive, scores + positive), unrelated(len(scores)), confidence)
    assert 0 <= low <= area <= high <= 1
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    for bound in {low, high} - {0, 1}:
        q1, q2, rest = bound / (2 - bound), 2 * bound**2 / (1 + bound), (positives + negatives) / 2 - 1
        variance = bound * (1 - bound) + rest * (q1 - bound**2 + q2 - bound**2)
        assert (area - bound) ** 2 == pytest.approx(z * z * variance / (positives * negatives), rel=1e-6)


def test_a_mean_of_equally_uncertain_values_is_less_uncertain():
    assert mean_interval([(0.6, 0.5, 0.8)]) == pytest.approx((0.5, 0.8))
    assert mean_interval([(0.6, 0.5, 0.8)] * 4) == pytest.approx((0.55, 0.7))
    assert mean_interval([(1.0, 0.7, 1.0), (0.0, 0.0, 0.4)]) == pytest.approx((0.35, 0.7))


def test_a_test_without_errors_is_not_certain():
    truth = np.arange(40) % 2
    probabilities = np.where(truth[:, None] == np.arange(2), 0.9, 0.1)
    found = metric_intervals(truth, probabilities, unrelated(40), 100, 1, 0.95)
    for name in ("accuracy", "balanced_accuracy", "f1", "mcc", "auroc"):
        assert found[name]["value"] == found[name]["high"] == 1
        assert 0.75 < found[name]["low"] < 0.95, name


def test_what_no_sample_shows_to_vary_has_no_interval():
    """Twelve of 40 are positive and none is called so; of a constant prediction the same is known exactly."""
    truth = (np.arange(40) < 12).astype(int)
    found = metric_intervals(truth, two_classes(np.linspace(0.1, 0.4, 40)), unrelated(40), 100, 1, 0.95)
    assert found["precision"] == {"value": 0, "low": None, "high": None}
    # Of what the recalls tell more is known: 3 of 12 may well have been found by a like classifier.
    assert found["recall"]["low"] == found["f1"]["low"] == 0
    assert 0.2 < found["recall"]["high"] < 0.3 < found["f1"]["high"] < 0.5
    for name, guessing in (("mcc", 0), ("balanced_accuracy", 0.5)):
        assert found[name]["low"] < guessing < found[name]["high"], name
    constant = metric_intervals(truth, two_classes(np.full(40, 0.2)), unrelated(40), 100, 1, 0.95)
    assert constant["f1"] == constant["mcc"] == {"value": 0, "low": 0, "high": 0}


def test_samples_without_the_rare_class_do_not_make_who_never_finds_it_look_good():
    """Of 2 positives in 102 one sample in seven has none: the recall of the others alone would be 1."""
    truth = np.array([1] * 2 + [0] * 100)
    constant = metric_intervals(truth, two_classes(np.full(102, 0.1)), unrelated(102), 200, 1, 0.95)
    assert constant["balanced_accuracy"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    blind = metric_intervals(truth, two_classes(np.linspace(0.4, 0.1, 102)), unrelated(102), 200, 1, 0.95)
    assert blind["balanced_accuracy"]["low"] < 0.5 < blind["balanced_accuracy"]["high"] < 0.9


def test_shares_of_sequences_have_the_interval_of_their_own_number():
    """7 of 10 positives found among 9 called so, 18 of 30 negatives called so."""
    truth, called = np.repeat([1, 0], [10, 20]), np.repeat([1, 0, 1, 0], [7, 3, 2, 18])
    found = metric_intervals(
        truth, np.where(called[:, None] == np.arange(2), 0.9, 0.1), unrelated(30), 100, 1, 0.9
    )
    for name, (share, of) in {"accuracy": (25, 30), "recall": (7, 10), "precision": (7, 9)}.items():
        low, high = wilson_interval(share, of, 0.9)
        assert found[name] == pytest.approx({"value": share / of, "low": low, "high": high}), name


def test_of_a_single_sequence_only_shares_have_an_interval():
    found = metric_intervals(np.array([1]), np.array([[0.2, 0.8]]), unrelated(1), 20, 1, 0.95)
    low, high = wilson_interval(1, 1, 0.95)
    assert found["recall"] == found["accuracy"] == {"value": 1, "low": low, "high": high}
    assert found["auroc"] == {"value": None, "low": None, "high": None}
    assert found["loss"] == {"value": pytest.approx(-np.log(0.8)), "low": None, "high": None}


def test_bounds_enclose_the_value_and_exist_for_very_few_sequences():
    generator = np.random.default_rng(0)
    for n in (2, 3, 7):
        truth = np.arange(n) % 2
        found = metric_intervals(truth, generator.dirichlet([1, 1], n), unrelated(n), 100, 1, 0.95)
        for name in ("accuracy", "loss"):
            assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]


def test_whole_clusters_are_drawn_and_left_out():
    clusters = np.array([0, 1, 0, 2, 3, 3, 0])
    weights = np.concatenate(list(bootstrap_weights(clusters, 200, seed=4)))
    assert np.array_equal(weights[:, [0, 0, 4]], weights[:, [2, 6, 5]])
    # As many clusters as there are: these, not sequences, are what was sampled.
    assert (weights[:, [0, 1, 3, 4]].sum(axis=1) == 4).all()
    truth, probabilities = np.array([0, 1, 0, 1, 1, 0, 1]), two_classes(np.linspace(0.2, 0.9, 7))
    found = jackknife_metrics(truth, probabilities, clusters)
    for cluster in range(4):
        rest = clusters != cluster
        alone = all_metrics(truth[rest], probabilities[rest], np.ones((1, rest.sum())))
        assert found["loss"][cluster] == pytest.approx(alone["loss"][0])


@pytest.mark.parametrize(
    ("sizes", "alike", "least"),
    [((5,) * 30, 0.8, 0.9), ((5,) * 30, 0.0, 0.9), ((1,) * 300 + (30,), 0.8, 0.85)],
    ids=["families", "not alike", "one large family"],
)
def test_intervals_of_related_sequences_cover_what_they_should(sizes, alike, least):
    """Scores of relatives vary together by the share `alike`; 85% of the sequences are judged rightly.

    Taken for independent, the first and the last would cover in 70 to 85 of 100 cases.
    """
    from statistics import NormalDist

    generator, repeats, covered = np.random.default_rng(2), 150, {"accuracy": 0, "auroc": 0}
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    shift = 2 * NormalDist().inv_cdf(0.85)
    true = {"accuracy": 0.85, "auroc": NormalDist().cdf(shift / 2**0.5)}
    for repeat in range(repeats):
        truth = generator.integers(0, 2, len(sizes))[clusters]
        noise = alike**0.5 * generator.normal(size=len(sizes))[clusters]
        noise += (1 - alike) ** 0.5 * generator.normal(size=len(clusters))
        scores = 1 / (1 + np.exp(shift / 2 - shift * truth - noise))
        found = metric_intervals(truth, two_classes(scores), clusters, 200, repeat, 0.95)
        for name in covered:
            covered[name] += found[name]["low"] <= true[name] <= found[name]["high"]
    assert min(covered.values()) / repeats >= least, covered


def test_relatives_that_are_all_judged_alike_count_once():
    """Four clusters of ten, three of them right: as certain as three of four, near enough."""
    truth, clusters = np.repeat([0, 1, 0, 1], 10), np.repeat(np.arange(4), 10)
    called = np.repeat([0, 1, 0, 0], 10)
    probabilities = np.where(called[:, None] == np.arange(2), 0.9, 0.1)
    found = metric_intervals(truth, probabilities, clusters, 2000, 1, 0.95)["accuracy"]
    low, high = wilson_interval(3, 4, 0.95)
    assert found["low"] == pytest.approx(low, abs=0.03) and found["high"] == pytest.approx(high, abs=0.03)
    # All right, as four of four; one cluster, as one sequence.
    for of, n in ((clusters, 4), (np.zeros(40, dtype=int), 1)):
        without_error = np.where(truth[:, None] == np.arange(2), 0.9, 0.1)
        found = metric_intervals(truth, without_error, of, 100, 1, 0.95)["accuracy"]
        assert (found["low"], found["high"]) == pytest.approx(wilson_interval(n, n, 0.95))


@pytest.mark.parametrize("clusters", [np.zeros(40, dtype=int), np.arange(40) // 10])
def test_relatives_whose_clusters_are_judged_alike_count_once(clusters):
    """Seven of ten are right in each: clusters do not vary, and rounding makes no difference of it."""
    truth, right = np.arange(40) % 2, np.arange(40) % 10 < 7
    probabilities = np.where((truth[:, None] == np.arange(2)) == right[:, None], 0.9, 0.1)
    found = metric_intervals(truth, probabilities, clusters, 100, 1, 0.95)["accuracy"]
    n = clusters.max() + 1
    assert (found["low"], found["high"]) == pytest.approx(wilson_interval(0.7 * n, n, 0.95))


def test_a_share_is_as_uncertain_as_the_means_of_whole_clusters_are():
    """Thirty families of five, alike in part: they tell less than 150 sequences and more than 30."""
    generator = np.random.default_rng(6)
    clusters = np.repeat(np.arange(30), 5)
    right = generator.random(150) < generator.choice([0.4, 0.95], 30)[clusters]
    drawn = right.reshape(30, 5).mean(axis=1)[generator.integers(0, 30, (20_000, 30))].mean(axis=1)
    n = right.mean() * (1 - right.mean()) / drawn.var()
    assert 40 < n < 100
    for of, of_how_many in ((right, n), (np.arange(150) % 5 < 3 + (np.arange(150) > 145), 150)):
        probabilities = two_classes(np.where(of, 0.9, 0.1))
        found = metric_intervals(np.ones(150, int), probabilities, clusters, 10, 1, 0.95)["accuracy"]
        bounds = wilson_interval(of.mean() * of_how_many, of_how_many, 0.95)
        # Of 20,000 draws the variance is known to one percent.
        assert (found["low"], found["high"]) == pytest.approx(bounds, abs=2e-3)
