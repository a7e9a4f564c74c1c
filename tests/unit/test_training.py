import multiprocessing
import os
import resource
import signal
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from device_reads import Reading
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_lines import VOCABULARY, Lines
from transformers.optimization import get_scheduler

from dnalm.models.masked_lm import compile_layers, hidden_states
from dnalm.models.optimization import adamw, learning_rate_factor
from dnalm.pretrain import training
from dnalm.pretrain.batches import (
    Corpus,
    TrainingBatches,
    deal,
    epoch_batches,
    evaluation_lines,
)
from dnalm.pretrain.defaults import usual_micro_batch_size
from dnalm.pretrain.masking import EVALUATION, TRAINING
from dnalm.pretrain.settings import MaskingSettings, TrainingSettings
from dnalm.pretrain.telemetry import TrainingMonitor
from dnalm.pretrain.training import (
    MaskedTokenLoss,
    Schedule,
    accumulate_gradients,
    autocast,
    check_finite,
    evaluate,
)
from dnalm.running.errors import InputError, Interrupted
from dnalm.running.world import SINGLE, World
from dnalm.tokenize_windows.context import ContextLines
from dnalm.tokenizers.batches import pad


def corpus(lengths, max_tokens=20, **settings):
    return Corpus(
        ContextLines(Lines(lengths), max_tokens, truncated=True),
        VOCABULARY,
        MaskingSettings(**settings),
        seed=7,
    )


lengths_of_lines = st.lists(st.integers(3, 30), min_size=1, max_size=80)


@given(lengths_of_lines, st.integers(1, 20), st.integers(0, 5))
def test_an_epoch_has_every_line_once_but_for_a_remainder(lengths, batch_size, epoch):
    batches = epoch_batches(np.array(lengths), batch_size, 7, epoch)
    assert len(np.unique(batches)) == batches.size
    assert batches.size == len(lengths) // min(batch_size, len(lengths)) * min(batch_size, len(lengths))
    assert np.array_equal(batches, epoch_batches(np.array(lengths), batch_size, 7, epoch))


def test_epochs_differ_and_lengths_stand_together():
    lengths = np.random.default_rng(0).integers(195, 217, 5000)
    one, two = (epoch_batches(lengths, 32, 7, epoch) for epoch in (0, 1))
    assert not np.array_equal(one, two)
    widths = lengths[one].max(axis=1, keepdims=True)
    assert 1 - lengths[one].sum() / (widths * 32).sum() < 0.002
    # Short batches do not come first: lengths say nothing about the place in the epoch.
    assert abs(np.corrcoef(lengths[one].mean(axis=1), np.arange(len(one)))[0, 1]) < 0.3


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 4))
def test_processes_share_a_batch_without_rest(n, processes, micro_batches):
    batch = np.arange(n)
    parts = [part for rank in range(processes) for part in deal(batch, World(rank, processes), micro_batches)]
    assert sorted(np.concatenate(parts).tolist()) == batch.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_micro_batches_hold_a_bounded_number_of_tokens():
    assert [usual_micro_batch_size(250, device) for device in ("cpu", "cuda")] == [16, 131]
    assert usual_micro_batch_size(100_000, "cpu") == 1
    lines = corpus([5] * 32)
    assert TrainingBatches(lines, 1, 32).micro_batches == 1
    shared = TrainingBatches(lines, 1, 32, micro_batch_size=3, world=World(0, 2))
    assert max(len(batch["input_ids"]) for batch in shared[0]) <= 3
    assert shared.micro_batches == 6


# The first optimizer of a process takes seconds.
@settings(deadline=None)
@given(
    st.sampled_from(get_args(TrainingSettings.model_fields["schedule"].annotation)),
    st.integers(1, 300),
    st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    st.sampled_from([0.01, 0.1, 0.7, 1.0]),
)
def test_learning_rates_are_those_of_transformers(schedule, steps, warmup_fraction, decay_fraction):
    warmup = int(np.ceil(steps * warmup_fraction))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    decay = {}
    if schedule == "warmup_stable_decay":
        n = min(int(np.ceil(steps * decay_fraction)), steps - warmup)
        decay["scheduler_specific_kwargs"] = {"num_decay_steps": n, "decay_type": "1-sqrt"}
    (theirs,) = get_scheduler(
        schedule, optimizer, num_warmup_steps=warmup, num_training_steps=steps, **decay
    ).lr_lambdas
    ours = [
        learning_rate_factor(schedule, step, steps, warmup_fraction, decay_fraction) for step in range(steps)
    ]
    assert ours == pytest.approx([theirs(step) for step in range(steps)], abs=1e-12)


def test_a_schedule_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="unknown schedule square"):
        learning_rate_factor("square", 5, 10, 0.1)


