"""Chapter on the tasks: all metrics, differences, curves, confusion, worst predictions, fine-tuning."""

from collections import defaultdict
from typing import Any

import pandas as pd

from dnalm.report import words
from dnalm.report.calibration import calibration_figures, calibration_table
from dnalm.report.charts import Series, bar_chart, histogram, line_chart
from dnalm.report.learning import finetuning_table
from dnalm.report.parts import figure, heading, table, text, with_interval
from dnalm.report.run import Evaluation, Run, difference_to
from dnalm.report.styles import series_style

WORST_PREDICTIONS = 12
LONGEST_SEQUENCE_SHOWN = 320
MARKERS_UP_TO = 40


def classification_section(run: Run) -> dict[str, Any]:
    """All metrics, differences, confusion matrices, curves, labels and worst predictions of every task."""
    parts: list[dict[str, Any]] = []
    for task in run.tasks:
        if len(run.tasks) > 1:
            parts.append(heading(f"Task {task}"))
        parts.append(metrics_table(run, task))
        if differences := differences_table(run, task):
            parts.append(differences)
        if repetitions := repetitions_table(run, task):
            parts.append(repetitions)
        parts.append({"kind": "figures", "rows": task_figures(run, task)})
        parts.append(confusion_part(run, task))
        if calibration := calibration_table(run, task):
            parts.append(calibration)
        parts += worst_predictions(run, task)
    if not run.tasks:
        parts.append(
            text("No classification task is configured. Name a sheet of tasks under 'tasks' to get one.")
        )
    parts += finetuning_parts(run)
    return {"id": "classification", "title": "Classification in detail", "parts": parts}


def metrics_table(run: Run, task: str) -> dict[str, Any]:
    """Every metric of every predictor, with intervals."""
    evaluations = run.of_task(task)
    names = [name for name in words.METRIC_NAMES if name in evaluations[0].metrics["metrics"]]
    rows = [
        [words.METRIC_NAMES[name], *[with_interval(e.metrics["metrics"].get(name)) for e in evaluations]]
        for name in names
    ]
    rows.append(["loss (nats)", *[with_interval(e.metrics["loss"]) for e in evaluations]])
    many = len(evaluations[0].metrics["labels"]) > 2
    first = evaluations[0].metrics
    note = (
        "Precision, recall, F1, AUROC and AUPRC are means over the classes."
        if many
        else f"Precision, recall, F1, AUROC and AUPRC are those of class {first['positive_label']} "
        f"({first['positive_because']}; the column positive of the task sheet chooses); “weighted” ones are "
        "means over both classes."
    )
    note += (
        " Intervals: Wilson for shares of sequences, bias-corrected and accelerated bootstrap for the others."
    )
    return table(
        f"All metrics on the test split, with {run.confidence:.0%} intervals",
        ["Metric", *[e.name for e in evaluations]],
        rows,
        strong=[0],
        note=note,
    )


def differences_table(run: Run, task: str) -> dict[str, Any] | None:
    """How much more often the leading model is right than each other predictor, sequence by sequence."""
    lead = run.headline(task)
    rows = []
    for other in run.of_task(task):
        difference = difference_to(run, task, other) if other is not lead else None
        if difference is None:
            continue
        told = (
            "yes"
            if difference["low"] > 0
            else "no, the other is better"
            if difference["high"] < 0
            else "cannot tell"
        )
        rows.append(
            [
                other.name,
                words.signed(difference["value"]),
                f"{words.signed(difference['low'])} to {words.signed(difference['high'])}",
                told,
            ]
        )
    if not rows:
        return None
    return table(
        f"Accuracy of {lead.name} minus that of",
        ["Other predictor", "Difference", f"{run.confidence:.0%} interval", "Is the leading model better?"],
        rows,
        numeric=[1, 2],
        note="Both predictors saw the same test sequences; the difference is bootstrapped pair by pair.",
    )


def repetitions_table(run: Run, task: str) -> dict[str, Any] | None:
    """Mean and spread over seeds of every classifier that was trained several times."""
    groups = run.comparisons.get(task, {}).get("repetitions", [])
    if not groups:
        return None
    names = [name for name in words.METRIC_NAMES if name in groups[0]["metrics"]]
    rows = [
        [label, *[words.mean_and_spread(group["metrics"].get(name)) for group in groups]]
        for name, label in [*[(name, words.METRIC_NAMES[name]) for name in names], ("loss", "loss (nats)")]
    ]
    seeds = groups[0]["seeds"]
    return table(
        f"Trained again with other seeds: mean ± standard deviation of {len(seeds)} (lowest to highest)",
        ["Metric", *[words.predictor_name(group) for group in groups]],
        rows,
        strong=[0],
        note=f"Seeds {words.listing([str(seed) for seed in seeds])}, all on the same test sequences: this is "
        f"what chance does in training. Everything else in this report is of seed {seeds[0]}, which was "
        "chosen before any was tested.",
    )


