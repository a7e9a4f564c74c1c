"""The loop of fine-tuning, on networks small enough to know what must come out."""

import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from dnalm.finetune import training
from dnalm.finetune.examples import Tokens, Vectors, predict_logits
from dnalm.finetune.settings import LearningSettings
from dnalm.running.errors import InputError
from dnalm.running.progress import Progress


def recipe(**changes) -> training.Recipe:
    """The usual settings, but for batches of 4."""
    usual = LearningSettings(epochs=3, learning_rate=0.1, batch_size=4).model_dump()
    return training.Recipe(**usual | {"seed": 1} | changes)


def examples(n: int = 12, seed: int = 0) -> Vectors:
    """Vectors of which the first number tells the label."""
    vectors = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return Vectors(vectors, (vectors[:, 0] > 0).long())


def linear() -> nn.Linear:
    """Two classes, all weights 0."""
    module = nn.Linear(3, 2)
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class Mean(nn.Module):
    """The smallest model of tokens: what it says depends on their mean and, in training, on chance."""

    def __init__(self, dropout: float = 0.0, most_tokens: int = 1000):
        super().__init__()
        self.linear, self.drop, self.most_tokens = nn.Linear(1, 2), nn.Dropout(dropout), most_tokens
        self.linear.weight.data = torch.tensor([[1.0], [-1.0]])
        nn.init.zeros_(self.linear.bias)

    def forward(self, input_ids, attention_mask=None):
        dropped = self.drop(input_ids.float())
        if input_ids.numel() > self.most_tokens:
            raise torch.OutOfMemoryError("simulated")
        weights = torch.ones_like(dropped) if attention_mask is None else attention_mask
        means = (dropped * weights).sum(1) / weights.sum(1)
        return SimpleNamespace(logits=self.linear(means[:, None] / 10))


def token_examples(**settings) -> Tokens:
    numbers = np.random.default_rng(0)
    tokens = [numbers.integers(5, 9, size=10) for _ in range(8)]
    return Tokens(tokens, torch.arange(8) % 2, pad_id=3, **settings)


def test_the_log_begins_before_training_and_is_handed_on_record_by_record():
    told = []
    state = training.train(
        linear(), examples(), examples(6, 1), recipe(), loggers=SimpleNamespace(log=told.append)
    )
    assert state.log[0] == {
        "event": "evaluation",
        "epoch": 0,
        "step": 0,
        "loss": pytest.approx(np.log(2)),
        "accuracy": state.log[0]["accuracy"],
    }
    places = [(record["event"], record["epoch"], record["step"]) for record in state.log[1:]]
    kinds = ("train", "evaluation")
    assert places == [(kind, epoch, 3 * epoch) for epoch in (1, 2, 3) for kind in kinds]
    assert told == state.log


def test_of_equal_epochs_the_first_is_kept_and_patience_counts_from_it():
    for patience, epochs in ((2, 3), (None, 6)):
        settings = recipe(learning_rate=0.0, epochs=6, patience=patience)
        state = training.train(linear(), examples(), examples(), settings)
        assert (state.best_epoch, state.log[-1]["epoch"]) == (1, epochs)


def test_a_validation_loss_that_is_never_a_number_ends_in_a_message():
    broken = examples()
    broken.vectors[0] = float("nan")
    with pytest.raises(InputError, match="the validation loss was never a number"):
        training.train(linear(), examples(), broken, recipe())
    with pytest.raises(InputError, match=r"the loss became nan at step [123]\. Lower the learning rate"):
        training.train(linear(), broken, examples(), recipe())


def test_a_checkpoint_before_the_first_epoch_has_ended_is_plain_json():
    module = linear()
    saved = training.snapshot(module, torch.optim.AdamW(module.parameters()), training.State())
    assert json.loads(json.dumps(saved.state, allow_nan=False))["best_loss"] is None
    assert saved.state["best_epoch"] == 0 and not [name for name in saved.weights if name.startswith("best.")]


@pytest.mark.parametrize("largest", [0.0, 0.05, 0.5, 100.0])
def test_a_step_is_no_longer_than_the_largest_gradient(largest):
    """SGD at a rate of 1 steps by the gradient itself; 0: by all of it."""
    data, module = examples(), linear()
    whole = linear()
    nn.functional.cross_entropy(whole(data.vectors), data.labels).backward()
    length = torch.cat([p.grad.ravel() for p in whole.parameters()]).norm().item()
    assert 0.5 < length < 1
    training.train_batch(
        module,
        data,
        np.arange(12),
        torch.optim.SGD(module.parameters(), lr=1.0),
        recipe(max_gradient_norm=largest, label_smoothing=0.0),
    )
    step = torch.cat([p.detach().ravel() for p in module.parameters()]).norm().item()
    assert step == pytest.approx(min(length, largest or length), rel=1e-4)


def test_gradients_of_an_earlier_step_are_forgotten():
    data, steps = examples(), []
    for earlier in (False, True):
        module = linear()
        if earlier:
            module(data.vectors).square().sum().backward()
            module.weight.grad += 5
        optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
        training.train_batch(module, data, np.arange(12), optimizer, recipe())
        steps.append(module.weight.detach().clone())
    assert torch.equal(*steps)


def test_dropout_works_in_training_alone():
    """In every epoch again, after the epoch before was judged without it."""
    modes = []

    class Watched(nn.Linear):
        def forward(self, vectors):
            modes.append((len(vectors), self.training))
            return super().forward(vectors)

    module = Watched(3, 2)
    training.train(module, examples(12), examples(5, 1), recipe(epochs=2))
    epoch = [(4, True)] * 3 + [(5, False)]
    assert modes == [(5, False), *epoch, *epoch]
    dropping = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)).train()
    expected = dropping[0](examples().vectors)
    torch.testing.assert_close(predict_logits(dropping, examples()), expected)
    assert not dropping.training


def test_no_more_tokens_go_through_at_once_than_was_asked_for():
    module, data = Mean(most_tokens=30), token_examples(batch_tokens=30)
    assert training.train(module, data, data, recipe(epochs=1)).batch_tokens == 30


def test_where_memory_runs_out_dropout_is_drawn_as_by_who_was_told_before():
    """40 tokens are tried, 20 fit. What the failed attempt drew at random does not matter."""
    losses = []
    for at_once in (40, 20):
        module, data = Mean(dropout=0.5, most_tokens=20), token_examples(batch_tokens=at_once)
        torch.manual_seed(5)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
        losses.append(training.train_batch(module.train(), data, np.arange(4), optimizer, recipe()))
        assert data.batch_tokens == 20
    assert losses[0] == losses[1]


@pytest.mark.parametrize("interval", [0, 1000])
def test_a_loss_that_is_no_number_is_told_with_its_step_before_anything_is_saved(interval, monkeypatch):
    """Also where it is read late, so that a GPU need not wait."""
    monkeypatch.setattr(training, "Progress", partial(Progress, interval=interval))
    steps, saved = [], []

    def diverging(*_):
        steps.append(1)
        return torch.tensor(float("nan") if len(steps) == 2 else 1.0, dtype=torch.float64)

    class Eager:
        newest = staticmethod(lambda: None)

        def after_step(self, step, snapshot):
            if step == 2:
                saved.append(snapshot())

    monkeypatch.setattr(training, "train_batch", diverging)
    with pytest.raises(InputError, match=r"the loss became nan at step 2\. Lower the learning rate"):
        training.train(linear(), examples(12), examples(5, 1), recipe(epochs=2), Eager())
    assert not saved
