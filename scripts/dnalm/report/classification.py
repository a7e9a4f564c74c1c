"""Chapter on the tasks: all metrics, differences, curves, confusion, worst predictions, fine-tuning."""

import math
from collections import defaultdict
from typing import Any

import pandas as pd

from dnalm.baseline.settings import UNTRAINED
from dnalm.evaluate.predictions import identity
from dnalm.pretrain.settings import PUBLISHED
from dnalm.problems.names import METRIC_NAMES, MULTI_LABEL, REGRESSION, SINGLE_LABEL
from dnalm.report import words
from dnalm.report.calibration import calibration_figures, calibration_table
from dnalm.report.charts import Box, Series, bar_chart, box_chart, histogram, line_chart, scatter_chart
from dnalm.report.folds import folds_table
from dnalm.report.learning import finetuning_table
from dnalm.report.parts import figure, heading, metrics_by_predictor, table, text, with_interval, with_spread
from dnalm.report.run import Evaluation, Run, Training
from dnalm.report.styles import drawn_as_curves, series_style

WORST_PREDICTIONS = 12
LONGEST_SEQUENCE_SHOWN = 320
# More dots would hide the dashes of the line between them.
MARKERS_UP_TO = 15
# Matrices of more classes do not fit beside each other.
CLASSES_BESIDE = 3
# With fewer sequences of a class the bootstrap does not see all that can happen.
FEW_OF_A_CLASS = 20


def details_id(task: str) -> str:
    """Where the part of a task begins, if there are several."""
    return f"details-{task}"


def classification_section(run: Run) -> dict[str, Any]:
    """All metrics, differences, confusion matrices, curves, labels and worst predictions of every task."""
    parts: list[dict[str, Any]] = []
    for task in run.tasks:
        if len(run.tasks) > 1:
            parts.append(heading(f"Task {task}", details_id(task)))
        parts.append(metrics_table(run, task))
        if folds := folds_table(run, task):
            parts.append(folds)
        if published := published_table(run, task):
            parts.append(published)
        if differences := differences_table(run, task):
            parts.append(differences)
        if repetitions := repetitions_table(run, task):
            parts.append(repetitions)
        parts.append({"kind": "figures", "rows": task_figures(run, task)})
        if confusion := confusion_part(run, task):
            parts.append(confusion)
        if labels := labels_table(run, task):
            parts.append(labels)
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
    names = [name for name in METRIC_NAMES if name in evaluations[0].metrics["metrics"]]
    cells = [
        [with_interval(e.metrics["metrics"].get(name), words.shown_as(name)) for e in evaluations]
        for name in names
    ]
    problem = evaluations[0].problem.name
    shown = words.quantity if problem == REGRESSION else words.number
    cells.append([with_interval(e.metrics["loss"], shown) for e in evaluations])
    shares = {
        SINGLE_LABEL: "shares of sequences and their means (balanced accuracy)",
        MULTI_LABEL: "exact match",
        REGRESSION: "",
    }[problem]
    note = metrics_note(problem, evaluations[0].metrics) + " Intervals: "
    note += f"Wilson for {shares}, " if shares else ""
    note += "bias-corrected and accelerated bootstrap" + (" for the others" if shares else "")
    wide = {SINGLE_LABEL: "AUROC, and of two classes MCC and F1,", MULTI_LABEL: "AUROC"}.get(problem)
    note += f" ({wide} at least as wide as formulas for few sequences tell)." if wide else "."
    note += relatives_note(evaluations[0]) + rare_labels_note(evaluations[0].metrics)
    note += words.STRANDS_READ[evaluations[0].metrics["strands"]]
    folds = evaluations[0].folds
    where = f"of the {folds}-fold cross-validation" if folds else "on the test split"
    return metrics_by_predictor(
        f"All metrics {where}, with {words.percent(run.confidence)} intervals",
        [e.name for e in evaluations],
        [*(METRIC_NAMES[name] for name in names), loss_name(problem)],
        cells,
        note,
    )


