"""Which tokens are hidden where two sequences differ, so that all that is left to see is the same."""

import numpy as np

from dnalm.evaluate_language_model.scoring import MaskedLine


def hide_difference(
    reference: np.ndarray, alternative: np.ndarray, mask_id: int, max_tokens: int
) -> tuple[MaskedLine, MaskedLine]:
    """Both sequences with the tokens hidden in which they differ; what is left to see is the same in both.

    `reference`, `alternative`: int[n], [CLS] and [SEP] included. One base may be cut into tokens of other
    lengths than another, together with its neighbours; then more than one token is hidden, and not as many
    of either. Of more than `max_tokens` tokens the first, the last, the hidden ones and those nearest to them
    are kept.
    """
    # The last token is [SEP] in both.
    before = _alike(reference[:-1], alternative[:-1])
    behind = 1 + _alike(reference[before:-1][::-1], alternative[before:-1][::-1])
    hidden = max(len(reference), len(alternative)) - before - behind
    # [CLS] and [SEP] come on top of what is visible.
    room = max(0, max_tokens - hidden - 2)
    left, right = before - 1, behind - 1
    left, right = min(left, max(room // 2, room - right)), min(right, max(room - room // 2, room - left))

    def line(ids: np.ndarray) -> MaskedLine:
        end = len(ids) - behind
        kept = np.concatenate([ids[:1], ids[before - left : end + right], ids[-1:]]).astype(np.int64)
        positions = np.arange(left + 1, left + 1 + end - before)
        input_ids = kept.copy()
        input_ids[positions] = mask_id
        return MaskedLine(0, kept, input_ids, positions)

    return line(reference), line(alternative)


def _alike(one: np.ndarray, other: np.ndarray) -> int:
    """How many ids at the beginning are the same."""
    shorter = min(len(one), len(other))
    different = np.flatnonzero(one[:shorter] != other[:shorter])
    return int(different[0]) if len(different) else shorter
