"""Lines of BED files. Light, so that the workflow can look at them before any job starts."""

from dnalm.running.errors import InputError


def bed_fields(row: str, place: str) -> list[str] | None:
    """The fields of a line of a BED file; None for one without a region. Raises InputError naming `place`."""
    if not row.strip() or row.startswith(("#", "track", "browser")):
        return None
    fields = row.split("\t")
    if len(fields) < 3 or not fields[1].isdecimal() or not fields[2].isdecimal():
        raise InputError(f"{place}: chromosome, start and end, parted by tabs, were expected.")
    if int(fields[1]) >= int(fields[2]):
        raise InputError(f"{place}: the region ends at {fields[2]}, before it begins at {fields[1]}.")
    if len(fields) > 5 and fields[5] not in ("+", "-", "."):
        raise InputError(f"{place}: the strand is {fields[5]!r}. Use +, - or a point.")
    return fields