def test_a_line_is_masked_the_same_in_any_company():
    data = corpus([6, 9, 12, 15, 25] * 4)
    alone = data.micro_batch([4], 3, EVALUATION)
    together = data.micro_batch([0, 4, 7], 3, EVALUATION)
    assert torch.equal(alone["input_ids"][0], together["input_ids"][1])
    assert torch.equal(alone["labels"][0], together["labels"][1])
    assert alone["input_ids"].shape == (1, 20)
    assert alone["input_ids"][0, -1] == VOCABULARY.sep_id


def test_steps_can_be_made_in_any_order():
    data = corpus([5, 8, 11, 14] * 6)
    items = TrainingBatches(data, steps=14, batch_size=4, micro_batch_size=2)
    assert len(items) == 14
    forward = [items[step] for step in range(14)]
    again = TrainingBatches(data, steps=14, batch_size=4, micro_batch_size=2)
    for step in reversed(range(14)):
        for one, other in zip(forward[step], again[step], strict=True):
            assert all(torch.equal(one[key], value) for key, value in other.items())
    assert items.batch(6)[0] == 1 and items.batch(5)[0] == 0
    assert items.tokens(0) == sum(
        int((b.get("attention_mask", torch.ones_like(b["input_ids"]))).sum()) for b in forward[0]
    )


def test_more_processes_than_lines_is_no_error():
    items = TrainingBatches(corpus([5, 6]), steps=2, batch_size=8, world=World(3, 4))
    assert (items[0][0]["labels"] == -100).all()


def test_padding():
    tokens, labels = [np.array([1, 2]), np.array([1, 5, 2])], [np.array([-100, 2]), np.array([-100, 5, -100])]
    batch = pad(tokens, 3, labels=labels, multiple_of=4)
    assert batch["input_ids"].tolist() == [[1, 2, 3, 3], [1, 5, 2, 3]]
    assert batch["labels"].tolist() == [[-100, 2, -100, -100], [-100, 5, -100, -100]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0]]
    assert pad(tokens[:1], 3).keys() == {"input_ids"}


