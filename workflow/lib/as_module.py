"""This workflow as a module of another one."""

from collections.abc import Mapping
from typing import Any

from dnalm.running.errors import InputError


def section_of(config: Any, whole: Mapping[str, Any]) -> list[str] | None:
    """The keys that lead from the configuration `whole` to this very part of it; None if it is no part."""
    if config is whole:
        return []
    for key, value in whole.items():
        if isinstance(value, Mapping) and (below := section_of(config, value)) is not None:
            return [key, *below]
    return None


def check_prefix(modifier: Any, results: str) -> None:
    """Raise InputError for a module's `prefix:` or `replace_prefix:`, which reach only a part of the paths.

    `modifier` is what Snakemake changes the paths of inputs and outputs with.
    """
    if modifier.modifies_prefixes or modifier.replace_prefix(f"{results}/") != f"{results}/":
        raise InputError(
            "prefix: or replace_prefix: of a module would move some files of this workflow and leave others "
            "where they are. Take it out, and name the folder under the key results of its configuration."
        )