def published_table(run: Run, task: str) -> dict[str, Any] | None:
    """What papers report on the task, beside the best of this run in the same metric."""
    of_task = [published for published in run.published if published.task == task]
    if not of_task:
        return None
    evaluations = run.of_task(task)
    rows = []
    for published in of_task:
        metric = published.metric
        known = [e for e in evaluations if (e.metrics["metrics"].get(metric) or {}).get("value") is not None]
        sign = -1 if metric in words.ERRORS else 1
        best = max(known, key=lambda e: sign * e.metrics["metrics"][metric]["value"], default=None)
        shown = words.shown_as(metric)
        here = with_interval(best.metrics["metrics"][metric], shown) if best else ""
        name = best.name if best else ""
        rows.append(
            [
                published.predictor,
                METRIC_NAMES[metric],
                shown(published.value),
                here,
                name,
                published.source,
            ]
        )
    return table(
        "Figures of papers, and the best of this run",
        ["Published predictor", "Metric", "Published", "Here", "Best here", "Source"],
        rows,
        numeric=[2, 3],
        note="Published figures may rest on other splits and on training sequences that were dropped here "
        "because they occur in the test split. The best one here was picked among all after the fact.",
    )


def loss_name(problem: str) -> str:
    """What the loss of a kind of task is called."""
    return "mean squared error" if problem == REGRESSION else "loss (nats)"


def metrics_note(problem: str, metrics: dict[str, Any]) -> str:
    """What the metrics (metrics.json) of a kind of task are means of."""
    if problem == REGRESSION:
        return (
            "R²: the explained share of the variance of the tested sequences; 0 is guessing their mean, "
            "below 0 is worse. Errors are in the unit of the values. A correlation with a constant is not "
            "defined."
        )
    missing = [label for label, n in metrics["label_counts"].items() if not n]
    if problem == MULTI_LABEL:
        nobody = (
            f" No tested sequence carries {words.listing(missing)}: F1 counts as 0 there, and the areas "
            "leave it out."
        )
        return (
            "Macro: mean over the labels. Micro: over all pairs of sequence and label. A label is predicted "
            "where its probability is above 0.5. Exact match: all labels of a sequence right."
        ) + nobody * bool(missing)
    if len(metrics["labels"]) > 2:
        absent = (
            f" No tested sequence is of class {words.listing(missing)}, which counts as 0 in the first three "
            "and is left out of the areas."
        )
        return "Precision, recall, F1, AUROC and AUPRC are means over the classes." + absent * bool(missing)
    return (
        f"Precision, recall, F1, AUROC and AUPRC are those of class {metrics['positive_label']} "
        f"({metrics['positive_because']}; the column positive of the task sheet chooses); “weighted” ones "
        "are means over both classes."
    )


def relatives_note(evaluation: Evaluation) -> str:
    """How the intervals take related sequences; empty where none are."""
    n, groups = evaluation.metrics["n"], evaluation.clusters
    if groups == n:
        return ""
    few = " Of so few, bootstrapped intervals are too narrow." if groups < FEW_OF_A_CLASS else ""
    return (
        f" Related sequences are drawn together, as {words.count(groups, 'independent group')} of "
        f"{words.count(n, 'sequence')}, and a share is as uncertain as these groups show.{few}"
    )


def rare_labels_note(metrics: dict[str, Any]) -> str:
    """What the intervals (metrics.json) are worth where a label is rare; empty where none is."""
    counts, several = metrics["label_counts"] or {}, metrics["problem"] == MULTI_LABEL
    # Of one of several labels both who carry it and who do not.
    rare = [
        label for label, n in counts.items() if min(n, metrics["n"] - n if several else n) < FEW_OF_A_CLASS
    ]
    if not rare:
        return ""
    classes = "class" if len(rare) == 1 else "each of the classes"
    narrow = "intervals of AUPRC and of differences are"
    if several or len(counts) > 2:
        narrow = "bootstrapped intervals, but those of AUROC, are"
    what = "carry, or do not carry," if several else f"are of {classes}"
    return (
        f" Fewer than {FEW_OF_A_CLASS} of the tested sequences {what} {words.listing(rare)}: {narrow} too "
        "narrow then."
    )


