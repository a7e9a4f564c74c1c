"""Related sequences: clusters of those that share words, which no split may part.

Paralogs, repeats and overlapping windows are not equal, yet who has learnt one half knows most of the other.
"""

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.csgraph import connected_components

from dnalm.prepare_task.checks import words_of

# Sequences that share a word are compared pair by pair; of a word that more of them have (a satellite, say)
# only neighbours in a chain of groups of this size are.
LARGEST_GROUP = 100
# Words are sorted and compared in parts of about so many, which bounds what is in memory beside them.
WORDS_PER_PART = 2**22
# Sequences whose words are found together.
BATCH = 5000


def find_clusters(sequences: list[str], word_bp: int, fraction: float) -> np.ndarray:
    """The cluster of each sequence: int64[n].

    Two sequences are related if they share at least `fraction` of the distinct words of `word_bp` bp that the
    one with fewer words has, on either strand. A cluster holds all that are related, directly or through
    others. Sequences without any such word are alone.
    """
    if not sequences:
        return np.arange(0)
    n_words = np.zeros(len(sequences), dtype=np.int64)
    parts: list[list[tuple[np.ndarray, np.ndarray]]] = [
        [] for _ in range(1 + sum(map(len, sequences)) // WORDS_PER_PART)
    ]
    for start in range(0, len(sequences), BATCH):
        words, rows = _in_order(*words_of(sequences[start : start + BATCH], word_bp))
        # A word counts once in a sequence.
        new = np.append(True, (words[1:] != words[:-1]) | (rows[1:] != rows[:-1]))[: len(words)]
        counts = np.bincount(rows[new])
        n_words[start : start + len(counts)] = counts
        words, rows = words[new], (start + rows[new]).astype(np.int32)
        part = (words % np.uint64(len(parts))).astype(np.uint16)
        order = np.argsort(part, kind="stable")
        borders = np.searchsorted(part[order], np.arange(1, len(parts)))
        for of_part, chosen in zip(parts, np.split(order, borders), strict=True):
            of_part.append((words[chosen], rows[chosen]))
    groups, members = _all_groups(parts)
    if not len(groups):
        return np.arange(len(sequences))
    ones = np.ones(len(groups), dtype=np.int32)
    has_word = sparse.csr_matrix((ones, (members, groups)), shape=(len(sequences), groups.max() + 1))
    shared = sparse.triu(has_word @ has_word.T, k=1).tocoo()
    related = shared.data >= fraction * np.minimum(n_words[shared.row], n_words[shared.col])
    edges = (shared.row[related], shared.col[related])
    n = len(sequences)
    graph = sparse.coo_matrix((np.ones(len(edges[0]), dtype=np.int8), edges), shape=(n, n))
    return connected_components(graph, directed=False)[1]


def _in_order(words: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both by word, those of a word by row, where the rows of a word are in order already."""
    order = np.argsort(words, kind="stable")
    return words[order], rows[order]


def _all_groups(parts: list[list[tuple[np.ndarray, np.ndarray]]]) -> tuple[np.ndarray, np.ndarray]:
    """The groups of all parts, of which each word is in one. Empties `parts`."""
    numbers, members, begun = [], [], 0
    while parts:
        words, rows = (np.concatenate(column) for column in zip(*parts.pop(), strict=True))
        found, of_part = _groups(*_in_order(words, rows))
        numbers.append(begun + found)
        members.append(of_part)
        begun += int(found.max(initial=-1)) + 1
    return np.concatenate(numbers), np.concatenate(members)


def _groups(words: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Groups of sequences with a word in common: number of the group, member; int64 of equal length.

    `words` are sorted, each (word, row) occurs once. Words of one sequence are left out. Neighbouring groups
    of a frequent word share a member, so that a family all of whose members share their words stays one.
    """
    first = np.append(True, words[1:] != words[:-1])[: len(words)]
    counts = np.diff(np.flatnonzero(first), append=len(words))
    rows, counts = rows[np.repeat(counts > 1, counts)], counts[counts > 1]
    word = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    step = LARGEST_GROUP - 1
    # A group's first member is also the last of the group before.
    part, again = place // step, (place % step == 0) & (place > 0)
    numbers = np.concatenate([_pair(word, part), _pair(word[again], part[again] - 1)])
    members = np.concatenate([rows, rows[again]])
    return np.unique(numbers, return_inverse=True)[1], members


def _pair(word: np.ndarray, part: np.ndarray) -> np.ndarray:
    return word * (1 << 20) + part


def choose_clusters(
    membership: np.ndarray, clusters: np.ndarray, keys: np.ndarray, fraction: float
) -> np.ndarray:
    """Choose whole clusters until `fraction` of the sequences of every group is chosen: bool[n].

    `membership` is bool[n, n_groups]: the labels, or parts of the range of values, that sequences belong to.

    Clusters come in the order of the smallest key among their members; one that would exceed the share of
    any group is passed over. Where that leaves a group without any, its smallest cluster is taken. If no
    cluster has several members, these are the first `fraction` of every label in the order of the keys.
    """
    membership = membership[:, membership.any(axis=0)].astype(int)
    totals = membership.sum(axis=0)
    wanted = np.maximum(1, np.round(fraction * totals)).astype(int)
    chosen = np.zeros(len(membership), dtype=bool)
    left = wanted.copy()
    members_of: dict[int, list[int]] = {}
    for place in np.argsort(keys, kind="stable"):
        members_of.setdefault(int(clusters[place]), []).append(int(place))
    sizes = {cluster: membership[members].sum(axis=0) for cluster, members in members_of.items()}
    for cluster, members in members_of.items():
        if (sizes[cluster] <= left).all():
            chosen[members] = True
            left -= sizes[cluster]
    for number in np.flatnonzero(left == wanted):
        having = [c for c in members_of if sizes[c][number]]
        chosen[members_of[min(having, key=lambda c: len(members_of[c]))]] = True
    return chosen
