"""Which settings are paths, and what these may be: files here, URLs, repositories of the Hugging Face Hub."""

import os
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from dnalm.running.errors import InputError
from dnalm.running.hints import show, why_absent

# Whether a rule outside of this workflow makes a file.
Made = Callable[[str], bool]
# Of one part of a path, in bytes.
LONGEST_PART = 255
# Settings that name a file; `*` stands for each name of the user's choice.
PATHS = (
    "genomes",
    "tasks",
    "published",
    "tokenizers.*.source",
    "models.*.architecture",
    "models.*.checkpoint",
    "study.vary.architecture",
    "corpora.*.lines",
    "predict.*.input",
    "predict.*.genome",
    "embed_sequences.*.input",
    "embed_sequences.*.genome",
    "score_variants.*.input",
    "score_variants.*.genome",
)


def made_by_none(path: str) -> bool:
    """Of a run that is no part of another workflow."""
    return False


def with_paths(config: dict[str, Any], found: Callable[[Any], Any]) -> dict[str, Any]:
    """A copy of the configuration, not yet checked, with `found(path)` in place of each path."""
    config = deepcopy(config)
    for _, holder, key in settings_of_paths(config):
        value = holder[key]
        holder[key] = [found(item) for item in value] if isinstance(value, list) else found(value)
    return config


def settings_of_paths(config: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Every setting of a configuration that names a file: dotted name, section, key in it.

    The configuration need not be checked yet.
    """
    for setting in PATHS:
        *sections, key = setting.split(".")
        holders: list[tuple[str, Any]] = [("", config)]
        for section in sections:
            known = [(name, holder) for name, holder in holders if isinstance(holder, dict)]
            holders = [
                (f"{name}{inner}.", holder.get(inner))
                for name, holder in known
                for inner in (holder if section == "*" else [section])
            ]
        for name, holder in holders:
            if isinstance(holder, dict) and key in holder:
                yield f"{name}{key}", holder, key


def paths_in(config: Any) -> Iterator[tuple[str, str]]:
    """The dotted name and the path of every setting that names a file, where it does."""
    for name, holder, key in settings_of_paths(config):
        paths = holder[key] if isinstance(holder[key], list) else [holder[key]]
        yield from ((name, path) for path in paths if isinstance(path, str))


def is_url(path: str) -> bool:
    """True for what the fetch rules download."""
    return bool(re.match(r"(https?|ftp|file)://", path))


def is_hub_id(source: str) -> bool:
    """True for `owner/name` that is no path here: a repository of the Hugging Face Hub."""
    is_path = Path(source).exists() or Path(source).parent.is_dir() or source.endswith(".json")
    return not is_path and bool(re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", source))


def check_path(path: str, place: str) -> None:
    """Raise InputError for a path that would be taken for something else on its way through the rules."""
    if "\\" in path and path.isprintable() and not is_url(path):
        raise InputError(
            f"{place}: {show(path)} is written as in Windows. Write it with / in place of \\ "
            "(in WSL the drive C is /mnt/c)."
        )
    special = next((letter for letter in path if letter in "{}<>\"'\\*?" or not letter.isprintable()), None)
    if is_url(path) and special == "?":
        special = next((letter for letter in path if letter in "{}<>\"'\\*"), None)
    if special is not None:
        raise InputError(
            f"{place}: {show(path)} contains {show(special)}, which has a meaning of its own in file "
            "patterns. Rename it."
        )
    if any(len(os.fsencode(part)) > LONGEST_PART for part in path.split("/")) and not is_url(path):
        raise InputError(
            f"{place}: a part of {show(path)} is longer than the {LONGEST_PART} letters of a file name. "
            "Correct it."
        )
    if re.match(r"~|\$\w|\$\{", path):
        raise InputError(
            f"{place}: {show(path)} begins with what only a shell understands. Write the whole path."
        )
    if path.startswith("-"):
        raise InputError(f"{place}: {show(path)} begins with a dash, like a flag. Rename it.")


def check_file(path: str, place: str) -> None:
    """Raise InputError unless there is a file, with something in it."""
    if Path(path).is_dir():
        raise InputError(f"{place} is a directory: {path}. Name a file.")
    if not Path(path).is_file():
        raise InputError(
            f"{place}: no such file: {path}.{why_absent(path)} Give a path relative to the working directory."
        )
    if not os.access(path, os.R_OK):
        raise InputError(f"{place}: you may not read {path}. Ask its owner, or name another.")
    if Path(path).stat().st_size == 0:
        raise InputError(f"{place}: the file is empty: {path}. Was its copy cut short?")


def check_source(path: str | None, revision: str | None, place: str) -> None:
    """Raise InputError unless something is there or may be on the Hub, of which alone there are revisions."""
    if revision is not None and (path is None or not is_hub_id(path)):
        section, _, key = place.rpartition(".")
        raise InputError(
            f"{section}.revision is {show(revision)}, but {key} is {show(path)}, which is not on the Hub. "
            "Leave it out."
        )
    if path is not None and not is_hub_id(path) and not Path(path).exists():
        raise InputError(
            f"{place}: no such file or directory: {path}.{why_absent(path)} "
            "Give a path relative to the working directory or a Hub id (owner/name)."
        )
