"""The two sheets of a run, genomes and tasks: read and checked.

Only light packages are imported, because every cluster job reads the Snakefile again.
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import get_args
from urllib.parse import parse_qsl, urlsplit

from dnalm.config import check_name
from dnalm.config_paths import LONGEST_PART, Made, check_path, is_url, made_by_none
from dnalm.evaluate.settings import StrandSettings
from dnalm.prepare_task.settings import FoldSettings
from dnalm.problems.names import PROBLEMS, SINGLE_LABEL
from dnalm.running.errors import InputError
from dnalm.running.hints import nearest, why_absent
from dnalm.running.settings import Names, validated
from dnalm.sequences.columns import GROUP, has_label, is_parquet, open_table, task_columns

SPLITS = ("train", "validation", "test")
STRANDS = get_args(StrandSettings.model_fields["strands"].annotation)
# What the user's tables may call otherwise.
TABLE_COLUMNS = ("seq", "label", "id", GROUP)
# The columns of the sheets: the name, those that must be filled in, and those that may be absent.
GENOME_COLUMNS = ("genome", ("fasta",), ("sha256", "validation"))
TASK_COLUMNS = (
    "task",
    ("train",),
    (
        "test",
        "validation",
        "folds",
        "problem",
        "positive",
        "strands",
        *(f"sha256_{split}" for split in SPLITS),
        *(f"{column}_column" for column in TABLE_COLUMNS),
    ),
)
# Names of parameters in URLs whose values open something.
SECRETS = re.compile(r"(?i)token|password|passwd|secret|signature|credential|api[-_]?key|^(sig|key|auth)$")


@dataclass(frozen=True)
class Genome:
    """A row of the genome sheet."""

    genome: str
    fasta: str
    sha256: str | None = None
    validation: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A row of the task sheet.

    `files` and `sha256` are keyed by split: train, validation, test. `columns` says what the tables call
    `seq`, `label` and `id`, where it is something else, and `group`, if there is one. `problem` is its kind,
    by its name in Transformers. With `folds` it has no file but the one for training, and is cross-validated.
    """

    task: str
    files: dict[str, str] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    positive: str | None = None
    problem: str = SINGLE_LABEL
    strands: str = StrandSettings().strands
    folds: int | None = None


def read_genomes(
    sheet: str | None, made_by_workflow: str | None = None, made: Made = made_by_none
) -> dict[str, Genome]:
    """Read the genome sheet; no sheet, no genomes.

    Files below `made_by_workflow`, and those that are `made` by another, need not exist yet. Raises
    InputError with row and column.
    """
    if sheet is None:
        return {}
    genomes: dict[str, Genome] = {}
    by_file: dict[object, str] = {}
    for place, row in _read_sheet(sheet, *GENOME_COLUMNS):
        _check_file(row["fasta"], f"{place}, column fasta", "FASTA", made_by_workflow, row["sha256"], made)
        validation = _names(row["validation"], f"{place}, column validation")
        checksum = _checksum(row["sha256"], f"{place}, column sha256")
        twin = by_file.setdefault(_identity(row["fasta"]), row["genome"])
        if twin != row["genome"]:
            raise InputError(
                f"{place}, column fasta: {row['fasta']} is the file of {twin} already, so its windows would "
                "count twice. Remove a row."
            )
        genomes[row["genome"]] = Genome(row["genome"], row["fasta"], checksum, validation)
    return genomes


