"""Byte-pair encoding of DNA, several times as fast as the `tokenizers` library, with the same ids.

The library treats a vocabulary of DNA as one of text: it looks pairs up by name and keeps those of each line
in a heap. Over four letters a line is one word, and the merges can be taken rank by rank, from left to right,
over many lines at once. That holds only for vocabularies that :func:`encoder_for` accepts; the library does
all others.
"""

import json
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from dnalm.tokenizers.encoder import agree, token_dtype
from dnalm.tokenizers.special_tokens import BASES

# Steps that never cut a line of letters.
_PRE_TOKENIZERS = (None, "WhitespaceSplit", "Whitespace")
# Ways of a BPE model that are not followed here.
_OTHER_WAYS = (
    "dropout",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "fuse_unk",
    "byte_fallback",
    "ignore_merges",
)


class BpeEncoder:
    """A BPE vocabulary over A, C, G, T as tables.

    `bases`: the ids of A, C, G, T; `merges`: (left, right, whole) ids by rank, where left and right are bases
    or made by merges of lower rank; `around`: [CLS] and [SEP]; `other`: id of every letter that is no base,
    or -1 if such a letter leaves no token; `vocabulary_size` decides the type of the ids.
    """

    def __init__(
        self,
        bases: list[int],
        merges: list[tuple[int, int, int]],
        around: tuple[int, int],
        other: int,
        vocabulary_size: int,
    ):
        # Numba takes a second to import; other steps need not wait for it.
        from dnalm.tokenizers import merges as compiled

        self._encode = compiled.encode
        self.around, self.other, self.dtype = around, other, token_dtype(vocabulary_size)
        self.bases = np.array(bases, np.int64)
        self.merges = np.array(merges, np.int64).reshape(-1, 3)
        # A quarter full at most, so that nearly every look-up ends at the first place.
        size = 1 << max(4, (4 * len(merges)).bit_length())
        self.pairs, self.ranks = np.zeros((size, 2), np.int64), np.full(size, -1, np.int32)
        compiled.fill_table(self.merges, self.pairs, self.ranks)
        self.classes = np.full(256, compiled.OTHER, np.uint8)
        self.classes[ord("\n")] = compiled.LINE_END
        for number, base in enumerate(BASES):
            self.classes[[ord(base), ord(base.lower())]] = number

    def encode(self, lines: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all lines, one line after the other, `[CLS] … [SEP]` each; and how many each line has.

        `lines`: letters only, any case. Returns uint16[n] (int32 for large vocabularies) and int64[lines].
        """
        letters = self.classes[np.frombuffer(b"\n".join([*lines, b""]), np.uint8)]
        values, lengths = np.empty(len(letters) + len(lines), self.dtype), np.empty(len(lines), np.int64)
        tables = self.bases, self.merges, self.pairs, self.ranks
        n = self._encode(letters, *tables, *self.around, self.other, values, lengths)
        return values[:n], lengths


def encoder_for(backend: Tokenizer) -> BpeEncoder | None:
    """An encoder with the ids of `backend`; None if only the library can make them.

    Accepted is BPE over A, C, G, T as :func:`dnalm.tokenizers.vocabulary.adjust_for_dna` leaves it: either
    case, all other letters the same token or none. Whatever is accepted has been tried out.
    """
    tokenizer = json.loads(backend.to_str())
    if not _is_plain_bpe(tokenizer):
        return None
    ids = tokenizer["model"]["vocab"]
    pairs = [pair if isinstance(pair, list) else pair.split(" ") for pair in tokenizer["model"]["merges"]]
    merges = [(ids[left], ids[right], ids[left + right]) for left, right in pairs if _is_dna(left + right)]
    bases = [ids[base] for base in BASES]
    # [CLS], [SEP] and one other letter; what this does not describe is found out when it is tried.
    around, other = backend.encode("").ids, backend.encode("N").ids[1:-1]
    if not _made_in_order(bases, merges) or len(around) != 2 or len(other) > 1:
        return None
    encoder = BpeEncoder(
        bases, merges, (around[0], around[1]), other[0] if other else -1, backend.get_vocab_size()
    )
    return encoder if agree(encoder, backend) else None


def _is_plain_bpe(tokenizer: dict[str, Any]) -> bool:
    model, pre_tokenizer = tokenizer["model"], tokenizer["pre_tokenizer"]
    if model["type"] != "BPE" or any(model.get(way) for way in _OTHER_WAYS):
        return False
    if (pre_tokenizer or {}).get("type") not in _PRE_TOKENIZERS:
        return False
    # A token of letters that is looked for before the merges would be found inside of a sequence.
    spelt = [token["content"] for token in tokenizer["added_tokens"] if token["content"].isalpha()]
    return spelt in ([], ["N"]) and all(base in model["vocab"] for base in BASES)


def _is_dna(text: str) -> bool:
    return set(text) <= set(BASES)


def _made_in_order(bases: list[int], merges: list[tuple[int, int, int]]) -> bool:
    """Is each token made by one merge only, of what was made before? Else ranks alone decide nothing."""
    made = set(bases)
    for left, right, whole in merges:
        if left not in made or right not in made or whole in made:
            return False
        made.add(whole)
    return True
