"""Exploring: boxes, maps and batches say what is in the data, whatever the data."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import explore_batch
import explore_task
from dnalm.explore import maps
from dnalm.explore.batch import FATES, fates, masked_line
from dnalm.explore.sequences import MOST_LABELS, OUTLIERS, box, gc_content, grouped
from dnalm.explore.settings import BatchSettings, TaskSettings
from dnalm.pretrain.settings import ContextSettings, MaskingSettings
from dnalm.running.errors import InputError
from dnalm.running.files import read_json
from dnalm.tokenize_windows.cache import load_tokens, write_tokens
from dnalm.tokenize_windows.context import ContextLines
from dnalm.tokenizers.batches import IGNORED
from dnalm.tokenizers.encoding import encode, load_tokenizer


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6).map(lambda value: round(value, 3)), min_size=1, max_size=60))
def test_a_box_is_in_order_and_its_outliers_lie_beyond_the_whiskers(values):
    found = box(np.array(values))
    order = [found[name] for name in ("smallest", "low", "median", "high", "largest")]
    assert order == sorted(order) and found["q1"] <= found["median"] <= found["q3"]
    assert found["n"] == len(values)
    assert all(value < found["low"] or value > found["high"] for value in found["outliers"])


def test_a_box_keeps_the_outliers_that_lie_furthest_out():
    far = [100.0 + i for i in range(OUTLIERS + 5)]
    found = box(np.array([*range(100), *range(100), *[-value for value in far], *(10 * v for v in far)]))
    assert found["outliers"] == [10 * value for value in far[-OUTLIERS:]]


def test_a_box_of_small_values_keeps_their_digits():
    found = box(np.array([1.23456789e-13, 2e-13, 4e-13]))
    assert (found["smallest"], found["median"], found["largest"]) == (1.23457e-13, 2e-13, 4e-13)


def test_gc_counts_only_the_four_bases():
    assert gc_content(["GGCC", "ATNN", "ACGTNNNN", "NN"]).tolist() == [1, 0, 0.5, 0]


def test_many_labels_become_one_group():
    few = pd.DataFrame({"label": ["b", "a", "b"]})
    assert [(label, len(part)) for label, part in grouped(few, ["a", "b"])] == [("a", 1), ("b", 2)]
    labels = [str(i) for i in range(MOST_LABELS + 1)]
    assert [label for label, _ in grouped(pd.DataFrame({"label": labels}), labels)] == ["all"]
    most = labels[:-1]
    assert [label for label, _ in grouped(pd.DataFrame({"label": most}), most)] == most


def test_the_first_component_is_the_direction_of_the_largest_variance():
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(200, 5)) * [10, 3, 0.1, 0.1, 0.1]
    points, shares = maps.pca(vectors)
    assert abs(np.corrcoef(points[:, 0], vectors[:, 0])[0, 1]) > 0.99
    assert shares[0] == pytest.approx(100 / 109, abs=0.05) and sum(shares) <= 1 + 1e-9
    assert points[np.abs(points).argmax(axis=0), [0, 1]].min() > 0
    # Where the vectors lie does not matter.
    moved, same_shares = maps.pca(vectors + np.array([0, 50, 0, 0, 0]))
    np.testing.assert_allclose(moved, points, atol=1e-9)
    np.testing.assert_allclose(same_shares, shares)


def test_neighbours_agree_where_labels_are_clusters_and_not_where_they_are_drawn():
    generator = np.random.default_rng(1)
    labels = np.repeat(["a", "b"], 50)
    clusters = np.where((labels == "a")[:, None], [1, 0, 0], [0, 1, 0]) + 0.05 * generator.normal(
        size=(100, 3)
    )
    assert maps.neighbour_agreement(clusters, labels, 10)["value"] == 1
    noise = maps.neighbour_agreement(generator.normal(size=(100, 3)), labels, 10)
    assert noise["chance"] == pytest.approx(49 / 99, abs=1e-6)
    assert noise["value"] == pytest.approx(noise["chance"], abs=0.1)


def test_points_keep_their_shape_and_their_label():
    points = np.array([[5.0, -1.0], [7.0, 0.0], [6.0, -0.5]])
    assert maps.by_label(points, np.array(["x", "y", "x"]), ["x", "y"]) == {
        "x": [[0, 0], [500, 250]],
        "y": [[1000, 500]],
    }


def test_a_choice_of_points_is_the_same_every_time_and_takes_all_where_there_are_few():
    labels = np.array(list("ab") * 50)
    assert maps.choose(labels, 100, 1).tolist() == list(range(100))
    chosen = maps.choose(labels, 10, 1)
    assert len(set(chosen)) == 10 and chosen.tolist() == maps.choose(labels, 10, 1).tolist()


@given(st.lists(st.sampled_from(FATES), min_size=1, max_size=30))
def test_what_became_of_a_token_is_told_apart(wanted):
    mask_id, special_id, plain, other = 4, 1, 9, 10
    seen = {"masked": mask_id, "replaced": other, "kept": plain, "read": plain, "special": special_id}
    asked = {"masked", "replaced", "kept"}
    input_ids = np.array([seen[fate] for fate in wanted])
    labels = np.array([plain if fate in asked else IGNORED for fate in wanted])
    assert fates(input_ids, labels, mask_id, [special_id, mask_id]) == wanted


@pytest.fixture(scope="module")
def corpus(tiny_model, tmp_path_factory):
    """Lines of DNA and their token cache."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(2)
    lines = ["".join(generator.choice(list("ACGT"), 60)) for _ in range(20)]
    (folder / "lines.txt").write_text("\n".join(lines) + "\n")
    (folder / "tokens").mkdir()
    tokenizer = load_tokenizer(tiny_model)
    write_tokens(folder / "tokens", [encode(tokenizer, lines)], len(tokenizer))
    return folder


