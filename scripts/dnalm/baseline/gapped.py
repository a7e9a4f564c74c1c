"""A linear model on k-mers with gaps, or on k-mers by where they stand.

k-mers with gaps find binding sites whose middle may be anything (gkm-SVM, Ghandi et al. 2014,
doi:10.1371/journal.pcbi.1003711). k-mers by their place find what stands at a fixed distance from the end,
such as a TATA box in promoters that are all cut at the start of transcription.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse

from dnalm.baseline.predictors import PENALTIES, STRANDS, fit_linear_model, tried_on, word_features
from dnalm.problems.kinds import KINDS

logger = logging.getLogger("dnalm")

# Words, as offsets of their letters, and the number of places at which they count.
Words = tuple[Sequence[int], int]

# Three letters, a gap, three letters.
GAPS = range(1, 9)
# Places told apart at most: in longer sequences neighbours count as one.
MOST_PLACES = 300
FEATURES = ("gapped", "positional")


def words_of(features: str, length: int) -> list[list[Words]]:
    """Groups of words that weigh the same, for sequences of about `length` bp."""
    if features == "gapped":
        gapped: list[Words] = [([0, 1, 2, 3 + gap, 4 + gap, 5 + gap], 1) for gap in GAPS]
        return [gapped, [(range(6), 1)], [(range(7), 1)]]
    everywhere = [(range(k), min(max(length - k + 1, 1), MOST_PLACES)) for k in (1, 2, 3)]
    return [[words] for words in (*everywhere, (range(4), 30), (range(6), 10))]


def gapped_features(sequences: list[str], features: str, strands: str, length: int) -> sparse.csr_matrix:
    """float64[n_sequences, n_features]: rows of length 1, of sequences that have every word."""
    blocks = []
    groups = words_of(features, length)
    for group in groups:
        scale = (len(group) * len(groups)) ** -0.5
        blocks += [word_features(sequences, offsets, strands, places) * scale for offsets, places in group]
    return sparse.hstack(blocks, format="csr")


@dataclass
class GappedKmerRegression:
    """A linear model (see :func:`fit_linear_model`) on `gapped_features`."""

    problem: str
    labels: list[str]
    features: str
    strands: str
    length: int  # bp, the median of the training sequences
    weights: np.ndarray  # float64[n_labels, n_features]
    intercepts: np.ndarray  # float64[n_labels]

    def outputs(self, sequences: list[str]) -> np.ndarray:
        """Probabilities or values float64[n_sequences, n_labels]."""
        return self.outputs_of_features(gapped_features(sequences, self.features, self.strands, self.length))

    def outputs_of_features(self, features: sparse.csr_matrix) -> np.ndarray:
        """Probabilities or values float64[n_sequences, n_labels] of the matching `gapped_features`."""
        return KINDS[self.problem].outputs(features @ self.weights.T + self.intercepts)


def train_gapped_regression(
    problem: str,
    train: tuple[list[str], np.ndarray],
    validation: tuple[list[str], np.ndarray],
    labels: list[str],
) -> tuple[GappedKmerRegression, list[dict]]:
    """Train with gaps and with places, on one strand and on both; keep the lowest validation loss.

    `train` and `validation` are (sequences, targets). The penalty is weakened until the loss rises. Also
    returns what was tried: features, strands, penalty, validation loss and accuracy (or R²) of each.
    """
    length = int(np.median([len(sequence) for sequence in train[0]]))
    best: tuple[float, GappedKmerRegression] | None = None
    tried: list[dict] = []
    for name in FEATURES:
        for strands in STRANDS:
            features = gapped_features(train[0], name, strands, length)
            held_out = gapped_features(validation[0], name, strands, length)
            before = np.inf
            for penalty in PENALTIES:
                weights, intercepts = fit_linear_model(problem, features, train[1], penalty)
                model = GappedKmerRegression(problem, labels, name, strands, length, weights, intercepts)
                found = tried_on(problem, validation[1], model.outputs_of_features(held_out))
                tried.append({"features": name, "strands": strands, "penalty": penalty, **found})
                if best is None or found["loss"] < best[0]:
                    best = (found["loss"], model)
                if found["loss"] > before:
                    break
                before = found["loss"]
            assert best is not None
            logger.info("%s, %s: best loss so far %.4f", name, strands, best[0])
    assert best is not None
    return best[1], tried