def task_figures(run: Run, task: str) -> list[dict[str, str]]:
    """ROC and precision-recall curves, labels and lengths."""
    figures = []
    series: dict[str, list[Series]] = {"roc": [], "pr": []}
    for evaluation in run.of_task(task):
        for kind, (x, y) in {"roc": ("fpr", "tpr"), "pr": ("recall", "precision")}.items():
            curve = (evaluation.curves or {}).get(kind)
            # The majority class has no ranking: its curve is the diagonal.
            if curve and evaluation.metrics["name"] != "majority":
                style = series_style(run, task, evaluation)
                series[kind].append(Series(evaluation.name, curve[x], curve[y], style.colour, style.dash))
    many = len(run.headline(task).metrics["labels"]) > 2
    mean = " Mean over the classes, each against the others." if many else ""
    unit: dict[str, Any] = {"x_limits": (0, 1), "y_limits": (0, 1), "square": True}
    if series["roc"]:
        svg = line_chart(
            series["roc"],
            f"ROC curves, task {task}",
            "false positive rate",
            "true positive rate",
            diagonal=True,
            **unit,
        )
        caption = "The nearer to the upper left corner, the better; the diagonal would be guessing." + mean
        figures.append(figure("ROC curve", svg, caption, f"{task}.roc"))
    if series["pr"]:
        share = next(
            e.curves["positive_fraction"] for e in run.of_task(task) if e.curves and e.curves.get("pr")
        )
        svg = line_chart(
            series["pr"],
            f"Precision-recall curves, task {task}",
            "recall",
            "precision",
            reference_lines=[("guessing", share)],
            **unit,
        )
        caption = (
            "How pure the calls are (precision) when this share of the positives is found (recall)." + mean
        )
        figures.append(figure("Precision and recall", svg, caption, f"{task}.precision_recall"))
    figures += calibration_figures(run, task)
    if checks := run.checks.get(task):
        groups = [(split, list(counts.items())) for split, counts in checks["label_counts"].items()]
        svg = bar_chart(groups, f"Sequences per label, task {task}")
        figures.append(
            figure("Labels", svg, "Sequences per class in each split, after cleaning.", f"{task}.labels")
        )
        figures += length_figures(task, checks)
    return figures


def length_figures(task: str, checks: dict[str, Any]) -> list[dict[str, str]]:
    """Lengths of the labelled sequences; nothing where all have one length."""
    lengths = checks["lengths"]
    if len({of[key] for of in lengths.values() for key in ("min", "max")}) == 1:
        return []
    counts = [(split, dict(zip(of["edges"], of["counts"], strict=False))) for split, of in lengths.items()]
    svg = histogram(counts, f"Sequence lengths, task {task}", "length in bp", bins=20)
    return [figure("Sequence lengths", svg, "Length of the labelled sequences.", f"{task}.lengths")]


def confusion_part(run: Run, task: str) -> dict[str, Any]:
    """Confusion matrices of the trained models and, beside them, of the strongest baseline."""
    chosen = [e for e in run.of_task(task) if e.metrics["kind"] == "model"] or run.of_task(task)[:1]
    baselines = [e for e in run.of_task(task) if e.metrics["kind"] == "baseline"]
    if baselines:
        best = max(baselines, key=lambda e: e.metrics["metrics"]["accuracy"]["value"])
        chosen += [] if best in chosen else [best]
    matrices = []
    for evaluation in chosen:
        labels, matrix = evaluation.metrics["labels"], evaluation.metrics["confusion_matrix"]
        rows = []
        for i, label in enumerate(labels):
            total = sum(matrix[i])
            shares = [cell / total if total else 0 for cell in matrix[i]]
            cells = [
                {
                    "count": f"{cell:,.0f}",
                    "share": f"{share:.3f}",
                    "percent": f"{share:.0%} of {label}",
                    "right": i == j,
                }
                for j, (cell, share) in enumerate(zip(matrix[i], shares, strict=True))
            ]
            rows.append({"label": label, "cells": cells})
        matrices.append({"name": evaluation.name, "labels": labels, "rows": rows})
    return {
        "kind": "confusion",
        "rows": matrices,
        "note": "Rows: the true class. Columns: what the predictor said. Shares are of the row.",
    }


