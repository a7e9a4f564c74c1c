"""The checks of a task, each by itself: duplicates, leaks, shared words, distributions."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dnalm.prepare_task import checks
from dnalm.prepare_task.checks import (
    FORWARD,
    add_molecules,
    content_keys,
    drop_duplicates,
    find_leakage,
    length_distribution,
    overlap_fractions,
    soft_masked_fractions,
    value_distribution,
    words_of,
)
from dnalm.sequences.strands import canonical


def table(*rows: tuple[str, str]) -> pd.DataFrame:
    """Rows of sequence and label, called r1, r2, …"""
    frame = pd.DataFrame(rows, columns=["seq", "label"]).assign(id=[f"r{i + 1}" for i in range(len(rows))])
    return add_molecules(frame)


def test_a_molecule_is_kept_once_and_not_at_all_where_its_labels_conflict():
    rows = table(("AAC", "0"), ("GTT", "0"), ("aac", "0"), ("CCG", "1"), ("CGG", "0"), ("ACA", "1"))
    found = drop_duplicates(rows, values=False)
    assert found.rows["id"].tolist() == ["r1", "r6"]
    assert (found.conflicting, found.duplicates, found.of_which_reverse_complement) == (2, 2, 1)


def test_where_the_strand_decides_the_label_the_other_one_is_no_repeat():
    rows = table(("AAC", "0"), ("GTT", "1"), ("aac", "0"), ("CCG", "1"), ("CCG", "0"))
    found = drop_duplicates(rows, False, FORWARD)
    assert found.rows["id"].tolist() == ["r1", "r2"]
    assert (found.conflicting, found.duplicates, found.of_which_reverse_complement) == (2, 1, 0)
    measured = drop_duplicates(table(("AAC", "1"), ("GTT", "3"), ("AAC", "2")), True, FORWARD)
    assert dict(zip(measured.rows["id"], measured.rows["label"], strict=True)) == {"r1": "1.5", "r2": "3"}


def test_repeated_measurements_become_their_mean_and_others_stay_as_written():
    rows = table(("AAC", "1.50"), ("GTT", "1.50"), ("CCG", "1"), ("CGG", "2.0"), ("TAC", "0.10"))
    found = drop_duplicates(rows, values=True)
    kept = dict(zip(found.rows["id"], found.rows["label"], strict=True))
    assert kept == {"r1": "1.50", "r3": "1.5", "r5": "0.10"}
    assert (found.conflicting, found.duplicates, found.of_which_reverse_complement) == (0, 2, 2)


def test_a_leak_names_the_first_training_row_on_the_same_strand_else_on_the_other():
    training = table(("CCG", "0"), ("CGG", "0"), ("CGG", "0"), ("AAC", "1"), ("AAC", "1"))
    found = find_leakage(training, table(("cgg", "0"), ("TTT", "1"), ("GTT", "1"), ("CCG", "0")))
    assert found.exact == [("r1", "r2"), ("r4", "r1")] and found.reverse_complement == [("r3", "r4")]
    assert found.count == 3


def test_the_order_of_the_splits_stays_the_same_for_ever():
    """Recorded: BLAKE2b of 16 bytes with the seed as key. A change draws every split anew."""
    found = [key.hex() for key in content_keys(pd.Series(["ACGT", "ACGT", "AAAA"]), 42)]
    assert found == [
        "9d5e5b60d6d9a2aedfea15ba0c903168",
        "9d5e5b60d6d9a2aedfea15ba0c903168",
        "744e38981ecc6f1372e4989c9458c020",
    ]


letters = st.text("ACGTN", max_size=45)


@settings(max_examples=60, deadline=None)
@given(st.lists(letters, max_size=4), st.integers(1, 32))
def test_words_are_those_of_every_sequence_on_either_strand(sequences, length):
    """A word is its letters as digits to the base of 4, of both strands the smaller number."""
    expected = []
    for row, sequence in enumerate(sequences):
        words = [sequence[i : i + length] for i in range(len(sequence) - length + 1)]
        for word in words:
            if "N" not in word:
                # Of two words of equal length the first in alphabetical order is the smaller number.
                expected.append((int(canonical(word).translate(str.maketrans("ACGT", "0123")), 4), row))
    words, rows = words_of(sequences, length)
    assert list(zip(words.tolist(), rows.tolist(), strict=True)) == expected
    assert words.dtype == np.uint64 and rows.dtype == np.int64


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([1, 3, 24]))
def test_shares_of_known_words_do_not_depend_on_cells_and_batches(data, cell_bits):
    """Few cells, which words of other sequences fall into as well, say the same as many."""
    piece = st.sampled_from(
        ["ACGGTCATTG" * 4, "TTGACCATGACAAGTCCGATAGGCATTCAGGACTAC", "CAATGACCGT" * 4, "ACN"]
    )
    sequences = st.lists(st.lists(piece, max_size=2).map("".join), min_size=1, max_size=4)
    training, held_out = data.draw(sequences), data.draw(sequences)
    known = set(words_of(training)[0].tolist())
    expected = []
    for sequence in held_out:
        words = words_of([sequence])[0].tolist()
        expected.append(np.mean([word in known for word in words]) if words else 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "CELL_BITS", cell_bits)
        assert overlap_fractions(training, held_out, batch=2) == pytest.approx(expected)


def test_lower_case_is_counted_with_the_letters_that_stand_for_several_bases():
    sequences = pd.Series(["ACgt", "nnNN", "acgtryswkmbdhvn", "ACGT"])
    groups = {"a": np.array([1, 1, 0, 0], bool), "b": np.array([0, 0, 1, 0], bool), "none": np.zeros(4, bool)}
    assert soft_masked_fractions(sequences, groups) == {"a": 0.5, "b": 1.0}


def test_a_distribution_of_values_is_told_by_its_quartiles():
    # Mean 4, deviations -4 -3 -2 1 8: a variance of 94 / 5.
    assert value_distribution(np.array([12.0, 0.0, 1.0, 5.0, 2.0])) == {
        "mean": 4,
        "sd": 4.3359,
        "min": 0,
        "q1": 1,
        "median": 2,
        "q3": 5,
        "max": 12,
    }


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=30))
@example([11, 30])
def test_lengths_fall_into_at_most_20_bins_of_equal_width_as_narrow_as_can_be(values):
    found = length_distribution(pd.Series(["A" * n for n in values]))
    assert (found["min"], found["median"], found["max"]) == (min(values), np.median(values), max(values))
    edges, counts = found["edges"], found["counts"]
    (width,) = set(np.diff(edges))
    assert edges[0] == min(values) and edges[-2] <= max(values) < edges[-1] and len(counts) <= 20
    # One bp less, and 20 bins would not hold all.
    assert width == 1 or 20 * (width - 1) < max(values) - min(values) + 1
    assert counts == [sum(edge <= value < edge + width for value in values) for edge in edges[:-1]]
