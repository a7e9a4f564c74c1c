"""The parts of messages: what was probably meant, how a value looks, how choices are listed."""

import difflib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

# In letters: no path is longer that was meant.
LONGEST_SHOWN = 400


def nearest(value: Any, choices: Iterable[str], prefix: str = "") -> str:
    """`" Did you mean X?"` with the choice that looks most like `value`; empty where none does."""
    matches = difflib.get_close_matches(str(value), list(choices), n=1, cutoff=0.5)
    return f" Did you mean {prefix}{matches[0]}?" if matches else ""


def why_absent(path: str) -> str:
    """The same for a path that is no file, with the files beside it as choices; or what it is instead."""
    folder = Path(path).parent
    if Path(path).is_symlink():
        return f" It is a link to {Path(path).readlink()}, which is not there."
    if os.path.isdir(path):
        return " It is a folder."
    if os.path.lexists(path):
        return " It is a pipe or a device."
    if not folder.is_dir():
        return f" The folder {folder} does not exist."
    matches = difflib.get_close_matches(Path(path).name, [p.name for p in folder.iterdir()], n=1)
    return f" Did you mean {folder / matches[0]}?" if matches else ""


def show(value: Any) -> str:
    """A value of a configuration as a person wrote it, the beginning of a long one."""
    shown = "empty" if value is None else json.dumps(value, default=str, ensure_ascii=False)
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}…"


def either(choices: Sequence[str]) -> str:
    """`a, b or c`."""
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"