def labels_table(run: Run, task: str) -> dict[str, Any] | None:
    """The metrics of each of several labels, as the leading model predicts it."""
    lead, checks = run.headline(task), run.checks.get(task)
    if not (per_label := lead.metrics.get("per_label")):
        return None
    names = list(next(iter(per_label.values())))
    counts = lead.metrics["label_counts"]
    # How well a label is found that nobody carries is not defined.
    rows = [
        [
            label,
            f"{counts[label]:,}",
            *[with_interval(found[name]) if counts[label] else "" for name in names],
        ]
        for label, found in per_label.items()
    ]
    if checks:
        for row in rows:
            row.insert(1, f"{checks['label_counts']['train'][row[0]]:,}")
    columns = ["Label", *(["In training"] if checks else []), "In test", *[METRIC_NAMES[n] for n in names]]
    return table(
        f"Label by label: {lead.name}",
        columns,
        rows,
        note=f"How many training and {lead.tested_sequences} carry the label, and how well it is told from "
        "its absence.",
    )


def differences_table(run: Run, task: str) -> dict[str, Any] | None:
    """How much better the leading model is than each other predictor, sequence by sequence."""
    lead = run.headline(task)
    rows = []
    for other in run.of_task(task):
        difference = run.difference_to(task, other) if other is not lead else None
        if difference is None or difference["low"] is None:
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
                f"{words.signed(difference['low'])} to {words.signed(difference['high'])}"
                if words.low_and_high_differ(difference)
                else "",
                told,
            ]
        )
    if not rows:
        return None
    return table(
        f"{lead.leading_name[0].upper()}{lead.leading_name[1:]} of {lead.name} minus that of",
        [
            "Other predictor",
            "Difference",
            f"{words.percent(run.confidence)} interval",
            "Is the leading model better?",
        ],
        rows,
        numeric=[1, 2],
        note=f"Both predictors saw the same {lead.tested_sequences}; the difference is bootstrapped pair by "
        "pair, related sequences together. Each row stands for itself: of "
        f"{1 / (1 - run.confidence):,.0f} rows without a difference about one says otherwise.",
    )


def repetitions_table(run: Run, task: str) -> dict[str, Any] | None:
    """Mean and spread over seeds of every classifier that was trained several times."""
    groups = run.comparisons.get(task, {}).get("repetitions", [])
    if not groups:
        return None
    names = [name for name in METRIC_NAMES if name in groups[0]["metrics"]]
    problem = run.headline(task).problem.name
    shown = {name: words.shown_as(name) for name in names}
    shown["loss"] = words.quantity if problem == REGRESSION else words.number
    cells = [
        [with_spread(group["metrics"].get(name), as_shown) for group in groups]
        for name, as_shown in shown.items()
    ]
    seeds, tested = groups[0]["seeds"], run.headline(task).tested_sequences
    return metrics_by_predictor(
        f"Spread over seeds: mean ± standard deviation of {words.count(len(seeds), 'training')} (lowest to "
        "highest)",
        [words.predictor_name(group) for group in groups],
        [*(METRIC_NAMES[name] for name in names), loss_name(problem)],
        cells,
        note=f"Seeds {words.listing([str(seed) for seed in seeds])}, all on the same {tested}: this is "
        f"what chance does in training. The intervals of the other tables are over {tested} and do not "
        f"hold it. Everything else in this report is of seed {seeds[0]}, which was chosen before any was "
        "tested.",
    )


