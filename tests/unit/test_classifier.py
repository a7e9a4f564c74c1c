"""Classifiers: a frozen backbone learns as through the model, and the result needs only Transformers."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from device_reads import Reading
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from settings_objects import grouped
from steps import embed_into
from torch import nn

import finetune
from dnalm.finetune import classifier, objectives, trained
from dnalm.finetune import training as finetuning
from dnalm.finetune.examples import Tokens, Vectors
from dnalm.finetune.settings import (
    BACKBONE_SETTINGS,
    ClassifierSettings,
    FrozenSettings,
    FullSettings,
    LearningSettings,
    SequenceSettings,
)
from dnalm.problems.kinds import KINDS
from dnalm.problems.names import SINGLE_LABEL
from dnalm.running.checkpointer import Checkpointer
from dnalm.running.errors import InputError, Interrupted
from dnalm.running.files import sha256_of_directory
from dnalm.running.memory import checkpoint_gradients


def write_table(path: Path, number: int, classes: int = 2, seed: int = 0) -> Path:
    """Sequences whose share of G and C depends on the class: learnable, not trivially."""
    generator = random.Random(seed)
    rows = []
    for i in range(number):
        label = i % classes
        weights = [1, 1 + label, 1 + label, 1]
        sequence = "".join(generator.choices("ACGT", weights, k=generator.randint(20, 60)))
        rows.append(f"s{i}\t{sequence}\tclass{label}\n")
    path.write_text("id\tseq\tlabel\n" + "".join(rows))
    return path


@pytest.fixture(scope="module")
def data(tiny_model, tmp_path_factory) -> dict[str, Path]:
    """Tables and embeddings of a task with two classes."""
    folder = tmp_path_factory.mktemp("data")
    train, validation = (
        write_table(folder / "train.tsv", 60),
        write_table(folder / "validation.tsv", 24, seed=1),
    )
    tables, limit = {"train": train, "validation": validation}, SequenceSettings(max_tokens=30)
    embed_into(folder, tiny_model, tables, task="gc", settings=limit, batch_tokens=400)
    return {
        "train_sequences": train,
        "validation_sequences": validation,
        "train_embeddings": folder / "train.npz",
        "validation_embeddings": folder / "validation.npz",
    }


def run_finetune(model: Path, files: dict[str, Path], output: Path, **changes: object) -> Path:
    settings = {
        "model": model,
        **files,
        "backbone": "frozen",
        "pooling": "mean",
        "max_tokens": 30,
        "epochs": 3,
        "learning_rate": 3e-3,
        "batch_size": 16,
        "weight_decay": 0.01,
        "warmup_fraction": 0.2,
        "max_gradient_norm": 1.0,
        "seed": 7,
        "precision": "auto",
        "gpus": 0,
        "allow_cpu": False,
        "checkpoints": None,
        "checkpoint_every_minutes": 10.0,
        "stop_before_minutes": 5.0,
        "name": "tiny",
        "task": "gc",
        "output": output,
        "summary_file": None,
    }
    settings |= changes
    classes = {"settings": ClassifierSettings, "training": BACKBONE_SETTINGS[str(settings["backbone"])]}
    finetune.main(**grouped(settings, **classes))
    return output


def read_log(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "finetuning_log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_frozen_is_training_through_the_backbone(tiny_model, data, tmp_path, pooling):
    """The plain way: Transformers' model, frozen backbone, padded batches, its schedule and optimizer."""
    from transformers import (
        AutoModelForSequenceClassification,
        PreTrainedTokenizerFast,
        get_linear_schedule_with_warmup,
    )

    ours = run_finetune(tiny_model, data, tmp_path / "ours", pooling=pooling, standardise=False)

    table = finetune.read_labelled_table(data["train_sequences"])
    labels = torch.tensor([int(label == "class1") for label in table["label"]])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny_model)
    inputs = tokenizer(
        table["seq"].tolist(), padding=True, truncation=True, max_length=30, return_tensors="pt"
    )
    model = AutoModelForSequenceClassification.from_pretrained(
        tiny_model, num_labels=2, classifier_pooling=pooling
    )
    start = classifier.initial_weights(tiny_model, 2, seed=7)
    model.load_state_dict(start)
    model.model.requires_grad_(False)
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": vectors}], 3e-3, weight_decay=0
    )
    schedule = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=3, num_training_steps=12)
    epochs = []
    for epoch in (1, 2, 3):
        losses = []
        for batch in Vectors(torch.zeros(60, 1), labels).batches(16, seed=7, epoch=epoch):
            optimizer.zero_grad()
            loss = model(
                inputs["input_ids"][batch], inputs["attention_mask"][batch], labels=labels[batch]
            ).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(matrices + vectors, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        epochs.append(np.mean(losses))

    found = [record["loss"] for record in read_log(ours) if record["event"] == "train"]
    np.testing.assert_allclose(found, epochs, atol=1e-5)
    kept = json.loads((ours / "finetuning_summary.json").read_text())["kept"]["epoch"]
    assert kept == 3, "the weights below are compared after the last epoch"
    weights = AutoModelForSequenceClassification.from_pretrained(ours).state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(weights[name], value, atol=1e-4, rtol=0)
        assert torch.equal(weights[name], start[name]) == name.startswith("model.")


def test_standardised_features_are_a_matter_of_the_saved_dense_layer(tiny_model, data, tmp_path):
    """Features of odd scales: the head learns all the same, the saved classifier takes them raw."""
    vectors = torch.randn(500, 32, generator=torch.Generator().manual_seed(1)) * torch.arange(32) + 3
    features = classifier.Standardisation.of(vectors)
    standard = features.applied(vectors)
    torch.testing.assert_close(standard[:, 1:].mean(0), torch.zeros(31), atol=1e-5, rtol=0)
    torch.testing.assert_close(standard[:, 1:].std(0, correction=0), torch.ones(31))
    assert torch.equal(standard[:, 0], torch.zeros(500)), "a feature that is always the same"
    assert features.deviation[0] == 1, "whose other values in a test are as far away as they are"
    config, weights = classifier.with_bias(
        classifier.read_model_config(tiny_model), classifier.initial_weights(tiny_model, 2, seed=7)
    )
    expected = classifier.head_with(config, weights).eval()(standard)
    folded = classifier.head_with(config, features.folded(config, weights)).eval()
    torch.testing.assert_close(folded(vectors), expected, atol=1e-4, rtol=0)
    back = features.unfolded(config, features.folded(config, weights))
    for part, value in weights.items():
        torch.testing.assert_close(back[part], value, atol=1e-4, rtol=1e-4)

    directory = run_finetune(tiny_model, data, tmp_path / "classifier", epochs=4)
    validation = finetune.read_labelled_table(data["validation_sequences"])
    trained = classifier.Classifier(directory)
    probabilities, labels = trained.outputs(validation["seq"].tolist()), trained.labels
    truth = KINDS[SINGLE_LABEL].targets(validation["label"], labels, "")
    loss = -np.log(probabilities[np.arange(len(truth)), truth]).mean()
    kept = json.loads((directory / "finetuning_summary.json").read_text())["kept"]
    assert loss == pytest.approx(kept["loss"], abs=1e-5)


def test_training_ends_early_and_weighs_classes(tiny_model, data, tmp_path):
    """Patience, label smoothing and class weights do what PyTorch says of them."""
    # So high a learning rate that the validation loss soon rises.
    directory = run_finetune(tiny_model, data, tmp_path / "a", epochs=60, learning_rate=0.1, patience=3)
    epochs = [r["epoch"] for r in read_log(directory) if r["event"] == "evaluation"]
    kept = json.loads((directory / "finetuning_summary.json").read_text())["kept"]["epoch"]
    assert max(epochs) == kept + 3 < 60

    labels = torch.tensor([0, 0, 0, 1])
    weights = objectives.weigh_labels(SINGLE_LABEL, labels, "balanced")
    torch.testing.assert_close(weights, torch.tensor([4 / 6, 2.0]))
    examples = Vectors(torch.eye(4), labels)
    settings = FullSettings(label_smoothing=0.2, class_weights="balanced")
    recipe = finetuning.Recipe(**settings.model_dump(include=set(LearningSettings.model_fields)), seed=1)
    module = torch.nn.Linear(4, 2)
    expected = torch.nn.CrossEntropyLoss(weights, label_smoothing=0.2)(module(examples.vectors), labels)
    optimizer = torch.optim.SGD(module.parameters(), 0.0)
    loss = finetuning.train_batch(module, examples, np.arange(4), optimizer, recipe, weights)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_either_strand_is_read_with_every_epoch_drawing_anew():
    here, there = [np.full(3, i) for i in range(200)], [np.full(5, -i - 1) for i in range(200)]
    examples = Tokens(here, torch.zeros(200, dtype=torch.int64), 3, opposite=there)
    first, again, second = (examples.drawn(7, epoch) for epoch in (1, 1, 2))
    for drawn in (first, second):
        turned = [ids[0] < 0 for ids in drawn.tokens]
        assert 60 < sum(turned) < 140
        assert all(
            ids is (there if turn else here)[i]
            for i, (ids, turn) in enumerate(zip(drawn.tokens, turned, strict=True))
        )
        assert drawn.lengths.tolist() == [5 if turn else 3 for turn in turned]
    assert all(a is b for a, b in zip(first.tokens, again.tokens, strict=True))
    assert any(a is not b for a, b in zip(first.tokens, second.tokens, strict=True))


@pytest.mark.parametrize("backbone", ["frozen", "full"])
def test_directory_needs_only_transformers(tiny_model, data, tmp_path, backbone):
    """AutoModel and pipeline load it; names and numbers are ours."""
    from transformers import AutoModelForSequenceClassification, pipeline

    files = data if backbone == "frozen" else data | {"train_embeddings": None, "validation_embeddings": None}
    directory = run_finetune(tiny_model, files, tmp_path / "classifier", backbone=backbone)
    model, report = AutoModelForSequenceClassification.from_pretrained(directory, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert type(model).__name__ == "ModernBertForSequenceClassification"
    assert model.config.num_labels == 2 and model.config.classifier_pooling == "mean"
    assert model.config.id2label == {0: "class0", 1: "class1"}

    # One is longer than max_tokens: truncation=True must cut where training cut.
    sequences = ["ACGTACGTAC", "gcgcgcttgcaggcgcgc", "ACTG" * 40, "A"]
    ours = classifier.Classifier(directory)
    probabilities, labels = ours.outputs(sequences, batch_tokens=64), ours.labels
    assert labels == ["class0", "class1"]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    answers = pipeline("text-classification", str(directory))(sequences, top_k=None, truncation=True)
    for row, answer in zip(probabilities, answers, strict=True):
        scores = {entry["label"]: entry["score"] for entry in answer}
        np.testing.assert_allclose([scores[label] for label in labels], row, atol=1e-5)

    # Everything readable by colleagues, whatever the library made of the permissions.
    modes = {file.name: file.stat().st_mode & 0o777 for file in directory.iterdir()}
    assert len(set(modes.values())) == 1, modes


@pytest.mark.parametrize("backbone", ["frozen", "lora", "full"])
def test_same_input_gives_the_same_bytes(tiny_model, data, tmp_path, backbone):
    files = data if backbone == "frozen" else data | {"train_embeddings": None, "validation_embeddings": None}
    first = run_finetune(tiny_model, files, tmp_path / "a", backbone=backbone, epochs=2)
    torch.manual_seed(99)  # other random numbers drawn before do not matter
    second = run_finetune(tiny_model, files, tmp_path / "b", backbone=backbone, epochs=2)
    assert sha256_of_directory(first) == sha256_of_directory(second)
    summary = tmp_path / "c.json"
    other = run_finetune(
        tiny_model, files, tmp_path / "c", backbone=backbone, epochs=2, seed=8, summary_file=summary
    )
    assert json.loads(summary.read_text())["sha256"] == sha256_of_directory(other)
    assert (other / "model.safetensors").read_bytes() != (first / "model.safetensors").read_bytes()


def test_frozen_and_full_start_from_the_same_classifier(tiny_model, data, tmp_path):
    frozen = run_finetune(tiny_model, data, tmp_path / "frozen", epochs=1)
    files = data | {"train_embeddings": None, "validation_embeddings": None}
    full = run_finetune(tiny_model, files, tmp_path / "full", backbone="full", epochs=1)
    before = [read_log(directory)[0] for directory in (frozen, full)]
    assert before[0]["loss"] == pytest.approx(before[1]["loss"], abs=1e-6)
    summaries = [
        json.loads((directory / "finetuning_summary.json").read_text()) for directory in (frozen, full)
    ]
    # The means of standardised features go into a bias, which ModernBERT's dense layer has not.
    head, bias = 32 * 32 + 32 + 32 * 2 + 2, 32
    assert summaries[0]["parameters"]["trainable"] == head + bias
    assert summaries[0]["parameters"]["total"] == summaries[1]["parameters"]["trainable"] + bias


def test_the_topmost_layers_learn_and_nothing_below(tiny_model, data, tmp_path):
    files = data | {"train_embeddings": None, "validation_embeddings": None}
    directory = run_finetune(tiny_model, files, tmp_path / "top", backbone="partial", layers=1, epochs=1)
    before = classifier.initial_weights(tiny_model, 2, seed=7)
    changed = {
        name
        for name, value in load_file(directory / "model.safetensors").items()
        if not torch.equal(value, before[name])
    }
    upper = {name for name in before if not name.startswith(("model.embeddings.", "model.layers.0."))}
    assert changed == upper and "model.layers.1.mlp.Wi.weight" in upper
    counted = json.loads((directory / "finetuning_summary.json").read_text())["parameters"]
    assert counted["trainable"] == sum(before[name].numel() for name in upper)
    with pytest.raises(InputError, match="--training-layers is 3, but this model has 2 layers"):
        run_finetune(tiny_model, files, tmp_path / "more", backbone="partial", layers=3)


def test_full_learns_several_classes(tiny_model, tmp_path):
    files = {
        "train_sequences": write_table(tmp_path / "train.tsv", 120, classes=3),
        "validation_sequences": write_table(tmp_path / "validation.tsv", 60, classes=3, seed=1),
        "train_embeddings": None,
        "validation_embeddings": None,
    }
    directory = run_finetune(tiny_model, files, tmp_path / "three", backbone="full", epochs=6)
    evaluations = [record for record in read_log(directory) if record["event"] == "evaluation"]
    summary = json.loads((directory / "finetuning_summary.json").read_text())
    assert summary["labels"] == ["class0", "class1", "class2"]
    assert summary["kept"]["loss"] == min(record["loss"] for record in evaluations[1:])
    assert summary["kept"]["loss"] < evaluations[0]["loss"]
    # The saved weights are those of the epoch that was kept.
    table = finetune.read_labelled_table(files["validation_sequences"])
    trained = classifier.Classifier(directory)
    probabilities, labels = trained.outputs(table["seq"].tolist()), trained.labels
    numbers = [labels.index(label) for label in table["label"]]
    loss = -np.log(probabilities[np.arange(60), numbers]).mean()
    assert loss == pytest.approx(summary["kept"]["loss"], abs=1e-5)
    assert (probabilities.argmax(axis=1) == numbers).mean() == pytest.approx(summary["kept"]["accuracy"])


@pytest.mark.parametrize("backbone", ["full", "partial", "lora"])
def test_a_step_through_the_backbone_asks_the_device_for_no_number(tiny_model, backbone):
    """A GPU would make the CPU wait for each, and would then wait for the CPU."""
    training = BACKBONE_SETTINGS[backbone](**({"layers": 1} if backbone == "partial" else {}))
    weights = classifier.initial_weights(tiny_model, 2, seed=1)
    module = trained.prepare(classifier.full_model(tiny_model, weights, 2, "mean"), training, seed=1)
    tokens = [np.arange(5, 5 + n) % 4 + 5 for n in (5, 40, 12, 33, 7)]
    examples = Tokens(tokens, torch.tensor([0, 1, 1, 0, 1]), pad_id=3, batch_tokens=100)
    recipe = finetuning.Recipe(**LearningSettings(epochs=1, learning_rate=1e-4).model_dump(), seed=1)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], fused=True)
    with Reading():
        finetuning.train_batch(module, examples, np.arange(5), optimizer, recipe)