def test_evaluation_lines_are_spread():
    assert evaluation_lines(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert evaluation_lines(3, 5).tolist() == [0, 1, 2]


def test_evaluation_equals_the_plain_computation(tiny_model):
    from transformers import ModernBertForMaskedLM

    model = ModernBertForMaskedLM.from_pretrained(tiny_model)
    data = corpus([5, 8, 11, 14, 18] * 4)
    lines = evaluation_lines(20, 20)
    result = evaluate(MaskedTokenLoss(model), data, lines)
    selected, losses, correct = [], [], []
    for line in lines:
        batch = data.micro_batch([line], 0, EVALUATION)
        with torch.no_grad():
            logits = model.eval()(input_ids=batch["input_ids"]).logits
        keep = batch["labels"] != -100
        selected += torch.nn.functional.cross_entropy(
            logits[keep], batch["labels"][keep], reduction="none"
        ).tolist()
        keep &= batch["input_ids"] == data.vocabulary.mask_id
        losses += torch.nn.functional.cross_entropy(
            logits[keep], batch["labels"][keep], reduction="none"
        ).tolist()
        correct += (logits[keep].argmax(-1) == batch["labels"][keep]).tolist()
    assert len(losses) < len(selected)
    assert result["selected_loss"] == pytest.approx(np.mean(selected), abs=1e-5)
    assert result["selected_tokens"] == len(selected)
    assert result["masked_loss"] == pytest.approx(np.mean(losses), abs=1e-5)
    assert result["masked_accuracy"] == pytest.approx(np.mean(correct))
    assert result["masked_tokens"] == len(losses)
    assert result["masked_perplexity"] == pytest.approx(np.exp(np.mean(losses)), rel=1e-4)


def test_nothing_is_said_of_a_network_that_was_asked_nothing(tiny_model):
    from transformers import ModernBertForMaskedLM

    model = ModernBertForMaskedLM.from_pretrained(tiny_model)
    with pytest.raises(InputError, match=r"no token of 3 held-out lines became \[MASK\]"):
        evaluate(
            MaskedTokenLoss(model),
            corpus([5, 8, 11], mask_token=1e-9),
            evaluation_lines(3, 3),
        )


def test_a_loss_that_is_no_number_ends_training():
    schedule = Schedule(9, 0.1, "cosine", 0.05, 0.0, 1.0, 10, 42, None, 0.999)
    assert check_finite(1.5, 3, schedule) == 1.5
    for loss in (float("nan"), float("inf")):
        with pytest.raises(InputError, match=r"at step 3\. Lower the learning rate"):
            check_finite(loss, 3, schedule)


def test_compiled_layers_learn_the_same(tiny_model):
    from transformers import ModernBertForMaskedLM

    gradients = []
    for compiled in (False, True):
        network = ModernBertForMaskedLM.from_pretrained(tiny_model)
        names = [name for name, _ in network.named_parameters()]
        if compiled:
            # Traced and differentiated as for a GPU, without waiting for a C++ compiler.
            compile_layers(network, backend="aot_eager")
        for step in range(2):
            batch = corpus([6, 9, 9, 12 + step]).micro_batch(range(4), 0, 0)
            MaskedTokenLoss(network)(batch)[0].backward()
        assert names == [name for name, _ in network.named_parameters()]
        gradients.append([p.grad for p in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_layers_stay_compiled_for_batches_of_all_kinds(tiny_model):
    from torch._dynamo import config
    from transformers import ModernBertForMaskedLM

    model = MaskedTokenLoss(ModernBertForMaskedLM.from_pretrained(tiny_model))
    # With padding, without, a single line.
    batches = [corpus(lengths).micro_batch(range(len(lengths)), 0, 0) for lengths in ([6, 9], [9, 9], [8])]
    expected = [model(batch)[0].item() for batch in batches]
    compile_layers(model.network, backend="eager")
    # Where PyTorch gives up translating, layers would go on as if nothing had been asked.
    with config.patch(fail_on_recompile_limit_hit=True):
        for batch, loss in zip(batches, expected, strict=True):
            for training_mode in (False, True):
                with torch.set_grad_enabled(training_mode):
                    assert model.train(training_mode)(batch)[0].item() == pytest.approx(loss, rel=1e-5)


def test_a_step_asks_the_device_for_no_number(tiny_model):
    from transformers import ModernBertForMaskedLM

    network = ModernBertForMaskedLM.from_pretrained(tiny_model)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    data, computing = corpus([6, 9, 9, 12, 20, 20]), autocast(torch.device("cpu"), "fp32")
    micro_batches = [data.micro_batch(lines, 0, 0) for lines in (range(4), range(4, 6))]
    with Reading():
        accumulate_gradients(MaskedTokenLoss(network), micro_batches, torch.device("cpu"), computing, SINGLE)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()


def test_masks_of_padded_batches_are_those_of_the_network(tiny_model):
    from transformers import ModernBertForMaskedLM

    network = ModernBertForMaskedLM.from_pretrained(tiny_model).eval()
    # Longer than the window of local attention.
    batch = corpus([6, 9, 60, 40], max_tokens=60).micro_batch(range(4), 0, 0)
    inputs = batch["input_ids"], batch["attention_mask"]
    with torch.no_grad():
        assert torch.equal(hidden_states(network, *inputs), network.model(*inputs)[0])


@pytest.mark.parametrize(
    ("name", "decay", "beta2"), [("cosine", None, 0.999), ("warmup_stable_decay", 0.4, 0.95)]
)
def test_a_training_is_that_of_the_plain_loop(tiny_model, name, decay, beta2):
    """Transformers' model with its own loss on whole batches, its scheduler, PyTorch's clipping and AdamW."""
    from transformers import ModernBertForMaskedLM

    network, plain = (ModernBertForMaskedLM.from_pretrained(tiny_model) for _ in range(2))
    data, state = corpus([5, 8, 11, 14, 18, 6] * 4), training.TrainingState()
    batches, device = TrainingBatches(data, 9, 7, 3), torch.device("cpu")
    training.train(
        MaskedTokenLoss(network),
        adamw(network, 0.01, 0.1, beta2),
        batches,
        training.HeldOut(data, np.arange(9)),
        Schedule(9, 0.01, name, 0.3, 0.1, 0.5, 300, 42, decay, beta2),
        state,
        device=device,
        precision="fp32",
        monitor=TrainingMonitor(9, device=device, quiet=True),
    )

    matrices = [p for p in plain.parameters() if p.ndim > 1]
    vectors = [p for p in plain.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        *(0.01, (0.9, beta2)),
    )
    specific = {"num_decay_steps": 4, "decay_type": "1-sqrt"} if decay else None
    rates = get_scheduler(name, optimizer, 3, 9, scheduler_specific_kwargs=specific)
    records = [record for record in state.log if record["event"] == "train"]
    assert [record["step"] for record in records] == list(range(1, 10))
    plain.train()
    for step, record in enumerate(records):
        epoch, lines = batches.batch(step)
        batch = data.micro_batch(lines, epoch, TRAINING)
        loss = plain(batch["input_ids"], batch.get("attention_mask"), labels=batch["labels"]).loss
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        assert norm > 0.5, "clipping has something to do"
        assert record["learning_rate"] == pytest.approx(rates.get_last_lr()[0])
        optimizer.step()
        rates.step()
        assert record["selected_loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert record["gradient_norm"] == pytest.approx(norm.item(), rel=1e-4)
    for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


# ----------------------------------------------------------------------------- loader of GPUs


@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
def test_a_signal_to_the_whole_job_leaves_the_loader_at_work(tiny_model, monkeypatch):
    """Slurm signals every process of a job; the training is to save, and leaves no process behind."""
    with_workers = training.loader

    def signalled_at_its_start(batches, first, device):
        micro_batches = with_workers(batches, first, torch.device("cuda"))
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGTERM)
        return micro_batches

    monkeypatch.setattr(training, "loader", signalled_at_its_start)
    seen = []

    class Signalled:
        store = SimpleNamespace(directory=None)

        def after_step(self, step, snapshot, **_):
            seen.append(len(multiprocessing.active_children()))
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, signal.SIGTERM)
            if step == 12:
                snapshot()
                raise Interrupted("saved")

    with pytest.raises(Interrupted):
        trained(tiny_model, Signalled(), steps=20)
    assert seen == [2] * 12
    assert not multiprocessing.active_children()


@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
def test_workers_of_the_loader_need_no_shared_memory_and_no_short_tmpdir(tmp_path, monkeypatch):
    """Containers have 64 MB of one; in the other, sockets have names of 107 bytes at most."""
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    # What an earlier test decided for this process.
    monkeypatch.delitem(multiprocessing.current_process()._config, "tempdir", raising=False)
    batches = TrainingBatches(corpus([5, 8, 11, 14, 18] * 4), 3, 4, 4)
    seen = list(training.loader(batches, 0, torch.device("cuda")))
    assert "/dev/shm/torch" not in Path("/proc/self/maps").read_text()
    assert not list(folder.iterdir())
    assert len(seen) == 3


@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
def test_steps_of_many_micro_batches_need_few_open_files():
    """Without, the training would wait for its workers without end."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    batches = TrainingBatches(corpus([5, 8, 11, 14, 18] * 40), 4, 200, 1)

    def waited_too_long(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, waited_too_long)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 100, limits[1]))
    signal.alarm(60)
    try:
        seen = list(training.loader(batches, 0, torch.device("cuda")))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(seen) == 4
    for step, micro_batches in enumerate(seen):
        assert len(micro_batches) == 200
        for one, other in zip(micro_batches, batches[step], strict=True):
            assert list(one) == list(other)
            assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_sharded_model_is_evaluated_with_what_a_step_holds(tiny_model, monkeypatch):
    monkeypatch.setattr(training, "is_sharded", lambda model: True)
    lines, micro_batch = [], Corpus.micro_batch

    def noted(self, indices, epoch, stream):
        if stream == EVALUATION:
            lines.append(len(indices))
        return micro_batch(self, indices, epoch, stream)

    monkeypatch.setattr(Corpus, "micro_batch", noted)
    trained(tiny_model, None, steps=1)
    # Micro-batches are of 4 lines of at most 18 tokens, evaluations of 9 lines.
    assert max(lines) < 9
    assert sum(lines) == 2 * 9


def test_weights_are_not_saved_after_a_gradient_that_is_no_number(tiny_model, monkeypatch):
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("nan")))
    saved = []

    class Saving:
        store = SimpleNamespace(directory=None)

        def after_step(self, step, snapshot, **_):
            saved.append(snapshot())

    with pytest.raises(InputError, match=r"the norm of the gradient is nan at step 1\. Lower the learning"):
        trained(tiny_model, Saving(), steps=3)
    assert not saved


def test_a_training_that_goes_on_has_dropout_from_its_first_step(tiny_model):
    """A network that was loaded has none."""
    dropping = []

    def noted(network):
        network.model.register_forward_pre_hook(lambda layers, _: dropping.append(layers.training))

    trained(tiny_model, None, 2, prepare=noted, state=training.TrainingState(log=[{"event": "evaluation"}]))
    assert dropping[:2] == [True, True]


def trained(tiny_model, checkpointer, steps, prepare=lambda network: None, state=None):
    from transformers import ModernBertForMaskedLM

    network, data = ModernBertForMaskedLM.from_pretrained(tiny_model), corpus([5, 8, 11, 14, 18] * 4)
    prepare(network)
    device = torch.device("cpu")
    training.train(
        MaskedTokenLoss(network),
        adamw(network, 1e-3, 0.0),
        TrainingBatches(data, steps, 4, 4),
        training.HeldOut(data, np.arange(9)),
        Schedule(steps, 1e-3, "cosine", 0.0, 0.0, 1.0, 300, 42, None, 0.999),
        state or training.TrainingState(),
        device=device,
        precision="fp32",
        monitor=TrainingMonitor(steps, device=device, quiet=True),
        checkpointer=checkpointer,
    )
