"""This workflow as a module of another one."""

from collections.abc import Callable, Iterable, Mapping
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


def made_by(rules: Iterable[Any]) -> Callable[[str], bool]:
    """Whether one of these rules makes a file."""
    listed = list(rules)
    return lambda path: any(rule.is_producer(path) for rule in listed)


# The level of path variables that a module is given, in Snakemake's numbers: above all others but a rule's.
OF_MODULE = 1


def check_paths(modifier: Any, folders: Mapping[str, str]) -> None:
    """Raise InputError for what a module says of paths, because it reaches only a part of them.

    `modifier` is what Snakemake changes a module by, `folders` are this workflow's path variables.
    """
    results, paths, variables = f"{folders['results']}/", modifier.path_modifier, modifier.pathvars
    given = (name for name in folders if variables.level.get(name) == OF_MODULE)
    if (
        paths.modifies_prefixes
        or paths.replace_prefix(results) != results
        or any(variables.get(name) != folders[name] for name in given)
    ):
        raise InputError(
            "prefix:, replace_prefix: or pathvars: of a module would move some files of this workflow and "
            "not others. Take it out, and name the folder under the key results of its configuration."
        )