def test_a_step_through_the_backbone_waits_for_no_copy_to_the_device(tiny_model, monkeypatch):
    # The stand-in for a GPU has no bf16.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    weights = classifier.initial_weights(tiny_model, 2, seed=1)
    module = classifier.full_model(tiny_model, weights, 2, "mean").to("meta")
    tokens = [np.arange(5, 5 + n) % 4 + 5 for n in (5, 40, 12)]
    examples = Tokens(tokens, torch.tensor([0, 1, 1]), pad_id=3, device="meta")
    recipe = finetuning.Recipe(**LearningSettings(epochs=1, learning_rate=1e-4).model_dump(), seed=1)
    with Reading():
        finetuning.accumulate_gradients(module, examples, np.arange(3), recipe, torch.ones(2))


def test_layers_that_do_not_learn_are_computed_once_however_memory_is_saved(tiny_model):
    gradients = []
    for saving in (False, True):
        weights = classifier.initial_weights(tiny_model, 2, seed=1)
        model = classifier.full_model(tiny_model, weights, 2, "mean")
        if saving:
            checkpoint_gradients(model)
        module = trained.prepare(model, BACKBONE_SETTINGS["partial"](layers=1), seed=1).train()
        lower, upper = model.model.layers
        computed = []
        lower.register_forward_hook(lambda *passed, seen=computed: seen.append(passed[-1].requires_grad))
        module(input_ids=torch.arange(40).reshape(2, 20) % 4 + 5).logits.square().sum().backward()
        assert computed == [False]
        gradients.append(upper.mlp.Wi.weight.grad)
    assert torch.equal(*gradients)


