"""Errors that are meant for the person who runs the workflow."""

import re


class InputError(Exception):
    """The input cannot be used.

    The message is one line: which file, which line or record, what is wrong, what to do. It reaches
    the terminal without a traceback. What it quotes of the input is made :func:`printable`.
    """

    def __init__(self, message: str):
        super().__init__(printable(message))


class MissingKeyError(InputError, KeyError):
    """A file has no such key, for instance because an earlier version of this workflow wrote it."""

    # KeyError's would be in quotes.
    __str__ = InputError.__str__


class Interrupted(Exception):
    """The step stopped early on purpose and can go on from where it stopped.

    Raised when a time limit is near or a signal asked the process to leave. The process ends with
    :data:`RETRY_EXIT_CODE`, so that a scheduler starts it again.
    """


# sysexits.h: EX_TEMPFAIL, "temporary failure, the user is invited to retry".
RETRY_EXIT_CODE = 75


def printable(text: str) -> str:
    r"""The text as one line, with what a terminal would obey, or not show, written as an escape.

    >>> printable("a\x1b[31mb\n  c")
    'a\\x1b[31mb c'
    """
    text = re.sub(r"\s*[\r\n\t]\s*", " ", text)
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
