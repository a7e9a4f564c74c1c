"""Simple predictors that a language model has to beat: the majority class and linear models on k-mers.

A baseline directory holds `baseline.json` (what it is, labels, how it was chosen) and, for k-mers,
`model.safetensors` with `weights` float64[n_classes, n_features] and `intercepts` float64[n_classes].
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
from safetensors.numpy import save

from dnalm.problems.kinds import KINDS
from dnalm.problems.names import MULTI_LABEL, REGRESSION

logger = logging.getLogger("dnalm")

# Inverse strengths of the L2 penalty that are tried, scikit-learn's C: 100 is the weakest. Files call them
# `penalty`; that of stacked.json is a strength.
PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
STRANDS = ("forward", "both")


def kmer_features(sequences: list[str], k: int, strands: str, batch: int = 20_000) -> sparse.csr_matrix:
    """Square roots of k-mer frequencies: float64[n_sequences, 4**k], [.., about 4**k / 2] for both strands.

    With `strands="both"` a k-mer and its reverse complement are counted as one, so that a sequence and its
    reverse complement have the same features. k-mers with other letters than ACGT are not counted. The root
    makes every row a vector of length 1 and tempers repeats (Hellinger's distance between compositions).
    """
    return word_features(sequences, range(k), strands, batch=batch)


def word_features(
    sequences: list[str], offsets: Sequence[int], strands: str, places: int = 1, batch: int = 20_000
) -> sparse.csr_matrix:
    """`kmer_features` of words that are read at `offsets`, the same from both ends (0 1 2 5 6 7: a gap of 2).

    With `places` a word counts by where it stands: a sequence is divided into so many equal parts. For
    `strands="both"` these are told apart by their distance to the middle.
    """
    blocks = [
        _word_counts(sequences[start : start + batch], offsets, places)
        for start in range(0, len(sequences), batch)
    ]
    counts = sparse.vstack(blocks, format="csr")
    if strands == "both":
        counts = counts @ _merge_strands(len(offsets), places)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    frequencies = sparse.diags(1 / np.maximum(totals, 1)) @ counts
    return frequencies.sqrt().tocsr()


def _word_counts(sequences: list[str], offsets: Sequence[int], places: int) -> sparse.csr_matrix:
    """float64[n_sequences, places * 4**len(offsets)]"""
    text = np.frombuffer("N".join([*sequences, ""]).encode("ascii"), dtype=np.uint8)
    lengths = np.array([len(sequence) for sequence in sequences])
    row = np.repeat(np.arange(len(sequences)), lengths + 1)
    digits = np.full(256, 4, dtype=np.int32)
    digits[np.frombuffer(b"ACGT", dtype=np.uint8)] = range(4)
    digit = digits[text]
    span = offsets[-1] + 1
    n = max(0, len(digit) - span + 1)
    others = np.concatenate([[0], np.cumsum(digit == 4)])
    whole = others[span : span + n] == others[:n]
    row = row[:n]
    starts = np.cumsum(lengths + 1) - (lengths + 1)
    code = (np.arange(n) - starts[row]) * places // np.maximum(lengths[row] - span + 1, 1)
    for offset in offsets:
        code = code * 4 + digit[offset : offset + n]
    row, code = row[whole], code[whole]
    shape = (len(sequences), places * 4 ** len(offsets))
    return sparse.coo_matrix((np.ones(len(code)), (row, code)), shape=shape).tocsr()


def _merge_strands(letters: int, places: int) -> sparse.csr_matrix:
    """Matrix [places * 4**letters, n_features] that adds the count of each word to that of its reverse
    complement, which stands as far from the other end.
    """
    place, code = np.divmod(np.arange(places * 4**letters), 4**letters)
    rest, reverse = code.copy(), np.zeros_like(code)
    for _ in range(letters):
        reverse = reverse * 4 + (3 - rest % 4)
        rest //= 4
    either = place * 4**letters + code, (places - 1 - place) * 4**letters + reverse
    _, feature = np.unique(np.minimum(*either), return_inverse=True)
    return sparse.csr_matrix((np.ones(len(code)), (np.arange(len(code)), feature)))


@dataclass
class Majority:
    """Predicts for every sequence the shares of the labels in training; of values their mean."""

    problem: str
    labels: list[str]
    frequencies: np.ndarray  # float64[n_labels]

    def outputs(self, sequences: list[str]) -> np.ndarray:
        """float64[n_sequences, n_labels]"""
        return np.tile(self.frequencies, (len(sequences), 1))


@dataclass
class KmerRegression:
    """A linear model on the roots of k-mer frequencies: logistic regression, of values ridge regression."""

    problem: str
    labels: list[str]
    k: int
    strands: str
    weights: np.ndarray  # float64[n_labels, n_features]
    intercepts: np.ndarray  # float64[n_labels]

    def outputs(self, sequences: list[str]) -> np.ndarray:
        """Probabilities or values float64[n_sequences, n_labels]."""
        return self.outputs_of_features(kmer_features(sequences, self.k, self.strands))

    def outputs_of_features(self, features: sparse.csr_matrix) -> np.ndarray:
        """Probabilities or values float64[n_sequences, n_labels] of the matching `kmer_features`."""
        return KINDS[self.problem].outputs(features @ self.weights.T + self.intercepts)


def fit_linear_model(
    problem: str, features: sparse.csr_matrix | np.ndarray, targets: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weights float64[n_labels, n_features] and intercepts float64[n_labels]; `penalty`: one of PENALTIES.

    Multinomial logistic regression of classes, one logistic regression for each of several labels, ridge
    regression of values.
    """
    if problem == REGRESSION:
        from sklearn.linear_model import Ridge

        # Standardised, so that a penalty means the same whatever the unit of the values.
        mean, deviation = targets.mean(), targets.std()
        ridge = Ridge(alpha=1 / penalty).fit(features, (targets[:, 0] - mean) / deviation)
        return ridge.coef_[None] * deviation, np.atleast_1d(ridge.intercept_ * deviation + mean)
    if problem == MULTI_LABEL:
        fitted = [fit_logistic_regression(features, column, penalty) for column in targets.T]
        # Of carrying a label against not carrying it.
        return np.vstack([weights[1] for weights, _ in fitted]), np.array([b[1] for _, b in fitted])
    return fit_logistic_regression(features, targets, penalty)


def fit_logistic_regression(
    features: sparse.csr_matrix | np.ndarray, classes: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weights float64[n_classes, n_features], intercepts float64[n_classes]; `penalty`: one of PENALTIES."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=penalty, max_iter=1000).fit(features, classes)
    weights, intercepts = fitted.coef_, fitted.intercept_
    if len(weights) > 1:
        return weights, intercepts
    # scikit-learn stores the score of the second of two classes against the first.
    return np.vstack([np.zeros_like(weights), weights]), np.append(0.0, intercepts)


def tried_on(problem: str, targets: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """Loss and accuracy (or R²) on the validation split, for choosing."""
    kind = KINDS[problem]
    # Six digits: the choice must not hang on the last bit of another machine's arithmetic.
    loss = float(f"{kind.losses(targets, outputs).mean():.6g}")
    return {"loss": loss} | kind.accuracy(targets, outputs)


def train_kmer_regression(
    problem: str,
    train: tuple[list[str], np.ndarray],
    validation: tuple[list[str], np.ndarray],
    labels: list[str],
    lengths: list[int],
) -> tuple[KmerRegression, list[dict]]:
    """Train one regression per k, strands and penalty; return the one with the lowest validation loss.

    `train` and `validation` are (sequences, targets). Also returns what was tried: k, strands, penalty,
    validation loss and accuracy (or R²) of each.
    """
    best: tuple[float, KmerRegression] | None = None
    tried: list[dict] = []
    for k in lengths:
        for strands in STRANDS:
            features = kmer_features(train[0], k, strands)
            held_out = kmer_features(validation[0], k, strands)
            for penalty in PENALTIES:
                weights, intercepts = fit_linear_model(problem, features, train[1], penalty)
                model = KmerRegression(problem, labels, k, strands, weights, intercepts)
                found = tried_on(problem, validation[1], model.outputs_of_features(held_out))
                result = {"k": k, "strands": strands, "penalty": penalty, **found}
                loss = found["loss"]
                tried.append(result)
                if best is None or loss < best[0]:
                    best = (loss, model)
            assert best is not None
            logger.info("k = %d, %s: best loss so far %.4f", k, strands, best[0])
    assert best is not None
    return best[1], tried


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as safetensors."""
    # It writes the memory of numpy arrays as it lies; scikit-learn's may lie by columns.
    # Its `save_file` does not notice where a file server says only at the end that the file was not written.
    path.write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
