"""Studies: which variants there are, what they share, and how they are compared."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

import study
import subset_task
from dnalm.config_reading import read_config
from dnalm.problems.intervals import unrelated
from dnalm.running.errors import InputError
from dnalm.study.leaderboard import Entry, holm, leaderboard, over_tasks, paired_p
from dnalm.study.names import row_name
from dnalm.study.variants import expand, seedless

BASE = {
    "genomes": "g.tsv",
    "tasks": "t.tsv",
    "tokenizers": {"bpe": {"train": {}}, "letters": {"kmer_length": 1}},
    "models": {
        "small": {
            "tokenizer": "bpe",
            "architecture": "resources/architectures/demo.json",
            "training": {"steps": 100},
        }
    },
}


def configured(vary: dict, **more) -> dict:
    return read_config(BASE | {"study": {"model": "small", "vary": vary} | more}, "run.yaml")


def test_variants_have_their_values_in_their_names_and_their_settings():
    found = expand(configured({"tokenizer": ["bpe", "letters"], "training.steps": [100, "2e2"]}))
    assert list(found.variants) == [
        "small",
        "small,tokenizer=bpe,steps=2e2",
        "small,tokenizer=letters,steps=100",
        "small,tokenizer=letters,steps=2e2",
    ]
    assert set(found.models) == set(found.variants) - {"small"}
    assert found.models["small,tokenizer=letters,steps=2e2"]["training"]["steps"] == 200
    assert found.models["small,tokenizer=letters,steps=2e2"]["tokenizer"] == "letters"


def test_variants_that_need_the_same_network_share_it():
    vary = {
        "masking.probability": [0.15, 0.5],
        "training.steps": [0, 100],
        "training.seed": [42, 1],
        "finetune.pooling": ["mean", "cls"],
        "finetune.seed": [42, 7],
    }
    variants = expand(configured(vary)).variants
    networks = {variant.language_model for variant in variants.values()}
    # Untrained: one for each seed. Trained: two maskings with two seeds. The model itself is one of these.
    assert networks == {
        "small-untrained",
        "small,training.seed=1-untrained",
        "small",
        "small,probability=0.5,steps=100,training.seed=1",
        "small,probability=0.15,steps=100,training.seed=42",
        "small,probability=0.15,steps=100,training.seed=1",
    }
    assert len(variants) == len(networks) * 4
    cls = [v for v in variants.values() if v.language_model == "small" and v.classifier == {"pooling": "cls"}]
    assert [v.name for v in cls] == ["small,pooling=cls"]
    assert seedless(cls[0]) == {
        "masking.probability": 0.5,
        "training.steps": 100,
        "finetune.pooling": "cls",
    }


@pytest.mark.parametrize(
    ("vary", "more", "words"),
    [
        (
            {"training.step": [1]},
            {},
            "study.vary.training.step: a model has no such key. Did you mean steps?",
        ),
        ({"finetune.epochs": [1]}, {}, "study.vary.finetune.epochs cannot be varied."),
        ({"finetune.pooling": ["max"]}, {}, 'study.vary.finetune.pooling is "max".'),
        ({"training.steps": [-1]}, {}, "study.vary.training.steps is -1, but must be at least 1."),
        (
            {"masking.probability": [0.1, 7]},
            {},
            "study.vary.masking.probability is 7, but must be at most 1.",
        ),
        ({"tokenizer": ["letter"]}, {}, "not under tokenizers. Did you mean letters?"),
        ({"architecture": ["none.json"]}, {}, "no such file: none.json"),
        ({"checkpoint": ["x"]}, {}, "Name each checkpoint under 'models'"),
        ({"training.seed": [1, 1]}, {}, "names an item twice"),
        ({"training.seed": list(range(501))}, {}, "501 variants, but 500 at most"),
        ({"tokenizer": ["bpe"]}, {"model": "big"}, 'study.model is "big", not under models.'),
        ({"tokenizer": ["bpe"]}, {"reference": "svm"}, 'study.reference is "svm", but the baselines are'),
        ({}, {}, "study.vary is empty. Give at least one entry."),
    ],
)
def test_what_cannot_be_varied_is_refused_in_one_line(vary, more, words):
    with pytest.raises(InputError) as error:
        configured(vary, **more)
    assert words in str(error.value) and str(error.value).startswith("run.yaml: study")
    assert "\n" not in str(error.value)


def test_a_subset_keeps_the_shares_of_labels_and_grows_by_adding():
    labels = pd.Series(["a"] * 90 + ["b"] * 30)
    small, large = subset_task.subset(labels, 20, 1), subset_task.subset(labels, 60, 1)
    assert set(small) < set(large) and list(large) == sorted(large)
    assert labels.iloc[small].value_counts().to_dict() == {"a": 15, "b": 5}
    assert not np.array_equal(small, subset_task.subset(labels, 20, 2))


def test_too_large_a_subset_is_refused(tmp_path):
    table = tmp_path / "train.tsv"
    table.write_text("id\tseq\tlabel\nx\tACGT\ta\ny\tACGG\tb\n")
    given = {name: tmp_path / f"out.{name}" for name in ("output_train", "output_validation", "output_test")}
    with pytest.raises(InputError, match="5 training sequences are asked for, but there are 2"):
        subset_task.main(train=table, validation=table, test=table, size=5, seed=1, **given)
    with pytest.raises(InputError, match="too few to hold one of label"):
        subset_task.main(train=table, validation=table, test=table, size=1, seed=1, **given)
    assert not list(tmp_path.glob("out.*"))


def entry(name: str, right: np.ndarray, settings: dict | None = None, kind: str = "model") -> Entry:
    value = float(right.mean())
    accuracy = {"value": value, "low": value - 0.03, "high": value + 0.03}
    metrics = {"accuracy": value, "mcc": 0.0, "auroc": 0.5}
    found = (metrics, accuracy, right.astype(float), unrelated(len(right)))
    return Entry("toy", name, None, settings or {}, kind, *found, {"x": 1.0})


def test_seeds_are_one_row_with_a_spread_of_their_own():
    generator = np.random.default_rng(0)
    base = generator.random(400)
    entries = [
        entry("a,seed=1", base < 0.9, {"tokenizer": "a"}),
        entry("a,seed=2", base < 0.8, {"tokenizer": "a"}),
        entry("b,seed=1", generator.random(400) < 0.72, {"tokenizer": "b"}),
        entry("kmer", base < 0.7, kind="baseline"),
    ]
    rows = leaderboard(entries, "kmer", 500, 1, 0.95)
    assert [row["name"] for row in rows] == ["a,seed=1", "b,seed=1", "kmer"]
    best, close, reference = rows
    accuracies = [e.accuracy["value"] for e in entries]
    assert best["seeds"] == 2 and best["seed_spread"] == pytest.approx(np.std(accuracies[:2], ddof=1))
    assert best["accuracy"]["value"] == pytest.approx(np.mean(accuracies[:2]))
    assert best["difference"]["low"] > 0 and best["p_adjusted"] < 1e-6
    assert close["seed_spread"] is None and close["accuracy"] == entries[2].accuracy
    assert close["difference"]["low"] <= close["difference"]["value"] <= close["difference"]["high"]
    assert close["p_adjusted"] >= close["p"]
    assert reference["difference"] is None and reference["p"] is None and reference["p_adjusted"] is None


def test_p_values_are_adjusted_as_holm_says():
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_tasks_are_counted_where_the_difference_is_more_than_chance():
    def row(name, value, difference, p):
        return {
            **{"name": name, "kind": "model", "backbone": None, "settings": {}, "p_adjusted": p},
            "accuracy": {"value": value},
            "difference": difference and {"value": difference},
        }

    boards = {
        "one": [row("a", 0.9, 0.1, 0.001), row("kmer", 0.8, None, None)],
        "two": [row("kmer", 0.8, None, None), row("a", 0.7, -0.1, 0.2)],
    }
    first, second = over_tasks(boards)
    assert {first["name"], second["name"]} == {"a", "kmer"}
    a = first if first["name"] == "a" else second
    assert (a["tasks"], a["better"], a["worse"], a["mean_rank"]) == (2, 1, 0, 1.5)
    assert a["mean_accuracy"] == pytest.approx(0.8)


def test_of_equal_mean_ranks_the_more_accurate_leads():
    def row(name, value):
        about = {"name": name, "kind": "baseline", "backbone": None, "settings": {}, "p_adjusted": None}
        return about | {"accuracy": {"value": value}, "difference": None}

    # b is first where a is second, and the other way round, by more.
    boards = {"one": [row("b", 0.7), row("a", 0.69)], "two": [row("a", 0.9), row("b", 0.8)]}
    for order in (("one", "two"), ("two", "one")):
        table = over_tasks({task: boards[task] for task in order})
        assert [(row["name"], row["mean_rank"]) for row in table] == [("a", 1.5), ("b", 1.5)]
    # Of equals none is first, whatever their order.
    tied = over_tasks({"four": [row("a", 0.9), row("b", 0.9), row("c", 0.7)]})
    assert [table["mean_rank"] for table in tied] == [1.5, 1.5, 3]
    # A better rank comes before a higher accuracy.
    boards["three"] = [row("b", 0.5), row("a", 0.49)]
    assert [row["name"] for row in over_tasks(boards)] == ["b", "a"]


def test_two_seeds_have_a_spread_and_one_has_none():
    right = np.arange(10)
    entries = [
        entry("a,seed=1", right < 6, {"tokenizer": "a"}),
        entry("a,seed=2", right < 8, {"tokenizer": "a"}),
        entry("kmer", right < 5, kind="baseline"),
    ]
    first, reference = leaderboard(entries, "kmer", 100, 1, 0.95)
    # Two values have a standard deviation (n - 1): their distance by the root of two.
    assert first["seed_spread"] == pytest.approx(0.2 / np.sqrt(2)) and first["seeds"] == 2
    assert reference["seed_spread"] is None and reference["seeds"] == 1


def test_curves_begin_with_the_untrained_network():
    def row(settings, tokens):
        return {
            **{"settings": settings, "backbone": "frozen"},
            "cost": {"pretraining_tokens": tokens},
            "accuracy": {"value": 0.5, "low": 0.4, "high": 0.6},
        }

    board = [
        row({"tokenizer": "a", "masking.probability": 0.5, "training.steps": 9}, 900),
        row({"tokenizer": "b", "masking.probability": 0.5, "training.steps": 9}, 800),
        row({"tokenizer": "a", "training.steps": 0}, 0),
    ]
    (curve,) = study.token_curves(board)
    assert [point["x"] for point in curve["points"]] == [0, 900]
    assert curve["settings"] == {"tokenizer": "a", "masking.probability": 0.5}


def test_a_configuration_without_a_study_has_no_variants(tmp_path: Path):
    config = read_config(BASE, "run.yaml")
    assert expand(config).variants == {}
    file = tmp_path / "configuration.json"
    file.write_text(json.dumps(config))
    with pytest.raises(InputError, match="no section 'study'"):
        study.main(file, [], [], [], [], None, [], None, tmp_path / "a.tsv", tmp_path / "a.json")


def test_what_is_stacked_with_a_variant_is_a_row_of_its_own(tmp_path: Path):
    value = {"value": 0.5, "low": 0.4, "high": 0.6}
    about = {
        "task": "toy",
        "problem": "single_label_classification",
        "name": "small",
        "kind": "stacked",
        "backbone": "stacked",
        "n": 1,
        "loss": value,
        "metrics": dict.fromkeys(("accuracy", "mcc", "auroc"), value),
    }
    metrics, table = tmp_path / "metrics.json", tmp_path / "predictions.tsv"
    metrics.write_text(json.dumps(about))
    table.write_text("id\tlabel\tprobability_0\tprobability_1\nx\t1\t0.2\t0.8\n")
    variants = expand(configured({"training.seed": [42, 1]})).variants
    assert "small" in variants
    stacked = study.read_entry(metrics, table, variants, {}, None, {})
    assert (stacked.settings, stacked.cost, stacked.kind) == ({}, {}, "stacked")
    alone = entry("small", stacked.right, {"training.steps": 5})
    rows = leaderboard([stacked, alone, entry("kmer", stacked.right, kind="baseline")], "kmer", 100, 1, 0.95)
    assert {row["kind"] for row in rows} == {"stacked", "model", "baseline"}
    assert row_name(next(row for row in rows if row["kind"] == "stacked")) == "stacked with small"


def test_metrics_that_are_none_or_lack_the_reference_are_refused(tmp_path: Path):
    configuration = tmp_path / "configuration.json"
    configuration.write_text(json.dumps(configured({"training.seed": [42, 1]})))
    table = tmp_path / "predictions.tsv"
    table.write_text("id\tlabel\tprobability_0\tprobability_1\nx\t1\t0.2\t0.8\n")
    metrics = tmp_path / "metrics.json"
    given = {
        "configuration": configuration,
        "metrics": [metrics],
        "predictions": [table],
        "models": [],
        "checks": [],
        "benchmarks": None,
        "telemetry": [],
        "settings": None,
        "output": tmp_path / "out.tsv",
        "output_json": tmp_path / "out.json",
    }
    metrics.write_text('{"task": "toy"}')
    with pytest.raises(InputError, match=r"metrics.json: not a metrics file by scripts/evaluate.py"):
        study.main(**given)
    value = {"value": 0.5, "low": 0.4, "high": 0.6}
    about = {
        "task": "toy",
        "problem": "single_label_classification",
        "name": "majority",
        "kind": "baseline",
        "backbone": None,
        "n": 1,
        "loss": value,
    }
    metrics.write_text(json.dumps(about | {"metrics": dict.fromkeys(("accuracy", "mcc", "auroc"), value)}))
    with pytest.raises(InputError, match=r"study\.reference is 'kmer', but no metrics of it on task toy"):
        study.main(**given)
    assert not list(tmp_path.glob("out.*"))


def test_fine_tuning_in_folds_costs_what_all_their_trainings_took(tmp_path: Path):
    """And embedding all sequences; not the job, which also predicts, nor the classifier put to use."""
    header = "s\tmax_rss\tcpu_time\n"
    for name, seconds, processor in (
        ("pretrain/small", 7200, 3600),
        ("embed/small/toy.test", 36, 18),
        ("embed/small/toy.train", 720, 360),
        ("embed/small/toy.validation", 72, 36),
        ("finetune/small/toy/frozen", 1080, 540),
        ("finetune/small/toy/full", 1800, 900),
        ("cross_validate/small/toy/frozen", 9999, 9999),
    ):
        file = tmp_path / f"{name}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{header}{seconds}\t500\t{processor}\n")
    small = expand(configured({"training.seed": [42, 1]})).variants["small"]
    took = [{"seconds": 18.0, "cpu_seconds": 9.0}, {"seconds": 36.0, "cpu_seconds": 27.0}]
    folds = {("small", "toy", "frozen"): took, ("small", "toy", "full"): took}
    pretraining = {"pretraining_hours": 2.0, "pretraining_cpu_hours": 1.0}
    for backbone, ordinary, crossed in (
        ("frozen", ((1080 + 720 + 72), (540 + 360 + 36)), (18 + 36 + 36, 9 + 27 + 18)),
        ("full", (1800, 900), (18 + 36, 9 + 27)),
    ):
        for given, (seconds, processor) in (({}, ordinary), (folds, crossed)):
            found = study.hours(tmp_path, small, "toy", backbone, given)
            assert found == pytest.approx(
                pretraining | {"finetuning_hours": seconds / 3600, "finetuning_cpu_hours": processor / 3600}
            )
    # Without benchmark files the folds still say theirs.
    alone = study.hours(None, small, "toy", "full", folds)
    assert alone["pretraining_hours"] is None and alone["finetuning_cpu_hours"] == pytest.approx(0.01)


def test_the_p_value_is_that_of_a_paired_t_test_and_counts_relatives_once():
    gain = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], 60, p=[0.1, 0.6, 0.3])
    assert paired_p(gain, unrelated(60)) == pytest.approx(ttest_1samp(gain, 0).pvalue)
    # Of copies nothing more is learned.
    copied = paired_p(np.repeat(gain, 3), np.repeat(np.arange(60), 3))
    assert copied == pytest.approx(paired_p(gain, unrelated(60)))
    assert paired_p(np.zeros(9), unrelated(9)) == paired_p(np.ones(5), np.zeros(5, dtype=int)) == 1
    assert paired_p(np.ones(5), unrelated(5)) == 0
