"""Related sequences stay on one side."""

from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnalm.prepare_task import homology
from dnalm.prepare_task.checks import add_molecules
from dnalm.prepare_task.homology import choose_clusters, find_clusters
from dnalm.prepare_task.settings import PrepareTaskSettings
from dnalm.prepare_task.splits import find_relatives
from dnalm.sequences.strands import reverse_complement


def draw(generator: np.random.Generator, length: int) -> str:
    return "".join(generator.choice(list("ACGT"), length))


def mutated(generator: np.random.Generator, sequence: str, changes: int) -> str:
    bases = list(sequence)
    for place in generator.choice(len(bases), changes, replace=False):
        bases[place] = {"A": "C", "C": "G", "G": "T", "T": "A"}[bases[place]]
    return "".join(bases)


def same(clusters: np.ndarray) -> list[list[int]]:
    """Members of each cluster, whatever its number."""
    return sorted(np.flatnonzero(clusters == c).tolist() for c in set(clusters))


def test_copies_with_changes_shifts_and_turned_ones_are_related():
    generator = np.random.default_rng(1)
    one, other = draw(generator, 200), draw(generator, 200)
    sequences = [
        one,
        other,
        mutated(generator, one, 6),
        reverse_complement(mutated(generator, one, 6)),
        one[60:] + draw(generator, 60),
        draw(generator, 200),
        "ACGT",
        "N" * 200,
    ]
    assert same(find_clusters(sequences, 16, 0.2)) == [[0, 2, 3, 4], [1], [5], [6], [7]]
    # Strangers that share less than is asked for are not related.
    assert len(same(find_clusters([one, other[:190] + one[:20]], 16, 0.2))) == 2


# Pieces that come again, so that sequences share some of their words.
pieces = st.one_of(st.sampled_from(["ACCAT", "TTACA", "CATGT", "GATNC"]), st.text("ACTN", max_size=3))
texts = st.lists(pieces, max_size=4).map("".join)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(texts, max_size=7),
    st.sampled_from([0.3, 0.6, 1.0]),
    st.integers(1, 40),
    st.integers(1, 8),
)
def test_clusters_are_those_of_the_definition(sequences, fraction, words_per_part, batch):
    def words(sequence):
        found = {sequence[i : i + 4] for i in range(len(sequence) - 3)}
        return {min(word, reverse_complement(word)) for word in found if "N" not in word}

    having = [words(sequence) for sequence in sequences]
    clusters = [{i} for i in range(len(sequences))]
    for i, j in combinations(range(len(sequences)), 2):
        fewer = min(len(having[i]), len(having[j]))
        if fewer and len(having[i] & having[j]) >= fraction * fewer:
            one, other = (next(c for c in clusters if k in c) for k in (i, j))
            clusters = [c for c in clusters if c not in (one, other)] + [one | other]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(homology, "WORDS_PER_PART", words_per_part)
        patch.setattr(homology, "BATCH", batch)
        found = find_clusters(sequences, 4, fraction)
    assert same(found) == sorted(map(sorted, clusters))


@settings(max_examples=50, deadline=None)
@given(st.lists(texts.filter(bool), min_size=1, max_size=5), st.data())
def test_copies_of_a_molecule_change_no_cluster(sequences, data):
    """Each molecule is compared once, and the outcome is that of comparing every row with every other."""
    copies = st.sampled_from([*sequences, *map(reverse_complement, sequences)])
    rows = add_molecules(pd.DataFrame({"seq": [*sequences, *data.draw(st.lists(copies, max_size=6))]}))
    found = find_relatives(rows, PrepareTaskSettings(homolog_word_bp=8, homolog_fraction=0.3))
    compared = find_clusters(rows["forward"].tolist(), 8, 0.3)
    first = [rows["molecule"].tolist().index(molecule) for molecule in rows["molecule"]]
    assert same(found) == same(compared[first])


def test_a_large_family_is_one_cluster(monkeypatch):
    monkeypatch.setattr(homology, "LARGEST_GROUP", 4)
    generator = np.random.default_rng(2)
    one = draw(generator, 80)
    family = [draw(generator, 3) + one + draw(generator, 3) for _ in range(30)]
    strangers = [draw(generator, 80) for _ in range(5)]
    assert same(find_clusters(family + strangers, 16, 0.5)) == [list(range(30)), [30], [31], [32], [33], [34]]


@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 12)), max_size=40))
def test_those_who_share_a_word_are_chained_in_small_groups(pairs):
    """In a group with each other, never in more groups than they share words, and in none without."""
    words, rows = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(homology, "LARGEST_GROUP", 3)
        groups, members = homology._groups(words, rows)
    having = {row: set(words[rows == row]) for row in set(rows)}
    within = {row: set(groups[members == row]) for row in set(rows)}
    for one, other in combinations(having, 2):
        assert len(within[one] & within[other]) <= len(having[one] & having[other])
    for word in set(words):
        carriers = rows[words == word]
        # Of three or fewer each with each, of more the neighbours.
        together = combinations(carriers, 2) if len(carriers) <= 3 else pairwise(carriers)
        assert all(within[one] & within[other] for one, other in together)
    assert all((groups == group).sum() <= 3 for group in set(groups))
    assert all(within[row] for row in having if any((words == word).sum() > 1 for word in having[row]))


def test_a_million_words_have_groups_of_their_own():
    numbers = homology._pair(np.array([0, 2**20, 2**21]), np.array([1, 0, 5]))
    assert len(set(numbers.tolist())) == 3


def test_of_few_sequences_one_is_chosen():
    alone = np.ones((3, 1), dtype=bool)
    assert choose_clusters(alone, np.arange(3), np.array([5, 1, 9]), 0.1).tolist() == [False, True, False]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8)), min_size=6, max_size=60),
    st.sampled_from([0.1, 0.2, 0.5]),
    st.integers(0, 9),
)
def test_clusters_are_never_parted_and_shares_are_kept(rows, fraction, seed):
    labels, clusters = (np.array(column) for column in zip(*rows, strict=True))
    keys = np.random.default_rng(seed).permutation(len(rows))
    chosen = choose_clusters(labels[:, None] == np.unique(labels), clusters, keys, fraction)
    for cluster in set(clusters):
        assert len(set(chosen[clusters == cluster])) == 1
    for label in set(labels):
        assert chosen[labels == label].any()


def test_without_relatives_each_label_gives_its_first_by_key():
    labels = np.array(["a"] * 10 + ["b"] * 20)
    keys = np.random.default_rng(3).permutation(30)
    chosen = choose_clusters(labels[:, None] == np.unique(labels), np.arange(30), keys, 0.2)
    for label, count in (("a", 2), ("b", 4)):
        members = np.flatnonzero(labels == label)
        assert set(np.flatnonzero(chosen)) & set(members) == set(members[np.argsort(keys[members])[:count]])
