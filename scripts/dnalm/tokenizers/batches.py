"""Lines of unequal length as batches: which go together, and how they are padded."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# Label of a token that is no part of the loss (PyTorch's `ignore_index`).
IGNORED = -100


def length_batches(lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Split sequences into batches of similar length.

    `lengths`: int[n], tokens per sequence. Yields int64 arrays of indices, together every index once, the
    longest sequences first: then a batch that does not fit into memory fails at once. A batch padded to its
    longest sequence holds at most `batch_tokens` tokens, or one sequence.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        count = max(1, batch_tokens // max(1, int(lengths[order[start]])))
        yield order[start : start + count]
        start += count


def pad(
    tokens: Sequence[np.ndarray],
    pad_id: int,
    *,
    labels: Sequence[np.ndarray] | None = None,
    multiple_of: int = 1,
) -> dict[str, "torch.Tensor"]:
    """Put id arrays into one batch: `input_ids`, with `labels` also these, and `attention_mask`: int64[n, T].

    T is the length of the longest array, rounded up to `multiple_of`. Padding has the label -100. Without
    padding there is no attention mask, which spares the model the masking.
    """
    import torch

    lengths = np.array([len(ids) for ids in tokens])
    width = -(-int(lengths.max()) // multiple_of) * multiple_of
    batch = {"input_ids": _stack(tokens, width, pad_id)}
    if labels is not None:
        batch["labels"] = _stack(labels, width, IGNORED)
    if (lengths < width).any():
        batch["attention_mask"] = (np.arange(width) < lengths[:, None]).astype(np.int64)
    return {name: torch.from_numpy(values) for name, values in batch.items()}


def _stack(rows: Sequence[np.ndarray], width: int, fill: int) -> np.ndarray:
    """int64[n, width]: each row, then `fill`."""
    result = np.full((len(rows), width), fill, dtype=np.int64)
    for target, row in zip(result, rows, strict=True):
        target[: len(row)] = row
    return result
