"""Numbers and several labels beside classes: what labels may be, metrics, and the way through all scripts."""

import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from settings_objects import by_flags
from sklearn import metrics as sk
from steps import embed_into, evaluate_into, prepare_into

import baseline
import baseline_cnn
import combine
import compare
import finetune
import predict
import report
from dnalm.baseline.settings import KmerSettings
from dnalm.baseline_cnn.settings import CnnSettings
from dnalm.evaluate.settings import EvaluateSettings, StrandSettings
from dnalm.finetune import objectives
from dnalm.finetune.settings import BACKBONE_SETTINGS, FrozenSettings, SequenceSettings
from dnalm.predict.settings import ScanSettings
from dnalm.prepare_task.settings import PrepareTaskSettings
from dnalm.problems import multi_label, regression
from dnalm.problems.intervals import metric_intervals, unrelated
from dnalm.problems.kinds import KINDS
from dnalm.problems.names import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from dnalm.running.errors import InputError
from dnalm.running.files import write_json
from dnalm.sequences.tables import read_labelled_table
from dnalm.stack.predictor import open_member

# ----------------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("problem", "label", "message"),
    [
        (SINGLE_LABEL, "0.53", "write regression into the column problem"),
        (SINGLE_LABEL, "a;b", "write multi_label_classification into the column problem"),
        (REGRESSION, "high", "is no number"),
        (REGRESSION, "NA", "none is known"),
        (REGRESSION, "inf", "is no number"),
        (REGRESSION, "", "the label is empty"),
        (MULTI_LABEL, "a;;b", "is empty"),
        (MULTI_LABEL, "a;a", "named twice"),
        (MULTI_LABEL, "NA", "leave it empty"),
    ],
)
def test_a_label_of_another_kind_is_refused_with_its_line(tmp_path, problem, label, message):
    path = tmp_path / "train.tsv"
    path.write_text(f"seq\tlabel\nACGT\t1\nACGA\t{label}\n")
    with pytest.raises(InputError, match=f"line 3: .*{message}"):
        read_labelled_table(path, KINDS[problem])


def test_labels_become_targets_and_back():
    several = KINDS[MULTI_LABEL]
    labels = several.labels_of(["10;2", "", "2"])
    targets = several.targets(["10;2", "", "2"], labels, "t.tsv")
    assert labels == ["2", "10"] and targets.tolist() == [[1, 1], [0, 0], [1, 0]]
    assert several.predicted(targets * 0.8 + 0.1, labels) == ["2;10", "", "2"]
    values = KINDS[REGRESSION]
    assert values.targets(["1", "-0.5", "2e-1"], ["value"], "t.tsv").tolist() == [[1], [-0.5], [0.2]]
    with pytest.raises(InputError, match="label 'x' is unknown"):
        several.targets(["2;x"], labels, "t.tsv")


def test_every_group_gives_its_share_to_validation():
    values = [str(value) for value in range(100)]
    assert KINDS[REGRESSION].membership(values, ["value"]).sum(axis=0).tolist() == [10] * 10
    assert KINDS[REGRESSION].membership([], ["value"]).shape == (0, 1)
    groups = KINDS[MULTI_LABEL].membership(["a;b", "", "b"], ["a", "b"])
    assert groups.tolist() == [[True, True, False], [False, False, True], [False, True, False]]


def test_a_training_is_followed_by_0_where_nothing_is_to_be_explained():
    same, predicted = np.full((4, 1), 2.0), np.arange(4.0)[:, None]
    assert KINDS[REGRESSION].accuracy(same, predicted) == {"r2": 0.0}


