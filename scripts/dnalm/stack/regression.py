"""A logistic regression on the log-probabilities of several predictors (stacking, Wolpert 1992).

Class c of a sequence has the score intercept[c] + Σ weight[m] · log p[m, c] over the predictors m: one number
per predictor and one per class, since validation splits are small. Weights are not negative (Breiman 1996),
and the penalty pulls them towards the plain mean of the log-probabilities, which needs no fitting.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from dnalm.problems.kinds import KINDS
from dnalm.problems.metrics import SMALLEST_PROBABILITY, losses
from dnalm.problems.names import SINGLE_LABEL

FOLDS = 5
# Strengths of the L2 penalty that are tried, per sequence. The strongest, 10, leaves little but the mean.
PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)


@dataclass(frozen=True)
class StackedRegression:
    """`weights` float64[n_members], `intercepts` float64[n_classes]."""

    weights: np.ndarray
    intercepts: np.ndarray

    def probabilities(self, members: np.ndarray) -> np.ndarray:
        """float64[n, n_classes], of the probabilities of the members, float64[n_members, n, n_classes]."""
        return KINDS[SINGLE_LABEL].outputs(scores(log_probabilities(members), self.weights, self.intercepts))


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms; a probability of 0 counts as the smallest that losses know."""
    return np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))


def scores(logs: np.ndarray, weights: np.ndarray, intercepts: np.ndarray) -> np.ndarray:
    """float64[n, n_classes], from log-probabilities float64[n_members, n, n_classes]."""
    return np.tensordot(weights, logs, axes=1) + intercepts


def fit_stacked(members: np.ndarray, truth: np.ndarray, penalty: float) -> StackedRegression:
    """Fit weights and intercepts to probabilities float64[n_members, n, n_classes] and classes int64[n]."""
    logs = log_probabilities(members)
    n_members, n, n_classes = logs.shape
    wanted = np.eye(n_classes)[truth]
    mean = np.append(np.full(n_members, 1 / n_members), np.zeros(n_classes))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        predicted = KINDS[SINGLE_LABEL].outputs(scores(logs, parameters[:n_members], parameters[n_members:]))
        distance = parameters - mean
        error = (predicted - wanted) / n
        slope = np.append(np.tensordot(logs, error, axes=2), error.sum(axis=0)) + penalty * distance
        return float(losses(truth, predicted).mean()) + penalty / 2 * float(distance @ distance), slope

    bounds = [(0, None)] * n_members + [(None, None)] * n_classes
    found = minimize(loss, mean, jac=True, method="L-BFGS-B", bounds=bounds).x
    # Six digits: the last ones differ between machines.
    return StackedRegression(*np.split(np.round(found, 6), [n_members]))


def choose_penalty(
    members: np.ndarray, truth: np.ndarray, sequences: list[str]
) -> tuple[float, list[dict[str, Any]]]:
    """The penalty with the lowest cross-validated loss, the strongest where there is too little to divide.

    Also what was tried: penalty, loss (nats) and accuracy of each.
    """
    if len(set(sequences)) < 2 * FOLDS:
        return PENALTIES[0], []
    folds = assign_folds(sequences)
    tried = []
    for penalty in PENALTIES:
        predicted = np.empty(members.shape[1:])
        for fold in range(FOLDS):
            held_out = folds == fold
            fitted = fit_stacked(members[:, ~held_out], truth[~held_out], penalty)
            predicted[held_out] = fitted.probabilities(members[:, held_out])
        loss = round(float(losses(truth, predicted).mean()), 6)
        accuracy = float((predicted.argmax(axis=1) == truth).mean())
        tried.append({"penalty": penalty, "loss": loss, "accuracy": accuracy})
    return min(tried, key=lambda result: result["loss"])["penalty"], tried


def assign_folds(sequences: list[str]) -> np.ndarray:
    """Fold numbers int64[n]: distinct sequences are dealt out in an order that depends on them alone.

    So equal sequences share a fold, and the order of a table does not matter.
    """
    distinct = sorted(set(sequences), key=lambda sequence: hashlib.sha256(sequence.encode()).digest())
    folds = {sequence: place % FOLDS for place, sequence in enumerate(distinct)}
    return np.array([folds[sequence] for sequence in sequences])
