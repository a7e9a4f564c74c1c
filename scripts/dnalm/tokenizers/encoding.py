"""The tokenizer directory, and sequences as token ids.

A *tokenizer directory* is what Transformers calls a fast tokenizer: `tokenizer.json` and
`tokenizer_config.json`.
"""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dnalm.running.errors import InputError
from dnalm.running.hints import why_absent
from dnalm.tokenizers.encoder import Encoder, split, token_dtype

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

# Sequences handed to the tokenizer at once. Its results take about 20 times the memory of the text.
SEQUENCES_PER_CALL = 1024
# Bases that take the library as long as Numba takes to load, about a second.
WORTH_COMPILED = 4_000_000


def load_tokenizer(directory: str | Path) -> "PreTrainedTokenizerFast":
    """The tokenizer in `directory` (a tokenizer or a model directory), without padding or truncation.

    Raises InputError when there is none, or when it lacks one of [UNK] [CLS] [SEP] [PAD] [MASK].
    """
    # Transformers takes seconds to import, which readers of token caches need not wait for.
    from transformers import PreTrainedTokenizerFast

    directory = Path(directory)
    if not directory.exists():
        raise InputError(
            f"{directory}: no such directory.{why_absent(str(directory))} Give that of a finished model or "
            "tokenizer, relative to the working directory."
        )
    if not (directory / "tokenizer.json").is_file():
        raise InputError(f"{directory}: no tokenizer.json. Give a tokenizer directory or a model directory.")
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True)
    except Exception as error:
        raise InputError(f"{directory}/tokenizer.json: not a usable tokenizer ({error}).") from error
    names = [f"{name}_token" for name in ("unk", "cls", "sep", "pad", "mask")]
    missing = [name for name in names if getattr(tokenizer, f"{name}_id") is None]
    if missing:
        raise InputError(
            f"{directory}/tokenizer_config.json: no {', '.join(missing)}. "
            "Import the tokenizer with scripts/import_tokenizer.py."
        )
    return tokenizer


def reading_limit(tokenizer: "PreTrainedTokenizerFast") -> int | None:
    """How many tokens a classifier reads, as its tokenizer says; None where there is no limit."""
    limit = tokenizer.model_max_length
    # Transformers writes 1e30 where there is no limit.
    return int(limit) if limit is not None and limit < 1e9 else None


def truncate(ids: np.ndarray, max_tokens: int | None) -> np.ndarray:
    """At most `max_tokens` ids: the first ones, and the last one ([SEP]) in the last place.

    The same as Transformers' truncation. None keeps everything.
    """
    if max_tokens is None or len(ids) <= max_tokens:
        return ids
    if max_tokens < 3:
        raise InputError(f"max_tokens is {max_tokens}; [CLS], one token and [SEP] need at least 3.")
    return np.concatenate([ids[: max_tokens - 1], ids[-1:]])


def encode(
    tokenizer: "PreTrainedTokenizerFast", sequences: Sequence[str], max_tokens: int | None = None
) -> list[np.ndarray]:
    """The ids of each sequence: `[CLS] … [SEP]`, unpadded, cut to `max_tokens`.

    Returns one uint16 array per sequence (int32 for vocabularies above 65,536), in the given order.
    """
    backend = tokenizer.backend_tokenizer
    # A call with padding=True leaves padding switched on in the backend; here it would add PADs silently.
    backend.no_padding()
    backend.no_truncation()
    dtype = token_dtype(len(tokenizer))
    encoder = _encoders(tokenizer).choose(sum(map(len, sequences)))
    result: list[np.ndarray] = []
    for start in range(0, len(sequences), SEQUENCES_PER_CALL):
        chunk = list(sequences[start : start + SEQUENCES_PER_CALL])
        if encoder is not None and all(text.isascii() and text.isalpha() for text in chunk):
            values, lengths = encoder.encode([text.encode() for text in chunk])
            # Without the room that was left.
            found = split(values.copy(), lengths)
        else:
            found = [np.array(one.ids, dtype=dtype) for one in backend.encode_batch_fast(chunk)]
        result += [truncate(ids, max_tokens) for ids in found]
    return result


class _Encoders:
    """What is faster than the library with the ids of a tokenizer, and whether it is worth loading."""

    def __init__(self, backend: "Tokenizer"):
        self.backend, self.bases = backend, 0

    def choose(self, bases: int) -> Encoder | None:
        """What encodes so many more bases of letters; None: the library."""
        self.bases += bases
        return self._words or (self._bpe if self.bases >= WORTH_COMPILED else None)

    @cached_property
    def _words(self) -> Encoder | None:
        """For overlapping k-mers, with which the library is slow."""
        from dnalm.tokenizers import overlapping

        return overlapping.encoder_for(self.backend)

    @cached_property
    def _bpe(self) -> Encoder | None:
        from dnalm.tokenizers import bpe

        return bpe.encoder_for(self.backend)


@lru_cache(maxsize=8)
def _encoders(tokenizer: "PreTrainedTokenizerFast") -> _Encoders:
    return _Encoders(tokenizer.backend_tokenizer)
