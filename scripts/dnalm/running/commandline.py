"""What every script does first and last: log to the terminal and a file, report errors in one line."""

import argparse
import errno
import gc
import logging
import os
import platform
import shlex
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from dnalm.running.errors import RETRY_EXIT_CODE, InputError, Interrupted, printable
from dnalm.running.files import NAMED
from dnalm.running.settings import FlagNames, Settings, flag, kinds_of, validated

logger = logging.getLogger("dnalm")

# Begins the lines of a log that say on what a step ran; the report reads them.
COMPUTER = "computer: "
# Of batches less was taken before (dnalm.running.memory).
OUT_OF_GPU_MEMORY = (
    "the GPU's memory ran out where nothing can be taken in parts, such as the weights and their optimizer. "
    "Take a smaller model, fine-tune a part of it (partial, lora), spread its pretraining over several GPUs "
    "(training.fsdp), or use a GPU with more memory."
)
# What file servers say that are away, have lost an open file, or let nobody write any more. ESHUTDOWN is
# Lustre's, which Python takes for a broken pipe.
DISK_FAILS = {errno.EIO, errno.ESTALE, errno.EROFS, errno.ENOTCONN, errno.ESHUTDOWN}


def words_of_command() -> list[str]:
    """The words of this command line, for `parse_args`.

    Where the last one is `-`, the others stand in stdin, each ended by NUL: the kernel passes 2 MB of words
    at most, less than the files of a suite of tasks.
    """
    if sys.argv[-1] == "-":
        # The log says the words themselves.
        sys.argv[-1:] = os.fsdecode(sys.stdin.buffer.read()).split("\0")[:-1]
    return sys.argv[1:]


def parser(docstring: str) -> argparse.ArgumentParser:
    """A parser that shows the script's docstring as help and knows `--log`."""
    result = argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--log", type=Path, help="also write messages and tracebacks to this file")
    return result


def add_settings_flags(
    arguments: argparse.ArgumentParser,
    settings: type[Settings] | Mapping[str, type[Settings]],
    name: str = "settings",
    prefix: str = "",
    chosen_by: str = "",
) -> None:
    """Add a flag per field of the class: `--<prefix><field>`. `run` hands `main` an object as keyword `name`.

    Where the defaults depend on another argument, `settings` are the classes by its values and `chosen_by`
    is that argument. A flag of some of the classes only is refused with the others.
    """
    classes = list(settings.values()) if isinstance(settings, Mapping) else [settings]
    fields = {field: about for c in reversed(classes) for field, about in c.model_fields.items()}
    for field, about in fields.items():
        knowing = [c for c in classes if field in c.model_fields]
        defaults = dict.fromkeys(_words(c.model_fields[field]) for c in knowing)
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "dest": f"{name}.{field}"}
        options["help"] = f"{about.description} ({' or '.join(defaults)})".replace("%", "%%")
        kinds = kinds_of(about.annotation)
        if kinds[0] is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["metavar"] = _metavar(kinds)
            options["nargs"] = "+" if get_origin(kinds[0]) is tuple else None
        arguments.add_argument(flag(field, prefix), **options)
    collected = arguments.get_default("settings_flags") or []
    arguments.set_defaults(settings_flags=[*collected, (name, settings, prefix, chosen_by)])


def collect_settings(options: dict[str, Any]) -> dict[str, Any]:
    """The parsed arguments with objects in place of the flags of `add_settings_flags`.

    Raises InputError naming the first flag whose value is wrong.
    """
    options = options.copy()
    for name, settings, prefix, chosen_by in options.pop("settings_flags", []):
        chosen = settings[options[chosen_by]] if chosen_by else settings
        given = {key: options.pop(key) for key in list(options) if key.startswith(f"{name}.")}
        values = {key.removeprefix(f"{name}."): value for key, value in given.items()}
        options[name] = validated(chosen, values, FlagNames(prefix))
    return options


def parsed_options(arguments: argparse.ArgumentParser, words: Sequence[str]) -> dict[str, Any]:
    """What a script's `main` takes for these words. Raises InputError naming the first flag that is wrong."""
    options = vars(arguments.parse_args(words))
    options.pop("log")
    return collect_settings(options)


