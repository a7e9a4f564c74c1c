"""Lines longer than a model reads: pieces that lose nothing, or a beginning and a count of the rest."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dnalm.tokenize_windows.context import ContextLines
from dnalm.tokenizers.encoding import truncate


class Lines:
    """Stands in for a token cache; the token ids of a line count up."""

    def __init__(self, sizes):
        self.lines = [np.array([1, *range(10, 10 + size), 2]) for size in sizes]
        self.lengths = np.array([len(ids) for ids in self.lines], np.int32)

    def line(self, index):
        return self.lines[index]


sizes = st.lists(st.integers(0, 40), min_size=1, max_size=12)


@given(sizes, st.integers(3, 20))
def test_pieces_spell_every_line_and_none_is_too_long(sizes, max_tokens):
    lines = Lines(sizes)
    pieces = ContextLines(lines, max_tokens)
    spelled = [[] for _ in sizes]
    for index in range(len(pieces)):
        ids, (line, start) = pieces.line(index), pieces.source(index)
        assert len(ids) == pieces.lengths[index] <= max_tokens
        assert (ids[0], ids[-1]) == (1, 2)
        assert start == len(spelled[line])
        spelled[line] += ids[1:-1].tolist()
    assert spelled == [ids[1:-1].tolist() for ids in lines.lines]
    assert pieces.counts()["unread_tokens"] == 0


@given(sizes, st.integers(3, 20))
def test_pieces_of_a_line_are_as_few_and_as_equal_as_possible(sizes, max_tokens):
    pieces = ContextLines(Lines(sizes), max_tokens)
    of_line = [[] for _ in sizes]
    for index in range(len(pieces)):
        of_line[pieces.source(index)[0]].append(int(pieces.lengths[index]) - 2)
    for size, lengths in zip(sizes, of_line, strict=True):
        assert len(lengths) == max(1, -(-size // (max_tokens - 2)))
        assert max(lengths) - min(lengths) <= 1


@given(sizes, st.integers(3, 20))
def test_truncation_reads_beginnings_and_counts_the_rest(sizes, max_tokens):
    lines = Lines(sizes)
    read = ContextLines(lines, max_tokens, truncated=True)
    assert len(read) == len(sizes)
    for index, ids in enumerate(lines.lines):
        assert np.array_equal(read.line(index), truncate(ids, max_tokens))
        assert read.lengths[index] == len(read.line(index))
    counts = read.counts()
    assert counts["longer"] == sum(size + 2 > max_tokens for size in sizes)
    assert counts["unread_tokens"] == sum(map(len, lines.lines)) - int(read.lengths.sum())


def test_where_no_line_is_longer_nothing_changes():
    lines = Lines([5, 0, 8])
    for truncated in (False, True):
        view = ContextLines(lines, 10, truncated=truncated)
        assert all(np.array_equal(view.line(i), lines.line(i)) for i in range(3))
        assert view.counts() == {"lines": 3, "longer": 0, "pieces": 3, "unread_tokens": 0}
