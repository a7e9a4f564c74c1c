"""Learning curves as tables: the numbers behind the lines, step by step and epoch by epoch."""

from typing import Any

from dnalm.problems.names import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from dnalm.report import words
from dnalm.report.charts import thinned
from dnalm.report.parts import table
from dnalm.report.run import Training

# More rows than this say no more; they are thinned evenly, first and last kept.
MOST_ROWS = 25


def pretraining_table(training: Training) -> dict[str, Any] | None:
    """Loss, perplexity and accuracy at the evaluations of a pretraining; None where there were none.

    All over the tokens that are [MASK], but for the last two columns, over all selected tokens.
    """
    evaluations = [record for record in training.log if record["event"] == "evaluation"]
    trained = {record["step"]: record for record in training.log if record["event"] == "train"}

    def of_training(step: int, key: str) -> str:
        value = trained.get(step, {}).get(key)
        return "" if value is None else words.loss(value)

    rows = [
        [
            f"{record['step']:,}",
            f"{record['epoch']:.2f}",
            of_training(record["step"], "masked_loss"),
            words.loss(record["masked_loss"]),
            f"{record['masked_perplexity']:,.1f}",
            words.share(record["masked_accuracy"], 2),
            of_training(record["step"], "selected_loss"),
            words.loss(record["selected_loss"]),
        ]
        for record in thinned(evaluations, MOST_ROWS)
    ]
    columns = ["Step", "Epoch", "Training loss", "Held-out loss", "Perplexity", "[MASK] right"]
    columns += ["Training loss, all selected", "Held-out loss, all selected"]
    return _learning_table(f"Pretraining of {training.summary['model']}, step by step", columns, rows)


def finetuning_table(training: Training, name: str) -> dict[str, Any] | None:
    """Loss and accuracy after every epoch of a fine-tuning; None where nothing was logged."""
    evaluations = [record for record in training.log if record["event"] == "evaluation"]
    trained = {record["epoch"]: record["loss"] for record in training.log if record["event"] == "train"}
    kept = training.summary["kept"]["epoch"]
    chosen = thinned(evaluations, MOST_ROWS)
    rows = [
        [
            f"{record['epoch']:,}",
            words.loss(trained[record["epoch"]]) if record["epoch"] in trained else "",
            words.loss(record["loss"]),
            accuracy(record),
        ]
        for record in chosen
    ]
    problem = training.summary.get("problem", SINGLE_LABEL)
    last = {MULTI_LABEL: "Validation labels right", REGRESSION: "Validation R²"}.get(
        problem, "Validation accuracy"
    )
    columns = ["Epoch", "Training loss", "Validation loss", last]
    strong = [place for place, record in enumerate(chosen) if record["epoch"] == kept]
    caption = f"Fine-tuning of {name}, task {training.summary['task']}, epoch by epoch"
    return _learning_table(caption, columns, rows, strong)


def accuracy(record: dict[str, Any]) -> str:
    """The accuracy of an evaluation, or R² of values."""
    if record.get("accuracy") is not None:
        return words.share(record["accuracy"], 1)
    return words.number(record["r2"]) if "r2" in record else ""


def _learning_table(
    caption: str, columns: list[str], rows: list[list[str]], strong: list[int] | None = None
) -> dict[str, Any] | None:
    if not rows:
        return None
    numeric = list(range(len(columns)))
    return table(caption, columns, rows, numeric=numeric, strong=strong, fold=f"{caption}: the numbers")
