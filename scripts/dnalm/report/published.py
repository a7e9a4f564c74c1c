"""Figures of papers beside the results of a run: a table that users keep, one row per figure."""

import csv
import math
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

    Raises InputError naming the line if something is missing, or a metric or a value is none.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Paths are relative to the working directory.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}). Save it as UTF-8 text.") from None
    numbered = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    reader = csv.DictReader([line for _, line in numbered], delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
    if missing:
        raise InputError(f"{path}: no column {either(missing)}. Columns are {', '.join(COLUMNS)}.")
    figures = []
    for (number, _), row in zip(numbered[1:], reader, strict=True):
        place = f"{path} line {number}"
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
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"{place}: value is {show(row['value'])}. Give a number.")
        figures.append(PublishedFigure(row["task"], row["predictor"], row["metric"], value, row["source"]))
    return figures
