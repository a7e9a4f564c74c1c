"""What letters and lengths alone tell of the labels is said, and chance is not taken for it."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from dnalm.prepare_task.composition import (
    chance_error,
    composition,
    telling_areas,
    telling_correlations,
)


def lengths(values) -> pd.Series:
    """Sequences of these lengths, which differ in nothing else."""
    return pd.Series(["A" * value for value in values])


def told_by_length(positive, other) -> dict:
    """What the lengths of the sequences of two labels tell."""
    carries = np.arange(len(positive) + len(other)) < len(positive)
    return telling_areas(lengths([*positive, *other]), {"0": ~carries, "1": carries})["length"]


def test_shares_are_of_all_letters_and_gc_is_of_known_bases():
    found = composition(pd.Series(["ACGTNn", "gg", "NNNN", "GN"]))
    assert {name: values.tolist() for name, values in found.items()} == {
        "length": [6, 2, 4, 2],
        "gc": [1 / 2, 1, 0, 1],
        "lower_case": [1 / 6, 1, 0, 0],
        "n": [1 / 3, 0, 1, 1 / 2],
    }


def test_what_letters_alone_tell():
    generator = np.random.default_rng(4)
    rich = ["".join(generator.choice(list("GGCCAT"), 100)) for _ in range(60)]
    poor = ["".join(generator.choice(list("AATTGC"), 100)).lower() for _ in range(60)]
    is_rich = np.arange(120) < 60
    found = telling_areas(pd.Series(rich + poor), {"0": ~is_rich, "1": is_rich})
    assert found["gc"]["tells"] and found["gc"]["auroc"] > 0.95
    assert found["lower_case"]["tells"] and found["lower_case"]["auroc"] == 1
    assert not found["length"]["tells"] and found["length"]["auroc"] == 0.5 and found["n"]["auroc"] == 0.5


def test_the_label_that_is_told_best_is_named():
    """Of three labels: b is the shortest of two, c the longest of three."""
    carried = {label: np.array(list("abcabc")) == label for label in "abc"}
    found = telling_areas(lengths([2, 1, 3, 1, 2, 3]), carried)["length"]
    assert (found["label"], found["auroc"]) == ("c", 1)
    # 1 of 3 pairs in order is told as well as 2 of 3.
    assert told_by_length([2], [1, 3, 4])["auroc"] == 0.666667


@pytest.mark.parametrize(("n_label", "n_other"), [(1, 4), (3, 3), (2, 6)])
def test_the_error_of_chance_is_that_of_all_ways_to_draw_the_labels(n_label, n_other):
    n = n_label + n_other
    above = [
        sum(one > other for one in drawn for other in set(range(n)) - set(drawn))
        for drawn in combinations(range(n), n_label)
    ]
    assert chance_error(n_label, n_other) == pytest.approx(np.std(above) / (n_label * n_other))


def test_a_difference_tells_if_it_is_large_and_more_than_chance():
    # Of 1000 against 1000 sequences 0.6 is beyond chance, of 50 against 50 it is not.
    assert told_by_length([3] * 600 + [1] * 400, [2] * 1000) == {"auroc": 0.6, "label": "0", "tells": True}
    assert not told_by_length([3] * 595 + [1] * 405, [2] * 1000)["tells"]
    assert not told_by_length([3] * 30 + [1] * 20, [2] * 50)["tells"]
    # Six against six are within three standard errors (0.52), even in perfect order; seven against seven not.
    assert not told_by_length(range(1, 7), range(7, 13))["tells"]
    assert told_by_length(range(1, 8), range(8, 15))["tells"]


def test_what_letters_alone_tell_of_values():
    generator = np.random.default_rng(4)
    sequences = pd.Series(["".join(generator.choice(list("GCATAT"), 100)) for _ in range(200)])
    gc = sequences.str.count("[GC]").to_numpy(dtype=float)
    found = telling_correlations(sequences, -gc)
    assert found["gc"] == {"spearman": -1.0, "tells": True}
    assert found["length"] == {"spearman": None, "tells": False}
    assert not telling_correlations(sequences, generator.random(200))["gc"]["tells"]


def test_a_correlation_tells_if_it_is_large_and_more_than_chance():
    def told(numbers, values) -> dict:
        return telling_correlations(lengths(numbers), np.array(values, dtype=float))["length"]

    # Chance has the standard error 1 / sqrt(n - 1): three of them are 1 of 10 sequences, 0.95 of 11.
    assert told(range(1, 11), range(10)) == {"spearman": 1, "tells": False}
    assert told(range(1, 12), range(11)) == {"spearman": 1, "tells": True}
    # Two neighbours of six swapped: 1 - 6 * 2 / (6 * 35).
    assert told(range(1, 7), [0, 1, 2, 3, 5, 4])["spearman"] == 0.942857
    # Of two numbers each, the correlation of ranks is that of a table of four fields: 0.1 and 0.3.
    for share, tells in ((55, False), (65, True)):
        same = [*[1] * share, *[2] * (100 - share)] * 10
        other = [*[2] * share, *[1] * (100 - share)] * 10
        assert told(same + other, [0] * 1000 + [1] * 1000) == {
            "spearman": pytest.approx((2 * share - 100) / 100),
            "tells": tells,
        }
