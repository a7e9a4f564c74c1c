"""Figures of papers beside the results of a run: a table that users keep, one row per figure."""

import csv
from dataclasses import dataclass
from pathlib import Path

from dnalm.problems.names import METRIC_NAMES
from dnalm.running.errors import InputError
from dnalm.running.hints import either, show

COLUMNS = ("task", "predictor", "metric", "value", "source")


@dataclass(frozen=True)
class PublishedFigure:
    """What a source says that a predictor reached on a task; `metric` as in metrics.json."""

    task: str
    predictor: str
    metric: str
    value: float
    source: str


def read_published(path: Path) -> list[PublishedFigure]:
    """Read a TSV with the columns task, predictor, metric, value and source; lines with # are skipped.

    Raises InputError naming the row if something is missing, or a metric or a value is none.
    """
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from None
    reader = csv.DictReader(lines, delimiter="\t")
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
    if missing:
        raise InputError(f"{path}: no column {either(missing)}. Columns are {', '.join(COLUMNS)}.")
    figures = []
    for number, row in enumerate(reader, start=1):
        place = f"{path} row {number}"
        for column in COLUMNS:
            if not row[column]:
                raise InputError(f"{place}: {column} is empty. Give it, or remove the row.")
        if row["metric"] not in METRIC_NAMES:
            raise InputError(
                f"{place}: metric is {show(row['metric'])}, not one of {', '.join(METRIC_NAMES)}."
            )
        try:
            value = float(row["value"])
        except ValueError:
            raise InputError(f"{place}: value is {show(row['value'])}. Give a number.") from None
        figures.append(PublishedFigure(row["task"], row["predictor"], row["metric"], value, row["source"]))
    return figures
