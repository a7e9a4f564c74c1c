"""Embeddings: the right vectors, in the right rows, in a file that opens everywhere."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from device_reads import Reading
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from settings_objects import grouped

import embed
from dnalm.embed.embedding import (
    POOLINGS,
    embed_tokens,
    load_backbone,
    pool,
    read_embeddings,
)
from dnalm.finetune.settings import SequenceSettings
from dnalm.models.families import token_limit
from dnalm.running.errors import InputError
from dnalm.tokenizers.batches import length_batches, pad
from dnalm.tokenizers.encoding import encode, load_tokenizer


def random_sequences(number: int, seed: int = 1) -> list[str]:
    """Sequences of 1 to 90 bp, so that lengths differ and some exceed the local window."""
    generator = random.Random(seed)
    return ["".join(generator.choices("ACGT", k=generator.randint(1, 90))) for _ in range(number)]


def write_table(path: Path, sequences: list[str]) -> Path:
    rows = [f"s{i}\t{sequence}\t{i % 2}\n" for i, sequence in enumerate(sequences)]
    path.write_text("id\tseq\tlabel\n" + "".join(rows))
    return path


def run_embed(model: Path, table: Path, output: Path, **changes: object) -> None:
    settings = {
        "model": model,
        "sequences": [table],
        "split": ["train"],
        "output": [output],
        "name": "tiny",
        "task": "enhancers",
        "max_tokens": None,
        "batch_tokens": 128,
        "precision": "auto",
        "gpus": 0,
        "allow_cpu": False,
    }
    embed.main(**grouped(settings | changes, settings=SequenceSettings))


@given(lengths=st.lists(st.integers(2, 300), max_size=60), batch_tokens=st.integers(1, 1000))
def test_batches_hold_every_sequence_once_and_few_tokens(lengths, batch_tokens):
    batches = list(length_batches(np.array(lengths, np.int64), batch_tokens))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or len(batch) * longest <= batch_tokens


def test_vectors_are_those_of_each_sequence_alone(tiny_model):
    """Batching, padding and sorting change nothing: every row equals a pass of that sequence by itself."""
    tokens = encode(load_tokenizer(tiny_model), random_sequences(25))
    model = load_backbone(tiny_model)
    found = embed_tokens(model, tokens, pad_id=3, batch_tokens=200)
    for row, ids in enumerate(tokens):
        with torch.inference_mode():
            states = model(input_ids=torch.tensor(ids.astype(np.int64))[None]).last_hidden_state[0].numpy()
        np.testing.assert_allclose(found["cls"][row], states[0], atol=2e-5)
        np.testing.assert_allclose(found["mean"][row], states.mean(axis=0), atol=2e-5)
        np.testing.assert_allclose(found["max"][row], states.max(axis=0), atol=2e-5)


def test_a_padded_batch_asks_the_device_for_no_number(tiny_model):
    batch = pad([np.full(length, 5) for length in (5, 40, 12)], 3)
    model = load_backbone(tiny_model)
    # Inference mode would hide it.
    with torch.no_grad(), Reading():
        model(**batch)


def test_vectors_in_bf16_are_those_in_fp32_but_for_rounding(tiny_model, tmp_path, monkeypatch):
    # Any CPU computes in bf16; one without the instructions is only refused because it is slow.
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    table = write_table(tmp_path / "train.tsv", random_sequences(25))
    found = {}
    for precision in ("fp32", "bf16"):
        run_embed(tiny_model, table, tmp_path / f"{precision}.npz", precision=precision)
        with np.load(tmp_path / f"{precision}.npz") as file:
            assert json.loads(str(file["about"]))["precision"] == precision
            found[precision] = file["mean"]
    apart = np.abs(found["fp32"] - found["bf16"]).max()
    assert 0 < apart < 0.02 * np.abs(found["fp32"]).max()


def test_lines_of_one_length_need_no_mask(tiny_model):
    """Without padding there is no mask; the vectors are those with a mask of ones."""
    hidden = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    found, expected = pool(hidden, None), pool(hidden, torch.ones(2, 5, dtype=torch.int64))
    for name in POOLINGS:
        torch.testing.assert_close(found[name], expected[name])
    assert found["max"][1, 2] == max(hidden[1, :, 2]) and torch.equal(found["cls"], hidden[:, 0])


@pytest.mark.parametrize(
    ("config", "asked", "limit"),
    [
        ({"model_type": "modernbert", "max_position_embeddings": 100}, None, 100),
        ({"model_type": "modernbert", "max_position_embeddings": 100}, 30, 30),
        ({"model_type": "modernbert", "max_position_embeddings": 100}, 300, 100),
        ({"model_type": "modernbert"}, None, 8192),
        ({"model_type": "esm", "position_embedding_type": "rotary"}, None, 1026),
        ({"model_type": "bert", "max_position_embeddings": 40}, None, 40),
        ({"model_type": "bert"}, 600, 512),
    ],
)
def test_no_more_tokens_are_read_than_there_are_positions(config, asked, limit):
    assert token_limit(config, asked) == limit


def test_the_prediction_head_of_a_model_to_embed_with_does_not_matter(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "headless")
    weights = load_file(tiny_model / "model.safetensors")
    headless = {name: value for name, value in weights.items() if name.startswith("model.")}
    save_file(headless, folder / "model.safetensors", metadata={"format": "pt"})
    tokens = encode(load_tokenizer(tiny_model), ["ACGTTGCA", "GATTACA"])
    found, expected = (embed_tokens(load_backbone(m), tokens, pad_id=3) for m in (folder, tiny_model))
    assert all(np.array_equal(found[name], expected[name]) for name in POOLINGS)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    with pytest.raises(InputError, match=r"no model\.safetensors\. Save the model with save_pretrained"):
        load_backbone(folder)


def test_files_that_are_no_embeddings(tmp_path):
    with pytest.raises(InputError, match=r"a\.npz: no such file"):
        read_embeddings(tmp_path / "a.npz", "mean")
    (tmp_path / "a.npz").write_text("id\tseq\n")
    with pytest.raises(InputError, match=r"a\.npz: no embeddings .*scripts/embed\.py"):
        read_embeddings(tmp_path / "a.npz", "mean")


def test_file_opens_without_pickle_and_keeps_rows(tiny_model, tmp_path):
    sequences = random_sequences(12)
    table = write_table(tmp_path / "train.tsv", sequences)
    run_embed(tiny_model, table, tmp_path / "train.npz", max_tokens=20)
    with np.load(tmp_path / "train.npz", allow_pickle=False) as data:
        assert data["id"].tolist() == [f"s{i}" for i in range(12)]
        assert data["label"].tolist() == [str(i % 2) for i in range(12)]
        assert data["mean"].shape == (12, 32) and data["mean"].dtype == np.float32
        assert data["tokens"].max() == 20
        about = json.loads(str(data["about"]))
    assert about["model"] == "tiny" and about["split"] == "train" and about["cut"]["cut"] > 0
    tokens = encode(load_tokenizer(tiny_model), sequences, 20)
    expected = embed_tokens(load_backbone(tiny_model), tokens, pad_id=3, batch_tokens=128)
    np.testing.assert_array_equal(read_embeddings(tmp_path / "train.npz", "max").vectors, expected["max"])


def test_same_input_gives_the_same_bytes(tiny_model, tmp_path):
    table = write_table(tmp_path / "t.tsv", random_sequences(9))
    for name in ("a", "b"):
        run_embed(tiny_model, table, tmp_path / f"{name}.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_missing_weights_are_no_random_weights(tiny_model, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in tiny_model.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    del weights["model.layers.1.mlp.Wo.weight"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"1 weights are missing, among them model\.layers\.1\.mlp\.Wo\.weight"
    ):
        load_backbone(broken)


def test_wrong_input_ends_in_one_line_and_leaves_nothing(repository, tiny_model, tmp_path):
    table = write_table(tmp_path / "t.tsv", ["ACGT", "ACGU"])
    command = [sys.executable, repository / "scripts/embed.py", "--model", tiny_model, "--sequences", table]
    command += ["--split", "train", "--output", tmp_path / "t.npz", "--name", "tiny", "--task", "x"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        f"error: {table} line 3: 'U' at position 4 of the sequence is no DNA letter. Write T instead of U."
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.tsv"]