# ----------------------------------------------------------------------------- metrics


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_values_are_those_of_scipy_also_on_bootstrap_samples(seed):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 8, (30, 1)).astype(float)
    outputs = truth + generator.integers(-3, 4, (30, 1))
    drawn = generator.integers(0, 30, 30)
    weights = np.stack([np.ones(30), np.bincount(drawn, minlength=30)])
    found = regression.all_metrics(truth, outputs, weights)
    for sample, rows in enumerate((np.arange(30), drawn)):
        x, y = truth[rows, 0], outputs[rows, 0]
        expected = {
            "r2": sk.r2_score(x, y),
            "pearson": stats.pearsonr(x, y)[0],
            "spearman": stats.spearmanr(x, y)[0],
            "mae": sk.mean_absolute_error(x, y),
            "rmse": sk.mean_squared_error(x, y) ** 0.5,
            "loss": sk.mean_squared_error(x, y),
        }
        assert {name: value[sample] for name, value in found.items()} == pytest.approx(expected)


def test_a_constant_prediction_has_no_correlation():
    found = regression.all_metrics(np.array([[0.1], [0.2], [0.6]]), np.full((3, 1), 0.3), np.ones((1, 3)))
    assert np.isnan(found["pearson"][0]) and np.isnan(found["spearman"][0])
    assert found["r2"][0] == pytest.approx(0)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_several_labels_are_those_of_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    truth = (generator.random((40, 3)) < 0.4).astype(float)
    outputs = np.round(0.6 * generator.random((40, 3)) + 0.3 * truth, 2)
    predicted = (outputs > 0.5).astype(int)
    found = multi_label.all_metrics(truth, outputs, np.ones((1, 40)))
    expected = {
        "auroc_macro": sk.roc_auc_score(truth, outputs),
        "auprc_macro": sk.average_precision_score(truth, outputs),
        "f1_macro": sk.f1_score(truth, predicted, average="macro", zero_division=0),
        "f1_micro": sk.f1_score(truth, predicted, average="micro", zero_division=0),
        "precision_micro": sk.precision_score(truth, predicted, average="micro", zero_division=0),
        "recall_micro": sk.recall_score(truth, predicted, average="micro", zero_division=0),
        "label_accuracy": 1 - sk.hamming_loss(truth, predicted),
        "exact_match": sk.accuracy_score(truth, predicted),
    }
    assert {name: found[name][0] for name in expected} == pytest.approx(expected)


# ----------------------------------------------------------------------------- losses


@pytest.mark.parametrize("problem", KINDS)
def test_losses_are_those_of_pytorch_and_of_the_evaluation(problem):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 1 if problem == REGRESSION else 3, generator=generator, dtype=torch.float64)
    targets, reference = {
        SINGLE_LABEL: (torch.tensor([0, 1, 2, 2, 1, 0]), torch.nn.CrossEntropyLoss()),
        MULTI_LABEL: ((torch.arange(18).reshape(6, 3) % 2).float(), torch.nn.BCEWithLogitsLoss()),
        REGRESSION: (torch.arange(6.0)[:, None], torch.nn.MSELoss()),
    }[problem]
    wanted = reference(logits, targets if problem == SINGLE_LABEL else targets.double()).item()
    assert objectives.loss(problem, logits, targets).item() == pytest.approx(wanted)
    kind = KINDS[problem]
    judged = kind.losses(targets.numpy(), kind.outputs(logits.numpy()))
    assert judged.mean() == pytest.approx(wanted)
    summed = objectives.loss(problem, logits, targets, summed=True).item()
    assert summed == pytest.approx(6 * wanted)


def test_rare_labels_of_several_weigh_more_and_smoothing_is_of_each():
    """A label that one of four carries weighs three times as much there; smoothed it is 0.9 or 0.1."""
    targets = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    weights = objectives.weigh_labels(MULTI_LABEL, targets, "balanced")
    assert weights.tolist() == [3.0, 1.0]
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.0], [-0.5, 0.25], [1.0, -2.0]])
    right, wrong = -torch.nn.functional.logsigmoid(logits), -torch.nn.functional.logsigmoid(-logits)
    smoothed = torch.where(targets == 1, 0.9, 0.1)
    expected = (smoothed * weights * right + (1 - smoothed) * wrong).mean()
    torch.testing.assert_close(objectives.loss(MULTI_LABEL, logits, targets, weights, 0.2), expected)
    classes = torch.tensor([0, 0, 0, 1])
    weights = objectives.weigh_labels(SINGLE_LABEL, classes, "balanced")
    assert weights.tolist() == pytest.approx([2 / 3, 2.0])
    assert objectives.weigh_labels(SINGLE_LABEL, classes, "none") is None
    assert objectives.weigh_labels(REGRESSION, targets[:, :1], "balanced") is None


