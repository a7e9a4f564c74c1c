"""What a comparison says of numbers that are made by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

import compare
from compare import (
    Predictor,
    answer,
    compare_pairs,
    difference,
    members_to_compare,
    predictor_row,
    write_table,
)
from dnalm.evaluate.predictions import Predictions
from dnalm.problems.kinds import KINDS
from dnalm.problems.names import REGRESSION, SINGLE_LABEL
from dnalm.running.errors import InputError

CLASSES = KINDS[SINGLE_LABEL]


def predictor(
    name: str,
    accuracy: float = 0.5,
    spread: float = 0.1,
    *,
    kind: str = "model",
    backbone: str | None = "full",
    n: int = 100,
    **report,
) -> Predictor:
    """A predictor whose metrics are all `accuracy`, with samples evenly `spread` around it."""
    samples = accuracy + np.linspace(-spread, spread, 101)
    value = {"value": accuracy, "low": None, "high": 0.75}
    measured = dict.fromkeys((*CLASSES.measures.names, "loss"), value)
    loss = measured.pop("loss")
    report = {
        "name": name,
        "kind": kind,
        "backbone": backbone,
        "n": n,
        "metrics": measured,
        "loss": loss,
    } | report
    names = CLASSES.differences
    return Predictor(report, dict.fromkeys(names, accuracy), dict.fromkeys(names, samples))


def fixed(name: str, accuracy: float, **report) -> Predictor:
    """A predictor that has the same accuracy in every sample."""
    return predictor(name, accuracy, spread=0.0, **report)


def asked(questions: list[dict]) -> list[tuple[str, str, str]]:
    return [(q["question"], q["predictor"], q["compared_with"]) for q in questions]


def test_a_difference_is_one_minus_the_other_sample_by_sample():
    found = difference(predictor("a", 0.8, 0.05), fixed("b", 0.7), "mcc", 0.8)
    assert found == pytest.approx({"value": 0.1, "low": 0.06, "high": 0.14, "sequences_to_settle": None})
    # Of two that go up and down together only the difference of the levels is left.
    paired = difference(predictor("a", 0.8), predictor("b", 0.7), "mcc", 0.8)
    assert (paired["low"], paired["high"]) == (pytest.approx(0.1), pytest.approx(0.1))


@pytest.mark.parametrize(
    ("value", "low", "high", "n", "needed"),
    [
        # Only the side that reaches beyond zero counts.
        (0.02, -0.02, 0.1, 100, 400),
        (-0.02, -0.1, 0.02, 100, 400),
        # An interval that ends at zero holds it: a few more than there are.
        (0.02, 0.0, 0.04, 100, 110),
        (-0.02, -0.04, 0.0, 100, 110),
        (-0.02, -0.04, -0.01, 100, None),
        (0.1, None, 0.2, 100, None),
        (0.1, -0.1, None, 100, None),
        # Two digits, rounded up; below 100 all of them.
        (0.1, -0.1, 0.3, 11, 44),
        (0.01, -0.02, 0.03, 137, 1300),
    ],
)
def test_how_many_sequences_would_settle_a_difference(value, low, high, n, needed):
    assert compare.sequences_to_settle({"value": value, "low": low, "high": high}, n) == needed


MORE_EPOCHS = "still improving when fine-tuning ended; with more epochs the difference may change."


@pytest.mark.parametrize(
    ("one", "other", "verdict", "words"),
    [
        (
            predictor("a", 0.8, 0.05),
            fixed("b", 0.7),
            "yes",
            "a/full is better than b/full (accuracy 0.800 against 0.700, "
            "difference +0.100, 80% interval +0.060 to +0.140).",
        ),
        (
            fixed("b", 0.7),
            predictor("a", 0.8, 0.05, still_improving=True),
            "no",
            "b/full is worse than a/full (accuracy 0.700 against 0.800, "
            "difference -0.100, 80% interval -0.140 to -0.060). a/full was " + MORE_EPOCHS,
        ),
        (
            predictor("a", 0.75, 0.125, still_improving=True),
            fixed("b", 0.7, still_improving=True),
            "cannot tell",
            "a/full and b/full cannot be told apart on this test split (accuracy 0.750 against 0.700, "
            "difference +0.050, 80% interval -0.050 to +0.150). About 400 tested sequences would settle it, "
            "if it stays as it is. a/full and b/full were " + MORE_EPOCHS,
        ),
        (
            fixed("a", 0.7, cross_validation={"folds": 5}),
            fixed("b", 0.7, cross_validation={"folds": 5}),
            "cannot tell",
            "a/full and b/full cannot be told apart in this cross-validation (accuracy 0.700 against 0.700, "
            "difference +0.000, 80% interval +0.000 to +0.000).",
        ),
        (
            fixed("a", float("nan")),
            fixed("b", 0.7),
            "cannot tell",
            "a/full and b/full cannot be told apart on this test split (accuracy nan against 0.700).",
        ),
        (
            fixed("a", 0.7),
            fixed("b", 0.7),
            "cannot tell",
            "a/full and b/full cannot be told apart on this test split (accuracy 0.700 against 0.700, "
            "difference +0.000, 80% interval +0.000 to +0.000).",
        ),
    ],
)
def test_answers_in_words(one, other, verdict, words):
    found = answer("does it help", one, other, "accuracy", 0.8)
    assert (found["answer"], found["words"]) == (verdict, words)
    assert found["question"] == "does it help"
    assert (found["predictor"], found["compared_with"]) == (one.name, other.name)


def test_questions_are_asked_of_the_same_backbone_and_of_the_leader():
    predictors = [
        predictor("m"),
        predictor("m", backbone="frozen"),
        predictor("m-untrained", kind="untrained"),
        predictor("m-published", kind="published", backbone="frozen"),
        predictor("other-untrained", kind="untrained"),
        predictor("kmer", kind="baseline", backbone=None),
        predictor("majority", kind="baseline", backbone=None),
        predictor("m", kind="combined", backbone="combined"),
    ]
    assert asked(compare_pairs(CLASSES, predictors[0], predictors, 0.9)) == [
        ("does pretraining help", "m/full", "m-untrained/full"),
        ("does adaptation help", "m/frozen", "m-published/frozen"),
        ("does the language model know what k-mers do not", "m/combined", "kmer"),
        ("does the model beat the baseline", "m/full", "kmer"),
        ("does the model beat the baseline", "m/full", "majority"),
    ]
    # Nobody is compared with itself, and without k-mers nothing is compared with them.
    without = [p for p in predictors if p.name != "kmer"]
    assert asked(compare_pairs(CLASSES, predictors[6], without, 0.9)) == [
        ("does pretraining help", "m/full", "m-untrained/full"),
        ("does adaptation help", "m/frozen", "m-published/frozen"),
    ]


@pytest.mark.parametrize(
    ("best", "expected"),
    [("lora", ["m/lora", "kmer", "cnn"]), ("cnn", ["cnn", "kmer"]), ("full", ["kmer", "cnn"])],
)
def test_what_is_stacked_is_compared_with_its_best_member_and_the_baselines(best, expected):
    """`m/full` is no longer there; `frozen` is there, but neither the best nor a baseline."""
    members = [{"name": name} for name in ("frozen", "lora", "kmer", "cnn", "full")]
    stacked = predictor(
        "m", kind="stacked", backbone="stacked", stacked={"best_single": best, "members": members}
    )
    others = [predictor("m", backbone=backbone) for backbone in ("frozen", "lora")]
    others += [predictor(name, kind="baseline", backbone=None) for name in ("kmer", "cnn", "majority")]
    assert [p.name for p in members_to_compare(stacked, [stacked, *others])] == expected
    questions = asked(compare_pairs(CLASSES, others[0], [stacked, *others], 0.9))
    assert [q for q in questions if q[0] == "does stacking help"] == [
        ("does stacking help", "m/stacked", name) for name in expected
    ]


def test_every_row_but_the_leaders_has_its_differences():
    leader, other = fixed("a", 0.8), fixed("b", 0.7, kind="untrained")
    row = predictor_row(CLASSES, leader, other, 0.9)
    assert row["predictor"] == "b/full" and row["kind"] == "untrained" and row["n"] == 100
    for name in CLASSES.differences:
        assert row[f"{name}_difference"]["value"] == pytest.approx(0.1)
        assert predictor_row(CLASSES, leader, leader, 0.9)[f"{name}_difference"] is None


@pytest.mark.parametrize("repeated", [False, True])
def test_the_table_leaves_empty_what_is_not_defined(tmp_path, repeated):
    leader, other = fixed("a", 0.8), fixed("kmer", 0.7, kind="baseline", backbone=None)
    rows = [predictor_row(CLASSES, leader, p, 0.9) for p in (leader, other)]
    group = {"name": "a", "backbone": "full", "seeds": [1, 2], "metrics": {"mcc": {"mean": 0.25, "sd": None}}}
    write_table(tmp_path / "t.tsv", "toy", CLASSES, rows, [group] if repeated else [])
    lines = [line.split("\t") for line in (tmp_path / "t.tsv").read_text().splitlines()]
    first, second = (dict(zip(lines[0], line, strict=True)) for line in lines[1:])
    assert len(lines) == 3 and first["task"] == "toy" and second["backbone"] == ""
    assert [first[f"accuracy{end}"] for end in ("", "_low", "_high")] == ["0.8", "", "0.75"]
    assert [first[f"mcc_difference{end}"] for end in ("", "_low", "_high")] == ["", "", ""]
    assert second["mcc_difference_low"] == "0.1"
    assert ("seeds" in first) is ("mcc_mean" in first) is ("loss_sd" in first) is repeated
    if repeated:
        assert (first["seeds"], first["mcc_mean"], first["mcc_sd"], first["accuracy_mean"]) == (
            "2",
            "0.25",
            "",
            "",
        )
        assert (second["seeds"], second["mcc_mean"]) == ("1", "")


def test_only_metrics_of_one_task_and_one_kind_are_compared(tmp_path):
    def written(name: str, task: str = "toy", problem: str = SINGLE_LABEL) -> Path:
        keys = {"task": task, "problem": problem, "name": name, "kind": "model"}
        (tmp_path / name).write_text(json.dumps(keys | {"backbone": None, "n": 1, "metrics": {}, "loss": {}}))
        return tmp_path / name

    assert [r["name"] for r in compare.read_reports([written("a"), written("b"), written("c")], "toy")] == [
        *"abc"
    ]
    with pytest.raises(InputError, match="x: metrics of task 'other', not of 'toy'"):
        compare.read_reports([written("a"), written("x", task="other")], "toy")
    with pytest.raises(InputError, match="x: metrics of the problem regression, those before of"):
        compare.read_reports([written("a"), written("b"), written("x", problem=REGRESSION)], "toy")
    with pytest.raises(InputError, match="same number of files"):
        compare.main("toy", [written("a")], [], [], "a", None, tmp_path / "t", tmp_path / "j")


@pytest.mark.parametrize("change", ["ids", "labels", "truth", "clusters"])
def test_predictions_of_other_sequences_are_refused(change):
    about = {"ids": ["s1", "s2"], "labels": ["a", "b"], "truth": np.array([0, 1])}
    about["clusters"] = np.array([0, 1])

    def predictions(**changes) -> Predictions:
        return Predictions(SINGLE_LABEL, written=[], outputs=np.zeros((2, 2)), **about | changes)

    compare.check_same_sequences(predictions(), predictions(), Path("a"), Path("b"))
    with pytest.raises(InputError, match="b: not the same test sequences, labels and order as a"):
        changed = predictions(**{change: about[change][::-1]})
        compare.check_same_sequences(predictions(), changed, Path("a"), Path("b"))
