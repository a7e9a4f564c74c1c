"""Lines of BED files. Light, so that the workflow can look at them before any job starts."""

import re

from dnalm.running.errors import InputError


def bed_fields(row: str, place: str) -> list[str] | None:
    """The fields of a line of a BED file; None for one without a region. Raises InputError naming `place`."""
    if not row.strip() or is_remark(row):
        return None
    fields = row.split("\t")
    if len(fields) < 3:
        raise InputError(f"{place}: chromosome, start and end, parted by tabs, were expected.")
    for name, value in zip(("start", "end"), fields[1:3], strict=True):
        if not is_position(value):
            raise InputError(f"{place}: the {name} is {value[:40]!r}. A whole number, 0 or more, is needed.")
    if int(fields[1]) >= int(fields[2]):
        raise InputError(f"{place}: the region ends at {fields[2]}, before it begins at {fields[1]}.")
    if len(fields) > 5 and fields[5] not in ("+", "-", "."):
        raise InputError(f"{place}: the strand is {fields[5]!r}. Use +, - or a point.")
    return fields


def is_remark(row: str) -> bool:
    """Whether a line is about the display of a BED file. A sequence may be called track1."""
    return row.startswith("#") or row.split(None, 1)[:1] in (["track"], ["browser"])


def is_position(text: str) -> bool:
    """Whether a field is a position: a number that some chromosome might have."""
    return re.fullmatch("[0-9]{1,15}", text) is not None
