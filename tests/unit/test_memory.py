"""When memory runs out: half as much at once, and the same result up to rounding."""

import argparse
import gc
import logging
import weakref
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from tiny_lines import VOCABULARY, Lines

import pretrain
from dnalm.embed.embedding import POOLINGS, embed_tokens, load_backbone
from dnalm.evaluate_language_model.scoring import MaskedLine, model_scores
from dnalm.finetune import classifier
from dnalm.finetune import training as finetuning
from dnalm.finetune.examples import Tokens, predict_logits
from dnalm.finetune.settings import LearningSettings
from dnalm.models.architecture import load_model
from dnalm.models.optimization import adamw
from dnalm.pretrain import batches, training
from dnalm.pretrain.settings import MaskingSettings
from dnalm.pretrain.telemetry import TrainingMonitor
from dnalm.running.commandline import run
from dnalm.running.errors import InputError, Interrupted
from dnalm.running.memory import MicroBatch, batches_that_fit, halved, kept_lines, until_it_fits
from dnalm.running.world import World
from dnalm.tokenizers.batches import length_batches

CPU = torch.device("cpu")


@contextmanager
def memory_for(rows: int, model: torch.nn.Module):
    """Let the model run out of memory with more than so many rows; lists those that it was to learn from."""
    times = []

    def refuse(module, args, kwargs):
        if kwargs["input_ids"].shape[0] > rows:
            times.extend([kwargs["input_ids"].shape[0]] if module.training else [])
            raise torch.OutOfMemoryError("simulated")

    handle = model.register_forward_pre_hook(refuse, with_kwargs=True)
    yield times
    handle.remove()


@contextmanager
def memory_for_tokens(tokens: int, model: torch.nn.Module):
    """Let the model run out of memory with more than so many tokens at once; lists how many it was given."""
    tried = []

    def refuse(module, args, kwargs):
        tried.append(kwargs["input_ids"].numel())
        if tried[-1] > tokens:
            raise torch.OutOfMemoryError("simulated")

    handle = model.register_forward_pre_hook(refuse, with_kwargs=True)
    yield tried
    handle.remove()


@pytest.fixture
def log(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("dnalm"), "propagate", True)
    return caplog


def test_the_step_is_made_again_with_half_as_much():
    tried = []

    def work(size):
        tried.append(size)
        if size > 2:
            raise torch.OutOfMemoryError
        return size

    assert until_it_fits(work, 9, lambda size: halved(size, "lines")) == 2
    assert tried == [9, 5, 3, 2]
    with pytest.raises(InputError, match="a single one of the lines at once"):
        until_it_fits(lambda size: work(3), 4, lambda size: halved(size, "lines"))


