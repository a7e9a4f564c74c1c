"""Predictors of overlapping k-mers: only words that agree with the bases which visible neighbours show.

Nobody who sees the neighbours of a hidden word would hold all 4^k words for possible.
"""

import numpy as np

from dnalm.tokenizers.bases import OverlappingWords
from dnalm.tokenizers.special_tokens import BASES


def agreeing_scores(
    probabilities: np.ndarray,
    words: OverlappingWords,
    targets: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Loss (nats) and rank of each target among the words that agree: float64[n], int64[n].

    `probabilities`: float64[vocabulary_size], of any sum; `targets`: ids, int64[n]; `first`, `last`: how many
    of their bases are known. Among equals the lower id comes first. What is no word is one token among all.
    """
    loss, rank = np.empty(len(targets)), np.empty(len(targets), np.int64)
    number = words.number[targets]
    first, last = np.where(number < 0, -1, first), np.where(number < 0, -1, last)
    for known in np.unique(np.stack([first, last]), axis=1).T:
        chosen = np.flatnonzero((first == known[0]) & (last == known[1]))
        if known[0] < 0:
            candidates, place = (
                np.arange(len(probabilities))[None],
                (np.zeros(len(chosen), int), targets[chosen]),
            )
        else:
            candidates, group, of_group = groups(words, int(known[0]), int(known[1]))
            place = group[number[chosen]], of_group[number[chosen]]
        found = probabilities[candidates]
        loss[chosen] = np.log(found.sum(axis=1)[place[0]]) - np.log(found[place])
        order = np.lexsort((candidates, -found), axis=1)
        ranks = np.empty_like(order)
        np.put_along_axis(ranks, order, np.arange(order.shape[1])[None], axis=1)
        rank[chosen] = ranks[place]
    return loss, rank


def groups(words: OverlappingWords, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The words that agree in their `first` and `last` bases.

    Returns ids int64[groups, words of a group], and of each word by its alphabetical number its group and its
    place there.
    """
    base, hidden = len(BASES), words.length - first - last
    number = np.arange(len(words.words))
    known_before, rest = np.divmod(number, base ** (words.length - first))
    unknown, known_behind = np.divmod(rest, base**last)
    group = known_before * base**last + known_behind
    ids = np.empty((base ** (first + last), base**hidden), np.int64)
    ids[group, unknown] = words.words
    return ids, group, unknown
