"""Cross-validation: what is measured is what every fold says of the sequences that it has not seen."""

import json
import os
import shlex
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from steps import embed_into

import baseline
import cross_validate
import evaluate
import prepare_task
import stack
from dnalm.baseline.settings import KmerSettings
from dnalm.evaluate.calibration import calibration_over_folds, fit
from dnalm.evaluate.predictions import nine_digits, read_predictions
from dnalm.evaluate.settings import EvaluateSettings, StrandSettings
from dnalm.finetune import training as finetuning
from dnalm.prepare_task.folds import read_roles
from dnalm.prepare_task.settings import FoldSettings, PrepareTaskSettings
from dnalm.problems.kinds import KINDS
from dnalm.problems.names import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from dnalm.running.checkpointer import Checkpointer
from dnalm.running.errors import InputError, Interrupted
from dnalm.running.files import sha256_of_directory
from dnalm.sequences.strands import reverse_complement
from dnalm.sequences.tables import read_labelled_table, write_labelled_table

SETTINGS = EvaluateSettings(bootstrap_samples=100)
FOLDS = 3
SPLITS = "--train {fold}/train.tsv --validation {fold}/validation.tsv"
PREDICTOR = "--output {fold}/predictor --summary {fold}/predictor.json"
KMER = f"baseline --baseline kmer --task toy {SPLITS} --kmer-lengths 2"


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """36 sequences of two classes that letters tell apart, in three folds."""
    generator = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("task") / "test.tsv"
    roles = ["test", "validation", "train"]
    with open(path, "w") as file:
        file.write("id\tseq\tlabel\tfold_1\tfold_2\tfold_3\n")
        for i in range(36):
            label = "ab"[i % 2]
            sequence = "".join(generator.choice(list({"a": "AATGC", "b": "GGCAT"}[label]), 40))
            of = [roles[(i // 2 + fold) % FOLDS] for fold in range(FOLDS)]
            file.write("\t".join([f"s{i}", sequence, label, *of]) + "\n")
    return path


def run(folder: Path, table: Path, training: str, kind="baseline", **other) -> tuple[dict, Path]:
    """Cross-validate; metrics.json and the folder of all three files."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {
        "embeddings": None,
        "name": "kmer",
        "backbone": None,
        "problem": SINGLE_LABEL,
        "strands": StrandSettings(),
        "settings": SETTINGS,
        "checkpoints": folder.with_name("checkpoints"),
        "stop_before_minutes": 5,
    }
    cross_validate.main(
        sequences=table,
        training=shlex.split(training),
        kind=kind,
        task="toy",
        positive=None,
        batch_tokens=None,
        gpus=0,
        allow_cpu=False,
        metrics=folder / "metrics.json",
        predictions=folder / "predictions.tsv",
        curves=folder / "curves.json",
        **(given | other),
    )
    assert sorted(path.name for path in folder.iterdir()) == [
        "curves.json",
        "metrics.json",
        "predictions.tsv",
    ]
    return json.loads((folder / "metrics.json").read_text()), folder


def test_each_sequence_is_predicted_by_the_training_that_left_it_out(tmp_path, table):
    report, folder = run(tmp_path / "out", table, f"{KMER} {PREDICTOR}")
    found = read_predictions(folder / "predictions.tsv", SINGLE_LABEL)
    rows = read_labelled_table(table)
    assert found.ids == rows["id"].tolist()
    fitted = []
    for fold, roles in read_roles(table).items():
        by_hand = tmp_path / fold
        by_hand.mkdir()
        for split in ("train", "validation"):
            write_labelled_table(by_hand / f"{split}.tsv", rows[roles == split])
        baseline.main(
            baseline="kmer",
            task="toy",
            train=by_hand / "train.tsv",
            validation=by_hand / "validation.tsv",
            settings=KmerSettings(kmer_lengths=(2,)),
            output=by_hand / "predictor",
            summary=by_hand / "predictor.json",
        )
        predictor = evaluate.load_predictor(by_hand / "predictor", "baseline", None, 0, False)
        predictor = evaluate.reading_strands(predictor, "both")
        outputs = predictor.outputs(rows["seq"][roles == "test"].tolist())
        assert np.allclose(found.outputs[roles == "test"], outputs, rtol=1e-8)
        held_out = nine_digits(predictor.outputs(rows["seq"][roles == "validation"].tolist()))
        fitted.append(fit(found.truth[roles == "validation"], held_out))
    # Metrics are those of all predictions together.
    again = evaluate.measure_predictions(
        KINDS[SINGLE_LABEL], found.truth, found.outputs, found.clusters, found.labels, None, SETTINGS
    )
    assert again.items() <= report.items() and report["n"] == 36
    over_folds = report["cross_validation"]
    assert over_folds["sequences"] == [12, 12, 12]
    accuracies = [
        float((found.outputs.argmax(axis=1) == found.truth)[roles == "test"].mean())
        for roles in read_roles(table).values()
    ]
    accuracy = over_folds["metrics"]["accuracy"]
    assert accuracy["values"] == accuracies and accuracy["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    # Temperature and threshold come from each fold's own validation sequences.
    left_out_of = np.argmax([roles == "test" for roles in read_roles(table).values()], axis=0)
    assert report["calibration"] == calibration_over_folds(
        found.truth, found.outputs, fitted, left_out_of, SETTINGS.confidence
    )
    assert report["calibration"]["by_fold"]["n_validation"] == [12, 12, 12]
    # Of folds of one size the mean is the whole.
    assert accuracy["mean"] == pytest.approx(report["metrics"]["accuracy"]["value"])
    assert accuracy["mean"] > 0.7


def test_a_head_on_embeddings_and_one_beside_k_mers(tmp_path, table, tiny_model):
    vectors = embed_into(tmp_path, tiny_model, {"test": table})["test"]
    model = f"--name tiny --task toy --model {shlex.quote(str(tiny_model))}"
    read = "--train-embeddings {fold}/train.npz --validation-embeddings {fold}/validation.npz"
    head = (
        f"finetune {model} --train-sequences {{fold}}/train.tsv "
        f"--validation-sequences {{fold}}/validation.tsv {read} --epochs 3 --seed 7 {PREDICTOR}"
    )
    about = {"embeddings": vectors, "name": "tiny", "backbone": "frozen"}
    frozen, _ = run(tmp_path / "frozen", table, head, "model", **about)
    assert frozen["seed"] == 7 and frozen["cut"]["cut"] == 0
    assert frozen["calibration"]["n_validation"] == 12
    # Who trains before leaves no trace, and what it took is kept apart.
    telemetry = tmp_path / "telemetry.json"
    training = f"{KMER} {PREDICTOR.replace('predictor', 'kmer')} ::: {head}"
    again, _ = run(tmp_path / "again", table, training, "model", telemetry=telemetry, **about)
    assert again == frozen
    took = json.loads(telemetry.read_text())
    assert (took["model"], took["task"], took["backbone"]) == ("tiny", "toy", "frozen")
    assert len(took["folds"]) == FOLDS
    assert all(fold["seconds"] > 0 and fold["cpu_seconds"] > 0 for fold in took["folds"])
    kmer = "--output {fold}/kmer --summary {fold}/kmer.json"
    combined = f"{KMER} {kmer} ::: combine {model} --kmer {{fold}}/kmer {SPLITS} {read} {PREDICTOR}"
    report, _ = run(tmp_path / "combined", table, combined, "combined", **(about | {"backbone": "combined"}))
    assert report["metrics"]["accuracy"]["value"] > 0.7 and "seed" not in report
    with pytest.raises(InputError, match=r"test.npz: these are embeddings of other sequences"):
        other = tmp_path / "other.tsv"
        other.write_text(table.read_text().replace("s1\t", "t1\t"))
        run(tmp_path / "other", other, head, "model", **about)


def test_what_is_stacked_is_trained_and_fitted_in_every_fold(tmp_path, table):
    def member(name: str) -> str:
        where = f"--output {{fold}}/{name}/predictor --summary {{fold}}/{name}/predictor.json"
        return f"{KMER.replace('--baseline kmer', f'--baseline {name}')} {where}"

    stack = "stack --name tiny --task toy --members {fold}/kmer/predictor {fold}/gapped_kmer/predictor"
    training = (
        f"{member('kmer')} ::: {member('gapped_kmer')} ::: {stack} --validation {{fold}}/validation.tsv"
    )
    about = {"name": "tiny", "backbone": "stacked"}
    report, _ = run(tmp_path / "out", table, f"{training} {PREDICTOR}", "stacked", **about)
    assert report["metrics"]["accuracy"]["value"] > 0.7 and "seed" not in report
    assert report["stacked"]["n_validation"] == 12
    kmer, gapped = report["stacked"]["members"]
    assert (kmer["name"], gapped["name"]) == ("kmer", "gapped_kmer")
    best = min((kmer, gapped), key=lambda about: about["loss"])
    assert report["stacked"]["best_single"] == best["name"]
    assert kmer["weight"] >= 0 and gapped["weight"] >= 0


def family(generator: np.random.Generator) -> list[str]:
    """A sequence, itself shifted by 15 bp, and its other strand with six other letters."""
    letters = list("ACGT")
    whole = "".join(generator.choice(letters, 115))
    turned = np.array(list(reverse_complement(whole[:100])))
    turned[generator.choice(100, 6, replace=False)] = generator.choice(letters, 6)
    return [whole[:100], whole[15:], "".join(turned)]


@pytest.mark.parametrize("parted", [False, True])
def test_labels_drawn_at_random_are_predicted_at_random(tmp_path, parted):
    """Each family has one label, which nothing tells: who predicts it has seen relatives.

    Where folds part families on purpose, the same predictors find most labels.
    """
    generator = np.random.default_rng(3)
    labels = generator.permutation(np.arange(60) % 2)
    rows = [f"{sequence}\t{'ab'[label]}\n" for label in labels for sequence in family(generator)]
    given, sequences = tmp_path / "given.tsv", tmp_path / "test.tsv"
    given.write_text("seq\tlabel\n" + "".join(generator.permutation(rows)))
    outputs = {f"output_{split}": tmp_path / f"{split}.tsv" for split in ("train", "validation", "test")}
    checks, folds = tmp_path / "checks.json", FoldSettings(folds=FOLDS)
    prepare_task.main(
        "toy", given, None, None, PrepareTaskSettings(), checks=checks, folding=folds, **outputs
    )
    if parted:
        lines = [line.split("\t") for line in sequences.read_text().splitlines()]
        roles = generator.permutation([line[3:] for line in lines[1:]])
        again = [lines[0], *[[*line[:3], *of] for line, of in zip(lines[1:], roles, strict=True)]]
        sequences.write_text("".join("\t".join(line) + "\n" for line in again))
    where = "--output {fold}/kmer/predictor --summary {fold}/kmer/predictor.json"
    network = "--output {fold}/cnn/predictor --summary {fold}/cnn/predictor.json --cnn-epochs 4"
    training = (
        f"{KMER.replace('lengths 2', 'lengths 5 6')} {where} ::: baseline_cnn --task toy {SPLITS} {network} "
        "::: stack --name toy --task toy --members {fold}/kmer/predictor {fold}/cnn/predictor --validation "
        f"{{fold}}/validation.tsv {PREDICTOR}"
    )
    about = {"name": "toy", "backbone": "stacked"}
    report, _ = run(tmp_path / "out", sequences, training, "stacked", **about)
    # 60 families that are right or wrong together: a standard error of 0.065.
    accuracy, at = report["metrics"]["accuracy"]["value"], report["calibration"]["threshold"]["accuracy"]
    if parted:
        assert accuracy > 0.75
    else:
        assert abs(accuracy - 0.5) < 0.15 and abs(at - 0.5) < 0.15


@pytest.mark.parametrize("problem", [MULTI_LABEL, REGRESSION])
def test_several_labels_and_values(tmp_path, table, problem):
    labels = {MULTI_LABEL: {"a": "x;y", "b": "y"}, REGRESSION: {"a": "1.5", "b": "-2"}}[problem]
    other = tmp_path / "test.tsv"
    lines = table.read_text().splitlines()
    for number, line in enumerate(lines[1:], 1):
        cells = line.split("\t")
        # No label is everywhere, and no two values are equal.
        label = labels[cells[2]] + (str(number) if problem == REGRESSION else "")
        cells[2] = "" if problem == MULTI_LABEL and number % 7 == 0 else label
        lines[number] = "\t".join(cells)
    other.write_text("\n".join(lines) + "\n")
    report, folder = run(tmp_path / "out", other, f"{KMER} --problem {problem} {PREDICTOR}", problem=problem)
    found = read_predictions(folder / "predictions.tsv", problem)
    again = evaluate.measure_predictions(
        KINDS[problem], found.truth, found.outputs, found.clusters, found.labels, None, SETTINGS
    )
    assert again["metrics"] == report["metrics"] and report["calibration"] is None
    assert report["cross_validation"]["sequences"] == [12, 12, 12]


@pytest.mark.parametrize("training", ["", "embed --model m", f"{KMER} :::", "::: finetune"])
def test_only_scripts_that_train_are_run(tmp_path, table, training):
    with pytest.raises(
        InputError, match=r"is no script that trains\. Behind the flags comes one of baseline, "
    ):
        run(tmp_path / "out", table, training)


def test_every_script_writes_a_predictor_of_its_own(tmp_path, table):
    with pytest.raises(InputError, match=r"two scripts write \{fold\}/predictor\. Give each"):
        run(tmp_path / "out", table, f"{KMER} {PREDICTOR} ::: {KMER} {PREDICTOR}")


STACK = (
    f"{KMER} --output {{fold}}/kmer/predictor --summary {{fold}}/kmer/predictor.json ::: "
    f"{KMER.replace('--baseline kmer', '--baseline gapped_kmer')} "
    "--output {fold}/gapped_kmer/predictor --summary {fold}/gapped_kmer/predictor.json ::: "
    "stack --name tiny --task toy --members {fold}/kmer/predictor {fold}/gapped_kmer/predictor "
    f"--validation {{fold}}/validation.tsv {PREDICTOR}"
)


class TestInterruptions:
    @pytest.fixture
    def counted(self, monkeypatch):
        """Counts the trainings of a script. `dies` and `meets SIGTERM`: the numbers of those that do."""

        def arrange(script, dies=(), sigterm=()):
            original, begun = script.main, []

            def main(**options):
                begun.append(options["output"].parent.name)
                if len(begun) in dies:
                    raise KeyboardInterrupt
                original(**options)
                if len(begun) in sigterm:
                    os.kill(os.getpid(), signal.SIGTERM)

            monkeypatch.setattr(script, "main", main)
            return begun

        return arrange

    @pytest.fixture(scope="class")
    def undisturbed(self, table, tmp_path_factory) -> str:
        _, folder = run(tmp_path_factory.mktemp("undisturbed") / "out", table, f"{KMER} {PREDICTOR}")
        return sha256_of_directory(folder)

    def test_a_fold_that_is_done_is_not_trained_again(self, tmp_path, table, counted, undisturbed):
        begun = counted(baseline, dies=[2], sigterm=[3])
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "out", table, f"{KMER} {PREDICTOR}")
        with pytest.raises(Interrupted, match=r"received SIGTERM\. Start it again to go on"):
            run(tmp_path / "out", table, f"{KMER} {PREDICTOR}")
        assert not list((tmp_path / "out").iterdir())
        _, folder = run(tmp_path / "out", table, f"{KMER} {PREDICTOR}")
        assert begun == ["fold_1", "fold_2", "fold_2", "fold_3"]
        # What stays is small: results that were lost, or other bootstrap samples, cost no training.
        left = [path.name for path in (tmp_path / "checkpoints").glob("*/*")]
        assert sorted(left) == ["fold_1.json", "fold_2.json", "fold_3.json", "settings.json"]
        other = EvaluateSettings(bootstrap_samples=200)
        more, _ = run(tmp_path / "more", table, f"{KMER} {PREDICTOR}", settings=other)
        assert len(begun) == 4 and more["bootstrap"]["samples"] == 200
        assert sha256_of_directory(folder) == undisturbed

    @pytest.mark.parametrize(
        "harm",
        [
            lambda text: "",
            lambda text: text[: len(text) // 2],
            lambda text: text.replace("0.", "0.1", 1),
            lambda text: "[]",
            lambda text: "{}",
        ],
    )
    def test_a_damaged_fold_is_made_again(self, tmp_path, table, counted, undisturbed, harm, caplog):
        begun = counted(baseline, dies=[3])
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "out", table, f"{KMER} {PREDICTOR}")
        (kept,) = (tmp_path / "checkpoints").glob("*/fold_1.json")
        kept.write_text(harm(kept.read_text()))
        _, folder = run(tmp_path / "out", table, f"{KMER} {PREDICTOR}")
        assert begun[3:] == ["fold_1", "fold_3"]
        assert sha256_of_directory(folder) == undisturbed

    @pytest.mark.parametrize("other", ["options", "table", "strands", "code"])
    def test_folds_of_another_training_are_not_taken(self, tmp_path, table, counted, monkeypatch, other):
        begun = counted(baseline, dies=[3])
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "out", table, f"{KMER} {PREDICTOR}")
        training, about = f"{KMER} {PREDICTOR}", {}
        if other == "options":
            training = training.replace("--kmer-lengths 2", "--kmer-lengths 3")
        if other == "table":
            text = table.read_text().splitlines()
            table = tmp_path / "test.tsv"
            table.write_text("\n".join([*text[:-2], text[-1], text[-2]]) + "\n")
        if other == "strands":
            about = {"strands": StrandSettings(strands="forward")}
        if other == "code":
            monkeypatch.setattr(cross_validate, "digests", lambda script: {script.name: "other"})
        run(tmp_path / "out", table, training, **about)
        assert begun[3:] == ["fold_1", "fold_2", "fold_3"]

    def test_where_a_training_computes_and_what_it_saves_count_for_nothing(self, tmp_path, tiny_model):
        def decisive(model: Path, *further: str) -> dict:
            words = "--name tiny --task toy --backbone full --seed 1 --output {fold}/predictor"
            words += " --train-sequences {fold}/train.tsv --validation-sequences {fold}/validation.tsv"
            return cross_validate.decisive_options(
                "finetune", [*words.split(), "--model", str(model), *further]
            )

        alone = decisive(tiny_model)
        assert decisive(tiny_model, "--gradient-checkpointing", "--checkpoints", "c", "--allow-cpu") == alone
        moved = shutil.copytree(tiny_model, tmp_path / "moved")
        assert decisive(moved) == alone and alone["precision"] == "fp32"
        (moved / "config.json").write_text((moved / "config.json").read_text() + " ")
        assert decisive(moved) != alone
        assert decisive(tiny_model, "--batch-size", "7") != alone

    def test_members_of_a_fold_that_are_trained_stay(self, tmp_path, table, counted):
        about = {"name": "tiny", "backbone": "stacked"}
        _, undisturbed = run(tmp_path / "a" / "out", table, STACK, "stacked", **about)
        members, stacked = counted(baseline), counted(stack, dies=[2])
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "b" / "out", table, STACK, "stacked", **about)
        # A predictor that changed since counts for nothing.
        (weights,) = (tmp_path / "b" / "checkpoints").glob("*/fold_2/gapped_kmer/predictor/model.safetensors")
        weights.write_bytes(weights.read_bytes()[:-1])
        _, folder = run(tmp_path / "b" / "out", table, STACK, "stacked", **about)
        assert len(members) == 2 * FOLDS + 1 and len(stacked) == FOLDS + 1
        assert sha256_of_directory(folder) == sha256_of_directory(undisturbed)

    def test_training_through_the_model_goes_on_within_its_fold(
        self, tmp_path, table, tiny_model, monkeypatch
    ):
        training = (
            f"finetune --name tiny --task toy --model {shlex.quote(str(tiny_model))} "
            "--backbone full --epochs 2 --batch-size 6 "
            "--train-sequences {fold}/train.tsv --validation-sequences {fold}/validation.tsv "
            f"{PREDICTOR}"
        )
        about = {"name": "tiny", "backbone": "full"}
        _, undisturbed = run(tmp_path / "a" / "out", table, training, "model", **about)

        done, train_batch = [], finetuning.train_batch

        def counting(*arguments):
            done.append(len(done))
            if len(done) == 6:
                os.kill(os.getpid(), signal.SIGTERM)
            return train_batch(*arguments)

        monkeypatch.setattr(finetuning, "train_batch", counting)
        costs = tmp_path / "costs.json"
        # 12 sequences in batches of 6: 2 steps in each of 2 epochs.
        with pytest.raises(Interrupted, match="received SIGTERM: saved after step 2"):
            run(tmp_path / "b" / "out", table, training, "model", telemetry=costs, **about)
        (so_far,) = (tmp_path / "b" / "checkpoints").glob("*/fold_2/costs.json")
        before = json.loads(so_far.read_text())
        _, folder = run(tmp_path / "b" / "out", table, training, "model", telemetry=costs, **about)
        assert len(done) == 4 * FOLDS
        assert sha256_of_directory(folder) == sha256_of_directory(undisturbed)
        first, second, _ = json.loads(costs.read_text())["folds"]
        assert second["seconds"] > before["seconds"] > 0 and first["seconds"] > 0

    def test_the_job_ends_before_its_time_does(self, tmp_path, table, counted, undisturbed, monkeypatch):
        """A job of ten minutes, of which five are for leaving; every training takes four."""
        begun = counted(baseline)
        now = [0.0]
        ended = baseline.main
        monkeypatch.setattr(baseline, "main", lambda **o: (ended(**o), now.__setitem__(0, now[0] + 240)))
        monkeypatch.setattr("dnalm.running.budget.slurm_seconds_left", lambda: 600 - now[0])
        monkeypatch.setitem(Checkpointer.__init__.__kwdefaults__, "clock", lambda: now[0])
        with pytest.raises(Interrupted, match="the job's time is nearly over"):
            run(tmp_path / "out", table, f"{KMER} {PREDICTOR}")
        assert begun == ["fold_1", "fold_2"]
        now[0] = -600
        _, folder = run(tmp_path / "out", table, f"{KMER} {PREDICTOR}")
        assert begun == ["fold_1", "fold_2", "fold_3"]
        assert sha256_of_directory(folder) == undisturbed
