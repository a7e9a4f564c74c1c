"""The configuration and the two sheets: read, checked against the schema, defaults filled in.

Only light packages are imported, because every cluster job reads the Snakefile again.
"""

import contextlib
import csv
import difflib
import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

SCHEMA = Path(__file__).parents[1] / "schemas" / "config.schema.yaml"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
UNTRAINED = "-untrained"


class SettingsError(Exception):
    """A choice of the user cannot be used. The message is one line that says which, why, and the remedy."""


@dataclass(frozen=True)
class Genome:
    """A row of the genome sheet."""

    genome: str
    fasta: str
    sha256: str | None = None
    validation: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A row of the task sheet. `files` and `sha256` are keyed by split: train, validation, test."""

    task: str
    files: dict[str, str] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)


def load_schema() -> dict[str, Any]:
    """The schema of the configuration, from which `config/README.md` is made too."""
    return yaml.safe_load(SCHEMA.read_text())


# Settings that name a file or directory of the user or of the workflow; "*" is any name.
PATHS = (
    "genomes",
    "tasks",
    "models.*.architecture",
    "models.*.checkpoint",
    "tokenizers.*.source",
    "predict.*.input",
)


def with_paths(config: dict[str, Any], found: Callable[[Any], Any]) -> dict[str, Any]:
    """A copy of the configuration, not yet checked, with `found(path)` in place of each path."""
    config = deepcopy(config)
    for setting in PATHS:
        *sections, key = setting.split(".")
        holders: list[Any] = [config]
        for section in sections:
            nested = [holder for holder in holders if isinstance(holder, dict)]
            if section == "*":
                holders = [value for holder in nested for value in holder.values()]
            else:
                holders = [holder.get(section) for holder in nested]
        for holder in holders:
            if isinstance(holder, dict) and key in holder:
                holder[key] = found(holder[key])
    return config


def check_config(config: dict[str, Any], source: str) -> dict[str, Any]:
    """Return the configuration with all defaults filled in and numbers as numbers.

    `source` names the file(s) in messages. Raises SettingsError for the first thing that is wrong.
    """
    config = deepcopy(config)
    _check(config, load_schema(), "", source)
    _check_meaning(config, source)
    return config


def _check(value: Any, schema: dict[str, Any], key: str, source: str) -> Any:
    """Check one value, filling defaults in place; return it with numeric strings turned into numbers."""
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if value is None and "null" in types:
        return None
    if value is None and "object" in types and "default" in schema:
        value = {}  # a section whose lines are all commented out
    place = f"{source}: {key}" if key else source
    if "enum" in schema:
        if value not in schema["enum"]:
            choices = [str(choice) for choice in schema["enum"]]
            raise SettingsError(
                f"{place} is {_show(value)}.{_nearest(value, choices)} Use {_either(choices)}."
            )
        return value
    value = _as_type(value, types, place)
    _check_bounds(value, schema, place)
    if isinstance(value, dict):
        _check_object(value, schema, key, source)
    if isinstance(value, list):
        value = [_check(item, schema["items"], f"{key}[{i}]", source) for i, item in enumerate(value)]
    return value


def _check_object(value: dict, schema: dict, key: str, source: str) -> None:
    place = f"{source}: {key}" if key else source
    known = schema.get("properties", {})
    for name in value:
        full = f"{key}.{name}" if key else str(name)
        if known:
            if name not in known:
                hint = _nearest(name, list(known), prefix=f"{key}." if key else "")
                raise SettingsError(f"{source}: unknown key {full}.{hint} Known here: {', '.join(known)}.")
        elif not NAME.fullmatch(str(name)):
            raise SettingsError(
                f"{source}: {full} is not a usable name. Use letters, digits, '-' and '_' only."
            )
    for name in schema.get("required", []):
        if name not in value:
            raise SettingsError(f"{place} lacks the key '{name}': {known[name]['description']}")
    if not known and len(value) < schema.get("minProperties", 0):
        raise SettingsError(f"{place} is empty. Give at least one entry.")
    for name, part in known.items():
        if name not in value:
            if "default" not in part:
                continue
            value[name] = deepcopy(part["default"])
        value[name] = _check(value[name], part, f"{key}.{name}" if key else name, source)
    if not known:
        for name in value:
            value[name] = _check(value[name], schema["additionalProperties"], f"{key}.{name}", source)


def _as_type(value: Any, types: list[str], place: str) -> Any:
    # YAML 1.1 reads 5e-4 as text; a person means a number.
    if isinstance(value, str) and {"number", "integer"} & set(types) and "string" not in types:
        with contextlib.suppress(ValueError):
            value = float(value)
    if "integer" in types and isinstance(value, float) and value.is_integer():
        value = int(value)
    is_bool = isinstance(value, bool)
    fits = {
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
        "string": isinstance(value, str),
        "boolean": is_bool,
        "integer": isinstance(value, int) and not is_bool,
        "number": isinstance(value, int | float) and not is_bool and value == value,
    }
    if types and not any(fits.get(kind, False) for kind in types):
        names = {"object": "a section with keys", "array": "a list", "string": "text", "null": "empty"}
        names |= {"boolean": "true or false", "integer": "a whole number", "number": "a number"}
        raise SettingsError(f"{place} is {_show(value)}, but must be {_either([names[k] for k in types])}.")
    return value


def _check_bounds(value: Any, schema: dict, place: str) -> None:
    bounds = {
        "minimum": ("at least", lambda v, b: v >= b),
        "maximum": ("at most", lambda v, b: v <= b),
        "exclusiveMinimum": ("greater than", lambda v, b: v > b),
        "exclusiveMaximum": ("less than", lambda v, b: v < b),
    }
    if isinstance(value, int | float) and not isinstance(value, bool):
        for name, (words, holds) in bounds.items():
            if name in schema and not holds(value, schema[name]):
                raise SettingsError(f"{place} is {_show(value)}, but must be {words} {schema[name]}.")
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        raise SettingsError(f"{place} is empty.")
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            raise SettingsError(f"{place} is an empty list. Give at least one item.")
        if schema.get("uniqueItems") and len({json.dumps(item) for item in value}) < len(value):
            raise SettingsError(f"{place} names an item twice: {_show(value)}.")


def _check_meaning(config: dict[str, Any], source: str) -> None:
    """What a schema cannot say: choices that exclude or need each other, names that must exist."""
    for name, tokenizer in config["tokenizers"].items():
        if (tokenizer["source"] is None) == (tokenizer["train"] is None):
            raise SettingsError(f"{source}: tokenizers.{name} needs either 'source' or 'train', not both.")
        _check_source(tokenizer["source"], f"{source}: tokenizers.{name}.source")
    for name, model in config["models"].items():
        place = f"{source}: models.{name}"
        if name.endswith(UNTRAINED):
            raise SettingsError(f"{place}: names that end in '{UNTRAINED}' are taken by the baseline.")
        if model["tokenizer"] not in config["tokenizers"]:
            hint = _nearest(model["tokenizer"], list(config["tokenizers"]))
            raise SettingsError(
                f"{place}.tokenizer is {_show(model['tokenizer'])}, not under tokenizers.{hint}"
            )
        if (model["architecture"] is None) == (model["checkpoint"] is None):
            raise SettingsError(f"{place} needs either 'architecture' or 'checkpoint', not both.")
        _check_source(model["checkpoint"], f"{place}.checkpoint")
        if model["architecture"] and not Path(model["architecture"]).is_file():
            raise SettingsError(
                f"{place}.architecture: no such file: {model['architecture']}."
                f"{_nearest_file(model['architecture'])} Give a path relative to the working directory."
            )
        masking, training = model["masking"], model["training"]
        if masking["mask_token"] + masking["random_token"] > 1 + 1e-9:
            raise SettingsError(
                f"{place}.masking: mask_token and random_token add up to "
                f"{masking['mask_token'] + masking['random_token']:g}, but are shares of one whole."
            )
        if (training["steps"] is None) == (training["epochs"] is None):
            raise SettingsError(f"{place}.training needs either 'steps' or 'epochs', not both.")
    for name, prediction in config["predict"].items():
        place = f"{source}: predict.{name}"
        if prediction["model"] not in config["models"]:
            hint = _nearest(prediction["model"], list(config["models"]))
            raise SettingsError(f"{place}.model is {_show(prediction['model'])}, not under models.{hint}")
        if prediction["backbone"] not in config["finetune"]["backbones"]:
            raise SettingsError(
                f"{place}.backbone is {_show(prediction['backbone'])}, but finetune.backbones lists only "
                f"{_either(config['finetune']['backbones'])}."
            )
        if config["tasks"] is None:
            raise SettingsError(f"{place}: there are no tasks, hence no classifier. Set 'tasks'.")
    block, length = (config["extract_windows"][key] for key in ("validation_block", "length"))
    if block < length:
        raise SettingsError(
            f"{source}: extract_windows.validation_block ({block}) is shorter than a window ({length}). "
            "Held-out blocks must hold windows."
        )


def _check_source(path: str | None, place: str) -> None:
    if path is not None and not is_hub_id(path) and not Path(path).exists():
        raise SettingsError(
            f"{place}: no such file or directory: {path}.{_nearest_file(path)} "
            "Give a path relative to the working directory or a Hub id (owner/name)."
        )


def is_url(path: str) -> bool:
    """True for what the fetch rules download."""
    return bool(re.match(r"(https?|ftp|file)://", path))


def is_hub_id(source: str) -> bool:
    """True for `owner/name` that is no path here: a repository of the Hugging Face Hub."""
    is_path = Path(source).exists() or Path(source).parent.is_dir() or source.endswith(".json")
    return not is_path and bool(re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", source))


def read_genomes(sheet: str, made_by_workflow: str | None = None) -> dict[str, Genome]:
    """Read the genome sheet. Files below `made_by_workflow` need not exist yet.

    Raises SettingsError with row and column.
    """
    genomes = {}
    for place, row in _read_sheet(sheet, "genome", ["fasta"], ["sha256", "validation"]):
        _check_file(row["fasta"], f"{place}, column fasta", "FASTA", made_by_workflow)
        validation = tuple(name.strip() for name in row["validation"].split(",") if name.strip())
        checksum = _checksum(row["sha256"], f"{place}, column sha256")
        genomes[row["genome"]] = Genome(row["genome"], row["fasta"], checksum, validation)
    return genomes


def read_tasks(sheet: str | None, made_by_workflow: str | None = None) -> dict[str, Task]:
    """Read the task sheet; no sheet, no tasks. Raises SettingsError with row and column."""
    if sheet is None:
        return {}
    splits = ["train", "validation", "test"]
    checksums = [f"sha256_{split}" for split in splits]
    tasks = {}
    for place, row in _read_sheet(sheet, "task", ["train", "test"], ["validation", *checksums]):
        files = {split: row[split] for split in splits if row[split]}
        for split, path in files.items():
            _check_file(path, f"{place}, column {split}", "table", made_by_workflow)
        sha256 = {s: _checksum(row[f"sha256_{s}"], f"{place}, column sha256_{s}") for s in splits}
        tasks[row["task"]] = Task(row["task"], files, {s: c for s, c in sha256.items() if c})
    return tasks


def _read_sheet(
    sheet: str, name_column: str, required: list[str], optional: list[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (place for messages, row) for each row, every column present, absent ones empty."""
    try:
        text = Path(sheet).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SettingsError(f"{sheet}: no such sheet.{_nearest_file(sheet)}") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise SettingsError(f"{sheet}: not a text file. Save the sheet as tab-separated text.") from None
    rows = [
        (number, row)
        for number, row in enumerate(csv.reader(text.splitlines(), delimiter="\t"), 1)
        if any(cell.strip() for cell in row) and not row[0].startswith("#")
    ]
    if not rows:
        raise SettingsError(f"{sheet}: the sheet is empty. Its first row names the columns.")
    header = [cell.strip() for cell in rows[0][1]]
    known = [name_column, *required, *optional]
    for column in header:
        if column not in known:
            hint = _nearest(column, known)
            separator = " Columns are separated by tabs." if len(header) == 1 else ""
            raise SettingsError(f"{sheet} row {rows[0][0]}: unknown column '{column}'.{hint}{separator}")
    for column in [name_column, *required]:
        if column not in header:
            raise SettingsError(f"{sheet} row {rows[0][0]}: the column '{column}' is missing.")
    if len(set(header)) < len(header):
        raise SettingsError(f"{sheet} row {rows[0][0]}: a column is named twice.")
    if len(rows) == 1:
        raise SettingsError(f"{sheet}: there is no row below the header.")
    seen: dict[str, int] = {}
    for number, cells in rows[1:]:
        if len(cells) > len(header):
            raise SettingsError(f"{sheet} row {number}: {len(cells)} cells, but {len(header)} columns.")
        row = dict.fromkeys(known, "") | {c: v.strip() for c, v in zip(header, cells, strict=False)}
        name = row[name_column]
        if not NAME.fullmatch(name):
            raise SettingsError(
                f"{sheet} row {number}, column {name_column}: '{name}' is not a usable name. "
                "Use letters, digits, '-' and '_' only."
            )
        if name in seen:
            raise SettingsError(f"{sheet} row {number}: '{name}' stands in row {seen[name]} already.")
        seen[name] = number
        for column in required:
            if not row[column]:
                raise SettingsError(f"{sheet} row {number} ({name}): the column '{column}' is empty.")
        yield f"{sheet} row {number} ({name})", row


