"""What encoders are that give the ids of the `tokenizers` library sooner, and whether theirs are the same."""

from typing import Protocol

import numpy as np
from tokenizers import Tokenizer


def token_dtype(vocabulary_size: int) -> np.dtype:
    """The smallest integer type for ids below `vocabulary_size`: uint16, else int32."""
    return np.dtype(np.uint16 if vocabulary_size <= 1 << 16 else np.int32)


class Encoder(Protocol):
    """The ids of all lines, of letters only, one line after the other; and how many each line has."""

    def encode(self, lines: list[bytes]) -> tuple[np.ndarray, np.ndarray]: ...


def split(values: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """The ids of each line."""
    ends = np.cumsum(lengths).tolist()
    return [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def agree(encoder: Encoder, backend: Tokenizer) -> bool:
    """Do both give the same ids for random letters, all of the alphabet, in either case, among bases?"""
    letters = np.frombuffer(b"ACGT" * 60 + b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", np.uint8)
    drawn = letters[np.random.default_rng(0).integers(0, len(letters), (40, 300))]
    lines = [row.tobytes() for row in drawn]
    values, lengths = encoder.encode(lines)
    expected = [encoding.ids for encoding in backend.encode_batch_fast([line.decode() for line in lines])]
    same = values.tolist() == [number for ids in expected for number in ids]
    return same and lengths.tolist() == [len(ids) for ids in expected]