def settings_words(settings: type[Settings], values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The words of a command line that `add_settings_flags` of the same class reads back as `values`.

    Of `values`, which may hold more, the fields of the class are taken.
    """
    words: list[str] = []
    for field in settings.model_fields:
        words += flag_words(flag(field, prefix), values[field])
    return words


def flag_words(name: str, value: Any) -> list[str]:
    """A flag and its value; nothing for None and for an empty list, the defaults where they are possible."""
    if isinstance(value, bool):
        return [name if value else name.replace("--", "--no-", 1)]
    if isinstance(value, list | tuple):
        return [name, *map(str, value)] if value else []
    if value is None:
        return []
    # A value that begins with a dash would be taken for a flag.
    return [f"{name}={value}"] if str(value).startswith("-") else [name, str(value)]


def _metavar(kinds: tuple[Any, ...]) -> str:
    if get_origin(kinds[0]) is Literal:
        return f"{{{','.join(get_args(kinds[0]))}}}"
    if get_origin(kinds[0]) is tuple:
        return _metavar(kinds_of(get_args(kinds[0])[0]))
    return {int: "N", float: "X"}.get(kinds[0], "TEXT")


def _words(field: FieldInfo) -> str:
    """The default of a field, for its help."""
    if field.is_required():
        return "required"
    if field.default in (None, ()):
        return "default: empty"
    values = field.default if isinstance(field.default, tuple) else (field.default,)
    return f"default {' '.join(map(str, values))}"


def run(main: Callable[..., None], arguments: argparse.Namespace) -> None:
    """Call `main` with the parsed arguments as keywords (without `log`), settings as objects, and end the
    process.

    Exit codes: 0, 1 after an error (one line on stderr, traceback in the log), 75 when the step stopped
    early and can continue.
    """
    options = vars(arguments).copy()
    log = options.pop("log", None)
    # PyTorch and Transformers make hundreds of thousands of objects that stay: by default Python looks for
    # garbage among them so often that it takes up to a second.
    gc.set_threshold(100_000, 50, 50)
    NAMED[:] = _paths_in(options)
    try:
        set_up_logging(log)
        main(**collect_settings(options))
    except InputError as error:
        _fail(str(error), 1)
    except Interrupted as error:
        _fail(str(error), RETRY_EXIT_CODE, "stopped")
    except OSError as error:
        if error.errno == errno.EPIPE:
            os._exit(1)
        # A full disk or a missing permission is the user's to mend; the file's name says where.
        place = f"{error.filename}: " if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail(f"{place}the disk, or your quota on it, is full. Make room and start again.", 1)
        if error.errno == errno.EFBIG:
            _fail(f"{place}larger than files may be here. Raise the limit (ulimit -f) and start again.", 1)
        if error.errno in DISK_FAILS:
            _fail(
                f"{place}{error.strerror}. The disk fails, or nobody may write to it. Start again when it "
                "works; what is finished stays.",
                1,
            )
        _fail(f"{place}{error.strerror or error}", 1)
    except MemoryError:
        _fail("this computer's memory ran out. Ask for more (mem_mb of the rule), or give less at once.", 1)
    except Exception as error:
        # PyTorch's, which is not imported here.
        if type(error).__name__ == "OutOfMemoryError":
            _fail(OUT_OF_GPU_MEMORY, 1)
        if type(error).__name__ == "InductorError":
            _fail(_not_compiled(str(error)), 1)
        _fail(f"unexpected {type(error).__name__}: {error}", 1)
    sys.exit(0)


def _paths_in(options: Mapping[str, Any]) -> list[str]:
    """The absolute paths of all files and folders that flags name."""
    values = [item for value in options.values() for item in (value if isinstance(value, list) else [value])]
    return [os.path.abspath(value) for value in values if isinstance(value, Path)]


def _not_compiled(told: str) -> str:
    """Why `torch.compile` failed, which says it in up to hundreds of lines."""
    full = any(os.strerror(number) in told for number in (errno.ENOSPC, errno.EDQUOT))
    if full:
        return (
            "--training-compile: the disk for what compilers write is full. Name folders with room in the "
            "variables TORCHINDUCTOR_CACHE_DIR and TMPDIR, or set compile to false."
        )
    why = told.split("\n")[0].strip()[:200]
    return f"--training-compile: PyTorch could not translate the model ({why}). Set compile to false."


class _Lines(logging.Formatter):
    """Lines without anything that a terminal would obey: names of the user's sequences may stand in them."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


class _LogFile(logging.FileHandler):
    """A log that the disk may have no room for: one line on stderr is enough, which says the rest anyway."""

    complete = True

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            return super().handleError(record)
        if self.complete:
            self.complete = False
            print(f"{self.baseFilename} is not complete: {error.strerror}", file=sys.stderr)


def set_up_logging(log: Path | None = None) -> None:
    """Send messages of level INFO to stderr and, with time stamps, to the file `log` (appended)."""
    root = logging.getLogger("dnalm")
    root.setLevel(logging.INFO)
    root.handlers.clear()
    root.propagate = False
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(_Lines("%(message)s"))
    root.addHandler(terminal)
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        # Names of files may hold bytes that are no text, and computers have other encodings.
        file = _LogFile(log, encoding="utf-8", errors="backslashreplace")
        file.setFormatter(_Lines("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        root.addHandler(file)
        # The terminal shows what happens; how to repeat it by hand is for the log.
        file.handle(logging.makeLogRecord({"msg": f"$ {shlex.join(sys.argv)}"}))
        file.handle(logging.makeLogRecord({"msg": f"{COMPUTER}{processor()}"}))


def processor() -> str:
    """The make of this computer's processor, as Linux names it."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _fail(message: str, code: int, word: str = "error") -> None:
    for handler in logger.handlers:
        if isinstance(handler, _LogFile) and handler.complete and handler.stream is not None:
            handler.stream.write(traceback.format_exc())
    logger.error("%s: %s", word, printable(message.strip()))
    logging.shutdown()
    sys.exit(code)
