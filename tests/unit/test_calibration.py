"""Probabilities that mean something: calibration errors, temperatures and thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import matthews_corrcoef

from dnalm.evaluate.calibration import (
    best_threshold,
    calibration_curve,
    calibration_report,
    expected_calibration_error,
    fit_temperature,
    metrics_at,
    scale,
)


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
    found = calibration_report(truth, probabilities, truth, probabilities, 0.95)
    assert found["error"]["scaled"] < 0.03 < found["error"]["as_predicted"]
    assert found["loss"]["scaled"] < found["loss"]["as_predicted"]
    assert (found["threshold"] is None) == (classes > 2)


def test_what_cannot_be_scaled_stays_as_it_is():
    truth = np.array([0, 1, 0, 1])
    assert fit_temperature(truth, np.full((4, 2), 0.5)) == 1.0


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy():
    truth, probabilities = np.array([0, 0, 0, 1]), np.tile([0.95, 0.05], (4, 1))
    assert expected_calibration_error(truth, probabilities) == pytest.approx(0.20)
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert expected_calibration_error(np.array([0, 1]), certain) == 0


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
        called = scores >= threshold
        # Calling all or none positive is no threshold.
        if 0 < called.sum() < len(called):
            assert best >= matthews_corrcoef(truth, called) - 1e-9


def test_a_threshold_that_gains_nothing_stays_at_one_half():
    assert best_threshold(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.6, 0.9])) == 0.5
    assert best_threshold(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4])) == pytest.approx(0.25)
