"""Stacked predictors: what the regression promises, and a directory that predicts from sequences."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn import metrics as sk
from sklearn.model_selection import PredefinedSplit
from steps import evaluate_into

import baseline
import baseline_cnn
import compare
import stack
from dnalm.baseline.settings import KmerSettings
from dnalm.baseline_cnn.settings import CnnSettings
from dnalm.evaluate.settings import EvaluateSettings, StrandSettings
from dnalm.problems.metrics import losses
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_directory
from dnalm.sequences.tables import read_labelled_table
from dnalm.stack.predictor import StackedClassifier, open_member
from dnalm.stack.regression import PENALTIES, assign_folds, choose_penalty, fit_stacked


def draw_members(n: int, seed: int = 0, n_classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A good predictor, one that is good elsewhere, and one that guesses; and the truth."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, n_classes, n)
    wanted = np.eye(n_classes)[truth]
    known = generator.integers(0, 2, n)[:, None]
    guess = generator.dirichlet(np.ones(n_classes), n)
    members = np.stack([0.8 * known * wanted, 0.8 * (1 - known) * wanted, 0 * wanted]) + 0.2 / n_classes
    members[2] = guess
    return members / members.sum(axis=2, keepdims=True), truth


@pytest.mark.parametrize("n_classes", [2, 3])
def test_predictors_that_know_different_things_are_better_together(n_classes):
    (members, truth), (others, unseen) = draw_members(300, 0, n_classes), draw_members(300, 1, n_classes)
    fitted = fit_stacked(members, truth, 0.001)
    alone = [float(losses(unseen, member).mean()) for member in others]
    assert float(losses(unseen, fitted.probabilities(others)).mean()) < 0.8 * min(alone)
    assert fitted.weights[2] < 0.1 * min(fitted.weights[:2])


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(2, 4), st.sampled_from(PENALTIES))
def test_weights_are_not_negative_and_probabilities_sum_to_one(n, n_classes, penalty):
    members, truth = draw_members(n, n, n_classes)
    fitted = fit_stacked(members, truth, penalty)
    assert (fitted.weights >= 0).all()
    assert np.allclose(fitted.probabilities(members).sum(axis=1), 1)


def test_a_strong_penalty_leaves_the_mean_of_the_log_probabilities():
    members, truth = draw_members(50)
    fitted = fit_stacked(members, truth, 1e6)
    mean = np.exp(np.log(members).mean(axis=0))
    assert np.allclose(fitted.probabilities(members), mean / mean.sum(axis=1, keepdims=True), atol=1e-4)


def test_the_penalty_is_chosen_by_folds_that_depend_on_the_sequences_alone():
    members, truth = draw_members(60)
    sequences = [f"{i:06b}".replace("0", "A").replace("1", "C") for i in range(60)]
    chosen, tried = choose_penalty(members, truth, sequences)
    assert [result["penalty"] for result in tried] == list(PENALTIES)
    assert chosen == min(tried, key=lambda result: result["loss"])["penalty"]
    turned = choose_penalty(members[:, ::-1], truth[::-1], sequences[::-1])
    assert turned[0] == chosen
    folds = assign_folds([*sequences, *sequences])
    assert (folds[:60] == folds[60:]).all() and set(np.bincount(folds)) == {24}


def test_what_is_tried_is_judged_by_sequences_that_it_did_not_learn_from():
    members, truth = draw_members(40, n_classes=3)
    sequences = [f"{i:06b}" for i in range(40)]
    folds = assign_folds(sequences)
    for tried in choose_penalty(members, truth, sequences)[1][::4]:
        said = np.empty((40, 3))
        for others, inside in PredefinedSplit(folds).split():
            fitted = fit_stacked(members[:, others], truth[others], tried["penalty"])
            said[inside] = fitted.probabilities(members[:, inside])
        assert tried["loss"] == pytest.approx(sk.log_loss(truth, said), abs=1e-6)
        assert tried["accuracy"] == sk.accuracy_score(truth, said.argmax(axis=1))


@pytest.mark.parametrize(("n_classes", "penalty"), [(2, 0.3), (3, 0.01), (3, 3.0)])
def test_the_fit_has_the_lowest_penalised_loss(n_classes, penalty):
    """By SciPy with slopes of its own; the penalty is half the squared distance from the mean of members."""
    members, truth = draw_members(50, n_classes=n_classes)
    n_members = len(members)

    def penalised(parameters: np.ndarray) -> float:
        weights, intercepts = np.split(parameters, [n_members])
        scores = np.tensordot(weights, np.log(members), axes=1) + intercepts
        distance = np.sum((weights - 1 / n_members) ** 2) + np.sum(intercepts**2)
        return -log_softmax(scores, axis=1)[np.arange(50), truth].mean() + penalty / 2 * distance

    bounds = [(0, None)] * n_members + [(None, None)] * n_classes
    expected = minimize(penalised, np.full(n_members + n_classes, 0.3), bounds=bounds, tol=1e-12)
    found = fit_stacked(members, truth, penalty)
    assert np.append(found.weights, found.intercepts) == pytest.approx(expected.x, abs=2e-3)


def test_too_few_sequences_are_not_divided():
    members, truth = draw_members(9)
    assert choose_penalty(members, truth, list("ABCDEFGHI")) == (PENALTIES[0], [])
    assert choose_penalty(*draw_members(10), list("ABCDEFGHIJ"))[1]


def write_task(folder: Path, labels: list[str], n: int) -> dict[str, Path]:
    """Three splits of 60-bp sequences; those of the first label hold a word."""
    generator = np.random.default_rng(0)
    paths = {split: folder / f"{split}.tsv" for split in ("train", "validation", "test")}
    for split, path in paths.items():
        lines = ["id\tseq\tlabel"]
        for i in range(n):
            bases = "".join(generator.choice(list("ACGT"), 60))
            bases = bases[:20] + "GATTACA" + bases[27:] if i % 2 else bases
            lines.append(f"{split}_{i}\t{bases}\t{labels[(i + 1) % 2]}")
        path.write_text("\n".join(lines) + "\n")
    return paths


@pytest.fixture(scope="module")
def stacked(tmp_path_factory):
    """k-mers and a network on one task, stacked and evaluated; the folder and the paths of the splits."""
    folder = tmp_path_factory.mktemp("stacked")
    paths = write_task(folder, ["a", "b"], 60)
    splits = {key: paths[key] for key in ("train", "validation")}
    kmer, cnn = folder / "kmer/t", folder / "cnn/t"
    kmer.parent.mkdir()
    cnn.parent.mkdir()
    kmers, network = KmerSettings(kmer_lengths=(3,)), CnnSettings(cnn_epochs=2, cnn_filters=8)
    baseline.main("kmer", "t", **splits, settings=kmers, output=kmer, summary=folder / "k.json")
    baseline_cnn.main(
        "cnn",
        "t",
        **splits,
        settings=network,
        strands=StrandSettings(),
        output=cnn,
        summary=folder / "c.json",
    )
    stack.main(
        "small", "t", [kmer, cnn], paths["validation"], None, 0, True, folder / "stacked", folder / "s.json"
    )
    predictors = {"kmer": kmer, "cnn": cnn, "small": folder / "stacked"}
    for name, predictor in predictors.items():
        kind = "stacked" if name == "small" else "baseline"
        others = {"kind": kind, "name": name, "backbone": "stacked" if kind == "stacked" else None}
        others |= {"task": "t", "validation": paths["validation"], "batch_tokens": None, "allow_cpu": True}
        evaluate_into(folder / name / "judged", predictor, paths["test"], **others)
    return folder, paths


def test_a_directory_predicts_as_its_members_say(stacked):
    folder, paths = stacked
    about = json.loads((folder / "stacked/stacked.json").read_text())
    assert [member["name"] for member in about["members"]] == ["kmer", "cnn"]
    assert about["n_validation"] == 60
    assert about["best_single"] == min(about["members"], key=lambda member: member["loss"])["name"]
    model = StackedClassifier(folder / "stacked")
    sequences = ["GATTACA" * 8, "CCGGAAT" * 8]
    read = np.stack([member.probabilities(sequences, None, model.labels) for member in model.members])
    logs = np.tensordot([member["weight"] for member in about["members"]], np.log(read), axes=1)
    expected = np.exp(logs + about["intercepts"])
    told: list[int] = []
    outputs = model.outputs(sequences, on_read=told.append)
    assert np.allclose(outputs, expected / expected.sum(axis=1, keepdims=True))
    assert sum(told) == model.readers * len(sequences), "each member says what it has read"
    validation = read_labelled_table(paths["validation"])
    for member, said in zip(model.members, about["members"], strict=True):
        probabilities = member.probabilities(validation["seq"].tolist(), None, ["a", "b"])
        assert said["loss"] == pytest.approx(sk.log_loss(validation["label"], probabilities), abs=1e-5)
        called = np.where(probabilities[:, 0] > 0.5, "a", "b")
        assert said["accuracy"] == sk.accuracy_score(validation["label"], called)
        turned = member.probabilities(sequences, None, ["b", "a"])
        assert np.allclose(turned[:, ::-1], member.probabilities(sequences, None, ["a", "b"]))


def test_it_is_compared_with_the_best_single_predictor_and_the_baselines(stacked):
    folder, _ = stacked
    names = ("small", "kmer", "cnn")
    compare.main(
        "t",
        [folder / name / "judged/metrics.json" for name in names],
        [folder / name / "judged/predictions.tsv" for name in names],
        [],
        "small/stacked",
        EvaluateSettings(bootstrap_samples=100),
        folder / "comparison.tsv",
        folder / "comparison.json",
    )
    questions = json.loads((folder / "comparison.json").read_text())["questions"]
    asked = [q for q in questions if q["question"] == "does stacking help"]
    best = json.loads((folder / "s.json").read_text())["best_single"]
    assert asked[0]["compared_with"] == best
    assert sorted(q["compared_with"] for q in asked) == ["cnn", "kmer"]
    assert all(q["predictor"] == "small/stacked" for q in asked)


def test_members_of_other_classes_are_refused(stacked, tmp_path):
    folder, _ = stacked
    paths = write_task(tmp_path, ["x", "y"], 20)
    other = tmp_path / "majority/t"
    other.parent.mkdir()
    baseline.main(
        "majority", "t", paths["train"], paths["validation"], KmerSettings(), other, tmp_path / "m.json"
    )
    with pytest.raises(InputError, match=r"its classes are \['x', 'y'\], those of .*kmer/t are \['a', 'b'\]"):
        stack.main(
            "small",
            "t",
            [folder / "kmer/t", other],
            paths["validation"],
            None,
            0,
            True,
            tmp_path / "stacked",
            tmp_path / "s.json",
        )


@pytest.mark.parametrize("member", ["kmer", "cnn"])
def test_a_member_that_was_cut_short_is_named(stacked, tmp_path, member):
    folder, _ = stacked
    damaged = shutil.copytree(folder / member / "t", tmp_path / "damaged")
    weights = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match="damaged: not a complete baseline directory"):
        open_member(damaged)


@pytest.mark.parametrize("mine", [True, False])
def test_members_of_a_colleague_are_copied_and_keep_their_rights(tmp_path, monkeypatch, mine):
    """Results that a group shares: nobody may set the rights of another one's file."""
    member, mode = tmp_path / "model.safetensors", 0o640
    member.write_bytes(b"weights")
    member.chmod(mode)
    if not mine:
        owner = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with atomic_directory(tmp_path / "stacked") as folder:
        stack.link_or_copy(str(member), str(folder / member.name))
    there = tmp_path / "stacked" / member.name
    assert there.read_bytes() == b"weights" and there.samefile(member) == mine
    assert mine or member.stat().st_mode & 0o777 == mode
