"""The pieces that chapters are put together from; the template draws each kind.

Kinds of parts are `heading`, `text`, `verdicts`, `figures`, `table`, `confusion`, `code` and `words`.
"""

from collections.abc import Callable
from typing import Any

from dnalm.report.words import number


def table(
    caption: str,
    columns: list[str],
    rows: list[list[Any]],
    numeric: list[int] | None = None,
    sequence: list[int] | None = None,
    strong: list[int] | None = None,
    note: str = "",
    fold: str = "",
) -> dict[str, Any]:
    """A table. `numeric`, `sequence`: columns set right and in fixed width; `strong`: rows set bold."""
    return {
        "kind": "table",
        "caption": caption,
        "columns": columns,
        "rows": [{"cells": row, "strong": i in (strong or [])} for i, row in enumerate(rows)],
        "numeric": list(range(1, len(columns))) if numeric is None else numeric,
        "sequence": sequence or [],
        "note": note,
        "fold": fold,
    }


# A table of more predictors has a row for each, instead of a column: pages grow downwards.
MOST_COLUMNS = 9


def metrics_by_predictor(
    caption: str, predictors: list[str], metrics: list[str], cells: list[list[Any]], note: str
) -> dict[str, Any]:
    """A table of `cells[metric][predictor]`; bold are the metric that leads, or the predictor that leads."""
    if len(predictors) <= MOST_COLUMNS:
        rows = [[metric, *of_metric] for metric, of_metric in zip(metrics, cells, strict=True)]
        return table(caption, ["Metric", *predictors], rows, strong=[0], note=note)
    rows = [[predictor, *of] for predictor, of in zip(predictors, zip(*cells, strict=True), strict=True)]
    return table(caption, ["Predictor", *metrics], rows, strong=[0], note=note)


def figure(title: str, svg: str, caption: str, file: str) -> dict[str, str]:
    """A figure of the page; `file` is its name as a file of its own."""
    return {"title": title, "svg": svg, "caption": caption, "file": file}


def text(sentence: str) -> dict[str, str]:
    return {"kind": "text", "text": sentence}


def heading(name: str, id: str = "") -> dict[str, str]:
    """A heading; one with an `id` can be linked to."""
    return {"kind": "heading", "text": name, "id": id}


# A cell of a table is a text, or one of these dictionaries, which the template draws.


def bar(share: float) -> dict[str, Any]:
    """A cell with a bar whose length is `share` of the longest one."""
    return {"bar": share}


def link(section: str, text: str) -> dict[str, Any]:
    """A cell that leads to the element with the id `section`."""
    return {"section": section, "text": text}


def marked_text(*texts: tuple[str, bool]) -> dict[str, Any]:
    """A cell of several texts one after the other, each with whether it stands out."""
    return {"marked_text": list(texts)}


def with_spread(value: dict[str, float] | None, shown: Callable[[float], str] = number) -> Any:
    """Mean and standard deviation as a cell, lowest and highest in small print below; empty where there is
    none."""
    if value is None:
        return ""
    mean, deviation, low, high = (shown(value[key]) for key in ("mean", "sd", "low", "high"))
    return {"number": f"{mean} ± {deviation}", "low": low, "high": high}


def with_interval(value: dict[str, float | None] | None, shown: Callable[[float], str] = number) -> Any:
    """A metric as a cell: the value, its interval in small print below; empty where it is not defined."""
    if not value or value.get("value") is None:
        return ""
    known = (value.get(key) for key in ("value", "low", "high"))
    texts = [shown(part) for part in known if part is not None]
    return texts[0] if len(set(texts)) == 1 else {"number": texts[0], "low": texts[1], "high": texts[2]}
