"""Snakemake's notes of what it made and how: the folder .snakemake where the command is typed.

Without them no change of a setting or of the code is a reason to make anything again.
"""

import os
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dnalm.running.errors import InputError
from dnalm.running.files import read_json
from dnalm.running.hints import show

NOTES = ".snakemake"
# What the rule write_configuration leaves in the folder of results.
CONFIGURATION = "configuration.json"
# They decide no result.
NAMES = ("title", "results")


def check_writable(folder: Path, snakefile: Path) -> None:
    """Raise InputError where Snakemake, typed in `folder`, could not write its notes.

    It would end with a traceback: in an installation for many, or in a colleague's folder.
    """
    notes = folder / NOTES
    kept = notes if notes.exists() else folder
    if not os.access(kept, os.W_OK):
        raise InputError(
            f"you may not write to {kept}, where Snakemake keeps its notes. Type the command in a folder of "
            f"your own, with `-s {snakefile}`; paths of the configuration then count from there."
        )


def check_known(results: str, settings: Mapping[str, Any], source: str) -> None:
    """Raise InputError where there are results of other settings of which Snakemake has no notes.

    `settings` are those that decide a result; `source` names the configuration in the message. Results of the
    same settings without notes are told of on stderr.
    """
    made = Path(results, CONFIGURATION)
    if not made.is_file() or _is_noted(made):
        return
    missing = f"Snakemake's notes about {results} are missing in {Path.cwd() / NOTES}"
    before = read_json(made)
    for key, then, now in _changed(before, settings):
        raise InputError(
            f"{source}: {key} was {then} when {results} was made, and is {now} now, but {missing}: nothing "
            "would be made again. Type the command in the folder where it was made, bring its .snakemake "
            "here, or name another folder under results."
        )
    print(
        f"{missing}: changed code and versions are not noticed, and what has an older date than what it is "
        "made from is made again. Look with -n; --touch --forceall takes all that is there as made.",
        file=sys.stderr,
    )


def lines_of(settings: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Each setting as one line, such as `models.small.training.steps: 30`."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from lines_of(value, f"{above}{name}.")
        else:
            yield f"{above}{name}: {show(value)}"


def _is_noted(file: Path) -> bool:
    """Whether Snakemake has noted how it made this file, or that it began to (its class FilePersistence)."""
    name = urlsafe_b64encode(str(file).encode()).decode()
    # Longer ones become folders, each but the last marked by an @.
    size = os.pathconf(".", "PC_NAME_MAX") - 1
    *above, last = [name[start : start + size] for start in range(0, len(name), size)]
    place = Path(*(f"@{part}" for part in above), last)
    return any(Path(NOTES, kind, place).is_file() for kind in ("metadata", "incomplete"))


def _changed(
    then: Mapping[str, Any], now: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Key, former and present value of all that differs. What was added is made in any case."""
    for name, value in then.items():
        key, present = f"{above}{name}", now.get(name)
        if key in NAMES:
            continue
        if isinstance(value, Mapping) and isinstance(present, Mapping):
            yield from _changed(value, present, f"{key}.")
        elif value != present and not (value is None and isinstance(present, Mapping)):
            yield key, _shown(value), _shown(present)


def _shown(value: Any) -> str:
    return "a section" if isinstance(value, Mapping) else show(value)
