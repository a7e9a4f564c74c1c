"""Chapter on a study: leaderboards of its variants and learning curves."""

from typing import Any

from dnalm.report import words
from dnalm.report.charts import Estimate, Series, interval_chart, line_chart
from dnalm.report.parts import figure, heading, table, text, with_interval
from dnalm.report.styles import MOST_CURVES
from dnalm.study.names import row_name

ROWS_SHOWN = 40
ROWS_DRAWN = 10
COLOURS = 6
SHAPES = {"model": "dot", "published": "dot", "untrained": "ring", "baseline": "square", "stacked": "diamond"}
# What stands beside the variants.
BESIDE = ("baseline", "stacked")


def study_section(study: dict[str, Any]) -> dict[str, Any]:
    """Leaderboards over tasks and of each task, and the curves."""
    reference = words.baseline_name(study["reference"])
    variants = sum(row["kind"] not in BESIDE for row in study["over_tasks"])
    parts: list[dict[str, Any]] = [
        text(
            f"{words.count(variants, 'variant')}, each against the {reference} on the same test sequences. "
            "An interval is over test sequences: what another test split would give. The spread is over "
            "seeds: what another training would give. The first row was found with these test sequences, so "
            "its accuracy is a little too good; p values are adjusted for all rows of a task (Holm)."
        )
    ]
    if len(study["tasks"]) > 1:
        parts.append(over_tasks_table(study))
    for task, board in study["tasks"].items():
        if len(study["tasks"]) > 1:
            parts.append(heading(f"Study of task {task}"))
        parts.append({"kind": "figures", "rows": study_figures(study, task)})
        parts.append(board_table(task, board, reference, study["confidence"]))
    return {"id": "study", "title": "Study", "parts": parts}


def over_tasks_table(study: dict[str, Any]) -> dict[str, Any]:
    """All variants by their mean rank."""
    rows = [
        [
            name_of(row),
            f"{row['mean_rank']:.1f}",
            words.number(row["mean_accuracy"]),
            row["tasks"],
            row["better"],
            row["worse"],
        ]
        for row in study["over_tasks"][:ROWS_SHOWN]
    ]
    left = len(study["over_tasks"]) - len(rows)
    return table(
        "All tasks together",
        ["Variant", "Mean rank", "Mean accuracy", "Tasks", "Better on", "Worse on"],
        rows,
        note="Better and worse: tasks on which the difference to the reference is more than chance, all "
        "comparisons of that task considered, those of the other tasks not. Equal accuracies share a rank."
        + (f" {left:,} more rows are in study/leaderboard.json." if left else ""),
    )


def board_table(task: str, board: list[dict[str, Any]], reference: str, confidence: float) -> dict[str, Any]:
    """The leaderboard of one task."""
    rows = []
    for rank, row in enumerate(board[:ROWS_SHOWN], 1):
        cost, difference = row["cost"], row["difference"]
        rows.append(
            [
                f"{rank}. {name_of(row)}",
                with_interval(row["accuracy"]),
                row["seeds"] if row["kind"] not in BESIDE else "",
                "" if row["seed_spread"] is None else f"±{row['seed_spread']:.3f}",
                with_interval(difference) if difference else "",
                "" if row["p_adjusted"] is None else f"{row['p_adjusted']:.2g}",
                words.rounded(cost["parameters"]) if cost.get("parameters") else "",
                hours(cost, "pretraining"),
                hours(cost, "finetuning"),
            ]
        )
    left = len(board) - len(rows)
    return table(
        f"Leaderboard of task {task}",
        [
            "Variant",
            "Test accuracy",
            "Seeds",
            "Spread over seeds",
            f"Minus {reference}",
            "p, adjusted",
            "Parameters",
            "Pretraining, CPU hours",
            "Fine-tuning, CPU hours",
        ],
        rows,
        note=f"{words.percent(confidence)} intervals over test sequences. Spread: standard deviation over "
        "seeds. Hours are those of one seed, as measured, and of all folds of a cross-validation."
        + (f" {left:,} more rows are in study/leaderboard.tsv." if left else ""),
    )


def hours(cost: dict[str, float | None], step: str) -> str:
    """CPU hours of a step, or its wall clock where only that is known."""
    found = cost.get(f"{step}_cpu_hours")
    return "" if found is None else words.significant(found, 2)


def study_figures(study: dict[str, Any], task: str) -> list[dict[str, str]]:
    """The best variants beside the baselines, and both learning curves."""
    board = study["tasks"][task]
    # Long names are cut in a figure; by their numbers they are found in the table.
    estimates = [
        Estimate(
            f"{rank}. {name_of(row)}",
            **row["accuracy"],
            colour=BESIDE.index(row["kind"]) + 1 if row["kind"] in BESIDE else 0,
            shape=SHAPES[row["kind"]],
        )
        for rank, row in enumerate(board, 1)
        if rank <= ROWS_DRAWN or row["kind"] in BESIDE
    ]
    svg = interval_chart(estimates, f"Best variants, task {task}", "test accuracy", (0, 1))
    caption = f"The {min(ROWS_DRAWN, len(board))} most accurate rows, and what stands beside the variants."
    figures = [figure("Best variants", svg, caption, f"{task}.study")]
    for key, title, axis, more in (
        ("token_curves", "Accuracy against pretraining", "tokens of pretraining", ""),
        (
            "label_curves",
            "Accuracy against labelled sequences",
            "labelled training sequences",
            " The validation split, which has labels as well, is the same and whole for all: it chooses "
            "epochs and penalties.",
        ),
    ):
        series = []
        # Those against pretraining stand in the order of their best rows. Of those of labels there are few.
        curves = study[key][task]
        if key == "token_curves" and len(curves) > MOST_CURVES:
            more = (
                f" Drawn are the {MOST_CURVES} of {len(curves):,} curves with the most accurate rows; all "
                "are in study/leaderboard.json."
            )
            curves = curves[:MOST_CURVES]
        for number, curve in enumerate(curves):
            name = name_of({"kind": "model", "name": "", "settings": {}} | curve)
            x, y = ([point[k] for point in curve["points"]] for k in ("x", "value"))
            series.append(Series(name, x, y, number % COLOURS, markers=True))
        if series:
            svg = line_chart(series, f"{title}, task {task}", axis, "test accuracy", largest=1)
            points = [point for curve in curves for point in curve["points"]]
            half = max((point["high"] - point["low"]) / 2 for point in points)
            caption = (
                f"Each dot: another training. Its accuracy is known to about ±{words.number(half)} "
                f"({words.percent(study['confidence'])} interval over test sequences), so that a rise or "
                f"fall by less may be chance.{more}"
            )
            figures.append(figure(title, svg, caption, f"{task}.{key}"))
    return figures


def name_of(row: dict[str, Any]) -> str:
    """A row as a reader calls it."""
    if row["kind"] == "baseline":
        return words.baseline_name(row["name"])
    if row["settings"] or not row["name"] or row["kind"] == "stacked":
        return row_name(row) or row.get("backbone", "")
    return words.predictor_name(row)
