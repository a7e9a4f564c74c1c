"""What a model does not read: sequences with more tokens than it takes are cut at their end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dnalm.tokenizers.bases import offsets_bp
from dnalm.tokenizers.encoding import SEQUENCES_PER_CALL, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

REMEDY = "Raise finetune.max_tokens, or leave it empty: as many as the model can read."


@dataclass(frozen=True)
class Cut:
    """How many of some sequences are cut to `max_tokens`, and how many of their bases nobody reads."""

    max_tokens: int | None
    sequences: int = 0
    cut: int = 0
    bases: int = 0
    unread: int = 0

    def __add__(self, other: "Cut") -> "Cut":
        return Cut(
            self.max_tokens,
            self.sequences + other.sequences,
            self.cut + other.cut,
            self.bases + other.bases,
            self.unread + other.unread,
        )

    def summary(self) -> dict[str, Any]:
        """Numbers for a JSON file: counts, and as fractions of all sequences and of all bases."""
        return {
            "max_tokens": self.max_tokens,
            "sequences": self.sequences,
            "cut": self.cut,
            "cut_fraction": round(self.cut / max(1, self.sequences), 6),
            "bases": self.bases,
            "unread_bases": self.unread,
            "unread_fraction": round(self.unread / max(1, self.bases), 6),
        }

    def warning(self, what: str, remedy: str = REMEDY) -> str:
        """A sentence for people; empty where everything was read."""
        if not self.cut:
            return ""
        return (
            f"{self.cut:,} of {self.sequences:,} {what} have more than {self.max_tokens:,} tokens and were "
            f"cut; {self.unread / self.bases:.1%} of all bases were not read. {remedy}"
        )


def count_cut(
    tokenizer: "PreTrainedTokenizerFast",
    sequences: Sequence[str],
    max_tokens: int | None,
    lengths: Sequence[int] | np.ndarray | None = None,
) -> Cut:
    """What is lost of `sequences` when :func:`dnalm.tokenizers.encoding.truncate` cuts them to `max_tokens`.

    `lengths`: how many ids :func:`dnalm.tokenizers.encoding.encode` made of each with the same `max_tokens`;
    counted here if that is not at hand.
    """
    bases, cut, unread = sum(map(len, sequences)), 0, 0
    if max_tokens is None:
        return Cut(max_tokens, len(sequences), cut, bases, unread)
    # No token is shorter than a base; [CLS] and [SEP] come on top.
    long = [number for number, sequence in enumerate(sequences) if len(sequence) + 2 > max_tokens]
    texts = [sequences[number] for number in long]
    if lengths is None:
        kept = [len(ids) for ids in encode(tokenizer, texts, max_tokens)]
    else:
        kept = [int(lengths[number]) for number in long]
    # Of others all tokens were kept.
    full = [text for text, tokens in zip(texts, kept, strict=True) if tokens == max_tokens]
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    for start in range(0, len(full), SEQUENCES_PER_CALL):
        chunk = full[start : start + SEQUENCES_PER_CALL]
        for text, encoding in zip(chunk, backend.encode_batch(chunk), strict=True):
            if len(encoding.ids) > max_tokens:
                cut += 1
                # The last token kept before [SEP] says where reading ends.
                unread += len(text) - offsets_bp(tokenizer, encoding)[max_tokens - 2][1]
    return Cut(max_tokens, len(sequences), cut, bases, unread)
