"""Which tokens of a line are hidden from the model, and what stands in their place.

Masks depend on nothing but (seed, epoch, line): not on the batch, on the number of processes, nor on
where a run was interrupted. They are drawn here, in numpy, and not in a data loader's worker.
"""

from collections.abc import Collection
from functools import lru_cache

import numpy as np

from dnalm.tokenizers.batches import IGNORED

# Independent streams of random numbers for one (seed, epoch, line).
TRAINING, EVALUATION = 0, 1


def line_generator(seed: int, epoch: int, line: int, stream: int = TRAINING) -> np.random.Generator:
    """Random numbers that belong to one line in one epoch.

    `epoch` and `line` (the index over all corpora) are counters of Philox, so neighbouring lines share
    nothing and no state has to be saved. All four numbers are >= 0 and below 2**63.
    """
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, line, epoch]))


def mask_tokens(
    ids: np.ndarray,
    *,
    special_ids: Collection[int],
    vocabulary_size: int,
    mask_id: int,
    probability: float,
    mask_fraction: float,
    random_fraction: float,
    span_tokens: int,
    same_fate: bool = False,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Hide tokens of one line: `ids: integer[n_tokens]` -> `(input_ids: int64[n], labels: int64[n])`.

    Every token that is not in `special_ids` is chosen with `probability`. Of the chosen ones
    `mask_fraction` become `mask_id`, `random_fraction` a random token that is not special, and the rest stay
    as they are (80/10/10 in Devlin et al. 2019). `labels` holds the true id of each chosen token and
    -100 elsewhere.

    With `span_tokens` = k the chosen tokens come in runs of k, which overlap at times; every token is
    still chosen with exactly `probability`. With `same_fate` what becomes of a token is that of the whole
    run: of tokens that share bases, one that stays would show what its neighbours hide.

    Only `generator.random` is used, and always as often for lines of the same length.
    """
    ids = np.asarray(ids, dtype=np.int64)
    length = len(ids)
    maskable, ordinary = _tables(tuple(sorted(special_ids)), vocabulary_size)

    # A run starts at any of the positions -(k-1) .. length-1 with the same probability, so that the
    # first tokens are covered as often as the others: P(covered) = 1 - (1 - start)^k = probability.
    start_probability = 1.0 - (1.0 - probability) ** (1.0 / span_tokens)
    starts = generator.random(length + span_tokens - 1) < start_probability
    covered = starts[span_tokens - 1 :].copy()
    for shift in range(1, span_tokens):
        covered |= starts[span_tokens - 1 - shift : len(starts) - shift]
    chosen = covered & maskable[ids]

    fate, replacement = generator.random((2, length))
    if same_fate:
        begins = chosen & ~np.concatenate([[False], chosen[:-1]])
        fate = fate[np.maximum.accumulate(np.where(begins, np.arange(length), 0))]
    input_ids = np.where(chosen & (fate < mask_fraction), mask_id, ids)
    randomized = chosen & (fate >= mask_fraction) & (fate < mask_fraction + random_fraction)
    input_ids[randomized] = ordinary[(replacement[randomized] * len(ordinary)).astype(np.int64)]
    return input_ids, np.where(chosen, ids, IGNORED)


@lru_cache(maxsize=8)
def _tables(special_ids: tuple[int, ...], vocabulary_size: int) -> tuple[np.ndarray, np.ndarray]:
    """`maskable: bool[vocabulary_size]` by id, and the ordinary ids: `int64[n]`."""
    maskable = np.ones(vocabulary_size, dtype=bool)
    maskable[[i for i in special_ids if i < vocabulary_size]] = False
    return maskable, np.flatnonzero(maskable)
