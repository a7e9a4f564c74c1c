"""Probabilities that mean something: calibration errors, temperatures and thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve as curve_of_sklearn
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    matthews_corrcoef,
    precision_score,
    recall_score,
)

from dnalm.evaluate.calibration import (
    Fitted,
    best_threshold,
    calibration_curve,
    calibration_over_folds,
    calibration_report,
    expected_calibration_error,
    fit,
    fit_temperature,
    metrics_at,
    scale,
)
from dnalm.problems.metrics import all_metrics


def drawn(temperature: float, n: int = 4000, classes: int = 2, seed: int = 0):
    """Truth drawn from honest probabilities, and these probabilities made too bold or too shy."""
    generator = np.random.default_rng(seed)
    honest = generator.dirichlet(np.ones(classes), n)
    truth = (generator.random(n)[:, None] > honest.cumsum(axis=1)).sum(axis=1)
    return truth, scale(honest, 1 / temperature)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("temperature", [0.5, 2.0, 5.0])
def test_the_temperature_undoes_overconfidence(temperature, classes):
    truth, probabilities = drawn(temperature, classes=classes)
    assert fit_temperature(truth, probabilities) == pytest.approx(temperature, rel=0.1)
    found = calibration_report(truth, probabilities, fit(truth, probabilities), 0.95)
    assert found["error"]["scaled"] < 0.03 < found["error"]["as_predicted"]
    assert found["loss"]["scaled"] < found["loss"]["as_predicted"]
    assert (found["threshold"] is None) == (classes > 2)


def test_probabilities_that_are_right_stay_as_they_are():
    assert fit_temperature(np.array([0, 0, 0, 1]), np.tile([0.75, 0.25], (4, 1))) == 1


def test_a_temperature_by_hand():
    """All have 0.9, and 4 of 5 are right: 9 to 1 must become 4 to 1, that is T = ln 9 / ln 4."""
    truth, probabilities = np.array([0, 0, 0, 0, 1]), np.tile([0.9, 0.1], (5, 1))
    assert fit_temperature(truth, probabilities) == pytest.approx(np.log(9) / np.log(4), abs=1e-3)
    assert scale(probabilities, np.log(9) / np.log(4)) == pytest.approx(np.tile([0.8, 0.2], (5, 1)))


def test_a_temperature_stays_between_e_to_minus_3_and_e_to_3():
    """A classifier that is always right cannot be bold enough, one that is always wrong not shy enough."""
    truth, bold = np.array([0, 1]), np.array([[0.9, 0.1], [0.1, 0.9]])
    assert fit_temperature(1 - truth, bold) == pytest.approx(np.exp(3), rel=1e-3)
    assert fit_temperature(truth, np.array([[0.51, 0.49], [0.49, 0.51]])) == pytest.approx(
        np.exp(-3), rel=1e-3
    )


def test_a_temperature_has_six_digits():
    found = fit_temperature(*drawn(2.0, n=200))
    assert found == round(found, 6)


def test_what_cannot_be_scaled_stays_as_it_is():
    truth = np.array([0, 1, 0, 1])
    assert fit_temperature(truth, np.full((4, 2), 0.5)) == 1.0


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy():
    truth, probabilities = np.array([0, 0, 0, 1]), np.tile([0.95, 0.05], (4, 1))
    assert expected_calibration_error(truth, probabilities) == pytest.approx(0.20)
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert expected_calibration_error(np.array([0, 1]), certain) == 0


def test_the_calibration_error_has_15_bins_of_which_the_last_holds_certainty():
    """Within a bin errors cancel. The classes are right, wrong; confidences in and out of one fifteenth."""

    def error(*confidences: float) -> float:
        return expected_calibration_error(np.array([0, 1]), np.array([[c, 1 - c] for c in confidences]))

    # 0.6 to 0.667 is one bin: |1 - (0.6 + 0.66)| / 2.
    assert error(0.6, 0.66) == pytest.approx(0.13)
    # 0.66 and 0.67 are in two: (|1 - 0.66| + 0.67) / 2.
    assert error(0.66, 0.67) == pytest.approx(0.505)
    # 1 is in the bin that begins at 14 / 15, 0.93 is not.
    assert error(0.94, 1.0) == pytest.approx(0.47)
    assert error(0.93, 1.0) == pytest.approx(0.535)


def test_a_curve_has_ten_groups_of_as_many_sequences():
    scores = np.arange(100) / 100
    truth = (np.arange(100) % 10 < np.arange(100) // 10).astype(int)
    points = calibration_curve(truth, np.column_stack([1 - scores, scores]), 0.95)
    assert [point["n"] for point in points] == [10] * 10
    assert [point["predicted"] for point in points] == pytest.approx([0.045 + i / 10 for i in range(10)])
    assert [point["observed"] for point in points] == pytest.approx([i / 10 for i in range(10)])


def test_of_several_classes_the_curve_is_that_of_the_predicted_one():
    probabilities = np.array([[0.5, 0.3, 0.2]] * 4 + [[0.1, 0.1, 0.8]] * 5)
    points = calibration_curve(np.array([0, 1, 2, 0, 2, 2, 2, 2, 1]), probabilities, 0.95)
    found = [(point["n"], point["predicted"], point["observed"]) for point in points]
    assert found == [(4, pytest.approx(0.5), 0.5), (5, pytest.approx(0.8), 0.8)]


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.2, 0.5, 0.7, 0.9, 1.0])), min_size=1))
def test_the_groups_of_the_curve_hold_every_sequence_once(rows):
    truth = np.array([label for label, _ in rows])
    scores = np.array([score for _, score in rows])
    points = calibration_curve(truth, np.column_stack([1 - scores, scores]), 0.95)
    assert sum(point["n"] for point in points) == len(rows)
    assert sum(point["n"] * point["observed"] for point in points) == pytest.approx(truth.sum())
    assert sum(point["n"] * point["predicted"] for point in points) == pytest.approx(scores.sum())
    assert all(point["low"] <= point["observed"] <= point["high"] for point in points)


@pytest.mark.filterwarnings("ignore:A single label")
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.2, 0.5, 0.7, 0.9, 1.0])), min_size=1))
def test_no_threshold_is_better_than_the_best(rows):
    truth = np.array([label for label, _ in rows])
    scores = np.array([score for _, score in rows])
    best = metrics_at(truth, scores, best_threshold(truth, scores))["mcc"]
    for threshold in (0.0, 0.1, 0.3, 0.5, 0.6, 0.8, 0.95):
        called = scores > threshold
        # Calling all or none positive is no threshold.
        if 0 < called.sum() < len(called):
            assert best >= matthews_corrcoef(truth, called) - 1e-9


def test_a_threshold_that_gains_nothing_stays_at_one_half():
    assert best_threshold(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.6, 0.9])) == 0.5
    assert best_threshold(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4])) == pytest.approx(0.25)


def test_of_equally_good_thresholds_the_one_nearest_to_one_half_is_taken():
    """Each of two thresholds keeps one of two errors; both lie on one side of one half, or on either."""
    for scores, best in (
        ([0.6, 0.7, 0.8, 0.9], 0.65),
        ([0.1, 0.2, 0.3, 0.4], 0.35),
        ([0.1, 0.3, 0.6, 0.8], 0.7),
    ):
        assert best_threshold(np.array([0, 1, 0, 1]), np.array(scores)) == pytest.approx(best)


def test_the_metrics_at_a_threshold_by_hand():
    """Above the threshold is positive: 2 of 3 positives are found, 1 of 3 called so is not."""
    truth, scores = np.array([1, 1, 1, 0, 0]), np.array([0.9, 0.4, 0.3, 0.6, 0.1])
    found = metrics_at(truth, scores, 0.3)
    assert found == pytest.approx(
        {"accuracy": 3 / 5, "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "mcc": 1 / 6}
    )


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])), min_size=1))
def test_at_one_half_the_metrics_are_those_of_the_predicted_class(rows):
    truth, scores = (np.array(column) for column in zip(*rows, strict=True))
    predicted = all_metrics(truth, np.stack([1 - scores, scores], axis=1), np.ones((1, len(truth))))
    found = metrics_at(truth, scores, 0.5)
    assert found == {name: predicted[name][0] for name in found}


def test_a_report_judges_on_the_test_split_what_it_fits_on_the_validation_split():
    truth, probabilities = np.array([0, 1]), np.array([[0.8, 0.2], [0.3, 0.7]])
    fitted_on = np.array([0, 0, 0, 0, 1]), np.tile([0.9, 0.1], (5, 1))
    found = calibration_report(truth, probabilities, fit(*fitted_on), 0.95)
    assert found["n_validation"] == 5 and found["temperature"] == fit_temperature(*fitted_on)
    scaled = scale(probabilities, found["temperature"])
    for kind, values in (("as_predicted", probabilities), ("scaled", scaled)):
        assert found["loss"][kind] == pytest.approx(-np.log(values[[0, 1], [0, 1]]).mean())
        assert found["error"][kind] == expected_calibration_error(truth, values)
    assert found["threshold"] == {"value": 0.5, **metrics_at(truth, probabilities[:, 1], 0.5)}


@pytest.mark.parametrize("classes", [2, 3])
def test_of_one_fold_the_calibration_is_that_of_a_test_split(classes):
    truth, probabilities = drawn(2.0, 300, classes, seed=1)
    fitted = fit(*drawn(2.0, 40, classes, seed=2))
    found = calibration_over_folds(truth, probabilities, [fitted], np.zeros(300, dtype=int), 0.95)
    assert found.pop("by_fold") == {
        "n_validation": [40],
        "temperature": [fitted.temperature],
        "threshold": [fitted.threshold] if classes == 2 else None,
    }
    assert found == calibration_report(truth, probabilities, fitted, 0.95)


@given(st.integers(0, 10**6), st.lists(st.floats(0.05, 20), min_size=1, max_size=5), st.integers(2, 4))
def test_each_sequence_is_scaled_with_its_own_temperature(seed, temperatures, classes):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(classes), 30)
    fold = generator.integers(len(temperatures), size=30)
    scaled = scale(probabilities, np.array(temperatures)[fold])
    for number, temperature in enumerate(temperatures):
        chosen = fold == number
        assert np.array_equal(scaled[chosen], scale(probabilities[chosen], temperature))


def test_folds_are_judged_together_each_with_what_its_own_validation_sequences_say():
    """Against the ordinary functions fold by fold, a plain sum over bins, and scikit-learn."""
    n, of_fold = 240, np.arange(240) % 3
    truth, probabilities = drawn(3.0, n, seed=4)
    fitted = [Fitted(20, 2.5, 0.6), Fitted(18, 4.0, 0.5), Fitted(25, 1.5, 0.35)]
    found = calibration_over_folds(truth, probabilities, fitted, of_fold, 0.95)
    assert found["n_validation"] == 18 and found["temperature"] == 2.5
    assert found["by_fold"] == {
        "n_validation": [20, 18, 25],
        "temperature": [2.5, 4.0, 1.5],
        "threshold": [0.6, 0.5, 0.35],
    }
    scaled, called = np.empty_like(probabilities), np.empty(n, dtype=int)
    for number, one in enumerate(fitted):
        mine = of_fold == number
        scaled[mine] = scale(probabilities[mine], one.temperature)
        called[mine] = probabilities[mine, 1] >= one.threshold
    for kind, values in (("as_predicted", probabilities), ("scaled", scaled)):
        assert found["loss"][kind] == pytest.approx(log_loss(truth, values))
        confidence, right = values.max(axis=1), values.argmax(axis=1) == truth
        bins = np.minimum(np.floor(confidence * 15), 14)
        gaps = [
            abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean()
            for b in set(bins)
        ]
        assert found["error"][kind] == pytest.approx(sum(gaps))
    assert found["error"]["scaled"] < found["error"]["as_predicted"]
    assert found["threshold"] == pytest.approx(
        {
            "value": 0.5,
            "accuracy": accuracy_score(truth, called),
            "precision": precision_score(truth, called),
            "recall": recall_score(truth, called),
            "f1": f1_score(truth, called),
            "mcc": matthews_corrcoef(truth, called),
        }
    )
    observed, predicted = curve_of_sklearn(truth, probabilities[:, 1], n_bins=10, strategy="quantile")
    assert [point["observed"] for point in found["curve"]] == pytest.approx(list(observed))
    assert [point["predicted"] for point in found["curve"]] == pytest.approx(list(predicted))


@pytest.mark.parametrize("label", [0, 1])
def test_a_fold_whose_validation_sequences_have_one_class_has_a_threshold_of_one_half(label):
    fitted = fit(np.full(3, label), np.array([[0.3, 0.7], [0.6, 0.4], [0.2, 0.8]]))
    assert fitted.n_validation == 3 and fitted.threshold == 0.5
    assert np.exp(-3.01) < fitted.temperature < np.exp(3.01)