def test_the_batch_shown_is_the_one_that_training_reads_first(tiny_model, corpus, tmp_path):
    from dnalm.pretrain.batches import Corpus, TrainingBatches, Vocabulary

    masking = MaskingSettings(probability=0.4)
    explore_batch.main(
        model="tiny",
        tokens=[corpus / "tokens"],
        lines=[corpus / "lines.txt"],
        tokenizer=tiny_model,
        context=ContextSettings(max_tokens=30),
        masking=masking,
        batch_size=6,
        training_seed=3,
        settings=BatchSettings(batch_lines=2, batch_tokens=12),
        output=tmp_path / "batch.json",
    )
    found = read_json(tmp_path / "batch.json")
    tokenizer = load_tokenizer(tiny_model)
    training = Corpus(
        ContextLines(load_tokens(corpus / "tokens"), 30), Vocabulary.of(tokenizer), masking, seed=3
    )
    [batch] = TrainingBatches(training, 5, 6)[0]
    assert found["lines"] == 6 and len(found["shown"]) == 2
    for line, ids, labels in zip(found["shown"], batch["input_ids"], batch["labels"], strict=False):
        assert line["seen"] == tokenizer.convert_ids_to_tokens(ids[:12].tolist())
        asked = [fate in ("masked", "replaced", "kept") for fate in line["fate"]]
        assert asked == (labels[:12] != IGNORED).tolist()
        assert line["tokens"] == sum(line["counts"].values())
    short, long = found["call"]["rows"]
    assert len(short["input_ids"]) == len(long["input_ids"]) == found["call"]["padded_to"]
    assert 0 in short["attention_mask"] and 0 not in long["attention_mask"]
    assert short["special_tokens_mask"][0] == 1


def test_a_padded_line_is_shown_without_its_padding(tiny_model):
    tokenizer = load_tokenizer(tiny_model)
    line = masked_line(
        tokenizer, np.array([1, 5, 2, 3]), np.array([IGNORED, 5, IGNORED, IGNORED]), np.array([1, 1, 1, 0]), 9
    )
    assert line["seen"] == ["[CLS]", "A", "[SEP]"] and line["fate"] == ["special", "kept", "special"]


