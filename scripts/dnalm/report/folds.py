"""What is said of tasks without a test split, whose predictors were cross-validated."""

from typing import Any

from dnalm.problems.names import METRIC_NAMES
from dnalm.report import words
from dnalm.report.parts import metrics_by_predictor, with_spread
from dnalm.report.run import Evaluation, Run

SHARED_TRAINING = (
    "Predictors of two folds have most of their training sequences in common, so the interval is an "
    "approximation (Bengio & Grandvalet 2004)."
)


def cross_validation_facts(
    evaluation: Evaluation, checks: dict[str, Any], labels: str, taught: str, overlap: str
) -> list[dict[str, str]]:
    """How the leading predictor was tested, and what the one that is put to use has learned from.

    `labels` says how many sequences carry which, `taught` what of a model learns, `overlap` which of the
    sequences stood in the pretraining lines.
    """
    folds = evaluation.metrics["cross_validation"]
    lengths, dealt = checks["lengths"]["test"], checks["folds"]
    largest = f"the largest of {words.count(dealt['largest_cluster'], 'sequence')}"
    if groups := checks.get("groups"):
        related = f"No {groups['column']} is in two folds: {groups['count']:,} were dealt out, {largest}."
    elif dealt["largest_cluster"] == 1:
        related = "None is related to another."
    else:
        related = f"Related sequences share a fold: {dealt['clusters']:,} groups were dealt out, {largest}."
    over_folds = folds["metrics"].get(evaluation.problem.headline)
    spread = f" Fold by fold the {evaluation.leading_name} is {words.mean_and_spread(over_folds)}."
    counts = checks["sequences"]
    return [
        {
            "term": "Cross-validated",
            "text": f"{evaluation.folds}-fold cross-validation, {words.count(counts['test'], 'sequence')} of "
            f"{words.span(lengths)} ({labels}).{overlap} Each was predicted once, by a predictor that "
            f"learned from the other folds, a part of which chose its best epoch. {taught} {related}"
            + (spread if over_folds else ""),
        },
        {
            "term": "To be used",
            "text": "The saved classifier learned from all of them in the same way: from "
            f"{counts['train']:,}, and {counts['validation']:,} more to choose the best epoch. What is told "
            "here is how good this way of training is; the saved classifier itself was not tested.",
        },
    ]


def folds_table(run: Run, task: str) -> dict[str, Any] | None:
    """Mean and spread over folds of every predictor; None of a task with a test split."""
    evaluations = [e for e in run.of_task(task) if e.folds]
    if not evaluations:
        return None
    crossed = [e.metrics["cross_validation"] for e in evaluations]
    names = [name for name in METRIC_NAMES if any(name in of["metrics"] for of in crossed)]
    sizes = words.listing([f"{n:,}" for n in crossed[0]["sequences"]])
    return metrics_by_predictor(
        f"Fold by fold: mean ± standard deviation of {evaluations[0].folds} (lowest to highest)",
        [e.name for e in evaluations],
        [METRIC_NAMES[name] for name in names],
        [[with_spread(of["metrics"].get(name), words.shown_as(name)) for of in crossed] for name in names],
        note=f"Folds of {sizes} sequences. The spread tells how much folds differ, and no more: since "
        "predictors of two folds share training sequences, it is no measure of how well a metric is known. "
        "Areas under curves of all predictions together rank outputs of different predictors; here they do "
        "not. Who only counts labels can come out below chance: a fold that tests more of a class learns "
        "from less of it.",
    )