def task_figures(run: Run, task: str) -> list[dict[str, str]]:
    """ROC and precision-recall curves, labels and lengths."""
    figures = []
    series: dict[str, list[Series]] = {"roc": [], "pr": []}
    drawn, left_out = drawn_as_curves(run, task)
    for evaluation in drawn:
        for kind, (x, y) in {"roc": ("fpr", "tpr"), "pr": ("recall", "precision")}.items():
            curve = (evaluation.curves or {}).get(kind)
            if curve:
                style = series_style(run, task, evaluation)
                series[kind].append(Series(evaluation.name, curve[x], curve[y], style.colour))
    many = len(run.headline(task).metrics["labels"]) > 2
    mean = " Mean over the classes, each against the others." if many else ""
    if run.headline(task).problem.name == MULTI_LABEL:
        mean = " Mean over the labels."
    more = mean + left_out
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
        caption = f"The nearer to the upper left corner, the better; the diagonal would be guessing.{more}"
        figures.append(figure("ROC curve", svg, caption, f"{task}.roc"))
    if series["pr"]:
        share = guessing_precision(run.headline(task).metrics)
        svg = line_chart(
            series["pr"],
            f"Precision-recall curves, task {task}",
            "recall",
            "precision",
            reference_lines=[("guessing", share)],
            **unit,
        )
        caption = (
            f"How pure the calls are (precision) when this share of the positives is found (recall).{more}"
        )
        figures.append(figure("Precision and recall", svg, caption, f"{task}.precision_recall"))
    figures += scatter_figures(run, task)
    figures += calibration_figures(run, task)
    if checks := run.checks.get(task):
        figures.append(labels_figure(task, checks))
        figures += length_figures(task, checks)
    return figures


def guessing_precision(metrics: dict[str, Any]) -> float:
    """Precision of guessing: the share of the positive class, or its mean over labels that have a curve."""
    shares = [n / metrics["n"] for n in metrics["label_counts"].values()]
    if metrics["problem"] == SINGLE_LABEL and len(shares) == 2:
        return metrics["label_counts"][metrics["positive_label"]] / metrics["n"]
    known = [share for share in shares if share]
    return sum(known) / max(1, len(known))


def scatter_figures(run: Run, task: str) -> list[dict[str, str]]:
    """Predicted against measured values, of the leading model and of the best baseline."""
    baselines = [e for e in run.baselines(task) if e.metrics["name"] != "majority"]
    best = max(baselines, key=lambda e: e.leading_value, default=None)
    figures = []
    lead = run.headline(task)
    for shown in [lead, *([best] if best and best is not lead else [])]:
        points = (shown.curves or {}).get("scatter")
        if not points:
            continue
        svg = scatter_chart(
            list(zip(points["measured"], points["predicted"], strict=True)),
            f"Predicted against measured, {shown.name}, task {task}",
            ("measured", "predicted"),
            series_style(run, task, shown).colour,
        )
        n = shown.metrics["n"]
        some = f"{len(points['measured']):,} of {n:,}" if n > len(points["measured"]) else f"{n:,}"
        caption = f"{some} {shown.tested_sequences}. On the dotted line a prediction is what was measured."
        title = f"Predicted against measured: {shown.name}"
        figures.append(
            figure(title, svg, caption, f"{task}.{identity(shown.metrics).replace('/', '.')}.scatter")
        )
    return figures


def labels_figure(task: str, checks: dict[str, Any]) -> dict[str, str]:
    """How many sequences carry each label, or how the values are distributed."""
    all_tested = f" {words.ALL_TESTED}" if "folds" in checks else ""
    if "values" in checks:
        boxes = [
            Box(split, of["min"], of["q1"], of["median"], of["q3"], of["max"], colour=place)
            for place, (split, of) in enumerate(checks["values"].items())
        ]
        svg = box_chart([("", boxes)], f"Values, task {task}", "value")
        caption = f"Values in each split, after cleaning: smallest, quartiles, largest.{all_tested}"
        return figure("Values", svg, caption, f"{task}.labels")
    groups = [(split, list(counts.items())) for split, counts in checks["label_counts"].items()]
    svg = bar_chart(groups, f"Sequences per label, task {task}")
    noun = "label" if checks["problem"] == MULTI_LABEL else "class"
    caption = f"Sequences per {noun} in each split, after cleaning.{all_tested}"
    return figure("Labels", svg, caption, f"{task}.labels")


