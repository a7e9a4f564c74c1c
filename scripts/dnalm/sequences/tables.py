"""Labelled DNA sequences: reading the tables of a task."""

import csv
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnalm.problems.intervals import unrelated
from dnalm.problems.kinds import KINDS, SEPARATOR, Problem
from dnalm.problems.names import MULTI_LABEL, SINGLE_LABEL
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file
from dnalm.sequences.columns import find_columns, is_parquet, lines_of_table, open_table
from dnalm.sequences.names import LONGEST_NAME, UNREADABLE
from dnalm.sequences.strands import check_dna

# What names the groups of related sequences in a table of scripts/prepare_task.py.
CLUSTER = "cluster"


def read_labelled_table(path: str | Path, problem: Problem | None = KINDS[SINGLE_LABEL]) -> pd.DataFrame:
    """Read a table of labelled sequences. Labels are checked as those of a `problem`; None: not at all.

    The table is TSV or CSV with a header, plain or gzip, or Parquet. It has the columns `seq` (or
    `sequence`) and `label` (or `class`) in any case, and optionally `id`; other columns are left alone.

    Returns the columns `id`, `seq` (upper case) and `label`, all strings, one row per sequence in the
    order of the file. Without an `id` column the ids are `1`, `2`, … . Raises InputError naming the file
    and the line.
    """
    return (
        read_rows(path, problem=problem).drop(columns="line").assign(seq=lambda rows: rows["seq"].str.upper())
    )


def read_sequence_table(path: str | Path) -> pd.DataFrame:
    """Like :func:`read_labelled_table` where no label is needed: the columns `id` and `seq` only."""
    rows = read_rows(path, columns=("seq",))
    return rows[["id", "seq"]].assign(seq=lambda rows: rows["seq"].str.upper())


def read_clusters(path: str | Path, n: int) -> np.ndarray:
    """Which of the `n` sequences of a TSV or CSV are related: int64[n], see `dnalm.problems.intervals`.

    Those with the same text in the column `cluster` are; who has none there is related to nobody. Without
    such a column, and in Parquet, none are.
    """
    path = Path(path)
    if is_parquet(path):
        return unrelated(n)
    with open_table(path, ("label",), {}) as (file, delimiter, header, _):
        if CLUSTER not in header:
            return unrelated(n)
        rows = (row for row in csv.reader(file, delimiter=delimiter) if any(cell.strip() for cell in row))
        names = [row[header.index(CLUSTER)].strip() or number for number, row in enumerate(rows)]
        return pd.factorize(np.array(names, dtype=object))[0]


