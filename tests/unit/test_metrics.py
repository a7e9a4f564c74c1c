"""The metrics against scikit-learn, also on bootstrap samples, and the intervals around them."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from dnalm.evaluate.metrics import (
    METRICS,
    all_metrics,
    bootstrap_metrics,
    bootstrap_weights,
    confusion_matrices,
    curves,
    interval,
    losses,
    metric_intervals,
    wilson_interval,
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
    weights = next(bootstrap_weights(len(truth), 3, seed))
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


def test_samples_depend_on_the_seed_only():
    in_blocks = np.concatenate(list(bootstrap_weights(50, 25, seed=1, block=25)))
    assert in_blocks.shape == (25, 50)
    assert np.array_equal(in_blocks, np.concatenate(list(bootstrap_weights(50, 25, seed=1, block=25))))
    assert not np.array_equal(in_blocks, np.concatenate(list(bootstrap_weights(50, 25, seed=2, block=25))))


def test_interval_covers_the_standard_error():
    """Accuracy of 400 sequences near 0.8 has a standard error of 0.02."""
    truth = np.zeros(400, dtype=int)
    truth[200:] = 1
    probabilities = np.tile([0.9, 0.1], (400, 1))
    probabilities[200:320] = [0.1, 0.9]
    values, samples = bootstrap_metrics(truth, probabilities, 2000, seed=3)
    found = interval(values["accuracy"], samples["accuracy"], 0.95)
    assert found["value"] == 0.8
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * 0.02, rel=0.1)


def test_what_is_not_defined_is_none():
    truth, probabilities = np.zeros(5, dtype=int), np.tile([0.6, 0.4], (5, 1))
    values, samples = bootstrap_metrics(truth, probabilities, 10, seed=0)
    assert interval(values["auroc"], samples["auroc"], 0.95) == {"value": None, "low": None, "high": None}
    assert interval(values["accuracy"], samples["accuracy"], 0.95) == {"value": 1, "low": 1, "high": 1}


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


@pytest.mark.parametrize(("n", "shift"), [(40, 1.2), (60, 2.0), (200, 1.2)])
def test_the_interval_of_an_area_covers_it(n, shift):
    """Two normal distributions `shift` apart have an AUROC of Phi(shift / sqrt 2)."""
    from statistics import NormalDist

    truth, area = np.arange(n) % 2, NormalDist().cdf(shift / 2**0.5)
    generator, covered, repeats = np.random.default_rng(7), 0, 150
    for repeat in range(repeats):
        scores = 1 / (1 + np.exp(-(generator.normal(size=n) + shift * truth)))
        found = metric_intervals(truth, np.stack([1 - scores, scores], axis=1), 200, repeat, 0.95)["auroc"]
        covered += found["low"] <= area <= found["high"]
    # 150 draws have a standard error of 0.018.
    assert covered / repeats >= 0.90


def test_a_test_without_errors_is_not_certain():
    truth = np.arange(40) % 2
    probabilities = np.where(truth[:, None] == np.arange(2), 0.9, 0.1)
    found = metric_intervals(truth, probabilities, 100, 1, 0.95)
    for name in ("accuracy", "balanced_accuracy", "f1", "mcc", "auroc"):
        assert found[name]["value"] == found[name]["high"] == 1
        assert 0.8 < found[name]["low"] < 0.95, name


def test_shares_of_sequences_have_the_interval_of_their_own_number():
    """7 of 10 positives found among 9 called so, 18 of 30 negatives called so."""
    truth, called = np.repeat([1, 0], [10, 20]), np.repeat([1, 0, 1, 0], [7, 3, 2, 18])
    found = metric_intervals(truth, np.where(called[:, None] == np.arange(2), 0.9, 0.1), 100, 1, 0.9)
    for name, (share, of) in {"accuracy": (25, 30), "recall": (7, 10), "precision": (7, 9)}.items():
        low, high = wilson_interval(share, of, 0.9)
        assert found[name] == pytest.approx({"value": share / of, "low": low, "high": high}), name


def test_bounds_enclose_the_value_and_exist_for_very_few_sequences():
    generator = np.random.default_rng(0)
    for n in (2, 3, 7):
        truth = np.arange(n) % 2
        found = metric_intervals(truth, generator.dirichlet([1, 1], n), 100, 1, 0.95)
        for name in ("accuracy", "loss"):
            assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