def read_tasks(
    sheet: str | None, made_by_workflow: str | None = None, made: Made = made_by_none
) -> dict[str, Task]:
    """Read the task sheet; no sheet, no tasks. Raises InputError with row and column."""
    if sheet is None:
        return {}
    tasks = {}
    for place, row in _read_sheet(sheet, *TASK_COLUMNS):
        files = {split: row[split] for split in SPLITS if row[split]}
        for split, path in files.items():
            column = f"{place}, column {split}"
            _check_file(path, column, "table", made_by_workflow, row[f"sha256_{split}"], made)
        _check_splits(files, place)
        folds = _folds(row, place)
        sha256 = {s: _checksum(row[f"sha256_{s}"], f"{place}, column sha256_{s}") for s in SPLITS}
        names = {column: row[f"{column}_column"] for column in TABLE_COLUMNS if row[f"{column}_column"]}
        sums = {split: checksum for split, checksum in sha256.items() if checksum}
        if needless := next((split for split in sums if split not in files), None):
            raise InputError(
                f"{place}, column sha256_{needless}: a checksum, but the column '{needless}' names no file. "
                "Fill that in, or leave this empty."
            )
        problem = _one_of(PROBLEMS, row["problem"] or SINGLE_LABEL, f"{place}, column problem")
        if row["positive"] and problem != SINGLE_LABEL:
            raise InputError(
                f"{place}, column positive: '{row['positive']}', but a task of the problem {problem} has no "
                "positive class. Leave it empty."
            )
        strands = _one_of(STRANDS, row["strands"] or StrandSettings().strands, f"{place}, column strands")
        positive = row["positive"] or None
        tasks[row["task"]] = Task(row["task"], files, sums, names, positive, problem, strands, folds)
    return tasks


def check_tables(
    tasks: dict[str, Task],
    sheet: str | None,
    made_by_workflow: str | None = None,
    made: Made = made_by_none,
) -> None:
    """Raise InputError for local tables without the columns of their task, or without its positive class.

    Reads headers, and labels down to the first positive one. The rest is left to prepare_task.
    """

    def is_text_here(path: str) -> bool:
        made_here = (made_by_workflow and Path(path).is_relative_to(made_by_workflow)) or made(path)
        # Parquet needs packages that take long to import.
        return not made_here and not is_url(path) and Path(path).is_file() and not is_parquet(path)

    for task in tasks.values():
        for path in filter(is_text_here, task.files.values()):
            with open_table(path, task_columns(task.columns), task.columns):
                pass
        train = task.files["train"]
        if task.positive and is_text_here(train) and not has_label(train, task.positive, task.columns):
            raise InputError(
                f"{sheet}: positive of task {task.task} is '{task.positive}', which is no label in {train}. "
                "Correct the column 'positive'."
            )


