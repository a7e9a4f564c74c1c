"""How predictors are drawn, the same in every figure."""

from dataclasses import dataclass

from dnalm.baseline.settings import UNTRAINED
from dnalm.pretrain.settings import PUBLISHED
from dnalm.report.charts import DASHES
from dnalm.report.run import Evaluation, Run

# More lines than these cannot be told apart in one figure.
MOST_CURVES = len(DASHES)
# Of the colours of charts.py; the second one is the baseline's, the last one the majority's.
MODEL_COLOURS = (0, 2, 3, 4)


@dataclass(frozen=True)
class SeriesStyle:
    """How a predictor is drawn: number of its colour, shape of its dot."""

    colour: int
    shape: str


BASELINE_STYLES = {
    "majority": SeriesStyle(5, "diamond"),
    "kmer": SeriesStyle(1, "square"),
    "gapped_kmer": SeriesStyle(1, "dot"),
    "cnn": SeriesStyle(1, "ring"),
    "deep_cnn": SeriesStyle(1, "ring"),
}


def series_style(run: Run, task: str, evaluation: Evaluation) -> SeriesStyle:
    """Colour and shape of a predictor, the same in every figure.

    A model and its references, untrained or as published, share a colour; a reference is hollow.
    """
    metrics = evaluation.metrics
    if metrics["kind"] == "baseline":
        return BASELINE_STYLES.get(metrics["name"], SeriesStyle(1, "square"))
    if metrics["kind"] in ("combined", "stacked"):
        # The colour of the model that gives the embeddings.
        models = [e.metrics["name"] for e in run.of_task(task) if e.metrics["kind"] == "model"]
        names = list(dict.fromkeys(models))
        place = names.index(metrics["name"]) if metrics["name"] in names else 0
        shape = "square" if metrics["kind"] == "combined" else "diamond"
        return SeriesStyle(MODEL_COLOURS[place % len(MODEL_COLOURS)], shape)
    models = [
        (e.metrics["name"], e.metrics["backbone"]) for e in run.of_task(task) if e.metrics["kind"] == "model"
    ]
    model = (metrics["name"].removesuffix(UNTRAINED).removesuffix(PUBLISHED), metrics["backbone"])
    place = models.index(model) if model in models else len(models)
    colour = MODEL_COLOURS[place % len(MODEL_COLOURS)]
    return SeriesStyle(colour, "dot" if metrics["kind"] == "model" else "ring")


def drawn_as_curves(run: Run, task: str) -> tuple[list[Evaluation], str]:
    """The predictors of a task whose curves share a figure, and what is said of those that are left out.

    The majority class has no ranking: its curve is the diagonal.
    """
    evaluations = [e for e in run.of_task(task) if e.metrics["name"] != "majority"]
    if len(evaluations) <= MOST_CURVES:
        return evaluations, ""
    lead = run.headline(task).metrics
    drawn = []
    for evaluation in evaluations:
        metrics = evaluation.metrics
        name = metrics["name"].removesuffix(UNTRAINED).removesuffix(PUBLISHED)
        beside = metrics["kind"] in ("combined", "stacked") or metrics["backbone"] == lead["backbone"]
        if metrics["kind"] == "baseline" or (name == lead["name"] and beside):
            drawn.append(evaluation)
    return drawn, " Drawn are the leading model, what it is compared with, and the baselines."
