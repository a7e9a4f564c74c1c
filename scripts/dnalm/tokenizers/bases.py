"""Which bases tokens hold: pieces that stand one beside the other, or k-mers that share bases.

An overlapping k-mer that is hidden is spelled by its neighbours as far as these are visible, and the lengths
of all tokens add up to k times the sequence.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dnalm.tokenizers.special_tokens import BASES, overlapping_kmer_length

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast


def offsets_bp(tokenizer: "PreTrainedTokenizerFast", encoding: "Encoding") -> list[tuple[int, int]]:
    """First and past-the-last letter of the text that each token was made of, from 0.

    Of an overlapping k-mer, which is written in place of its first base, the encoding knows only that base.
    """
    length, words = _overlapping(tokenizer)
    if length is None:
        return list(encoding.offsets)
    return [
        (start, start + length if number in words else end)
        for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
    ]


@lru_cache(maxsize=8)
def letters_of(tokenizer: "PreTrainedTokenizerFast") -> tuple[str, ...] | None:
    """What each token of the vocabulary is written for, in upper case; None where tokens share letters.

    Nothing for special tokens; a question mark for [UNK], which says of no letter what it was.
    """
    if _overlapping(tokenizer)[0] is not None:
        return None
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    silent = dict.fromkeys(tokenizer.all_special_ids, "") | {tokenizer.unk_token_id: "?"}
    return tuple(silent.get(number, name) for number, name in enumerate(names))


# To ask for a vocabulary takes longer than to encode a sequence.
@lru_cache(maxsize=8)
def _overlapping(tokenizer: "PreTrainedTokenizerFast") -> tuple[int | None, frozenset[int]]:
    """Of overlapping k-mers: k, and the ids of all tokens that hold k letters."""
    length = overlapping_kmer_length(tokenizer.get_vocab())
    if length is None:
        return None, frozenset()
    return length, frozenset([tokenizer.unk_token_id, *_words(tokenizer, length)])


def _words(tokenizer: "PreTrainedTokenizerFast", length: int) -> list[int]:
    """The ids of all words of `length` bases, in alphabetical order."""
    vocabulary = tokenizer.get_vocab()
    return [
        vocabulary[word] for word in sorted(vocabulary) if len(word) == length and set(word) <= set(BASES)
    ]


class Pieces:
    """Tokens that share no bases."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast"):
        special = set(tokenizer.all_special_ids)
        self.names: list[str] = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        # In bp, 0 for special tokens: int64[vocabulary_size].
        self.lengths = np.array([0 if n in special else len(name) for n, name in enumerate(self.names)])

    def starts(self, ids: np.ndarray) -> np.ndarray:
        """How many bases stand before each token of a line: int64[n]."""
        return np.concatenate([[0], np.cumsum(self.lengths[ids[:-1]])])

    def hidden(self, ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """How many bases of each token at `positions` no other token shows: int64[n].

        `ids`: the true tokens of a line; `positions`: all that are hidden in it.
        """
        return self.lengths[ids[positions]]

    def around(self, ids: np.ndarray, position: int) -> tuple[str, str]:
        """The sequence to the left and to the right of a token; `ids`: `[CLS] … [SEP]`."""
        names = [self.names[number] for number in ids.tolist()]
        return "".join(names[1:position]), "".join(names[position + 1 : -1])


class OverlappingWords(Pieces):
    """All k-mers of a sequence, each sharing k - 1 bases with the next."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", length: int):
        super().__init__(tokenizer)
        self.length = length
        # The ids of the words in alphabetical order; and of each id its place there, -1 if it has none.
        self.words = np.array(_words(tokenizer, length))
        self.number = np.full(len(self.names), -1)
        self.number[self.words] = np.arange(len(self.words))
        self.unknown_id = tokenizer.unk_token_id
        self.lengths[self.unknown_id] = length

    def starts(self, ids: np.ndarray) -> np.ndarray:
        """How many bases stand before each token of a line: int64[n].

        Tokens are one base apart; [UNK], a k-mer with an unknown letter, as well. A word that does not go on
        with the bases of the one before it stands behind that.
        """
        left, right = self.number[ids[:-1]], self.number[ids[1:]]
        shared = len(BASES) ** (self.length - 1)
        goes_on = (left >= 0) & (right >= 0) & (left % shared == right // len(BASES))
        unknown = ids == self.unknown_id
        goes_on |= (unknown[:-1] & (right >= 0)) | (unknown[1:] & (left >= 0)) | (unknown[:-1] & unknown[1:])
        return np.concatenate([[0], np.cumsum(np.where(goes_on, 1, self.lengths[ids[:-1]]))])

    def shown(self, ids: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many of the first and of the last bases of each hidden word visible words show: int64[n] each.

        Where they show all, the first are all.
        """
        starts, visible = self.starts(ids), self.number[ids] >= 0
        visible[positions] = False
        seen = np.zeros(starts[-1] + self.length, bool)
        seen[(starts[visible][:, None] + np.arange(self.length)).ravel()] = True
        bases = seen[starts[positions][:, None] + np.arange(self.length)]
        first = np.cumprod(bases, axis=1).sum(axis=1)
        last = np.cumprod(bases[:, ::-1], axis=1).sum(axis=1)
        return first, np.where(first == self.length, 0, last)

    def hidden(self, ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """As of other tokens; a base that several hidden words hold counts in each of them."""
        first, last = self.shown(ids, positions)
        lengths = self.lengths[ids[positions]]
        return np.where(self.number[ids[positions]] >= 0, lengths - first - last, lengths)

    def around(self, ids: np.ndarray, position: int) -> tuple[str, str]:
        """As of other tokens; bases of which the tokens know nothing are N."""
        starts, lengths = self.starts(ids), self.lengths[ids]
        letters = np.full(starts[-1] + lengths[-1], "N")
        for start, number in zip(starts.tolist(), ids.tolist(), strict=True):
            if self.number[number] >= 0:
                letters[start : start + self.length] = list(self.names[number])
        sequence = "".join(letters)
        return sequence[: starts[position]], sequence[starts[position] + lengths[position] :]


def bases_of(tokenizer: Any) -> Pieces:
    """How the tokens of this tokenizer hold bases."""
    length = overlapping_kmer_length(tokenizer.get_vocab())
    return Pieces(tokenizer) if length is None else OverlappingWords(tokenizer, length)
