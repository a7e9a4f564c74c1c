"""What every script does first and last: log to the terminal and a file, report errors in one line."""

import argparse
import errno
import logging
import os
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from dnalm.running.errors import RETRY_EXIT_CODE, InputError, Interrupted

logger = logging.getLogger("dnalm")


def parser(docstring: str) -> argparse.ArgumentParser:
    """A parser that shows the script's docstring as help and knows `--log`."""
    result = argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--log", type=Path, help="also write messages and tracebacks to this file")
    return result


def run(main: Callable[..., None], arguments: argparse.Namespace) -> None:
    """Call `main` with the parsed arguments as keywords (without `log`) and end the process.

    Exit codes: 0, 1 after an error (one line on stderr, traceback in the log), 75 when the step stopped
    early and can continue.
    """
    options = vars(arguments).copy()
    log = options.pop("log", None)
    set_up_logging(log)
    try:
        main(**options)
    except InputError as error:
        _fail(str(error), 1)
    except Interrupted as error:
        _fail(str(error), RETRY_EXIT_CODE, "stopped")
    except BrokenPipeError:
        os._exit(1)
    except OSError as error:
        # A full disk or a missing permission is the user's to mend; the file's name says where.
        place = f"{error.filename}: " if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail(f"{place}the disk, or your quota on it, is full. Make room and start again.", 1)
        _fail(f"{place}{error.strerror or error}", 1)
    except Exception as error:
        _fail(f"unexpected {type(error).__name__}: {error}", 1)
    sys.exit(0)


def set_up_logging(log: Path | None = None) -> None:
    """Send messages of level INFO to stderr and, with time stamps, to the file `log` (appended)."""
    root = logging.getLogger("dnalm")
    root.setLevel(logging.INFO)
    root.handlers.clear()
    root.propagate = False
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    root.addHandler(terminal)
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(log)
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        root.addHandler(file)
        # The terminal shows what happens; how to repeat it by hand is for the log.
        file.handle(logging.makeLogRecord({"msg": f"$ {shlex.join(sys.argv)}"}))


def _fail(message: str, code: int, word: str = "error") -> None:
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.stream.write(traceback.format_exc())
    logger.error("%s: %s", word, " ".join(message.split()))
    logging.shutdown()
    sys.exit(code)
