"""What variants are called where people read them."""

from typing import Any

from dnalm.baseline.settings import STACKED


def row_name(row: dict[str, Any]) -> str:
    """What makes a row, as a person would say it: `tokenizer k6, steps 500, frozen`; a baseline's name."""
    if row["kind"] == STACKED:
        return f"stacked with {row['name']}"
    parts = [f"{key.rpartition('.')[2]} {value}" for key, value in row["settings"].items()]
    return ", ".join([*parts, *([row["backbone"]] if row["backbone"] else [])]) if parts else row["name"]