def test_what_stands_in_a_cycle_of_references_is_gone_at_the_second_try():
    seen = []

    def work(size):
        assert all(tensor() is None for tensor in seen)
        cycle = [torch.zeros(size)]
        seen.append(weakref.ref(cycle[0]))
        cycle.append(cycle)
        if size > 1:
            raise torch.OutOfMemoryError
        return size

    gc.disable()
    try:
        assert until_it_fits(work, 4, lambda size: size // 2) == 1
    finally:
        gc.enable()
    assert len(seen) == 3


@given(
    lengths=st.lists(st.integers(1, 40), max_size=30),
    batch_tokens=st.integers(1, 300),
    room=st.integers(40, 300),
)
@example(lengths=[1, 1, 1, 20, 20, 30], batch_tokens=175, room=74)
@patch("gc.collect")  # Takes long among the objects of a test run, and is asked for thousands of times.
def test_each_sequence_is_read_once_in_batches_that_fit(_, lengths, batch_tokens, room):
    lengths, model, tried = np.array(lengths, np.int64), torch.nn.Identity(), []

    def read(batch):
        tried.append(len(batch) * lengths[batch].max())
        if tried[-1] > room:
            raise torch.OutOfMemoryError
        return batch.tolist()

    batches = list(batches_that_fit(model, read, lengths, batch_tokens))
    found = [result for _, result in batches]
    assert found == [batch.tolist() for batch, _ in batches]
    plain = [batch.tolist() for batch in length_batches(lengths, batch_tokens)]
    assert [i for batch in found for i in batch] == [i for batch in plain for i in batch]
    refused = sum(size > room for size in tried)
    assert len(tried) == len(found) + refused
    if not refused:
        assert found == plain
    # Later calls begin with what fitted; other batches of that size may still not fit.
    for _ in range(refused):
        batch_tokens = -(-batch_tokens // 2)
    tried.clear()
    list(batches_that_fit(model, read, lengths, 300))
    assert max(tried, default=0) <= (max(batch_tokens, *lengths) if refused else 300)


def test_reading_goes_on_with_fewer_tokens(tiny_model, log):
    """By each way of reading: the same numbers, one message for a halving; the next chunk begins there."""
    numbers = np.random.default_rng(0)
    tokens = [numbers.integers(5, 9, size=n).astype(np.uint16) for n in numbers.integers(5, 40, 24)]
    backbone = load_backbone(tiny_model)
    network = load_model(tiny_model).eval()
    weights = classifier.initial_weights(tiny_model, 2, seed=1)
    whole = classifier.full_model(tiny_model, weights, 2, "mean")
    examples = Tokens(tokens, torch.zeros(24, dtype=torch.int64), pad_id=3, batch_tokens=400)
    lines = [MaskedLine(0, ids.astype(np.int64), ids.astype(np.int64), np.array([1, 3])) for ids in tokens]

    def embedded():
        found = embed_tokens(backbone, tokens, pad_id=3, batch_tokens=400)
        return np.concatenate([found[pooling] for pooling in POOLINGS])

    def classified():
        return predict_logits(whole, examples).numpy()

    def scored():
        return model_scores(network, lines, 3, CPU).loss

    for module, read in ((backbone, embedded), (whole, classified), (network.base_model, scored)):
        expected = read()
        log.clear()
        with memory_for_tokens(150, module) as tried:
            np.testing.assert_allclose(read(), expected, atol=1e-5)
            failures = sum(size > 150 for size in tried)
            assert log.text.count("memory ran out: going on with at most") == failures > 0
            tried.clear()
            np.testing.assert_allclose(read(), expected, atol=1e-5)
            assert max(tried) <= 150
    assert examples.batch_tokens == 400
    with (
        memory_for_tokens(20, backbone),
        pytest.raises(
            InputError, match=r"ran out with a single sequence of \d+ tokens. Give shorter sequences"
        ),
    ):
        embedded()


def test_the_prediction_head_may_run_out_of_memory_too(tiny_model, log):
    numbers, network = np.random.default_rng(0), load_model(tiny_model).eval()
    tokens = [numbers.integers(5, 9, size=n) for n in numbers.integers(5, 40, 24)]
    lines = [MaskedLine(0, ids, ids, np.array([1, 3])) for ids in tokens]
    expected = model_scores(network, lines, 3, CPU, 400)
    given, answered = [], []

    def note(module, args, kwargs):
        given.append(kwargs["input_ids"])

    def refuse(module, args):
        if given[-1].numel() > 150:
            raise torch.OutOfMemoryError("simulated")
        answered.append(len(args[0]))

    network.base_model.register_forward_pre_hook(note, with_kwargs=True)
    network.head.register_forward_pre_hook(refuse)
    found = model_scores(network, lines, 3, CPU, 400)
    np.testing.assert_allclose(found.loss, expected.loss, atol=1e-5)
    # Each line went through the head once, and through the model once but for what did not fit.
    assert answered == [2] * 24
    failed = [batch for batch in given if batch.numel() > 150]
    assert sum(map(len, given)) == 24 + sum(map(len, failed)) and failed
    assert log.text.count("memory ran out: going on with at most") == len(failed)


def pretrained(tiny_model, checkpoints=None, rows=100, micro_batch_size=8):
    """(final weights, log, sizes that did not fit) of 6 steps of 8 lines."""
    from transformers import ModernBertForMaskedLM

    network = ModernBertForMaskedLM.from_pretrained(tiny_model)
    lines = Lines(np.random.default_rng(1).integers(6, 20, 40))
    corpus = batches.Corpus(lines, VOCABULARY, MaskingSettings(), seed=7)
    schedule = training.Schedule(6, 1e-3, "cosine", 0.0, 0.0, 1.0, 3, 42, None, 0.999)
    state = training.TrainingState()
    checkpointer = None
    if checkpoints is not None:
        checkpointer = SimpleNamespace(
            store=SimpleNamespace(directory=checkpoints), after_step=lambda *_, **__: None
        )
    with memory_for(rows, network.model) as times:
        training.train(
            training.MaskedTokenLoss(network),
            adamw(network, 1e-3, 0.0),
            batches.TrainingBatches(corpus, 6, 8, micro_batch_size),
            training.HeldOut(corpus, np.arange(9)),
            schedule,
            state,
            device=CPU,
            precision="fp32",
            monitor=TrainingMonitor(6, device=CPU, quiet=True),
            checkpointer=checkpointer,
        )
    return training.weights(network), state.log, times


def test_pretraining_goes_on_with_smaller_micro_batches(tiny_model, tmp_path, log):
    _, records, _ = pretrained(tiny_model)
    found, found_records, times = pretrained(tiny_model, tmp_path, rows=3)
    assert "memory ran out: going on with at most 2 lines at once" in log.text
    assert times == [8, 4]
    for one, other in zip(records, found_records, strict=True):
        for key in one.keys() & {"masked_loss", "selected_loss", "gradient_norm"}:
            assert other[key] == pytest.approx(one[key], rel=1e-4)
    # Exactly the run that was told so from the beginning.
    told, _, none = pretrained(tiny_model, micro_batch_size=2)
    assert not none
    assert all(torch.equal(found[name], told[name]) for name in told)
    # Who goes on begins with what fits.
    assert kept_lines(tmp_path) == 2
    again, _, times = pretrained(tiny_model, tmp_path, rows=3)
    assert not times
    assert all(torch.equal(again[name], told[name]) for name in told)


def test_several_processes_begin_again_together(tmp_path, monkeypatch, log):
    with pytest.raises(Interrupted, match="start it again to go on with 4 lines at once"):
        MicroBatch(8, tmp_path).halve(World(1, 2))
    launched = []

    def launch(processes, nodes, training):
        launched.append(kept_lines(training))
        if len(launched) < 3:
            MicroBatch(8, training).halve(World(0, 2))

    monkeypatch.setattr(pretrain, "launch", launch)
    checkpointer = SimpleNamespace(
        store=SimpleNamespace(directory=tmp_path), signals=SimpleNamespace(received=None)
    )
    pretrain.launch_until_it_fits(2, 1, checkpointer)
    assert launched == [4, 2, 1]
    assert "beginning again with at most 1 lines at once" in log.text

    def interrupted(*_):
        raise Interrupted("the job's time is nearly over")

    monkeypatch.setattr(pretrain, "launch", interrupted)
    with pytest.raises(Interrupted, match="time is nearly over"):
        pretrain.launch_until_it_fits(2, 1, checkpointer)


def test_fine_tuning_goes_on_with_fewer_tokens(tiny_model):
    weights = classifier.initial_weights(tiny_model, 2, seed=1)
    numbers = np.random.default_rng(0)
    tokens = [numbers.integers(5, 9, size=n).astype(np.uint16) for n in numbers.integers(5, 40, 24)]
    examples = Tokens(tokens, torch.arange(24) % 2, pad_id=3, batch_tokens=400)
    recipe = finetuning.Recipe(**LearningSettings(epochs=2, learning_rate=1e-3).model_dump(), seed=42)
    results = []
    for rows in (100, 3):
        model = classifier.full_model(tiny_model, weights, 2, "mean")
        with memory_for(rows, model) as times:
            results.append(finetuning.train(model, replace(examples), replace(examples), recipe))
    plain, halving = results
    assert plain.batch_tokens == 400 and halving.batch_tokens < 400
    # Found in the first step; later ones begin with it.
    assert 0 < len(times) <= 5
    for one, other in zip(plain.log, halving.log, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], abs=1e-5)


@pytest.mark.parametrize(
    "error, said",
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            "error: the GPU's memory ran out",
        ),
        (MemoryError(), "error: this computer's memory ran out"),
    ],
)
def test_memory_that_cannot_be_saved_is_told_in_one_line(error, said, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        run(main, argparse.Namespace())
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith(said) and told.count("\n") == 1
