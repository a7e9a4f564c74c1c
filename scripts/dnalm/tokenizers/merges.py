"""The merges of byte-pair encoding over DNA, compiled by Numba. Imported where lines are encoded only."""

import functools
import logging
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

logger = logging.getLogger("dnalm")

# Classes of letters beside the bases 0 to 3.
OTHER, LINE_END = 4, 5

# Lines that go through the merges together; few enough letters for a processor's second-level cache.
LETTERS_AT_ONCE = 16_384

# What stands in place of a token: merged into the one before, another letter, the end of a line.
_GONE, _OTHER, _LINE_END = -1, -2, -3


def compiled(function: Callable[..., Any]) -> Any:
    """The function as machine code, kept on disk where that can be written to and has room."""
    try:
        kept = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True)(function)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        nonlocal kept
        try:
            return kept(*arguments)
        except OSError as error:
            # A full disk or quota. No file is touched once the machine code runs.
            logger.info("machine code is not kept for the next run: %s", error)
            kept = numba.njit(nogil=True)(function)
            return kept(*arguments)

    return call


@numba.njit(nogil=True)
def _place(left, right, size):  # type: ignore[no-untyped-def]
    """Where a pair is looked for first in a table of `size`, a power of two."""
    # 2**32 divided by the golden ratio spreads neighbours.
    return ((left * 40503 + right) * 2654435761 >> 13) & (size - 1)


@numba.njit(nogil=True)
def rank_of(left, right, pairs, ranks):  # type: ignore[no-untyped-def]
    """The rank of the merge of two tokens, -1 if there is none."""
    place = _place(left, right, len(ranks))
    while ranks[place] >= 0:
        if pairs[place, 0] == left and pairs[place, 1] == right:
            return ranks[place]
        place = (place + 1) & (len(ranks) - 1)
    return -1


@compiled
def fill_table(merges, pairs, ranks):  # type: ignore[no-untyped-def]
    """Put merges, int64[n, 3] (left, right, whole), into an empty table, whose ranks are all -1."""
    for rank in range(len(merges)):
        left, right = merges[rank, 0], merges[rank, 1]
        place = _place(left, right, len(ranks))
        while ranks[place] >= 0:
            place = (place + 1) & (len(ranks) - 1)
        pairs[place, 0], pairs[place, 1], ranks[place] = left, right, rank


@compiled
def encode(letters, bases, merges, pairs, ranks, cls, sep, other, values, lengths):  # type: ignore[no-untyped-def]
    """Write the ids of all lines to `values`, and how many each line has to `lengths`. Returns their number.

    letters: uint8[n], classes: 0 to 3, OTHER, and LINE_END after each line. other: id of OTHER, -1 for none.
    """
    longest = 0
    start = 0
    for i in range(len(letters)):
        if letters[i] == LINE_END:
            longest = max(longest, i + 1 - start)
            start = i + 1
    room = LETTERS_AT_ONCE + longest
    token = np.empty(room, np.int32)
    previous, following = np.empty(room, np.int32), np.empty(room, np.int32)
    # By rank, a queue of the places where its pair was seen, from left to right.
    head, tail = np.full(len(merges), -1, np.int32), np.empty(len(merges), np.int32)
    seen_at, next_seen = np.empty(3 * room, np.int32), np.empty(3 * room, np.int32)
    of_letters = np.empty((4, 4), np.int64)
    for a in range(4):
        for b in range(4):
            of_letters[a, b] = rank_of(bases[a], bases[b], pairs, ranks)

    n_values, line, start = 0, 0, 0
    while start < len(letters):
        # ------------------------------------------------------------- some whole lines
        end = min(start + LETTERS_AT_ONCE, len(letters))
        while letters[end - 1] != LINE_END:
            end += 1
        n, n_seen = end - start, 0
        before = OTHER
        for i in range(n):
            letter = letters[start + i]
            previous[i], following[i] = i - 1, i + 1
            if letter >= OTHER:
                token[i] = _OTHER if letter == OTHER else _LINE_END
            else:
                token[i] = bases[letter]
                if before < OTHER:
                    rank = of_letters[before, letter]
                    if rank >= 0:
                        seen_at[n_seen], next_seen[n_seen] = i - 1, -1
                        if head[rank] < 0:
                            head[rank] = n_seen
                        else:
                            next_seen[tail[rank]] = n_seen
                        tail[rank] = n_seen
                        n_seen += 1
            before = letter
        # ------------------------------------------------------------- merges, rank by rank
        for rank in range(len(merges)):
            left, right, whole = merges[rank, 0], merges[rank, 1], merges[rank, 2]
            seen = head[rank]
            head[rank] = -1
            while seen >= 0:
                at = seen_at[seen]
                seen = next_seen[seen]
                second = following[at]
                # Another merge may have taken one of them meanwhile.
                if token[at] != left or token[second] != right:
                    continue
                token[at], token[second] = whole, _GONE
                after = following[second]
                following[at] = after
                previous[after] = at
                for side in range(2):
                    first = previous[at] if side == 0 else at
                    if first < 0 or token[first] < 0 or token[following[first]] < 0:
                        continue
                    new = rank_of(token[first], token[following[first]], pairs, ranks)
                    if new >= 0:
                        seen_at[n_seen], next_seen[n_seen] = first, -1
                        if head[new] < 0:
                            head[new] = n_seen
                        else:
                            next_seen[tail[new]] = n_seen
                        tail[new] = n_seen
                        n_seen += 1
        # ------------------------------------------------------------- what is left
        at, begun = 0, n_values
        values[n_values] = cls
        n_values += 1
        while at < n:
            found = token[at]
            if found >= 0:
                values[n_values] = found
                n_values += 1
            elif found == _OTHER:
                if other >= 0:
                    values[n_values] = other
                    n_values += 1
            else:
                values[n_values] = sep
                n_values += 1
                lengths[line] = n_values - begun
                line += 1
                begun = n_values
                if at + 1 < n:
                    values[n_values] = cls
                    n_values += 1
            at = following[at]
        start = end
    return n_values
