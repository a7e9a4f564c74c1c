"""Overlapping k-mers as token ids, many times as fast as the `tokenizers` library, with the same ids.

The library finds them by rewriting the text letter by letter
(:func:`dnalm.tokenizers.vocabulary.overlapping_words`). Over four letters a k-mer is a number, and the
numbers of all places of a text come from k additions.
"""

import numpy as np
from tokenizers import Tokenizer

from dnalm.tokenizers.encoder import agree, token_dtype
from dnalm.tokenizers.special_tokens import BASES, overlapping_kmer_length

# Classes of letters beside the bases 0 to 3.
_OTHER, _LINE_END, _LINE_START = 4, 5, 6


class KmerEncoder:
    """A vocabulary of overlapping k-mers as tables.

    `words`: the ids of the k-mers in alphabetical order; `around`: [CLS] and [SEP]; `spoilt`: id of a k-mer
    with another letter, or -1 if it leaves no token; `other`: id of the other letter itself, or -1.
    """

    def __init__(
        self,
        length: int,
        words: np.ndarray,
        around: tuple[int, int],
        spoilt: int,
        other: int,
        vocabulary_size: int,
    ):
        self.length, self.around, self.spoilt, self.other = length, around, spoilt, other
        self.dtype = token_dtype(vocabulary_size)
        self.words = words.astype(self.dtype)
        self.classes = np.full(256, _OTHER, np.uint8)
        self.classes[[ord("\n"), ord("\t")]] = _LINE_END, _LINE_START
        for number, base in enumerate(BASES):
            self.classes[[ord(base), ord(base.lower())]] = number

    def encode(self, lines: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all lines, one line after the other, `[CLS] … [SEP]` each; and how many each line has.

        `lines`: letters only, any case. Returns uint16[n] (int32 for large vocabularies) and int64[lines].
        """
        text = b"".join(b"\t" + line + b"\n" for line in lines)
        letters = self.classes[np.frombuffer(text, np.uint8)]
        values = np.zeros(len(letters), self.dtype)
        kept = letters >= _LINE_END
        values[letters == _LINE_START], values[letters == _LINE_END] = self.around
        if self.other >= 0:
            kept |= letters == _OTHER
            values[letters == _OTHER] = self.other
        places = max(0, len(letters) - self.length + 1)
        number, highest = np.zeros(places, np.int32), np.zeros(places, np.uint8)
        for shift in range(self.length):
            behind = letters[shift : shift + places]
            number = number * len(BASES) + np.minimum(behind, len(BASES) - 1)
            highest = np.maximum(highest, behind)
        whole = np.flatnonzero(highest < _OTHER)
        values[whole], kept[whole] = self.words[number[whole]], True
        if self.spoilt >= 0:
            spoilt = np.flatnonzero(highest == _OTHER)
            values[spoilt], kept[spoilt] = self.spoilt, True
        before = np.cumsum(kept)[letters == _LINE_END]
        return values[kept], np.diff(before, prepend=0)


def encoder_for(backend: Tokenizer) -> KmerEncoder | None:
    """An encoder with the ids of `backend`, tried out; None if only the library can make them."""
    vocabulary = backend.get_vocab()
    length = overlapping_kmer_length(vocabulary)
    around = backend.encode("").ids
    if length is None or len(around) != 2:
        return None
    # Two k-mers of letters that are no bases: two tokens, one for each letter, or none.
    others = backend.encode("N" * (length + 1)).ids[1:-1]
    words = sorted(token for token in vocabulary if token and set(token) <= set(BASES))
    encoder = KmerEncoder(
        length,
        np.array([vocabulary[word] for word in words]),
        (around[0], around[1]),
        spoilt=others[0] if len(others) == 2 else -1,
        other=others[0] if len(others) > 2 else -1,
        vocabulary_size=backend.get_vocab_size(),
    )
    return encoder if agree(encoder, backend) else None