def length_figures(task: str, checks: dict[str, Any]) -> list[dict[str, str]]:
    """Lengths of the labelled sequences; nothing where all have one length."""
    lengths = checks["lengths"]
    if len({of[key] for of in lengths.values() for key in ("min", "max")}) == 1:
        return []
    counts = [(split, dict(zip(of["edges"], of["counts"], strict=False))) for split, of in lengths.items()]
    svg = histogram(counts, f"Sequence lengths, task {task}", "length in bp", bins=20)
    return [figure("Sequence lengths", svg, "Length of the labelled sequences.", f"{task}.lengths")]


def confusion_part(run: Run, task: str) -> dict[str, Any] | None:
    """Confusion matrices of the trained models and, beside them, of the strongest baseline.

    None where there are no classes: several labels or values have no such matrix.
    """
    if run.headline(task).problem.name != SINGLE_LABEL:
        return None
    chosen = [e for e in run.of_task(task) if e.metrics["kind"] == "model"] or run.of_task(task)[:1]
    best = max(run.baselines(task), key=lambda e: e.leading_value, default=None)
    if best and best not in chosen:
        chosen.append(best)
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
                    "percent": words.share(share),
                    "right": i == j,
                }
                for j, (cell, share) in enumerate(zip(matrix[i], shares, strict=True))
            ]
            rows.append({"label": label, "cells": cells})
        matrices.append({"name": evaluation.name, "labels": labels, "rows": rows})
    return {
        "kind": "confusion",
        "level": 4 if len(run.tasks) > 1 else 3,
        "wide": len(matrices[0]["labels"]) > CLASSES_BESIDE,
        "rows": matrices,
        "note": "Rows: the true class. Columns: what the predictor said. Shares are of the row.",
    }


def worst_predictions(run: Run, task: str) -> list[dict[str, Any]]:
    """The test sequences on which the leading model was most confidently wrong."""
    lead = run.headline(task)
    if lead.predictions is None:
        return [text("The predictions per sequence are not at hand, so the worst ones cannot be shown.")]
    predictions = pd.read_csv(
        lead.predictions,
        sep="\t",
        dtype={"id": str, "label": str, "predicted": str},
        keep_default_na=False,
    )
    worst = predictions.sort_values(["loss", "id"], ascending=[False, True]).head(WORST_PREDICTIONS)
    wrong = ""
    if lead.problem.name == SINGLE_LABEL:
        missed = int((predictions["label"] != predictions["predicted"]).sum())
        wrong = (
            f" {missed:,} of {len(predictions):,} are classified wrongly." if missed else " None is wrong."
        )
    describe = {SINGLE_LABEL: _wrong_class, MULTI_LABEL: _wrong_labels, REGRESSION: _wrong_value}
    columns: list[str] = []
    rows = []
    for _, row in worst.iterrows():
        sequence = str(row["seq"])
        if len(sequence) > LONGEST_SEQUENCE_SHOWN:
            sequence = sequence[:LONGEST_SEQUENCE_SHOWN] + "…"
        found = describe[lead.problem.name](row)
        columns = ["Sequence id", *found, "Sequence"]
        rows.append([row["id"], *found.values(), sequence])
    return [
        table(
            f"Worst predictions of {lead.name}",
            columns,
            rows,
            numeric=[len(columns) - 3, len(columns) - 2],
            sequence=[len(columns) - 1],
            note=f"The {lead.tested_sequences} with the highest loss: look here first for wrong labels and "
            f"odd sequences.{wrong} All {len(predictions):,} predictions are in the table of predictions of "
            "this run.",
        )
    ]


def _wrong_class(row: pd.Series) -> dict[str, str]:
    return {
        "True class": row["label"],
        "Predicted": row["predicted"],
        "Probability of the true class": words.number(row[f"probability_{row.label}"]),
        "Loss (nats)": words.loss(row["loss"], 2),
    }


def _wrong_labels(row: pd.Series) -> dict[str, str]:
    probabilities = [value for name, value in row.items() if str(name).startswith("probability_")]
    return {
        "True labels": row["label"],
        "Predicted": row["predicted"],
        "Highest probability": words.number(max(probabilities)),
        "Loss (nats)": words.loss(row["loss"], 2),
    }


