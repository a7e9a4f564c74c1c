"""Errors that are meant for the person who runs the workflow."""


class InputError(Exception):
    """The input cannot be used.

    The message is one line: which file, which line or record, what is wrong, what to do. It reaches
    the terminal without a traceback.
    """


class Interrupted(Exception):
    """The step stopped early on purpose and can go on from where it stopped.

    Raised when a time limit is near or a signal asked the process to leave. The process ends with
    :data:`RETRY_EXIT_CODE`, so that a scheduler starts it again.
    """


# sysexits.h: EX_TEMPFAIL, "temporary failure, the user is invited to retry".
RETRY_EXIT_CODE = 75