def test_splitting_a_batch_changes_no_gradient(tiny_model):
    """A batch that goes through the model in parts gives the loss and the step of the whole batch."""
    weights = classifier.initial_weights(tiny_model, 2, seed=1)
    generator = np.random.default_rng(0)
    tokens = [generator.integers(5, 9, size=n).astype(np.uint16) for n in (5, 40, 12, 33, 7)]
    labels = torch.tensor([0, 1, 1, 0, 1])
    after = []
    for batch_tokens in (10, 10_000):
        model = classifier.full_model(tiny_model, weights, 2, "mean")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        recipe = finetuning.Recipe(**LearningSettings(epochs=5, learning_rate=1e-4).model_dump(), seed=42)
        examples = Tokens(tokens, labels, pad_id=3, batch_tokens=batch_tokens)
        loss = finetuning.train_batch(model, examples, np.arange(5), optimizer, recipe)
        after.append((loss.item(), model.model.layers[0].mlp.Wo.weight.detach().clone()))
    assert after[0][0] == pytest.approx(after[1][0], abs=1e-6)
    torch.testing.assert_close(after[0][1], after[1][1], atol=1e-6, rtol=1e-4)


@given(
    lengths=st.lists(st.integers(2, 60), min_size=1, max_size=200),
    batch_size=st.integers(1, 50),
    epoch=st.integers(1, 5),
)
def test_an_epoch_holds_every_sequence_once(lengths, batch_size, epoch):
    tokens = [np.zeros(n, np.uint16) for n in lengths]
    labels = torch.zeros(len(lengths), dtype=torch.int64)
    for examples in (Tokens(tokens, labels, pad_id=3), Vectors(torch.zeros(len(lengths), 1), labels)):
        batches = examples.batches(batch_size, seed=3, epoch=epoch)
        assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
        assert len(batches) == -(-len(lengths) // batch_size)
        again = examples.batches(batch_size, seed=3, epoch=epoch)
        assert all((a == b).all() for a, b in zip(batches, again, strict=True))


def test_the_published_head_has_592130_parameters():
    """768 dimensions, 2 classes: the frozen classifier of the teaching run."""
    assert (
        sum(
            p.numel()
            for p in classifier.Head({"model_type": "modernbert", "hidden_size": 768}, 2).parameters()
        )
        == 592_130
    )


def test_a_classifier_counts_what_it_cuts_and_knows_its_problem(tiny_model, tmp_path):
    weights = classifier.initial_weights(tiny_model, 2, seed=1)
    for problem in KINDS:
        classifier.save_classifier(tmp_path, tiny_model, weights, ["a", "b"], "mean", 10, problem)
        assert classifier.Classifier(tmp_path).problem.name == problem
    # Others leave it out for classes.
    config = json.loads((tmp_path / "config.json").read_text())
    del config["problem_type"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = classifier.Classifier(tmp_path)
    assert found.problem.name == SINGLE_LABEL and found.labels == ["a", "b"]
    assert found.outputs([]).shape == (0, 2)
    assert found.outputs(["ACGT" * 9, "ACGT", "GATC" * 9]).shape == (3, 2)
    found.outputs(["GTCA" * 9])
    assert found.cut.summary()["cut"] == 3


class TestInterruptions:
    """Full fine-tuning goes on where it was saved and ends as if nothing had happened."""

    @pytest.fixture
    def files(self, data) -> dict:
        return data | {"train_embeddings": None, "validation_embeddings": None}

    @pytest.fixture
    def stop_after(self, monkeypatch):
        """Lets training raise Interrupted (nothing saved by the signal) or get SIGTERM after a step."""
        original = finetuning.train_batch

        def arrange(step: int, how: str) -> None:
            done = 0

            def train_batch(*arguments):
                nonlocal done
                if done == step and how == "die":
                    raise KeyboardInterrupt
                done += 1
                if done == step and how == "SIGTERM":
                    os.kill(os.getpid(), signal.SIGTERM)
                return original(*arguments)

            monkeypatch.setattr(finetuning, "train_batch", train_batch)

        yield arrange

    # 60 sequences in batches of 16: 4 steps in each of 3 epochs.
    @pytest.mark.parametrize(
        "backbone, step", [*[("full", step) for step in (1, 3, 4, 5, 8, 11)], ("partial", 5), ("lora", 5)]
    )
    def test_death_at_any_step(self, tiny_model, files, tmp_path, monkeypatch, stop_after, backbone, step):
        undisturbed = run_finetune(tiny_model, files, tmp_path / "a", backbone=backbone)
        keep = {
            "checkpoints": tmp_path / "checkpoints",
            "checkpoint_every_minutes": 1e-9,
            "backbone": backbone,
        }
        stop_after(step, "die")
        with pytest.raises(KeyboardInterrupt):
            run_finetune(tiny_model, files, tmp_path / "b", **keep)
        assert not (tmp_path / "b").exists()
        monkeypatch.undo()
        resumed = run_finetune(tiny_model, files, tmp_path / "b", **keep)
        assert sha256_of_directory(undisturbed) == sha256_of_directory(resumed)
        assert not list((tmp_path / "checkpoints").iterdir()), "nothing is left when the result is safe"

    @pytest.mark.parametrize("step", [1, 3, 4])
    def test_dropout_goes_on_as_if_nothing_had_happened(self, tmp_path, stop_after, step, monkeypatch):
        """3 steps in each of 2 epochs; what is drawn at random elsewhere does not matter."""
        vectors = Vectors(
            torch.randn(12, 6, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 2
        )
        recipe = finetuning.Recipe(
            **FrozenSettings(batch_size=4, epochs=2).model_dump(
                exclude={"reverse_complement", "standardise"}
            ),
            seed=3,
        )

        def train(folder: str, drawn_before: int) -> torch.Tensor:
            torch.manual_seed(drawn_before)
            module = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 2))
            nn.init.zeros_(module[1].weight)
            nn.init.zeros_(module[1].bias)
            with Checkpointer(tmp_path / folder, {}, every_steps=1, stop_before_minutes=0) as checkpointer:
                state = finetuning.train(module, vectors, vectors, recipe, checkpointer)
            assert state.step == 6
            return module[1].weight

        undisturbed = train("a", 1)
        stop_after(step, "die")
        with pytest.raises(KeyboardInterrupt):
            train("b", 2)
        monkeypatch.undo()
        assert torch.equal(train("b", 3), undisturbed)

    def test_sigterm_saves_and_asks_to_start_again(
        self, tiny_model, files, tmp_path, monkeypatch, stop_after
    ):
        keep = {"checkpoints": tmp_path / "checkpoints", "backbone": "full"}
        stop_after(6, "SIGTERM")
        with pytest.raises(Interrupted, match="SIGTERM: saved after step 6"):
            run_finetune(tiny_model, files, tmp_path / "b", **keep)
        steps = []
        train_batch = finetuning.train_batch
        monkeypatch.setattr(finetuning, "train_batch", lambda *a: (steps.append(1), train_batch(*a))[1])
        run_finetune(tiny_model, files, tmp_path / "b", **keep)
        assert len(steps) == 6, "six of twelve steps were done before"

    def test_checkpoints_of_other_settings_are_not_taken(
        self, tiny_model, files, tmp_path, monkeypatch, stop_after
    ):
        keep = {"checkpoints": tmp_path / "checkpoints", "checkpoint_every_minutes": 1e-9, "backbone": "full"}
        stop_after(5, "die")
        with pytest.raises(KeyboardInterrupt):
            run_finetune(tiny_model, files, tmp_path / "b", **keep)
        monkeypatch.undo()
        changed = run_finetune(tiny_model, files, tmp_path / "b", **keep, seed=8)
        undisturbed = run_finetune(tiny_model, files, tmp_path / "a", backbone="full", seed=8)
        assert sha256_of_directory(undisturbed) == sha256_of_directory(changed)

    def test_time_limit_of_the_job(self, tiny_model, files, tmp_path, monkeypatch):
        """A job of 30 minutes; every look at the clock takes 3."""
        seconds = [0.0]

        def clock() -> float:
            seconds[0] += 180
            return seconds[0]

        monkeypatch.setattr("dnalm.running.budget.slurm_seconds_left", lambda: 1800 - seconds[0])
        monkeypatch.setitem(Checkpointer.__init__.__kwdefaults__, "clock", clock)
        with pytest.raises(Interrupted, match="the job's time is nearly over: saved after step"):
            run_finetune(
                tiny_model,
                files,
                tmp_path / "b",
                backbone="full",
                checkpoints=tmp_path / "checkpoints",
                checkpoint_every_minutes=1000,
            )


class TestErrors:
    def test_a_language_model_is_no_classifier(self, tiny_model):
        with pytest.raises(InputError, match="a model, but no classifier"):
            classifier.Classifier(tiny_model)

    def test_weights_that_are_no_language_models(self, tiny_model, tmp_path):
        shutil.copytree(tiny_model, tmp_path / "model")
        weights = load_file(tiny_model / "model.safetensors")
        headless = {name: value for name, value in weights.items() if name.startswith("model.")}
        save_file(headless, tmp_path / "model" / "model.safetensors")
        with pytest.raises(InputError, match="not a masked language model"):
            classifier.initial_weights(tmp_path / "model", 2, seed=1)
        scribbled = (tiny_model / "model.safetensors").read_bytes().replace(b'"F32"', b'"F33"', 1)
        (tmp_path / "model" / "model.safetensors").write_bytes(scribbled)
        with pytest.raises(InputError, match=r"damaged .*F33"):
            classifier.initial_weights(tmp_path / "model", 2, seed=1)

    def test_weights_that_the_configuration_does_not_describe(self, tiny_model):
        weights = classifier.initial_weights(tiny_model, 2, seed=1)
        del weights["model.layers.0.mlp.Wi.weight"]
        with pytest.raises(InputError, match=r"config\.json does not describe model\.safetensors"):
            classifier.full_model(tiny_model, weights, 2, "mean")

    def test_a_classifier_without_all_its_weights(self, tiny_model, tmp_path):
        weights = classifier.initial_weights(tiny_model, 2, seed=1)
        classifier.save_classifier(tmp_path, tiny_model, weights, ["a", "b"], "mean", 30)
        del weights["model.layers.0.mlp.Wi.weight"]
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(InputError, match="1 weights are missing"):
            classifier.Classifier(tmp_path)
        scribbled = (tiny_model / "model.safetensors").read_bytes().replace(b'"F32"', b'"F33"', 1)
        (tmp_path / "model.safetensors").write_bytes(scribbled)
        with pytest.raises(InputError, match="the classifier cannot be loaded"):
            classifier.Classifier(tmp_path)

    def test_embeddings_of_another_model(self, tiny_model, data, tmp_path):
        other = tmp_path / "other"
        other.mkdir()
        for file in tiny_model.iterdir():
            (other / file.name).write_bytes(file.read_bytes())
        weights = load_file(other / "model.safetensors")
        weights["head.norm.weight"] += 1
        save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(InputError, match="from another model"):
            run_finetune(other, data, tmp_path / "x")

    def test_embeddings_of_other_sequences(self, tiny_model, data, tmp_path):
        swapped = data | {"train_embeddings": data["validation_embeddings"]}
        with pytest.raises(InputError, match="embeddings of other sequences"):
            run_finetune(tiny_model, swapped, tmp_path / "x")

    def test_embeddings_cut_at_another_length(self, tiny_model, data, tmp_path):
        with pytest.raises(InputError, match="embedded with --max-tokens 30, here it is 50"):
            run_finetune(tiny_model, data, tmp_path / "x", max_tokens=50)

    def test_a_head_alone_in_bf16(self, tiny_model, data, tmp_path):
        with pytest.raises(InputError, match=r"--precision: a head alone learns in fp32"):
            run_finetune(tiny_model, data, tmp_path / "x", precision="bf16")

    def test_label_that_training_lacks(self, tiny_model, data, tmp_path):
        three = write_table(tmp_path / "three.tsv", 9, classes=3)
        with pytest.raises(InputError, match=r"three\.tsv: label 'class2' is unknown"):
            run_finetune(tiny_model, data | {"validation_sequences": three}, tmp_path / "x")

    def test_diverging_training_says_so(self, tiny_model, data, tmp_path):
        files = data | {"train_embeddings": None, "validation_embeddings": None}
        with pytest.raises(InputError, match="Lower the learning rate"):
            run_finetune(
                tiny_model, files, tmp_path / "x", backbone="full", learning_rate=1e30, warmup_fraction=0
            )

    def test_one_line_and_nothing_left(self, repository, tiny_model, tmp_path):
        table = write_table(tmp_path / "one.tsv", 5, classes=1)
        command = [
            sys.executable,
            repository / "scripts/finetune.py",
            "--model",
            tiny_model,
            "--backbone",
            "full",
        ]
        command += ["--train-sequences", table, "--validation-sequences", table]
        command += ["--name", "tiny", "--task", "x", "--output", tmp_path / "out"]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 1
        assert result.stderr.splitlines() == [
            f"error: {table}: every label is class0. At least two are needed."
        ]
        assert [path.name for path in tmp_path.iterdir()] == ["one.tsv"]


@pytest.mark.parametrize(
    "losses, expected",
    [
        ([0.9, 0.7, 0.5, 0.4, 0.3, 0.2], True),
        ([0.9, 0.5, 0.3, 0.2, 0.2, 0.199], False),
        ([0.9, 0.2, 0.3, 0.4, 0.5, 0.6], False),
        ([0.9, 0.5], True),
    ],
)
def test_a_training_that_ended_too_early_is_noticed(losses, expected):
    import finetune

    log = [{"event": "evaluation", "epoch": epoch, "loss": loss} for epoch, loss in enumerate(losses)]
    assert finetune.still_improving(log) is expected


def test_a_classifier_that_says_nothing_finite_predicts_nothing(tiny_model, tmp_path):
    weights = classifier.initial_weights(tiny_model, 2, seed=1)
    for values in weights.values():
        values.fill_(torch.finfo(values.dtype).max)
    classifier.save_classifier(tmp_path / "c", tiny_model, weights, ["no", "yes"], "mean", max_tokens=60)
    with pytest.raises(InputError, match=f"{tmp_path}/c: what the network says of a sequence is NaN"):
        classifier.Classifier(tmp_path / "c").outputs(["ACGTACGT"])
