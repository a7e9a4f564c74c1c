"""Tables as text: opening them, and finding the columns of sequences, labels and ids.

Light, so that the workflow can look at a header before any job starts.
"""

import csv
import gzip
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from dnalm.running.errors import InputError
from dnalm.running.files import unchanged
from dnalm.running.hints import nearest

# The first bytes of a Parquet file. Source: https://parquet.apache.org/docs/file-format
PARQUET = b"PAR1"

# How other compressed files begin.
_NOT_READ = {b"BZh": "bzip2", b"\xfd7zX": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

# In letters. No sequence of a table is as long as a human chromosome.
LONGEST_HEADER, LONGEST_LINE = 1 << 20, 100_000_000

# The column of what is never parted, such as a chromosome; there is one only where its name was said.
GROUP = "group"
# What a column may be called in a user's file, whatever the case, where nothing else was said.
COLUMN_NAMES = {"id": ("id",), "seq": ("seq", "sequence"), "label": ("label", "class")}


def task_columns(names: Mapping[str, str]) -> tuple[str, ...]:
    """The columns that a table of a task must have, `names` being those of :func:`find_columns`."""
    return ("seq", "label", GROUP) if GROUP in names else ("seq", "label")


def is_parquet(path: str | Path) -> bool:
    """Whether the file begins as Parquet does."""
    if not Path(path).is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(PARQUET)) == PARQUET


@contextmanager
def open_table(
    path: str | Path, columns: Sequence[str], names: Mapping[str, str]
) -> Iterator[tuple[TextIO, str, list[str], dict[str, int]]]:
    """Open a TSV or CSV behind its header: the file, the delimiter, the header and where each column stands.

    `columns` and `names` are those of :func:`find_columns`. Raises InputError.
    """
    path = Path(path)
    with open_text(path) as file:
        # A file without any line break is no table, however long it is.
        header_line = file.readline(LONGEST_HEADER)
        if len(header_line) == LONGEST_HEADER:
            raise InputError(f"{path} line 1: too long for a header. Give a table with {wanted(columns)}.")
        if header_line.startswith(">"):
            raise InputError(f"{path}: this is a FASTA file. A table with {wanted(columns)} is needed.")
        if not header_line.strip():
            raise InputError(f"{path}: the file is empty. Give a table with {wanted(columns)}.")
        delimiter = next((sign for sign in "\t,;" if sign in header_line), "\t")
        # Sequences of more than the module's 131,072 characters are fine.
        csv.field_size_limit(sys.maxsize)
        header = [name.strip() for name in next(csv.reader([header_line], delimiter=delimiter))]
        yield file, delimiter, header, find_columns(path, header, columns, names)


def lines_of_table(path: str | Path, file: TextIO, number: int = 1) -> Iterator[str]:
    """The lines behind the first `number`. A small compressed file may hold one of gigabytes: InputError."""
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE:
            raise InputError(f"{path} line {number}: longer than {LONGEST_LINE:,} letters. Give it as FASTA.")
        yield line


def has_label(path: str | Path, label: str, names: Mapping[str, str]) -> bool:
    """Whether any row of a TSV or CSV has this label. Reads no further than to the first."""
    with open_table(path, ("label",), names) as (file, delimiter, _, places):
        rows = csv.reader(lines_of_table(path, file), delimiter=delimiter)
        return any(len(row) > places["label"] and row[places["label"]].strip() == label for row in rows)


def find_columns(
    path: str | Path, header: Sequence[str], columns: Sequence[str], names: Mapping[str, str]
) -> dict[str, int]:
    """Where each of `columns` (and `id`, if present) stands in the header.

    `names` tells what the user calls a column; the others are known by COLUMN_NAMES. Raises InputError.
    """
    places: dict[str, int] = {}
    for column in ("id", *columns):
        if column in names:
            if names[column] not in header:
                raise InputError(
                    f"{path} line 1: no column {names[column]!r}, which {column}_column names; found "
                    f"{_listed(header)}.{nearest(names[column], header)} Correct the sheet."
                )
            found = [header.index(names[column])]
        else:
            found = [i for i, name in enumerate(header) if name.lower() in COLUMN_NAMES[column]]
        if len(found) > 1:
            both = " and ".join(repr(header[i]) for i in found)
            raise InputError(
                f"{path} line 1: {both} all mean the {column}. Keep one of them, or name it in the column "
                f"{column}_column of the task sheet."
            )
        if found and found[0] in places.values():
            twin = next(name for name, place in places.items() if place == found[0])
            raise InputError(
                f"{path} line 1: the column {header[found[0]]!r} would be both the {twin} and the {column}. "
                f"Correct {twin}_column or {column}_column in the sheet."
            )
        if found:
            places[column] = found[0]
        elif column != "id":
            # Only the tables of tasks have a sheet.
            or_say = (
                f", or say in the column {column}_column of the task sheet what yours is called"
                if "label" in columns
                else ""
            )
            raise InputError(
                f"{path} line 1: no column {' or '.join(map(repr, COLUMN_NAMES[column]))}; found "
                f"{_listed(header)}. Begin the file with a header line that names {wanted(columns)}{or_say}."
            )
    return places


def wanted(columns: Sequence[str]) -> str:
    """`the columns seq and label`"""
    return "the column " + columns[0] if len(columns) == 1 else "the columns " + " and ".join(columns)


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a plain or gzip text file; the content decides, not the name. Errors become InputErrors."""
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Paths are relative to the working directory.") from None
    except IsADirectoryError:
        raise InputError(f"{path}: this is a directory. Give a table.") from None
    except PermissionError:
        raise InputError(f"{path}: no permission to read this file.") from None
    if magic.startswith(b"PK\x03\x04"):
        raise InputError(f"{path}: this is a zip or Excel file. Save the table as TSV or CSV.")
    if compression := next((name for start, name in _NOT_READ.items() if magic.startswith(start)), None):
        raise InputError(f"{path}: compressed with {compression}. Decompress it, or compress it with gzip.")
    opener = gzip.open if magic.startswith(b"\x1f\x8b") else open
    try:
        with unchanged(path), opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InputError(f"{path}: the gzip file is truncated or damaged. Fetch it again.") from None
    except UnicodeDecodeError:
        raise InputError(
            f'{path}: not a text file (UTF-8). Save the table as TSV or CSV in UTF-8 (in Excel: "CSV UTF-8").'
        ) from None


def _listed(header: Sequence[str]) -> str:
    return ", ".join(repr(name[:40]) for name in header[:10]) + (", …" if len(header) > 10 else "")
