import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnalm.pretrain.masking import EVALUATION, IGNORED, TRAINING, line_generator, mask_tokens

VOCABULARY, SPECIAL, MASK = 64, (0, 1, 2, 3, 4), 4


def masked(ids, *, seed=1, epoch=0, line=0, stream=TRAINING, **settings):
    usual = {"probability": 0.5, "mask_fraction": 0.8, "random_fraction": 0.1, "span_tokens": 1}
    settings = {"special_ids": SPECIAL, "vocabulary_size": VOCABULARY} | usual | settings
    return mask_tokens(ids, mask_id=MASK, generator=line_generator(seed, epoch, line, stream), **settings)


lines = st.lists(st.integers(0, VOCABULARY - 1), max_size=60).map(lambda ids: np.array(ids, dtype=np.uint16))
shares = st.floats(0, 1)


@given(
    lines,
    shares,
    st.tuples(shares, shares).filter(lambda pair: sum(pair) <= 1),
    st.integers(1, 7),
    st.integers(0, 2**40),
    st.booleans(),
)
def test_laws(ids, probability, split, span, line, same_fate):
    before = ids.copy()
    inputs, labels = masked(
        ids,
        probability=probability,
        mask_fraction=split[0],
        random_fraction=split[1],
        span_tokens=span,
        same_fate=same_fate,
        line=line,
    )
    assert np.array_equal(ids, before)
    assert inputs.shape == labels.shape == ids.shape
    chosen = labels != IGNORED
    assert np.array_equal(labels[chosen], ids[chosen])
    assert np.array_equal(inputs[~chosen], ids[~chosen])
    # Special tokens are never masked, and never stand where there was none, but for [MASK].
    special = np.isin(ids, SPECIAL)
    assert not chosen[special].any()
    assert np.isin(inputs[chosen], [MASK, *range(5, VOCABULARY)]).all()


@pytest.mark.parametrize("span", [1, 2, 5])
def test_every_position_is_chosen_with_the_given_probability(span):
    ids = np.full(12, 9)
    chosen = np.mean(
        [masked(ids, line=line, probability=0.3, span_tokens=span)[1] != IGNORED for line in range(6000)],
        axis=0,
    )
    # Four standard errors of 6000 draws.
    assert np.abs(chosen - 0.3).max() < 4 * np.sqrt(0.3 * 0.7 / 6000)


def test_special_tokens_behind_the_vocabulary_change_nothing():
    """A tokenizer may know more special tokens than the model has rows for."""
    line = np.arange(VOCABULARY)
    for few, more in zip(masked(line), masked(line, special_ids=(*SPECIAL, VOCABULARY)), strict=True):
        assert np.array_equal(few, more)


def test_spans_hide_neighbours_together():
    ids = np.full(200, 9)
    chosen = np.array([masked(ids, line=i, probability=0.2, span_tokens=4)[1] != IGNORED for i in range(100)])
    together = (chosen[:, 1:] & chosen[:, :-1]).sum() / chosen[:, :-1].sum()
    assert together > 0.7


def test_shares_of_mask_random_and_unchanged():
    ids = np.full(200_000, 9)
    inputs, labels = masked(ids, probability=0.5)
    chosen = labels != IGNORED
    assert chosen.mean() == pytest.approx(0.5, abs=0.01)
    assert (inputs[chosen] == MASK).mean() == pytest.approx(0.8, abs=0.01)
    # A random token is the true one once in 59 times.
    assert (inputs[chosen] == 9).mean() == pytest.approx(0.1 + 0.1 / 59, abs=0.01)
    randomized = inputs[chosen & (inputs != MASK) & (inputs != 9)]
    assert set(randomized) == set(range(5, VOCABULARY)) - {9}


def test_masks_belong_to_seed_epoch_line_and_stream():
    ids = np.arange(5, 60)
    mask = masked(ids, seed=3, epoch=2, line=7)[0]
    assert np.array_equal(mask, masked(ids, seed=3, epoch=2, line=7)[0])
    for other in ({"seed": 4}, {"epoch": 3}, {"line": 8}, {"stream": EVALUATION}):
        assert not np.array_equal(mask, masked(ids, **{"seed": 3, "epoch": 2, "line": 7} | other)[0])


def test_masks_stay_the_same_for_ever():
    """Recorded; a change here changes every published result."""
    inputs, labels = masked(np.arange(10, 26), seed=42, epoch=1, line=5)
    assert inputs.tolist() == [10, 11, 8, 13, 14, 15, 16, 4, 18, 4, 50, 21, 22, 23, 24, 25]
    assert np.flatnonzero(labels != IGNORED).tolist() == [2, 7, 9, 10]
    inputs, labels = masked(np.arange(10, 26), seed=42, epoch=1, line=5, stream=EVALUATION)
    assert inputs.tolist() == [4, 11, 12, 4, 4, 4, 4, 4, 18, 4, 20, 21, 4, 23, 24, 25]
    assert np.flatnonzero(labels != IGNORED).tolist() == [0, 3, 4, 5, 6, 7, 9, 12]
