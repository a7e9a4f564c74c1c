"""Evaluation and comparison: what the files say, that they agree, and what stops them."""

import csv
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from steps import evaluate_into

import compare
import evaluate
from dnalm.evaluate.predictions import read_predictions
from dnalm.evaluate.repetitions import group_repetitions
from dnalm.evaluate.settings import EvaluateSettings, StrandSettings
from dnalm.problems.kinds import KINDS
from dnalm.problems.names import SINGLE_LABEL
from dnalm.running.errors import InputError
from dnalm.running.files import write_json
from dnalm.sequences.labels import positive_class

RNG = np.random.default_rng


def write_majority(folder: Path, labels: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    shares = {label: (i + 1) / sum(range(len(labels) + 1)) for i, label in enumerate(labels)}
    write_json(
        folder / "baseline.json",
        {"baseline": "majority", "problem": SINGLE_LABEL, "labels": labels, "frequencies": shares},
    )
    return folder


def write_test(path: Path, labels: list[str], n: int = 40) -> Path:
    rows = [f"s{i}\t{'ACGT'[i % 4] * 5}\t{labels[i % len(labels)]}" for i in range(n)]
    path.write_text("id\tseq\tlabel\n" + "\n".join(rows) + "\n")
    return path


def run_evaluation(
    folder: Path,
    name: str,
    test: Path,
    predictor: Path,
    kind="baseline",
    backbone=None,
    positive=None,
    strands="both",
) -> Path:
    """Evaluate into folder/name; return that folder."""
    out = folder / name / (backbone or "")
    others = {"kind": kind, "name": name, "backbone": backbone, "positive": positive}
    others |= {"settings": EvaluateSettings(bootstrap_samples=200, seed=1)}
    return evaluate_into(out, predictor, test, strands=StrandSettings(strands=strands), **others)


@pytest.fixture
def pretended(monkeypatch):
    """Let `evaluate` take probabilities from a table instead of a model: name of the predictor -> array."""
    tables = {}

    def ask(name, sequences):
        # On either strand the same.
        return np.resize(tables[name], (len(sequences), 2))

    def load(directory, kind, batch_tokens, gpus, allow_cpu):
        return evaluate.Predictor(
            SINGLE_LABEL, ["0", "1"], lambda sequences: ask(directory.name, sequences), {}
        )

    monkeypatch.setattr(evaluate, "load_predictor", load)
    monkeypatch.setattr(evaluate, "count_unread", lambda *_: None)
    return tables


def right_with_probability(share: float, n: int, seed: int) -> np.ndarray:
    """Probabilities for labels 0, 1, 0, 1 … that are right for about `share` of the sequences."""
    generator = RNG(seed)
    truth = np.arange(n) % 2
    right = generator.random(n) < share
    certainty = generator.uniform(0.5, 1, n)
    of_one = np.where(right == (truth == 1), certainty, 1 - certainty)
    return np.stack([1 - of_one, of_one], axis=1)


@pytest.mark.parametrize("labels", [["0", "1"], ["2", "10", "x"]], ids=["two classes", "three classes"])
def test_files_of_an_evaluation(tmp_path, labels):
    test = write_test(tmp_path / "test.tsv", labels)
    out = run_evaluation(tmp_path, "majority", test, write_majority(tmp_path / "base", labels))
    report = json.loads((out / "metrics.json").read_text())
    assert (report["task"], report["name"], report["kind"], report["backbone"]) == (
        *("toy", "majority", "baseline"),
        None,
    )
    assert report["labels"] == labels and report["n"] == 40
    assert report["positive_label"] == ("1" if len(labels) == 2 else None)
    assert np.sum(report["confusion_matrix"]) == 40
    assert [sum(row) for row in report["confusion_matrix"]] == list(report["label_counts"].values())
    for found in (*report["metrics"].values(), report["loss"]):
        assert found["low"] <= found["value"] <= found["high"]
    assert report["metrics"]["auroc"]["value"] == 0.5

    table = pd.read_csv(out / "predictions.tsv", sep="\t", dtype={"label": str, "predicted": str})
    assert table["id"].tolist() == [f"s{i}" for i in range(40)]
    assert table["correct"].mean() == report["metrics"]["accuracy"]["value"]
    assert table["loss"].mean() == pytest.approx(report["loss"]["value"])
    assert list(table.columns[4:-3]) == [f"probability_{label}" for label in labels]
    curves = json.loads((out / "curves.json").read_text())
    assert curves["roc"]["fpr"][0] == 0 and curves["pr"]["recall"][-1] == 1


def test_nothing_depends_on_the_run(tmp_path):
    test, predictor = (
        write_test(tmp_path / "test.tsv", ["0", "1"]),
        write_majority(tmp_path / "b", ["0", "1"]),
    )
    first = run_evaluation(tmp_path / "one", "b", test, predictor)
    second = run_evaluation(tmp_path / "two", "b", test, predictor)
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes()


@pytest.mark.parametrize(
    ("positive", "expected", "because"),
    [
        (None, "enhancer", "since 'non-enhancer' reads as its absence"),
        ("non-enhancer", "non-enhancer", "as the task sheet says"),
    ],
)
def test_what_is_measured_is_about_the_positive_class(tmp_path, positive, expected, because):
    labels = ["enhancer", "non-enhancer"]
    test = write_test(tmp_path / "test.tsv", labels)
    # Always names the second class: its recall is 1, that of the first 0.
    predictor = write_majority(tmp_path / "b", labels)
    out = run_evaluation(tmp_path, "b", test, predictor, positive=positive)
    report, curves = (json.loads((out / file).read_text()) for file in ("metrics.json", "curves.json"))
    assert report["positive_label"] == curves["positive_label"] == report["labels"][-1] == expected
    assert report["positive_because"] == because
    assert report["metrics"]["recall"]["value"] == (expected == "non-enhancer")
    assert report["confusion_matrix"] == ([[0, 20], [0, 20]] if positive else [[20, 0], [20, 0]])
    predictions = read_predictions(out / "predictions.tsv", SINGLE_LABEL)
    assert predictions.labels == report["labels"]
    assert predictions.outputs[:, -1] == pytest.approx(1 / 3 if expected == "enhancer" else 2 / 3)


@pytest.mark.parametrize(
    ("labels", "positive"),
    [
        (["0", "1"], "1"),
        (["bound", "unbound"], "bound"),
        (["coding", "non_coding"], "coding"),
        (["no", "yes"], "yes"),
        (["Control", "case"], "case"),
        (["promoter", "random"], "promoter"),
        (["negative", "other"], "other"),
        (["A", "B"], "B"),
        (["a", "b", "none"], None),
    ],
)
def test_the_usual_positive_class(labels, positive):
    assert positive_class(labels)[0] == positive


@pytest.mark.parametrize(
    ("labels", "chosen", "reason"),
    [
        (["no", "yes"], None, "since 'no' reads as its absence"),
        (["promoter", "random"], None, "since 'random' reads as its absence"),
        (["negative", "other"], None, "the last in order"),
        (["no", "yes"], "no", "as the task sheet says"),
    ],
)
def test_why_a_class_is_the_positive_one(labels, chosen, reason):
    assert positive_class(labels, chosen)[1] == reason


@pytest.mark.parametrize(
    ("labels", "chosen", "message"),
    [
        (["enhancer", "other"], "enhanser", "Did you mean enhancer?"),
        (["a", "b", "c"], "a", "3 classes"),
    ],
)
def test_a_positive_class_that_cannot_be(labels, chosen, message):
    with pytest.raises(InputError, match="task sheet") as error:
        positive_class(labels, chosen)
    assert message in str(error.value)


def test_unknown_label_and_missing_predictor(tmp_path):
    test = write_test(tmp_path / "test.tsv", ["0", "3"])
    predictor = write_majority(tmp_path / "b", ["0", "1"])
    with pytest.raises(
        InputError, match=r"test.tsv: label '3' is unknown; the predictor was trained on '0', '1'"
    ):
        run_evaluation(tmp_path, "b", test, predictor)
    with pytest.raises(InputError, match="nowhere: no such directory"):
        run_evaluation(tmp_path, "b", test, tmp_path / "nowhere")
    assert not list(tmp_path.rglob("metrics.json"))


def run_comparison(folder: Path, outs: list[Path], reference: str, repetitions: Sequence[Path] = ()) -> dict:
    compare.main(
        task="toy",
        metrics=[out / "metrics.json" for out in outs],
        predictions=[out / "predictions.tsv" for out in outs],
        repetitions=[out / "metrics.json" for out in repetitions],
        reference=reference,
        settings=EvaluateSettings(bootstrap_samples=200, seed=1),
        output=folder / "comparison.tsv",
        output_json=folder / "comparison.json",
    )
    return json.loads((folder / "comparison.json").read_text())


def test_comparison_answers_only_what_it_can(tmp_path, pretended):
    n = 400
    test = write_test(tmp_path / "test.tsv", ["0", "1"], n)
    good = right_with_probability(0.9, n, 1)
    pretended |= {"demo": good, "demo-untrained": right_with_probability(0.7, n, 2)}
    almost = good.copy()
    almost[:3] = almost[:3, ::-1]
    pretended |= {"kmer": almost, "majority": np.tile([0.51, 0.49], (n, 1))}
    outs = [
        run_evaluation(tmp_path, "demo", test, Path("demo"), "model", "frozen"),
        run_evaluation(tmp_path, "demo-untrained", test, Path("demo-untrained"), "untrained", "frozen"),
        run_evaluation(tmp_path, "kmer", test, Path("kmer")),
        run_evaluation(tmp_path, "majority", test, Path("majority")),
    ]
    found = run_comparison(tmp_path, outs, "demo/frozen")
    answers = {(q["predictor"], q["compared_with"]): q["answer"] for q in found["questions"]}
    assert answers == {
        ("demo/frozen", "demo-untrained/frozen"): "yes",
        ("demo/frozen", "kmer"): "cannot tell",
        ("demo/frozen", "majority"): "yes",
    }
    unsettled = next(q["words"] for q in found["questions"] if q["answer"] == "cannot tell")
    assert "tested sequences would settle it" in unsettled
    # Values and differences agree with the metrics; a paired difference of 3 sequences is well determined.
    rows = {row["predictor"]: row for row in found["predictors"]}
    assert rows["demo/frozen"]["accuracy_difference"] is None
    paired = rows["kmer"]["accuracy_difference"]
    accuracies = [rows[name]["metrics"]["accuracy"] for name in ("demo/frozen", "kmer")]
    assert paired["value"] == pytest.approx(accuracies[0]["value"] - accuracies[1]["value"])
    assert paired["high"] - paired["low"] < 0.03 < accuracies[0]["high"] - accuracies[0]["low"]

    with open(tmp_path / "comparison.tsv") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    assert [row["predictor"] for row in table] == [
        *("demo/frozen", "demo-untrained/frozen"),
        *("kmer", "majority"),
    ]
    assert float(table[0]["accuracy"]) == accuracies[0]["value"]
    assert table[0]["accuracy_difference"] == "" and float(table[2]["mcc_difference_low"]) < 0.03

    # The other way round the answer is no.
    swapped = [(out / "metrics.json").read_text() for out in outs[:2]]
    for out, text, name in zip(outs[:2], reversed(swapped), ("demo", "demo-untrained"), strict=True):
        kind = "model" if name == "demo" else "untrained"
        (out / "metrics.json").write_text(json.dumps(json.loads(text) | {"name": name, "kind": kind}))
    tables = [(out / "predictions.tsv").read_bytes() for out in outs[:2]]
    for out, content in zip(outs[:2], reversed(tables), strict=True):
        (out / "predictions.tsv").write_bytes(content)
    assert run_comparison(tmp_path, outs, "demo/frozen")["questions"][0]["answer"] == "no"


def test_mean_and_spread_over_seeds(tmp_path, pretended):
    test = write_test(tmp_path / "test.tsv", ["0", "1"], 100)
    outs = []
    for name, seed in (("demo", 7), ("demo", 8), ("demo", 9), ("kmer", None)):
        pretended[f"{name}{seed}"] = right_with_probability(0.8, 100, seed or 1)
        if seed:
            kept = {"settings": {"seed": seed}, "kept": {"still_improving": False}}
            (tmp_path / f"{name}{seed}").mkdir()
            (tmp_path / f"{name}{seed}" / "finetuning_summary.json").write_text(json.dumps(kept))
        kind = ("model", "lora") if seed else ("baseline", None)
        (tmp_path / f"run{seed}").mkdir()
        outs.append(run_evaluation(tmp_path / f"run{seed}", name, test, tmp_path / f"{name}{seed}", *kind))
    found = run_comparison(tmp_path, [outs[0], outs[3]], "demo/lora", outs[1:3])
    values = [json.loads((out / "metrics.json").read_text())["metrics"]["accuracy"]["value"] for out in outs]
    (group,) = found["repetitions"]
    assert group["seeds"] == [7, 8, 9] and group["metrics"]["accuracy"]["values"] == values[:3]
    assert group["metrics"]["accuracy"]["mean"] == pytest.approx(statistics.mean(values[:3]))
    assert group["metrics"]["accuracy"]["sd"] == pytest.approx(statistics.stdev(values[:3]))
    assert found["predictors"][0]["metrics"]["accuracy"]["value"] == values[0], "the first seed leads"
    with open(tmp_path / "comparison.tsv") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    assert [row["seeds"] for row in table] == ["3", "1"] and table[1]["accuracy_sd"] == ""
    assert float(table[0]["accuracy_mean"]) == pytest.approx(group["metrics"]["accuracy"]["mean"], abs=1e-6)
    with pytest.raises(InputError, match="demo/lora has the seed 8 twice"):
        run_comparison(tmp_path, outs[:1], "demo/lora", [outs[1], outs[1]])


def seeded(name: str, seed: int | None, accuracy: float | None) -> dict:
    """What of a metrics.json says how a training with this seed came out."""
    about = {"name": name, "kind": "model", "backbone": "full", "seed": seed}
    return about | {"metrics": {"accuracy": {"value": accuracy}}, "loss": {"value": 0.5}}


def test_two_seeds_are_enough_for_a_spread_and_one_is_not():
    reports = [seeded("a", 1, 0.6), seeded("b", 1, 0.7)]
    assert group_repetitions(reports, []) == []
    (group,) = group_repetitions(reports, [seeded("a", 2, 0.8)])
    assert (group["name"], group["seeds"]) == ("a", [1, 2])
    accuracy = group["metrics"]["accuracy"]
    # Of two values (n - 1): their distance by the root of two.
    assert accuracy["sd"] == pytest.approx(0.2 / np.sqrt(2)) and accuracy["mean"] == pytest.approx(0.7)
    assert (accuracy["low"], accuracy["high"], accuracy["values"]) == (0.6, 0.8, [0.6, 0.8])
    # What was not defined once has no mean.
    (group,) = group_repetitions(reports, [seeded("a", 2, None)])
    assert list(group["metrics"]) == ["loss"]
    with pytest.raises(InputError, match="c/full is not among --metrics"):
        group_repetitions(reports, [seeded("c", 2, 0.8)])


def test_predictions_are_read_back_exactly(tmp_path, pretended):
    test = write_test(tmp_path / "test.tsv", ["0", "1"])
    pretended["m"] = right_with_probability(0.8, 40, 5)
    out = run_evaluation(tmp_path, "m", test, Path("m"), "model", "full")
    found = read_predictions(out / "predictions.tsv", SINGLE_LABEL)
    report = json.loads((out / "metrics.json").read_text())
    again = evaluate.measure_predictions(
        KINDS[SINGLE_LABEL],
        found.truth,
        found.outputs,
        found.clusters,
        found.labels,
        None,
        EvaluateSettings(bootstrap_samples=200, seed=1),
    )
    assert again["metrics"] == report["metrics"] and again["loss"] == report["loss"]


@pytest.mark.parametrize("unfinished", [False, True])
def test_a_classifier_that_was_still_improving_qualifies_the_comparison(tmp_path, pretended, unfinished):
    test = write_test(tmp_path / "test.tsv", ["0", "1"])
    outs = []
    for name, kind in (("m", "model"), ("m-untrained", "untrained")):
        pretended[name] = right_with_probability(0.8, 40, 5)
        (tmp_path / name).mkdir()
        summary = {"settings": {"seed": 1}, "kept": {"still_improving": unfinished and kind == "untrained"}}
        (tmp_path / name / "finetuning_summary.json").write_text(json.dumps(summary))
        outs.append(run_evaluation(tmp_path, name, test, tmp_path / name, kind, "full"))
    (question,) = run_comparison(tmp_path, outs, "m/full")["questions"]
    assert question["still_improving"] == (["m-untrained/full"] if unfinished else [])
    assert ("more epochs" in question["words"]) is unfinished


def test_comparison_refuses_other_sequences(tmp_path, pretended):
    pretended |= {"a": right_with_probability(0.8, 40, 1), "b": right_with_probability(0.8, 30, 1)}
    first = run_evaluation(tmp_path, "a", write_test(tmp_path / "one.tsv", ["0", "1"], 40), Path("a"))
    second = run_evaluation(tmp_path, "b", write_test(tmp_path / "two.tsv", ["0", "1"], 30), Path("b"))
    with pytest.raises(InputError, match="not the same test sequences"):
        run_comparison(tmp_path, [first, second], "a")
    with pytest.raises(InputError, match=r"--reference c: no such predictor\. There are a, b"):
        run_comparison(tmp_path, [first, second], "c")
    with pytest.raises(InputError, match="two predictors are called a"):
        run_comparison(tmp_path, [first, first], "a")


def test_the_script_fails_in_one_line_and_leaves_nothing(repository, tmp_path):
    test = write_test(tmp_path / "test.tsv", ["0", "1"])
    predictor = write_majority(tmp_path / "b", ["0", "1"])
    outputs = [f"--{name}={tmp_path / name}" for name in ("metrics", "predictions", "curves")]
    script = [sys.executable, str(repository / "scripts" / "evaluate.py"), "--task=toy", "--name=b"]
    flags = ["--kind=baseline", f"--predictor={predictor}", f"--test={test}", *outputs]
    result = subprocess.run([*script, *flags, "--confidence=95"], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == "error: --confidence is 95, but must be less than 1.\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "test.tsv"]
    done = subprocess.run([*script, *flags], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.startswith("toy, b: test accuracy 0.500 (95% interval 0.")


@pytest.mark.parametrize(
    ("value", "low", "high", "n", "needed"),
    [
        (0.02, -0.02, 0.06, 100, 400),
        (-0.01, -0.03, 0.01, 100, 400),
        (0.02, 0.01, 0.03, 100, None),
        (0.0, -0.1, 0.1, 100, None),
        (None, None, None, 100, None),
        (0.001, -0.05, 0.052, 600, 1_600_000),
        # An interval that ends at zero: not settled by as many again.
        (0.02, 0.0, 0.04, 1000, 1100),
        (-0.02, -0.04, 0.0, 568, 570),
    ],
)
def test_how_many_sequences_would_settle_a_difference(value, low, high, n, needed):
    assert compare.sequences_to_settle({"value": value, "low": low, "high": high}, n) == needed


def test_related_sequences_widen_the_intervals_of_metrics_and_of_differences(tmp_path, pretended):
    """Eight clusters of five, each judged alike; a table without the column takes them for independent."""
    rows = write_test(tmp_path / "test.tsv", ["0", "1"]).read_text().splitlines()
    related = tmp_path / "related.tsv"
    cells = [f"{row}\t{'cluster' if i == 0 else f'family {(i - 1) // 5}'}" for i, row in enumerate(rows)]
    related.write_text("\n".join(cells) + "\n")
    truth, cluster = np.arange(40) % 2, np.arange(40) // 5
    for name, wrong in (("m", {0, 1}), ("n", {1, 2, 3})):
        right = ~np.isin(cluster, list(wrong))
        of_one = np.where(right == (truth == 1), 0.9, 0.1)
        pretended[name] = np.stack([1 - of_one, of_one], axis=1)
    widths: dict[str, list[float]] = {}
    for test in (tmp_path / "test.tsv", related):
        outs = [run_evaluation(tmp_path / test.stem, name, test, Path(name), "model") for name in "mn"]
        report = json.loads((outs[0] / "metrics.json").read_text())
        assert report["bootstrap"]["clusters"] == (8 if test == related else 40)
        table = read_predictions(outs[0] / "predictions.tsv", SINGLE_LABEL)
        assert len(set(table.clusters)) == report["bootstrap"]["clusters"]
        compare.main(
            "toy",
            [out / "metrics.json" for out in outs],
            [out / "predictions.tsv" for out in outs],
            [],
            "m",
            EvaluateSettings(bootstrap_samples=200, seed=1),
            tmp_path / "comparison.tsv",
            tmp_path / "comparison.json",
        )
        compared = json.loads((tmp_path / "comparison.json").read_text())
        difference = compared["predictors"][1]["accuracy_difference"]
        for name, found in (("accuracy", report["metrics"]["accuracy"]), ("difference", difference)):
            widths.setdefault(name, []).append(found["high"] - found["low"])
    for name, (alone, together) in widths.items():
        assert together > 1.5 * alone, name
