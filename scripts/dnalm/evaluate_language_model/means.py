"""Means over the hidden tokens of held-out DNA, and how uncertain they are."""

import math

import numpy as np
from scipy.special import stdtrit

from dnalm.evaluate_language_model.scoring import MaskedLine, TokenScores

# Runs of neighbouring tokens whose means are compared. Schmeiser advises 10 to 30; of human DNA, intervals
# from 20 and more hold the truth less often (docs/splits.md).
RUNS = 10


class HeldOutMeans:
    """Means over hidden tokens, with Student's intervals from runs of neighbours (batch means).

    Neighbours in a genome resemble each other, in human DNA over hundreds of thousands of bases, so that
    lines taken for independent would promise too much. The tokens of each source are parted, in their order,
    into runs of equal length, whose means are compared (Schmeiser 1982, Operations Research 30:556-568).

    `sources`: the cache that each hidden token comes from, int64[n_hidden], ascending. `bases`: how many
    hidden bases each of them holds, int64[n_hidden]; one that several overlapping tokens hold counts in each.
    """

    def __init__(self, sources: np.ndarray, bases: np.ndarray, confidence: float):
        self.tokens, self.bases = np.ones(len(bases)), bases
        _, tokens = np.unique(sources, return_counts=True)
        if tokens.min() < 2:
            # One token alone says nothing of what differs within its source.
            tokens = np.array([len(sources)])
        runs = np.minimum(tokens, np.maximum(2, np.rint(RUNS * tokens / len(sources)).astype(np.int64)))
        before = np.cumsum(tokens) - tokens
        self.starts = np.concatenate(
            [first + np.arange(k) * n // k for first, n, k in zip(before, tokens, runs, strict=True)]
        )
        self.source_of_run = np.repeat(np.arange(len(runs)), runs)
        self.weights = np.repeat(runs / (runs - 1), runs)
        self.quantile = float(stdtrit((runs - 1).sum(), (1 + confidence) / 2))

    def ratio(
        self, above: np.ndarray, below: np.ndarray, bounds: tuple[float, float] = (-math.inf, math.inf)
    ) -> dict[str, float]:
        """Sum of `above` over sum of `below`, both per token, and its interval, cut at `bounds`."""
        value, total = float(above.sum() / below.sum()), float(below.sum())
        above_of_runs, below_of_runs = (
            # Of true and false NumPy would say whether one is true.
            np.add.reduceat(values.astype(np.float64), self.starts)
            for values in (above, below)
        )
        above_of_sources, below_of_sources = (
            np.bincount(self.source_of_run, sums) for sums in (above_of_runs, below_of_runs)
        )
        expected = (above_of_sources / below_of_sources)[self.source_of_run] * below_of_runs
        differences = above_of_runs - expected
        reach = self.quantile * math.sqrt(self.weights @ differences**2) / total
        return estimate(value, max(value - reach, bounds[0]), min(value + reach, bounds[1]))

    def of(self, scores: TokenScores) -> dict[str, dict[str, float]]:
        """All measures of one predictor."""
        loss = self.ratio(scores.loss, self.tokens, (0, math.inf))
        value, low, high = (math.exp(min(loss[bound], 700.0)) for bound in ("value", "low", "high"))
        return {
            "loss": loss,
            "perplexity": estimate(value, low, high),
            "bits_per_base": self.ratio(scores.loss / math.log(2), self.bases, (0, math.inf)),
            "masked_accuracy": self.ratio(scores.found(1), self.tokens, (0, 1)),
            "top5_accuracy": self.ratio(scores.found(5), self.tokens, (0, 1)),
        }

    def advantage(self, ours: TokenScores, theirs: TokenScores) -> dict[str, float]:
        """By how much our loss per hidden token is lower than theirs, on the same tokens."""
        return self.ratio(theirs.loss - ours.loss, self.tokens)


def estimate(value: float, low: float, high: float) -> dict[str, float]:
    """`{value, low, high}`, to six digits: more than six is what the order of a float32 sum decides."""
    numbers = {"value": value, "low": low, "high": high}
    return {name: float(f"{round(number, 6):.6g}") for name, number in numbers.items()}


def line_losses(lines: list[MaskedLine], scores: TokenScores) -> np.ndarray:
    """The mean loss of the hidden tokens of each line: float64[n_lines]."""
    hidden = np.array([len(line.positions) for line in lines])
    return np.add.reduceat(scores.loss.astype(np.float64), np.cumsum(hidden) - hidden) / hidden
