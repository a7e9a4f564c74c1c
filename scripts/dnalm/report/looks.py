"""How predictors are drawn, the same in every figure."""

from dataclasses import dataclass

from dnalm.report import words
from dnalm.report.run import Evaluation, Run

# Of the colours of charts.py; the second one is the baseline's, the last one the majority's.
MODEL_COLOURS = (0, 2, 3, 4)


@dataclass(frozen=True)
class Look:
    """How a predictor is drawn: number of its colour and dash, shape of its dot."""

    colour: int
    dash: int
    shape: str


def looks(run: Run, task: str, evaluation: Evaluation) -> Look:
    """Colour, dash and shape of a predictor, the same in every figure.

    A model and its twins, untrained or as published, share a colour; a twin is dashed and hollow.
    """
    metrics = evaluation.metrics
    if metrics["kind"] == "baseline":
        return Look(5, 5, "diamond") if metrics["name"] == "majority" else Look(1, 3, "square")
    models = [
        (e.metrics["name"], e.metrics["backbone"]) for e in run.of_task(task) if e.metrics["kind"] == "model"
    ]
    model = (metrics["name"].removesuffix(words.UNTRAINED).removesuffix(words.PUBLISHED), metrics["backbone"])
    place = models.index(model) if model in models else len(models)
    colour = MODEL_COLOURS[place % len(MODEL_COLOURS)]
    return Look(colour, 0, "dot") if metrics["kind"] == "model" else Look(colour, 1, "ring")
