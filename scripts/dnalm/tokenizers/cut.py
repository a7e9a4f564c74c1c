"""What a model does not read: sequences with more tokens than it takes are cut at their end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dnalm.tokenizers.bases import letters_of, offsets_bp
from dnalm.tokenizers.encoding import SEQUENCES_PER_CALL, encode
from dnalm.tokenizers.special_tokens import BASES

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
    ids: Sequence[np.ndarray] | None = None,
) -> Cut:
    """What is lost of `sequences` when :func:`dnalm.tokenizers.encoding.truncate` cuts them to `max_tokens`.

    `ids`: what :func:`dnalm.tokenizers.encoding.encode` made of them with the same `max_tokens`; made here if
    they are not at hand.
    """
    bases = sum(map(len, sequences))
    if max_tokens is None:
        return Cut(max_tokens, len(sequences), 0, bases, 0)
    # No token is shorter than a base; [CLS] and [SEP] come on top.
    long = [number for number, sequence in enumerate(sequences) if len(sequence) + 2 > max_tokens]
    texts = [sequences[number] for number in long]
    kept = encode(tokenizer, texts, max_tokens) if ids is None else [ids[number] for number in long]
    # Of others all tokens were kept.
    full = [(text, tokens) for text, tokens in zip(texts, kept, strict=True) if len(tokens) == max_tokens]
    letters = letters_of(tokenizer)
    said = [_behind(text, tokens, letters) for text, tokens in full]
    unclear = [text for (text, _), number in zip(full, said, strict=True) if number is None]
    unread = [number for number in said if number is not None]
    unread += _behind_by_library(tokenizer, unclear, max_tokens)
    return Cut(max_tokens, len(sequences), sum(number > 0 for number in unread), bases, sum(unread))


def _behind(text: str, ids: np.ndarray, letters: Sequence[str] | None) -> int | None:
    """How many letters of `text` stand behind the tokens that are kept of it; None: these do not say.

    `letters`: what each token of the vocabulary is written for.
    """
    if letters is None:
        return None
    spelled, text = "".join([letters[number] for number in ids[:-1].tolist()]), text.upper()
    rest = text[len(spelled) :]
    # Letters that are no bases may become no token, and are not cut then.
    clear = text.startswith(spelled) and (not rest or any(base in rest for base in BASES))
    return len(rest) if clear else None


def _behind_by_library(
    tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str], max_tokens: int
) -> list[int]:
    """The same of any texts, encoded again with the place of each token."""
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    behind = []
    for start in range(0, len(texts), SEQUENCES_PER_CALL):
        chunk = list(texts[start : start + SEQUENCES_PER_CALL])
        for text, encoding in zip(chunk, backend.encode_batch(chunk), strict=True):
            whole = len(encoding.ids) <= max_tokens
            # The last token kept before [SEP] says where reading ends.
            behind.append(0 if whole else len(text) - offsets_bp(tokenizer, encoding)[max_tokens - 2][1])
    return behind
