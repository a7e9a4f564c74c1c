"""Lines of tokens as a model reads them: at most so many tokens at a time."""

from typing import Protocol

import numpy as np

from dnalm.tokenizers.encoding import truncate


class Lines(Protocol):
    """What is needed of a :class:`dnalm.tokenize_windows.cache.TokenLines`."""

    lengths: np.ndarray

    def line(self, index: int) -> np.ndarray: ...


class ContextLines:
    """View of lines of tokens in which none is longer than `max_tokens`, [CLS] and [SEP] included.

    A longer line is cut into pieces, as few as possible and as equal as possible, each `[CLS] … [SEP]`; with
    `truncated` only its beginning is read. `len(view)`: number of pieces; `view.lengths`: int32[n_pieces];
    `view.line(i)`: the ids of piece i. The pieces of a line follow each other. Where no line is longer, the
    view numbers and holds what `lines` does.
    """

    def __init__(self, lines: Lines, max_tokens: int, *, truncated: bool = False):
        self.lines, self.max_tokens, self.truncated = lines, max_tokens, truncated
        sequence_tokens = np.maximum(np.asarray(lines.lengths, np.int64) - 2, 0)
        room = max_tokens - 2
        pieces = np.maximum(1, -(-sequence_tokens // room))
        self._longer = pieces > 1
        if truncated:
            pieces = np.ones_like(pieces)
        self._first = np.concatenate([[0], np.cumsum(pieces)])  # first piece of each line
        line = np.repeat(np.arange(len(pieces)), pieces)
        number = np.arange(len(line)) - self._first[line]
        whole, of = sequence_tokens[line], pieces[line]
        lengths = whole * (number + 1) // of - whole * number // of + 2
        self.lengths = np.minimum(lengths, max_tokens).astype(np.int32)

    def __len__(self) -> int:
        return int(self._first[-1])

    def source(self, index: int) -> tuple[int, int]:
        """(line, tokens of the line's sequence that stand before the piece) of piece `index`."""
        line = int(np.searchsorted(self._first, index, side="right")) - 1
        pieces = int(self._first[line + 1] - self._first[line])
        return line, max(0, int(self.lines.lengths[line]) - 2) * (index - int(self._first[line])) // pieces

    def line(self, index: int) -> np.ndarray:
        """The ids of piece `index`, [CLS] and [SEP] included."""
        line, start = self.source(index)
        ids = self.lines.line(line)
        if self.truncated or len(ids) <= self.max_tokens:
            return truncate(ids, self.max_tokens)
        start += 1
        return np.concatenate([ids[:1], ids[start : start + int(self.lengths[index]) - 2], ids[-1:]])

    def counts(self) -> dict[str, int]:
        """How many lines, how many longer than `max_tokens`, pieces, and tokens of sequence never read."""
        unread = int(self.lines.lengths[self._longer].sum()) - int(self._longer.sum()) * self.max_tokens
        return {
            "lines": len(self._longer),
            "longer": int(self._longer.sum()),
            "pieces": len(self),
            "unread_tokens": unread if self.truncated else 0,
        }