def read_rows(
    path: str | Path,
    columns: tuple[str, ...] = ("seq", "label"),
    id_prefix: str = "",
    problem: Problem | None = KINDS[SINGLE_LABEL],
    names: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Read the rows of a table as they are: `id`, the wanted `columns`, and `line`, the line in the file.

    In Parquet, `line` is the number of the row, from 1. The case of the sequences is kept. `id_prefix`
    begins the ids that are made up where the file has none. Labels are checked as those of a `problem`.
    `names` tells what the file calls the columns `seq`, `label` and `id`, where these are not their names.
    """
    path = Path(path)
    read_records = _parquet_records if is_parquet(path) else _text_records
    records = read_records(path, columns, id_prefix, problem, names or {})
    if not records:
        raise InputError(f"{path}: the table has a header but no rows. Add at least one sequence.")
    rows = pd.DataFrame(records, columns=["id", *columns, "line"])
    repeated = rows["id"].duplicated()
    if repeated.any():
        row = rows[repeated].iloc[0]
        raise InputError(
            f"{path} line {row['line']}: id {row['id']!r} occurs twice. Give every sequence its own id, or "
            "leave the column out."
        )
    return rows


def _text_records(
    path: Path, columns: tuple[str, ...], id_prefix: str, problem: Problem | None, names: Mapping[str, str]
) -> list[tuple]:
    """(id, *columns, line) of every row of a TSV or CSV."""
    records: list[tuple] = []
    with open_table(path, columns, names) as (file, delimiter, header, places):
        has_id = "id" in places
        reader = csv.reader(lines_of_table(path, file), delimiter=delimiter, strict=True)
        try:
            for fields in reader:
                line = reader.line_num + 1  # the header was read before
                if not any(field.strip() for field in fields):
                    continue
                if len(fields) != len(header):
                    raise InputError(
                        f"{path} line {line}: {len(fields)} columns where the header has {len(header)}. "
                        "Mend or remove the line."
                    )
                cells = [fields[places[name]].strip() for name in columns]
                for name, cell in zip(columns, cells, strict=True):
                    _check_cell(f"{path} line {line}", name, cell, problem)
                name = fields[places["id"]].strip() if has_id else f"{id_prefix}{len(records) + 1}"
                if has_id:
                    _check_cell(f"{path} line {line}", "id", name, problem)
                records.append((name, *cells, line))
        except csv.Error as error:
            raise InputError(
                f"{path} line {reader.line_num + 1}: not a valid table ({error}). Is a quotation mark open? "
                "Mend the line."
            ) from None
    return records


def _parquet_records(
    path: Path, columns: tuple[str, ...], id_prefix: str, problem: Problem | None, names: Mapping[str, str]
) -> list[tuple]:
    """(id, *columns, number) of every row of a Parquet file, as data sets on the Hub have them.

    Where the file names its classes (`datasets.ClassLabel`), the names are the labels.
    """
    import datasets
    import pyarrow.parquet

    datasets.disable_progress_bars()
    try:
        # The library cannot read such a file.
        if not pyarrow.parquet.read_metadata(path).num_rows:
            return []
        # The library would leave a copy of the table in the home directory.
        with tempfile.TemporaryDirectory() as cache:
            table = datasets.Dataset.from_parquet(str(path), cache_dir=cache, keep_in_memory=True)
    except Exception as error:
        # The library says that something happened; its cause says what.
        reason = " ".join(str(error.__cause__ or error).split())
        raise InputError(f"{path}: not a readable Parquet file ({reason}). Fetch it again.") from error
    places = find_columns(path, table.column_names, columns, names)
    cells = {}
    for column, place in places.items():
        name = table.column_names[place]
        try:
            values = _texts(f"{path}: column {name!r}", column, table.features[name], table[name][:])
        except UnicodeDecodeError:
            raise InputError(
                f"{path}: column {name!r} holds bytes that are no text. Write it as text."
            ) from None
        cells[column] = ["" if value is None else value.strip() for value in values]
    cells.setdefault("id", [f"{id_prefix}{number}" for number in range(1, len(table) + 1)])
    for number in range(len(table)):
        for column in places:
            _check_cell(f"{path} row {number + 1}", column, cells[column][number], problem)
    numbers = range(1, len(table) + 1)
    return list(zip(cells["id"], *(cells[column] for column in columns), numbers, strict=True))


def _texts(place: str, column: str, feature: Any, values: list[Any]) -> list[str | None]:
    """The values of a column of Parquet as a text file would have them. Raises InputError beginning `place`,
    and UnicodeDecodeError for bytes that are no text.

    Of a `column` of labels each value may be a list, of which a text file has the parts beside each other.
    """
    import datasets

    if isinstance(feature, datasets.ClassLabel):
        names = feature.names
        if max((v for v in values if v is not None), default=0) >= len(names):
            raise InputError(f"{place} has numbers of more classes than it names. Fetch the file again.")
        # Hub tables write -1 where a label is not known.
        return [None if v is None or v < 0 else names[v] for v in values]
    if column == "label" and isinstance(feature, datasets.List | datasets.LargeList):
        if None in values:
            raise InputError(f"{place} lacks a list. Give an empty one where a sequence has no label.")
        if any(SEPARATOR in str(part) for value in values for part in value):
            raise InputError(f"{place} has a label with {SEPARATOR!r} in it. Name it otherwise.")
        return [SEPARATOR.join(map(str, value)) for value in values]
    kind = feature.dtype if isinstance(feature, datasets.Value) else "lists or records"
    if kind == "lists or records" or (column != "label" and kind.startswith("float")):
        raise InputError(f"{place} holds {kind}. Give text or whole numbers.")
    if "binary" in kind:
        return [None if value is None else value.decode() for value in values]
    return [None if value is None else str(value) for value in values]


def write_labelled_table(path: str | Path, table: pd.DataFrame, further: Iterable[str] = ()) -> None:
    """Write the columns `id`, `seq` and `label`, and `further` columns of text, as TSV, atomically."""
    columns = ["id", "seq", "label", *further]
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(columns) + "\n")
        for cells in zip(*(table[column] for column in columns), strict=True):
            file.write("\t".join(cells) + "\n")


def _check_cell(place: str, column: str, cell: str, problem: Problem | None) -> None:
    """Raise InputError if the text cannot be an id, a sequence or a label."""
    if not cell and not (column == "label" and (problem is None or problem.name == MULTI_LABEL)):
        remedy = "Remove the line or fill it in."
        raise InputError(f"{place}: the {column} is empty. {remedy}")
    if column == "seq":
        check_dna(place, cell)
    elif column == "id" and len(cell) > LONGEST_NAME:
        raise InputError(
            f"{place}: the id has {len(cell):,} letters; at most {LONGEST_NAME:,} are a name. Shorten it."
        )
    elif any(sign in cell for sign in "\t\r\n"):
        raise InputError(f"{place}: the {column} contains a tab or a line break. Remove it.")
    elif not cell.isprintable() and (sign := UNREADABLE.search(cell)):
        raise InputError(
            f"{place}: the {column} contains {sign[0]!r}, a character that none can read. Remove it."
        )
    elif cell.startswith('"'):
        # Tables are written without quotation marks around cells.
        raise InputError(f"{place}: the {column} begins with a quotation mark. Remove it.")
    elif column == "label" and problem is not None:
        problem.check_label(f"{place}: the label is {cell!r}", cell)
