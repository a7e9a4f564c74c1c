"""Do the probabilities mean what they say? A figure and a table for each task."""

from collections.abc import Callable
from typing import Any

from dnalm.evaluate.settings import FEW_SEQUENCES
from dnalm.report import words
from dnalm.report.charts import Series, line_chart
from dnalm.report.parts import figure, table
from dnalm.report.run import Evaluation, Run
from dnalm.report.styles import drawn_as_curves, series_style


def calibrated(run: Run, task: str) -> list[Evaluation]:
    """The predictors of a task whose calibration was measured; that of the majority class says nothing."""
    return [e for e in run.of_task(task) if e.metrics.get("calibration") and e.metrics["name"] != "majority"]


def calibration_figures(run: Run, task: str) -> list[dict[str, str]]:
    """Predicted probabilities against how often they come true."""
    series = []
    drawn, left_out = drawn_as_curves(run, task)
    for evaluation in drawn:
        if not evaluation.metrics.get("calibration"):
            continue
        points = evaluation.metrics["calibration"]["curve"]
        style = series_style(run, task, evaluation)
        x, y = [point["predicted"] for point in points], [point["observed"] for point in points]
        series.append(Series(evaluation.name, x, y, style.colour, markers=True))
    if not series:
        return []
    labels = run.headline(task).metrics["labels"]
    of = f"class {labels[-1]}" if len(labels) == 2 else "the predicted class"
    svg = line_chart(
        series,
        f"Calibration, task {task}",
        f"predicted probability of {of}",
        "share of sequences",
        x_limits=(0, 1),
        y_limits=(0, 1),
        square=True,
        diagonal=True,
    )
    tested = "sequences" if run.headline(task).folds else "test sequences"
    # Of two classes a probability near 0 is as sure as one near 1.
    too_sure = (
        "where a line is flatter, the predictor is too sure, where it is steeper, not sure enough."
        if len(labels) == 2
        else "below it the predictor is too sure."
    )
    n, few = run.headline(task).metrics["n"], ""
    if n < FEW_SEQUENCES:
        few = f" With {n:,} in all, the lines jump by chance and say next to nothing."
    caption = (
        f"Ten groups of equally many {tested} each. On the diagonal a probability means what it says; "
        f"{too_sure}{few}{left_out}"
    )
    return [figure("Calibration", svg, caption, f"{task}.calibration")]


def calibration_table(run: Run, task: str) -> dict[str, Any] | None:
    """Calibration errors, temperatures and thresholds of the predictors of a task."""
    evaluations = calibrated(run, task)
    if not evaluations:
        return None
    binary = len(evaluations[0].metrics["labels"]) == 2
    rows = []
    for evaluation in evaluations:
        found = evaluation.metrics["calibration"]
        by_fold = found.get("by_fold", {})
        row = [
            evaluation.name,
            words.number(found["error"]["as_predicted"]),
            with_range(found["temperature"], by_fold.get("temperature"), "{:.3g}".format),
            words.number(found["error"]["scaled"]),
            words.number(found["loss"]["as_predicted"]),
            words.number(found["loss"]["scaled"]),
        ]
        if binary:
            threshold = found["threshold"]
            row.append(with_range(threshold["value"], by_fold.get("threshold"), words.number))
            row += [words.number(threshold[name]) for name in ("accuracy", "f1", "mcc")]
        rows.append(row)
    columns = ["Predictor", "Calibration error", "Temperature", "Error, scaled", "Loss", "Loss, scaled"]
    columns += ["Threshold", "Accuracy at it", "F1 at it", "MCC at it"] if binary else []
    fitted = "Temperature and threshold are" if binary else "The temperature is"
    n = evaluations[0].metrics["calibration"]["n_validation"]
    few = ", so few that they say little" if n < FEW_SEQUENCES else ""
    where = f"on {words.count(n, 'validation sequence')}{few}"
    if evaluations[0].folds:
        where = (
            f"in every fold on its own validation sequences, {n:,} or more{few}, and judged on what it left "
            "out; shown are the median over the folds and the lowest and highest"
        )
    note = (
        "Calibration error: mean distance between the confidence in the predicted class and how often it is "
        f"right (ECE, 15 bins). {fitted} fitted {where}. Scaled: logits divided by the temperature; above 1 "
        "it says that the predictor is too sure."
    )
    tested = evaluations[0].metrics["n"]
    note += (
        f" By chance alone the error is up to about {words.number(tested**-0.5)} with "
        f"{words.tested(evaluations[0].metrics)}, also where every probability is right. One "
        "that says nearly the same of every sequence has a small error, too, and tells nothing apart."
    )
    if binary:
        note += " Threshold: the probability with the highest MCC on validation; all other tables use 0.5."
    return table("Can the probabilities be believed?", columns, rows, note=note)


def with_range(value: float, of_folds: list[float] | None, shown: Callable[[float], str]) -> str:
    """A value, and in a cross-validation the lowest and the highest of the folds: `1.2 (0.9 to 2.1)`."""
    return shown(value) + (f" ({shown(min(of_folds))} to {shown(max(of_folds))})" if of_folds else "")
