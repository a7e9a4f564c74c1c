"""Which of two classes is the positive one."""

import re
from collections.abc import Sequence

from dnalm.running.errors import InputError
from dnalm.running.hints import nearest

# Names of classes that say what a sequence is not, or that it is nothing in particular.
NEGATIVE = {"absent", "background", "bg", "control", "false", "neg", "negative", "no", "none", "other"}
NEGATIVE |= {"others", "random", "rest", "shuffled"}
# `non-enhancer`, `not_bound`; and where the rest is the other label, also `unbound` and `inactive`.
_NEGATED = re.compile(r"(non|not|no)[-_ ].+", re.IGNORECASE)
_PREFIXES = ("non", "not", "no", "un", "in")


def positive_class(labels: Sequence[str], chosen: str | None = None) -> tuple[str | None, str]:
    """The positive class and why it is that; None with more than two classes.

    It is the `chosen` one; else the one whose opposite is named as its absence (`non-enhancer`, `control`);
    else the last of `labels`, which are in class order. Raises InputError if `chosen` cannot be.
    """
    if chosen is not None:
        if chosen not in labels:
            raise InputError(
                f"The positive class is {chosen!r}, but the classes are {', '.join(map(repr, labels))}."
                f"{nearest(chosen, labels)} Correct 'positive' in the task sheet."
            )
        if len(labels) > 2:
            raise InputError(
                f"The positive class is {chosen!r}, but there are {len(labels)} classes, over which metrics "
                "are means. Leave 'positive' empty in the task sheet."
            )
        return chosen, "as the task sheet says"
    if len(labels) != 2:
        return None, ""
    first, last = labels
    if _is_absence(last, first) and not _is_absence(first, last):
        return first, f"since {last!r} reads as its absence"
    if _is_absence(first, last) and not _is_absence(last, first):
        return last, f"since {first!r} reads as its absence"
    return last, "the last in order"


def positive_last(labels: Sequence[str], chosen: str | None = None) -> list[int]:
    """The order of the classes in which the positive one is the last; with more than two as they are."""
    positive, _ = positive_class(labels, chosen)
    return sorted(range(len(labels)), key=lambda number: labels[number] == positive)


def _is_absence(label: str, other: str) -> bool:
    """Whether a label names the absence of what the other names."""
    name, named = label.lower(), re.sub(r"[-_ ]", "", other.lower())
    bare = re.sub(r"[-_ ]", "", name)
    return (
        name in NEGATIVE
        or _NEGATED.fullmatch(name) is not None
        or any(bare == prefix + named for prefix in _PREFIXES)
    )