@pytest.fixture
def labelled(tmp_path, tiny_model):
    """Options of explore_task for forty sequences of two classes that differ in GC and in length."""
    generator = np.random.default_rng(4)
    rows = []
    for i in range(40):
        bases = "GGCA" if i % 2 else "AATC"
        rows.append((f"s{i}", "".join(generator.choice(list(bases), 30 + 10 * (i % 2))), str(i % 2)))
    table = "".join("\t".join(row) + "\n" for row in rows)
    (tmp_path / "train.tsv").write_text("id\tseq\tlabel\n" + table)
    losses = "".join(f"{name}\t{label}\t{label}\t1\t0.{label}\t{seq}\n" for name, seq, label in rows[:10])
    (tmp_path / "predictions.tsv").write_text("id\tlabel\tpredicted\tcorrect\tloss\tseq\n" + losses)
    labels = np.array([row[2] for row in rows])
    np.savez(tmp_path / "train.npz", label=labels, mean=generator.normal(size=(40, 6)).astype(np.float32))
    return {
        "task": "t",
        "sequences": [tmp_path / "train.tsv"],
        "splits": ["train"],
        "predictions": [tmp_path / "predictions.tsv"],
        "predictors": ["m/frozen"],
        "tokenizers": [tiny_model],
        "tokenizer_names": ["bpe"],
        "embeddings": [tmp_path / "train.npz"],
        "models": ["m"],
        "pooling": "mean",
        "settings": TaskSettings(maps=("pca",), max_points=30, neighbours=5),
        "output": tmp_path / "task.json",
    }


def test_a_task_is_described_by_class_and_split_with_its_losses_and_maps(labelled):
    explore_task.main(**labelled)
    found = read_json(labelled["output"])
    groups = {(group["split"], group["label"]): group for group in found["groups"]}
    assert set(groups) == {("train", "0"), ("train", "1"), ("test", "0"), ("test", "1")}
    assert groups["train", "1"]["length"]["median"] == 40 and groups["test", "0"]["n"] == 5
    assert groups["train", "1"]["gc"]["mean"] > groups["train", "0"]["gc"]["mean"] + 0.3
    assert groups["train", "0"]["tokens"]["bpe"]["largest"] <= 32
    assert [(row["label"], row["loss"]["median"]) for row in found["losses"]] == [("0", 0.0), ("1", 0.1)]
    [drawn] = found["maps"]
    assert sum(map(len, drawn["pca"].values())) == drawn["points"] == 30 and "umap" not in drawn


def test_borders_of_large_values_are_not_told_in_powers_of_ten():
    names = explore_task.quarter_names(["6000", "12000"], np.array([8041.3, 9912.0, 12000.5]))
    assert names.tolist() == ["1: to 8,041", "3: to 12,000"]


def test_measured_values_are_described_by_quarter(labelled):
    explore_task.main(**labelled, problem="regression")
    found = read_json(labelled["output"])
    assert {group["split"] for group in found["groups"]} == {"train", "test"}
    assert sum(group["n"] for group in found["groups"] if group["split"] == "test") == 10
    assert all(label[:3] in ("1: ", "2: ", "3: ", "4: ") for label in found["labels"])


def test_embeddings_of_another_kind_are_named(labelled, tmp_path):
    np.savez(tmp_path / "train.npz", label=np.array(["0"]))
    with pytest.raises(InputError, match=r"train\.npz: no embeddings"):
        explore_task.main(**labelled)
    labelled["embeddings"] = []
    with pytest.raises(InputError, match="--models: 1 names for 0 files"):
        explore_task.main(**labelled)


@pytest.mark.slow
def test_umap_gives_the_same_map_every_time_and_keeps_clusters_apart():
    generator = np.random.default_rng(5)
    vectors = generator.normal(size=(60, 10)).astype(np.float32)
    vectors[:30, 0] += 20
    first, again = (maps.umap(vectors, 10, 42) for _ in range(2))
    assert np.array_equal(first, again)
    labels = np.repeat(["a", "b"], 30)
    distances = np.linalg.norm(first[:, None] - first[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).all()
