"""Names of sequences, which databases spell differently."""

import difflib
import re
from collections.abc import Iterable

# In letters. Tables of names have as much room for each as for the longest.
LONGEST_NAME = 1000
# Zeros, for instance, where a disk has lost a block, and what ends a line.
UNREADABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def check_name(name: str) -> None:
    """Raise ValueError, saying what is wrong, for a name of a sequence that no table can hold."""
    if len(name) > LONGEST_NAME:
        raise ValueError(
            f"the name {name[:40]}… has {len(name):,} letters; at most {LONGEST_NAME:,} are a name. Write a "
            "blank behind the part that is to be the name."
        )
    check_readable(name)


def check_readable(name: str) -> None:
    """Raise ValueError, saying what is wrong, for a name with a character that would break a table."""
    if not name.isprintable() and UNREADABLE.search(name):
        raise ValueError(
            f"the name {name[:40]!r} has a character that is none to be read. The file may be damaged; "
            "download or copy it again."
        )


def name_hint(name: str, known: Iterable[str]) -> str:
    """Which of the `known` names was perhaps meant, as a sentence; without a guess, the first of them."""
    known = list(known)
    lowered = _lowered(known)
    # chr19 is not chr1 spelt wrongly.
    as_numbered = [candidate for candidate in lowered if _numbers(candidate) == _numbers(name)]
    near = difflib.get_close_matches(name.lower(), as_numbered, n=1, cutoff=0.6)
    meant = next(
        (lowered[candidate] for candidate in [*_spellings(name), *near] if candidate in lowered), None
    )
    return f"Did you mean {meant}?" if meant else f"Its first sequences are {', '.join(known[:5])}."


def spelt_otherwise(names: Iterable[str], known: Iterable[str]) -> tuple[str, str] | None:
    """The first of the `names` that the other custom spells as one of the `known`, and that one."""
    lowered = _lowered(known)
    pairs = ((name, lowered[other]) for name in names for other in _spellings(name) if other in lowered)
    return next(pairs, None)


def _lowered(known: Iterable[str]) -> dict[str, str]:
    return {name.lower(): name for name in reversed(list(known))}


def _spellings(name: str) -> list[str]:
    """In lower case. chr1 and 1 are the two customs, UCSC's and Ensembl's; for mitochondria chrM, MT."""
    bare = name.lower().removeprefix("chr")
    spellings = ("m", "mt") if bare in ("m", "mt") else (bare,)
    return [name.lower(), *(prefix + spelling for spelling in spellings for prefix in ("chr", ""))]


def _numbers(name: str) -> list[str]:
    return re.findall("[0-9]+", name)