def _check_file(path: str, place: str, kind: str, made_by_workflow: str | None) -> None:
    if is_url(path) or (made_by_workflow and Path(path).is_relative_to(made_by_workflow)):
        return
    if not Path(path).is_file():
        raise SettingsError(
            f"{place}: {kind} not found: {path}.{_nearest_file(path)} "
            "Give a path relative to the working directory or a URL."
        )
    if Path(path).stat().st_size == 0:
        raise SettingsError(f"{place}: the file is empty: {path}. Was its download cut short?")


def _checksum(value: str, place: str) -> str | None:
    if value and not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise SettingsError(f"{place}: '{value}' is not a SHA-256 checksum of 64 hexadecimal digits.")
    return value.lower() or None


def _nearest(value: Any, choices: list[str], prefix: str = "") -> str:
    matches = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
    return f" Did you mean {prefix}{matches[0]}?" if matches else ""


def _nearest_file(path: str) -> str:
    folder = Path(path).parent
    if not folder.is_dir():
        return f" The folder {folder} does not exist."
    matches = difflib.get_close_matches(Path(path).name, [p.name for p in folder.iterdir()], n=1)
    return f" Did you mean {folder / matches[0]}?" if matches else ""


def _show(value: Any) -> str:
    return "empty" if value is None else json.dumps(value, default=str)


def _either(choices: list[str]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"