def test_values_are_learned_in_a_scale_of_their_own():
    values = torch.tensor([[10.0], [20.0], [60.0]])
    scale = objectives.TargetScale.of(values)
    scaled = scale.applied(values)
    assert scaled.mean().item() == pytest.approx(
        0, abs=1e-6
    ) and scaled.square().mean().item() == pytest.approx(1)
    # A layer that says scaled values says them as they were measured when the scale is folded in.
    layer, features = torch.nn.Linear(2, 1), torch.tensor([[1.0, -2.0], [0.5, 0.25]])
    said = layer(features)
    weights = scale.folded("last", {f"last.{name}": of for name, of in layer.state_dict().items()})
    layer.load_state_dict({name.removeprefix("last."): of for name, of in weights.items()})
    torch.testing.assert_close(layer(features), said * values.std(correction=0) + 30)
    same = objectives.TargetScale.of(torch.full((3, 1), 7.0))
    assert same == objectives.TargetScale(mean=7.0, deviation=1.0)


# ----------------------------------------------------------------------------- splits


def prepare(folder: Path, problem: str, rows: dict[str, list[tuple[str, str]]]) -> dict:
    """Write and check the splits of a task; return the checks."""
    for split, of in rows.items():
        (folder / f"raw.{split}.tsv").write_text(
            "seq\tlabel\n" + "".join(f"{seq}\t{label}\n" for seq, label in of)
        )
    settings = PrepareTaskSettings(validation_fraction=0.2)
    train, test = folder / "raw.train.tsv", folder / "raw.test.tsv"
    return prepare_into(folder, train, test, settings=settings, problem=problem)


def test_of_repeated_measurements_the_mean_is_kept(tmp_path):
    rows = [(f"{'ACGT'[i % 4]}{'A' * i}GG", str(i / 4)) for i in range(1, 20)]
    repeated = [("AAACC", "1"), ("AAACC", "2"), ("GGTTT", "6")]
    checks = prepare(tmp_path, REGRESSION, {"train": rows + repeated, "test": rows[:3]})
    tables = [read_labelled_table(tmp_path / f"{s}.tsv", KINDS[REGRESSION]) for s in ("train", "validation")]
    kept = pd.concat(tables).set_index("seq")["label"]
    assert kept["AAACC"] == "3" and "GGTTT" not in kept
    assert checks["rows"]["train"]["dropped_duplicates"] == 2
    assert checks["values"]["test"]["max"] == 0.75 and checks["labels"] == ["value"]


def test_tasks_that_nothing_can_be_learned_of_are_refused(tmp_path):
    same = [("ACGT" * 5, "0.5"), ("AAAA" * 5, "0.5")]
    with pytest.raises(InputError, match="every sequence has the value"):
        prepare(tmp_path, REGRESSION, {"train": same, "test": same})
    every = [("ACGT" * 5, "a;b"), ("AAAA" * 5, "a")]
    with pytest.raises(InputError, match="every sequence has the label 'a'"):
        prepare(tmp_path, MULTI_LABEL, {"train": every, "test": every})


@pytest.mark.parametrize("carried", [0.0, 1.0])
def test_labels_that_all_or_none_carry_have_no_area_but_can_be_counted(carried):
    """By hand scripts/evaluate.py takes such tables, too."""
    truth, outputs = np.full((6, 2), carried), np.full((6, 2), 0.9 * carried)
    found = metric_intervals(truth, outputs, unrelated(len(truth)), 100, 1, 0.95, KINDS[MULTI_LABEL].measures)
    assert found["auroc_macro"]["value"] is None
    assert found["label_accuracy"]["value"] == 1 > found["label_accuracy"]["low"]