def _wrong_value(row: pd.Series) -> dict[str, str]:
    return {
        "Measured": words.quantity(float(row["label"])),
        "Predicted": words.quantity(float(row["predicted"])),
        "Error": words.quantity(row["error"]),
        "Squared error": words.quantity(row["loss"]),
    }


def finetuning_parts(run: Run) -> list[dict[str, Any]]:
    """Learning curves and trained parameters of every classifier."""
    if not run.finetunings:
        return []
    verdicts = finetuning_verdicts(run.finetunings)
    numbers = [finetuning_table(training, finetuned(training.summary).name) for training in run.finetunings]
    return [
        heading("Fine-tuning"),
        {"kind": "figures", "rows": finetuning_figures(run)},
        *([{"kind": "verdicts", "rows": verdicts}] if verdicts else []),
        classifiers_table(run.finetunings),
        *(found for found in numbers if found),
    ]


def finetuning_figures(run: Run) -> list[dict[str, str]]:
    """Validation loss and accuracy (or R²) by epoch, of all classifiers of a task together."""
    figures = []
    by_task = defaultdict(list)
    for training in run.finetunings:
        by_task[training.summary["task"]].append(training)
    for task, trainings in by_task.items():
        problem = trainings[0].summary.get("problem", SINGLE_LABEL)
        unit = "in units of the variance" if problem == REGRESSION else "nats"
        accuracy = "validation share of labels right" if problem == MULTI_LABEL else "validation accuracy"
        quantities = {"loss": f"validation loss ({unit})", "accuracy": accuracy, "r2": "validation R²"}
        for quantity, label in quantities.items():
            series = []
            for training in trainings:
                log = [r for r in training.log if r["event"] == "evaluation" and r.get(quantity) is not None]
                x, y = [r["epoch"] for r in log], [r[quantity] for r in log]
                predictor = finetuned(training.summary)
                style = series_style(run, task, predictor)
                markers = len(x) <= MARKERS_UP_TO
                series.append(Series(predictor.name, x, y, style.colour, markers))
            if any(one.x for one in series):
                largest = math.inf if quantity == "loss" else 1
                svg = line_chart(series, f"Fine-tuning, task {task}", "epoch", label, largest=largest)
                title = f"Fine-tuning, task {task}: {label.split(' (')[0]}"
                caption = "On validation sequences, which no gradient has seen. Epoch 0 is before training."
                figures.append(figure(title, svg, caption, f"{task}.finetuning_{quantity}"))
    return figures


def classifiers_table(trainings: list[Training]) -> dict[str, Any]:
    """What of each classifier learned, for how long, and which epoch was kept."""
    rows = [
        [
            finetuned(summary).name,
            summary["task"],
            f"{summary['parameters_trainable']:,}",
            f"{summary['parameters_total']:,}",
            summary["pooling"],
            summary["settings"]["epochs"],
            summary["kept"]["epoch"],
            words.loss(summary["kept"]["loss"]),
        ]
        for summary in (training.summary for training in trainings)
    ]
    columns = ["Classifier", "Task", "Trained parameters", "All parameters", "Pooling", "Epochs"]
    columns += ["Epoch kept", "Validation loss"]
    return table(
        "Classifiers",
        columns,
        rows,
        numeric=[2, 3, 5, 6, 7],
        note="Kept are the weights of the epoch with the lowest validation loss, of those that trained.",
    )


def finetuning_verdicts(trainings: list[Training]) -> list[dict[str, str]]:
    """Which fine-tunings only made the validation loss worse."""
    verdicts = []
    for training in trainings:
        name = f"{finetuned(training.summary).name}, task {training.summary['task']}"
        verdicts += words.finetuning_verdict(name, training.losses("epoch", "loss"), training.summary)
    return verdicts


def finetuned(summary: dict[str, Any]) -> Evaluation:
    """The predictor that a fine-tuning run made, so that it bears the same name and colour everywhere."""
    kinds = {UNTRAINED: "untrained", PUBLISHED: "published"}
    kind = next((kind for ending, kind in kinds.items() if summary["model"].endswith(ending)), "model")
    return Evaluation({"name": summary["model"], "kind": kind, "backbone": summary["backbone"]})
