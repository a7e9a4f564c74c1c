"""Gaps in sequences: [MASK] where a person wrote it, or in place of the tokens of an interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dnalm.evaluate_language_model.scoring import MaskedLine
from dnalm.running.errors import InputError
from dnalm.tokenizers.bases import offsets_bp
from dnalm.tokenizers.special_tokens import overlapping_kmer_length

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CONTEXT_BP = 30
# What stands for a [MASK] in the context of another one.
GAP = "_"


@dataclass
class Gap:
    """One hidden token: its first base (from 1; None where bases before it are unknown too), DNA to its left
    and right, and the token itself where it is known.
    """

    position_bp: int | None
    left: str
    token: str | None
    right: str


@dataclass
class Question:
    """A sequence with hidden tokens, and the gap of each of them in order."""

    line: MaskedLine
    gaps: list[Gap]


def question(
    tokenizer: "PreTrainedTokenizerFast", number: int, sequence: str, hide: Sequence[str]
) -> Question:
    """The tokens of a sequence with its gaps; `number`, from 1, names it in messages.

    The sequence has passed `check_gaps` and `check_words` of :mod:`dnalm.fill_mask.settings`. Raises
    InputError where this tokenizer finds no gap in it.
    """
    # encode() elsewhere: a call with padding leaves it switched on in the backend.
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    encoding = backend.encode(sequence)
    ids = np.array(encoding.ids, np.int64)
    written = np.flatnonzero(ids == tokenizer.mask_token_id)
    place = f"sequence {number}"
    if hide:
        intervals = [_interval(text) for text in hide]
        of_tokens = offsets_bp(tokenizer, encoding)
        positions = _overlapping(of_tokens, encoding.special_tokens_mask, intervals)
        if not len(positions):
            raise InputError(f"{place}: no token stands in {', '.join(hide)}. Hide bases that are read.")
        input_ids = ids.copy()
        input_ids[positions] = tokenizer.mask_token_id
        offsets = [of_tokens[position] for position in positions]
        tokens = tokenizer.convert_ids_to_tokens(ids[positions].tolist())
        gaps = [
            Gap(start + 1, _before(sequence, start), token, sequence[end : end + CONTEXT_BP])
            for (start, end), token in zip(offsets, tokens, strict=True)
        ]
        return Question(MaskedLine(number - 1, ids, input_ids, positions), gaps)
    if not len(written):
        raise InputError(
            f"{place}: no {tokenizer.mask_token} in it. Put one where you ask, or say which bases to hide."
        )
    around = sequence.split(tokenizer.mask_token)
    length = overlapping_kmer_length(tokenizer.get_vocab())
    if length is not None:
        gaps = _gaps_of_words(around, length)
        return Question(MaskedLine(number - 1, ids, ids, written), gaps)
    gaps = []
    for place_of_mask in range(1, len(around)):
        before, after = GAP.join(around[:place_of_mask]), GAP.join(around[place_of_mask:])
        position = len(before) + 1 if place_of_mask == 1 else None
        gaps.append(Gap(position, _before(before, len(before)), None, after[:CONTEXT_BP]))
    return Question(MaskedLine(number - 1, ids, ids, written), gaps)


def _gaps_of_words(around: Sequence[str], length: int) -> list[Gap]:
    """The gaps of written masks that stand for overlapping k-mers; `around`: what stands between them."""
    shared, sequence, run = length - 1, around[0], 0
    starts: list[int] = []
    for number, stretch in enumerate(around[1:], start=1):
        run += 1
        if not stretch and number < len(around) - 1:
            continue
        before = shared if sequence else 0
        starts += range(len(sequence) - before, len(sequence) - before + run)
        sequence += GAP * (run + shared - before - (shared if stretch else 0)) + stretch
        run = 0
    return [
        Gap(start + 1, _before(sequence, start), None, sequence[start + length :][:CONTEXT_BP])
        for start in starts
    ]


def _before(sequence: str, end: int) -> str:
    return sequence[max(0, end - CONTEXT_BP) : end]


def _interval(text: str) -> tuple[int, int]:
    """First and past-the-last base, from 0."""
    first, _, last = text.partition("-")
    return int(first) - 1, int(last or first)


def _overlapping(
    offsets: Sequence[tuple[int, int]], special: Sequence[int], intervals: Sequence[tuple[int, int]]
) -> np.ndarray:
    """The tokens that have a base in one of the intervals, of overlapping k-mers all: int64[n]."""
    return np.array(
        [
            number
            for number, (start, end) in enumerate(offsets)
            if not special[number] and any(start < stop and begin < end for begin, stop in intervals)
        ],
        np.int64,
    )