@pytest.mark.parametrize(
    ("problem", "n_labels", "shares", "nearest"),
    [
        (
            SINGLE_LABEL,
            2,
            {"accuracy", "balanced_accuracy", "precision", "recall", "recall_weighted"},
            {"auroc", "mcc", "f1"},
        ),
        (SINGLE_LABEL, 3, {"accuracy", "balanced_accuracy", "recall", "recall_weighted"}, {"auroc"}),
        (MULTI_LABEL, 3, {"exact_match"}, {"auroc_macro"}),
    ],
)
def test_bounds_are_of_the_shares_that_a_metric_is_the_mean_of_and_none_too_near(
    problem, n_labels, shares, nearest
):
    measures = KINDS[problem].measures
    for seed in range(10):
        generator = np.random.default_rng(seed)
        carried = generator.random((60, n_labels)) < 0.5
        if problem == SINGLE_LABEL:
            carried = np.minimum(np.arange(60) // 25, n_labels - 1)[:, None] == np.arange(n_labels)
        wrong = generator.random(carried.shape) < [0.02, 0.1, 0.2][-n_labels:]
        outputs = np.where(carried ^ wrong, 0.75, 0.25) + generator.uniform(-0.2, 0.2, carried.shape)
        truth = carried.astype(float)
        if problem == SINGLE_LABEL:
            truth, outputs = carried.argmax(axis=1), outputs / outputs.sum(axis=1, keepdims=True)
        found = metric_intervals(truth, outputs, unrelated(60), 50, seed, 0.95, measures)
        means = {
            name: np.mean([right[of].mean() for right, of in parts])
            for name, parts in measures.shares(truth, outputs).items()
        }
        assert means == pytest.approx({name: found[name]["value"] for name in shares})
        bounds = measures.nearest(truth, outputs, unrelated(60), 0.95)
        assert set(bounds) == nearest
        for name, (low, high) in bounds.items():
            assert found[name]["low"] <= low <= found[name]["value"] <= high <= found[name]["high"], name
        for name in shares | nearest:
            value = found[name]["value"]
            assert found[name]["low"] < value, name
            assert value < found[name]["high"] or value == 1, name


# ----------------------------------------------------------------------------- the whole way


def labelled(problem: str, number: int, seed: int) -> list[tuple[str, str]]:
    """Sequences whose value or labels follow from their letters."""
    generator, rows = random.Random(seed), []
    for i in range(number):
        weights = [1, 1 + i % 3, 1 + i % 2, 1]
        sequence = "".join(generator.choices("ACGT", weights, k=generator.randint(30, 50)))
        shares = {base: sequence.count(base) / len(sequence) for base in "CG"}
        if problem == REGRESSION:
            rows.append((sequence, f"{100 * shares['C'] + 5 * generator.random():.3f}"))
        else:
            rows.append((sequence, ";".join(base for base, share in shares.items() if share > 0.27)))
    return rows


@pytest.mark.parametrize("problem", [REGRESSION, MULTI_LABEL])
def test_from_table_to_report(tiny_model, tmp_path, problem):
    checks = prepare(
        tmp_path, problem, {"train": labelled(problem, 120, 0), "test": labelled(problem, 40, 1)}
    )
    splits = [tmp_path / f"{split}.tsv" for split in ("train", "validation")]
    plain = {"batch_tokens": 500, "gpus": 0, "allow_cpu": False}
    tables = dict(zip(("train", "validation"), splits, strict=True))
    read = {"settings": SequenceSettings(max_tokens=30)}
    vectors = list(embed_into(tmp_path, tiny_model, tables, **read, **plain).values())
    made = {}
    common = {"task": "toy", "problem": problem, "train": splits[0], "validation": splits[1]}
    for name in ("majority", "kmer"):
        made[name] = tmp_path / name
        baseline.main(
            baseline=name,
            **common,
            settings=KmerSettings(kmer_lengths=(2,)),
            output=made[name],
            summary=tmp_path / f"{name}.json",
        )
    made["cnn"] = tmp_path / "cnn"
    baseline_cnn.main(
        baseline="cnn",
        **common,
        strands=StrandSettings(),
        settings=CnnSettings(cnn_filters=8, cnn_width=3, cnn_epochs=4),
        output=made["cnn"],
        summary=tmp_path / "cnn.json",
    )
    combine.main(
        **common,
        name="tiny",
        model=tiny_model,
        kmer=made["kmer"],
        train_embeddings=vectors[0],
        validation_embeddings=vectors[1],
        pooling="mean",
        output=tmp_path / "combined",
        summary=tmp_path / "combined.json",
    )
    sequences = ["ACGTACGT" * 5, "TTGACCA" * 4]
    exact, rough = (
        open_member(tmp_path / "combined", bf16=bf16).read(sequences, None) for bf16 in (False, True)
    )
    assert 0 < np.abs(exact - rough).max() < 0.02 * np.abs(exact).max()
    # The other way through the backbone is that of the other kind of task.
    through = "lora" if problem == REGRESSION else "full"
    ways = {"frozen": FrozenSettings(epochs=20), through: BACKBONE_SETTINGS[through](epochs=2)}
    for backbone, settings in ways.items():
        frozen = backbone == "frozen"
        finetune.main(
            **by_flags(
                finetune,
                model=tiny_model,
                train_sequences=splits[0],
                validation_sequences=splits[1],
                train_embeddings=vectors[0] if frozen else None,
                validation_embeddings=vectors[1] if frozen else None,
                backbone=backbone,
                max_tokens=30,
                problem=problem,
                name="tiny",
                task="toy",
                output=tmp_path / backbone,
                summary=tmp_path / f"{backbone}.json",
                **settings.model_dump(),
            )
        )

    # ------------------------------------------------------------- judged
    metrics, predictions, curves = [], [], []
    judged = [("tiny", "model", "frozen"), ("tiny", "model", through), ("tiny", "combined", "combined")]
    for name, kind, backbone in [*judged, *((name, "baseline", None) for name in made)]:
        out = tmp_path / "evaluation" / name / (backbone or "")
        evaluate_into(
            out,
            tmp_path / (backbone or name),
            tmp_path / "test.tsv",
            kind=kind,
            name=name,
            backbone=backbone,
            validation=splits[1],
            strands=StrandSettings(strands="forward"),
            **plain,
        )
        metrics.append(out / "metrics.json")
        predictions.append(out / "predictions.tsv")
        curves.append(out / "curves.json")
    again = tmp_path / "again.json"
    write_json(again, json.loads(metrics[0].read_text()) | {"seed": 1})
    compare.main(
        task="toy",
        repetitions=[again],
        metrics=metrics,
        predictions=predictions,
        reference="tiny/frozen",
        settings=EvaluateSettings(bootstrap_samples=100),
        output=tmp_path / "comparison.tsv",
        output_json=tmp_path / "comparison.json",
    )
    found = {path.parent.name: json.loads(path.read_text()) for path in metrics}
    headline = KINDS[problem].headline
    values = {name: of["metrics"][headline]["value"] for name, of in found.items()}
    constant = 0 if problem == REGRESSION else 0.5
    assert values["majority"] == pytest.approx(constant, abs=0.05)
    assert min(values["frozen"], values["kmer"], values["combined"]) > constant + 0.2
    # C and G of two strands are one to the network: it learns little here.
    assert values["cnn"] > constant - 0.2
    assert found["frozen"]["calibration"] is None and found["frozen"]["confusion_matrix"] is None
    written = read_labelled_table(tmp_path / "test.tsv", KINDS[problem])
    table = pd.read_csv(predictions[0], sep="\t", keep_default_na=False, dtype={"label": str})
    assert table["label"].tolist() == written["label"].tolist()
    assert table["loss"].mean() == pytest.approx(found["frozen"]["loss"]["value"], rel=1e-6)

    # ------------------------------------------------------------- Transformers alone says the same
    check_with_transformers(tmp_path / "frozen", table, problem, checks["labels"])

    # ------------------------------------------------------------- put to use, and shown
    predict.main(
        classifier=tmp_path / through,
        input=tmp_path / "test.tsv",
        genome=None,
        settings=ScanSettings(),
        strands=StrandSettings(strands="forward"),
        bedgraph_label=None,
        precision="fp32",
        output=tmp_path / "new.tsv",
        bedgraph=None,
        **plain,
    )
    new = pd.read_csv(tmp_path / "new.tsv", sep="\t", keep_default_na=False, dtype={"predicted": str})
    evaluated = pd.read_csv(predictions[1], sep="\t", keep_default_na=False, dtype={"predicted": str})
    if problem == REGRESSION:
        assert list(new.columns) == ["sequence", "start", "end", "id", "predicted"]
        np.testing.assert_allclose(
            new["predicted"].astype(float), evaluated["predicted"].astype(float), rtol=1e-5
        )
    else:
        assert new["predicted"].tolist() == evaluated["predicted"].tolist()
    page = write_report(tmp_path, metrics, predictions, curves, list(ways))
    assert "trained with 2 seeds" in page
    if problem == REGRESSION:
        assert "Test R² of tiny pretrained, frozen" in page and "Predicted against measured" in page
        assert "mean of training" in page and "Confusion" not in page and "<h3>ROC" not in page
    else:
        assert "Test macro AUROC of tiny pretrained, frozen" in page and "Label by label" in page
        assert "shares of the labels" in page and "Mean over the labels." in page


def check_with_transformers(directory: Path, table: pd.DataFrame, problem: str, labels: list[str]) -> None:
    """The pipeline, with nothing but the directory, gives what was evaluated."""
    from transformers import pipeline

    config = json.loads((directory / "config.json").read_text())
    assert config["problem_type"] == problem and list(config["id2label"].values()) == labels
    pipe = pipeline("text-classification", model=str(directory), device="cpu")
    for _, row in table.head(5).iterrows():
        scores = {one["label"]: one["score"] for one in pipe(row["seq"], top_k=None, truncation=True)}
        if problem == REGRESSION:
            assert scores == {"value": pytest.approx(float(row["predicted"]), rel=1e-4)}
        else:
            assert scores == {
                label: pytest.approx(float(row[f"probability_{label}"]), abs=1e-4) for label in labels
            }


def write_report(
    folder: Path, metrics: list[Path], predictions: list[Path], curves: list[Path], backbones: list[str]
) -> str:
    """The report of these evaluations."""
    nothing = (
        "windows_stats tokens tokenizers training_summaries training_logs telemetry language_models "
        "fill_mask filled_gaps embedded similarities simulated_tasks sequence_loss overlaps "
        "explored_batches explored_tasks benchmarks versions genome_files task_files logs"
    )
    report.main(
        title="toy",
        simulated=False,
        simulation=None,
        study=None,
        settings=None,
        **{name: [] for name in nothing.split()},
        checks=[folder / "checks.json"],
        finetuning_summaries=[folder / f"{backbone}.json" for backbone in backbones],
        finetuning_logs=[folder / backbone / "finetuning_log.jsonl" for backbone in backbones],
        metrics=metrics,
        predictions=predictions,
        curves=curves,
        comparisons=[folder / "comparison.json"],
        output=folder / "report.html",
        figures=folder / "figures",
        summary=folder / "summary.tsv",
    )
    return (folder / "report.html").read_text()
