"""Embeddings of sequences without labels: the right vectors of any layer, in files that open everywhere."""

import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from settings_objects import grouped

import embed_sequences
from dnalm.embed_sequences.settings import VectorSettings
from dnalm.embed_sequences.vectors import cosine_similarities
from dnalm.running.errors import InputError
from dnalm.sequences.strands import reverse_complement


def random_dna(length: int, seed: int) -> str:
    return "".join(random.Random(seed).choices("ACGT", k=length))


def embedded(model: Path, input: Path, folder: Path, **changes: object) -> dict[str, np.ndarray]:
    """Run the script's main in a folder and open its `.npz`."""
    files = {name: folder / f"v.{name}" for name in ("parquet", "similarities", "summary")}
    settings = {
        "model": model,
        "input": input,
        "genome": None,
        "window": 40,
        "name": "tiny",
        "batch_tokens": 200,
        "precision": "auto",
        "gpus": 0,
        "allow_cpu": False,
        "output": folder / "v.npz",
        **files,
    }
    embed_sequences.main(**grouped(settings | changes, settings=VectorSettings))
    with np.load(folder / "v.npz", allow_pickle=False) as data:
        return dict(data)


def states_of(model: Path, sequences: list[str], layer: int) -> list[np.ndarray]:
    """The hidden states of each sequence by itself, as Transformers gives them."""
    from transformers import AutoModel, AutoTokenizer

    network, tokenizer = AutoModel.from_pretrained(model).eval(), AutoTokenizer.from_pretrained(model)
    with torch.no_grad():
        return [
            network(**tokenizer(sequence, return_tensors="pt"), output_hidden_states=True)
            .hidden_states[layer][0]
            .numpy()
            for sequence in sequences
        ]


@pytest.mark.parametrize("layer", [None, 0, 1, 2])
def test_vectors_of_a_table_without_labels_are_those_of_a_layer(tiny_model, tmp_path, layer):
    sequences = [random_dna(20 + 9 * seed, seed) for seed in range(6)]
    table = tmp_path / "x.csv"
    table.write_text("name,sequence\n" + "".join(f"s{i},{s}\n" for i, s in enumerate(sequences)))
    found = embedded(tiny_model, table, tmp_path, layer=layer, compared=4)
    assert found["id"].tolist() == ["1", "2", "3", "4", "5", "6"]
    for row, states in enumerate(states_of(tiny_model, sequences, -1 if layer is None else layer)):
        assert found["tokens"][row] == len(states)
        np.testing.assert_allclose(found["cls"][row], states[0], atol=2e-5)
        np.testing.assert_allclose(found["mean"][row], states.mean(axis=0), atol=2e-5)
        np.testing.assert_allclose(found["max"][row], states.max(axis=0), atol=2e-5)
    about = json.loads(str(found.pop("about")))
    assert about == json.loads((tmp_path / "v.summary").read_text())
    assert (about["layer"], about["layers"]) == (2 if layer is None else layer, 2)
    frame = pd.read_parquet(tmp_path / "v.parquet")
    assert list(frame) == list(found)
    for column, values in found.items():
        np.testing.assert_array_equal(np.stack(frame[column].tolist()), values)
    pairs = pd.read_csv(tmp_path / "v.similarities", sep="\t", index_col="id")
    assert pairs.shape == (4, 4) and (np.diag(pairs) == 1).all()
    a, b = found["mean"][0].astype(float), found["mean"][3].astype(float)
    assert pairs.loc[1, "4"] == pytest.approx(a @ b / np.sqrt(a @ a * (b @ b)), abs=1e-4)


def test_long_records_and_regions_become_windows_that_say_where_they_lie(tiny_model, tmp_path):
    long, short = random_dna(100, 1), random_dna(30, 2)
    fasta, bed = tmp_path / "x.fa", tmp_path / "x.bed"
    fasta.write_text(f">a\n{long}\n>n\n{'N' * 60}\n>b\n{short.lower()}\n")
    whole = embedded(tiny_model, fasta, tmp_path, stride=30)
    places = list(zip(whole["sequence"], whole["start"], whole["end"], strict=True))
    assert places == [("a", 0, 40), ("a", 30, 70), ("a", 60, 100), ("b", 0, 30)]
    named = (tmp_path / "v.similarities").read_text().split("\n")[0].split("\t")
    assert named == ["id", "a:0-40", "a:30-70", "a:60-100", "b"]
    about = json.loads(str(whole["about"]))
    assert (about["sequences"], about["vectors"], about["left_out"]) == (3, 4, {"windows": 2, "sequences": 1})
    bed.write_text("a\t30\t70\tx\t0\t+\na\t60\t100\ty\t0\t-\n")
    regions = embedded(tiny_model, bed, tmp_path, genome=fasta)
    np.testing.assert_allclose(regions["mean"][0], whole["mean"][1], atol=2e-5)
    reverse = states_of(tiny_model, [reverse_complement(long[60:])], -1)[0]
    np.testing.assert_allclose(regions["mean"][1], reverse.mean(axis=0), atol=2e-5)


def test_the_same_sequences_give_the_same_bytes(tiny_model, tmp_path):
    (tmp_path / "x.fa").write_text(f">a\n{random_dna(90, 5)}\n")
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        embedded(tiny_model, tmp_path / "x.fa", tmp_path / name)
        made.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert made[0] == made[1] and len(made[0]) == 4


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        (">a\nACGT\n", {"layer": 3}, "--layer is 3, but this model has 2 layers. Lower it."),
        (f">n\n{'N' * 60}\n", {}, "There is nothing to embed."),
        ("chr1\t1\t5\n", {}, "a BED file needs --genome"),
    ],
)
def test_what_cannot_be_embedded_is_one_line(tiny_model, tmp_path, content, changes, message):
    (tmp_path / "x").write_text(content)
    with pytest.raises(InputError, match=message):
        embedded(tiny_model, tmp_path / "x", tmp_path, **changes)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_similarity_is_about_direction_alone():
    vectors = np.array([[1, 0], [5, 0], [0, 2], [-3, 0], [0, 0]], np.float32)
    expected = [[1, 1, 0, -1, 0], [1, 1, 0, -1, 0], [0, 0, 1, 0, 0], [-1, -1, 0, 1, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_allclose(cosine_similarities(vectors), expected, atol=1e-12)


def test_the_report_tells_what_was_embedded(tiny_model, tmp_path):
    from dnalm.report.exploring import exploring_section
    from dnalm.report.run import Run
    from report import read_embedded

    (tmp_path / "x.fa").write_text(f">a\n{random_dna(90, 5)}\n>b\n{random_dna(30, 6)}\n")
    summary = tmp_path / "promoters.json"
    embedded(tiny_model, tmp_path / "x.fa", tmp_path, summary=summary, layer=1)
    run = Run("title", simulated=False, embedded=read_embedded([summary], [tmp_path / "v.similarities"]))
    heading, sentence, pairs = exploring_section(run)["parts"]
    assert heading["text"] == "Embedded sequences: promoters"
    assert sentence["text"] == (
        "tiny made 5 vectors of 32 dimensions from 2 sequences of x.fa, out of layer 1 of 2."
    )
    assert [row["cells"][0] for row in pairs["rows"]] == ["a:0-40", "a:20-60", "a:40-80", "a:50-90", "b"]
    assert pairs["rows"][4]["cells"][5] == "1.00"