def _read_sheet(
    sheet: str, name_column: str, required: Sequence[str], optional: Sequence[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (place for messages, row) for each row, every column present, absent ones empty."""
    rows = _rows(sheet)
    if not rows:
        raise InputError(f"{sheet}: the sheet is empty. Its first row names the columns.")
    known = [name_column, *required, *optional]
    header = [cell.strip() for cell in rows[0][1]]
    _check_header(header, f"{sheet} row {rows[0][0]}", known, [name_column, *required])
    if len(rows) == 1:
        raise InputError(f"{sheet}: there is no row below the header. Add one per {name_column}.")
    seen: dict[str, int] = {}
    lowered: dict[str, str] = {}
    for number, cells in rows[1:]:
        if len(cells) > len(header):
            raise InputError(
                f"{sheet} row {number}: {len(cells)} cells, but {len(header)} columns. "
                "Remove cells, or name their columns in the first row."
            )
        row = dict.fromkeys(known, "") | {c: v.strip() for c, v in zip(header, cells, strict=False)}
        name = row[name_column]
        try:
            check_name(name)
        except ValueError as error:
            raise InputError(f"{sheet} row {number}, column {name_column}: '{name}' {error}") from None
        if name in seen:
            raise InputError(f"{sheet} row {number}: '{name}' stands in row {seen[name]} already. Rename it.")
        if (twin := lowered.setdefault(name.lower(), name)) != name:
            raise InputError(
                f"{sheet} row {number}: '{name}' and '{twin}' of row {seen[twin]} would be one file on disks "
                "that ignore case. Rename one."
            )
        seen[name] = number
        for column in required:
            if not row[column]:
                raise InputError(
                    f"{sheet} row {number} ({name}): the column '{column}' is empty. Fill it in."
                )
        yield f"{sheet} row {number} ({name})", row


def sheet_text(sheet: str) -> str:
    """The rows of a sheet, its header first, without comments: what a report shows of it."""
    return "\n".join("\t".join(cell.strip() for cell in row) for _, row in _rows(sheet))


def _rows(sheet: str) -> list[tuple[int, list[str]]]:
    """Number in the file and cells of each row, without comments and empty ones."""
    return [
        (number, row)
        for number, row in enumerate(_cells(sheet, _text(sheet)), 1)
        if any(cell.strip() for cell in row) and not row[0].startswith("#")
    ]


def _text(sheet: str) -> str:
    """What the file says. Raises InputError for none, and for another than text."""
    if Path(sheet).exists() and not (Path(sheet).is_file() or Path(sheet).is_dir()):
        raise InputError(f"{sheet}: no file.{why_absent(sheet)} Name a file of tab-separated text.")
    try:
        return Path(sheet).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{sheet}: no such sheet.{why_absent(sheet)}") from None
    except IsADirectoryError:
        raise InputError(f"{sheet}: a directory. Name the sheet, a file of tab-separated text.") from None
    except UnicodeDecodeError:
        raise InputError(
            f"{sheet}: not a text file (UTF-8). Save the sheet as tab-separated text in UTF-8."
        ) from None


def _check_header(header: list[str], place: str, known: list[str], required: list[str]) -> None:
    """Raise InputError, beginning `place`, for columns without a name, unknown, missing or named twice."""
    for number, column in enumerate(header, 1):
        if not column:
            raise InputError(
                f"{place}: column {number} has no name. Name it, or remove its tab from all rows."
            )
        if column not in known:
            alone = len(header) == 1
            hint = "" if alone else nearest(column, known)
            separator = " Columns are separated by tabs." if alone else ""
            raise InputError(
                f"{place}: unknown column '{column}'.{hint}{separator} Known here: {', '.join(known)}."
            )
    for column in required:
        if column not in header:
            raise InputError(f"{place}: the column '{column}' is missing. Add it.")
    if len(set(header)) < len(header):
        twice = next(column for column in header if header.count(column) > 1)
        raise InputError(f"{place}: the column '{twice}' stands there twice. Remove one.")


def _cells(sheet: str, text: str) -> Iterator[list[str]]:
    """The cells of each row."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise InputError(
            f"{sheet} line {reader.line_num}: not a valid table ({error}). Is a quotation mark open? Mend "
            "the line."
        ) from None


def _names(cell: str, place: str) -> tuple[str, ...]:
    """Names parted by commas."""
    names = [name.strip() for name in cell.split(",")]
    if cell and not all(names):
        raise InputError(f"{place}: '{cell}' has a comma without a name beside it. Correct it.")
    if twice := next((name for name, times in Counter(names).items() if times > 1), None):
        raise InputError(f"{place}: '{twice}' stands there twice. Remove one, or correct it.")
    if flag := next((name for name in names if name.startswith("-")), None):
        raise InputError(f"{place}: '{flag}' begins with a dash, like a flag. Rename the sequence.")
    return tuple(filter(None, names))


def _identity(path: str) -> object:
    """The same for two paths or URLs that lead to the same bytes, links followed."""
    try:
        about = os.stat(path)
    except OSError:
        return path
    return about.st_dev, about.st_ino


def _check_splits(files: dict[str, str], place: str) -> None:
    """Raise InputError where one file is given for two splits."""
    for one, other in combinations(files, 2):
        if _identity(files[one]) == _identity(files[other]):
            raise InputError(
                f"{place}, column {other}: {files[other]} is the file of '{one}' already. Give each split "
                "its own sequences."
            )


def _check_file(
    path: str, place: str, kind: str, made_by_workflow: str | None, sha256: str, made: Made
) -> None:
    if is_url(path):
        _check_url(path, place, sha256)
    check_path(path, place)
    if "://" in path and not is_url(path):
        raise InputError(
            f"{place}: {path} begins with none of https://, http://, ftp:// and file://. Correct it, or "
            "download the file yourself and give its path."
        )
    if is_url(path) or (made_by_workflow and Path(path).is_relative_to(made_by_workflow)) or made(path):
        return
    if Path(path).is_dir():
        raise InputError(f"{place}: {path} is a directory. Name a file.")
    if not Path(path).is_file():
        if made_by_workflow and Path(path).parent.name == Path(made_by_workflow).name:
            raise InputError(
                f"{place}: {kind} not found: {path}. In this run simulate_demo makes "
                f"{Path(made_by_workflow) / Path(path).name}. Write that."
            )
        raise InputError(
            f"{place}: {kind} not found: {path}.{why_absent(path)} "
            "Give a path relative to the working directory or a URL."
        )
    if not os.access(path, os.R_OK):
        raise InputError(f"{place}: you may not read {path}. Ask its owner, or name another.")
    if Path(path).stat().st_size == 0:
        raise InputError(f"{place}: the file is empty: {path}. Was its download cut short?")


def _check_url(url: str, place: str, sha256: str) -> None:
    """Raise InputError for a URL that would carry a secret into logs, or bytes that nobody vouches for."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "file" or (parts.hostname and (parts.port is None or parts.port > 0))
    except ValueError:
        usable = False
    if not usable or PurePosixPath(parts.path).name in ("", ".."):
        raise InputError(f"{place}: {url} is no address of a file. Copy it again from its source.")
    if parts.username or parts.password or "@" in parts.netloc:
        raise InputError(
            f"{place}: the URL of {parts.hostname} holds a user or password, which would stand in every log. "
            "Take it out, and put it into ~/.netrc."
        )
    # Beside it stands what `fetch` notes of an unfinished download.
    if len(os.fsencode(PurePosixPath(parts.path).name)) > LONGEST_PART - len(".part.json"):
        raise InputError(
            f"{place}: the file at {parts.hostname} has too long a name to be kept under it. Download it "
            "yourself, and give its path."
        )
    # Some servers take a semicolon for an ampersand.
    named = parse_qsl(parts.query.replace(";", "&"))
    secret = next((name for name, _ in named if SECRETS.search(name)), None)
    if secret is not None:
        raise InputError(
            f"{place}: the URL of {parts.hostname} holds a secret ('{secret}'), which would stand in every "
            "log. Download the file yourself, and give its path."
        )
    if parts.scheme in ("http", "ftp") and not sha256:
        raise InputError(
            f"{place}: {parts.scheme} does not protect what is sent. Use https, or give the file's checksum "
            "in the sha256 column."
        )


class _ColumnNames(Names):
    """Settings named by their column of a row."""

    def place(self, keys: tuple[str | int, ...]) -> str:
        return f"{self.source}, column {keys[-1]}"


def _folds(row: dict[str, str], place: str) -> int | None:
    """The number of folds; None of a task with a test table. Raises InputError for both or neither."""
    found: FoldSettings = validated(FoldSettings, {"folds": row["folds"] or None}, _ColumnNames(place))
    if found.folds is None and not row["test"]:
        raise InputError(
            f"{place}: the column 'test' is empty. Fill it in or, to cross-validate, write a number of folds "
            "into the column 'folds'."
        )
    beside = next((split for split in ("test", "validation") if found.folds and row[split]), None)
    if beside:
        raise InputError(
            f"{place}, column folds: {found.folds} folds part all sequences anew, but the column '{beside}' "
            "names a table. Leave one of the two empty."
        )
    return found.folds


def _one_of(known: Collection[str], value: str, place: str) -> str:
    if value not in known:
        raise InputError(f"{place}: '{value}' is none of {', '.join(known)}.{nearest(value, known)}")
    return value


def _checksum(value: str, place: str) -> str | None:
    if value and not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise InputError(
            f"{place}: '{value}' is not a SHA-256 checksum of 64 hexadecimal digits. "
            "Correct it, or leave the cell empty."
        )
    return value.lower() or None