def worst_predictions(run: Run, task: str) -> list[dict[str, Any]]:
    """The test sequences on which the leading model was most confidently wrong."""
    lead = run.headline(task)
    if lead.predictions is None:
        return [text("The predictions per sequence are not at hand, so the worst ones cannot be shown.")]
    predictions = pd.read_csv(lead.predictions, sep="\t", dtype={"id": str, "label": str, "predicted": str})
    worst = predictions.sort_values(["loss", "id"], ascending=[False, True]).head(WORST_PREDICTIONS)
    rows = []
    for _, row in worst.iterrows():
        sequence = str(row["seq"])
        if len(sequence) > LONGEST_SEQUENCE_SHOWN:
            sequence = sequence[:LONGEST_SEQUENCE_SHOWN] + "…"
        rows.append(
            [
                row["id"],
                row["label"],
                row["predicted"],
                f"{row[f'probability_{row.label}']:.3f}",
                f"{row['loss']:.2f}",
                sequence,
            ]
        )
    return [
        table(
            f"Worst predictions of {lead.name}",
            [
                "Sequence id",
                "True class",
                "Predicted",
                "Probability of the true class",
                "Loss (nats)",
                "Sequence",
            ],
            rows,
            numeric=[3, 4],
            sequence=[5],
            note="The test sequences with the highest loss: look here first for wrong labels and odd "
            f"sequences. All {len(predictions):,} predictions are in the table of predictions of this run.",
        )
    ]


def finetuning_parts(run: Run) -> list[dict[str, Any]]:
    """Learning curves and trained parameters of every classifier."""
    if not run.finetunings:
        return []
    figures, rows = [], []
    by_task = defaultdict(list)
    for training in run.finetunings:
        by_task[training.summary["task"]].append(training)
    for task, trainings in by_task.items():
        for quantity, label in (("loss", "validation loss (nats)"), ("accuracy", "validation accuracy")):
            series = []
            for training in trainings:
                log = [r for r in training.log if r["event"] == "evaluation" and r.get(quantity) is not None]
                x, y = [r["epoch"] for r in log], [r[quantity] for r in log]
                predictor = finetuned(training.summary)
                style = series_style(run, task, predictor)
                markers = len(x) <= MARKERS_UP_TO
                series.append(Series(predictor.name, x, y, style.colour, style.dash, markers))
            if any(one.x for one in series):
                svg = line_chart(series, f"Fine-tuning, task {task}", "epoch", label)
                title = f"Fine-tuning, task {task}: {label.split(' (')[0]}"
                caption = "On validation sequences, which no gradient has seen. Epoch 0 is before training."
                figures.append(figure(title, svg, caption, f"{task}.finetuning_{quantity}"))
    for training in run.finetunings:
        summary = training.summary
        rows.append(
            [
                finetuned(summary).name,
                summary["task"],
                f"{summary['parameters_trainable']:,}",
                f"{summary['parameters_total']:,}",
                summary["pooling"],
                summary["settings"]["epochs"],
                summary["kept"]["epoch"],
                f"{summary['kept']['loss']:.4f}",
            ]
        )
    numbers = [finetuning_table(training, finetuned(training.summary).name) for training in run.finetunings]
    tables = [found for found in numbers if found]
    columns = [
        "Classifier",
        "Task",
        "Trained parameters",
        "All parameters",
        "Pooling",
        "Epochs",
        "Epoch kept",
        "Validation loss",
    ]
    return [
        heading("Fine-tuning"),
        {"kind": "figures", "rows": figures},
        table(
            "Classifiers",
            columns,
            rows,
            numeric=[2, 3, 5, 6, 7],
            note="Kept are the weights of the epoch with the lowest validation loss.",
        ),
        *tables,
    ]


def finetuned(summary: dict[str, Any]) -> Evaluation:
    """The predictor that a fine-tuning run made, so that it bears the same name and colour everywhere."""
    kinds = {words.UNTRAINED: "untrained", words.PUBLISHED: "published"}
    kind = next((kind for ending, kind in kinds.items() if summary["model"].endswith(ending)), "model")
    return Evaluation({"name": summary["model"], "kind": kind, "backbone": summary["backbone"]})
