"""Outputs that appear whole or not at all."""

import errno
import hashlib
import json
import os
import shutil
import socket
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dnalm.running.errors import InputError, MissingKeyError

# What a file system without locks says: Lustre without `-o flock`, NFS without lockd.
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
# The files and folders that this process's command line names, absolute; one twice where it names it twice.
NAMED: list[str] = []


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it to `path` when the block ends without an error.

    The data reaches the disk before the name changes, so that a reader (or a crash) never meets a
    half-written file. After an error the temporary file is removed. Raises InputError where `path` must not
    be replaced (`check_output`).
    """
    path = Path(path)
    check_output(path)
    temporary = _temporary(path)
    try:
        with disk_errors_name(path):
            yield temporary
            _synchronize(temporary)
            os.replace(temporary, path)
            _synchronize(path.parent)
    finally:
        # What went wrong before is to be told.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path, check: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Like :func:`atomic_file`, for a directory. A directory that stands at `path` is replaced.

    `check` is called right before; it may raise to leave `path` alone. A directory that stands there with
    the same content already stays, since others may be reading it. One that the command line names, and that
    holds other files than the new one, stays with an InputError.
    """
    path = Path(path)
    check_output(path, folder=True)
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        with disk_errors_name(path):
            yield temporary
            # Some writers (safetensors) make files that only their owner can read; a lab shares its models.
            umask = os.umask(0)
            os.umask(umask)
            for file in sorted(temporary.rglob("*")):
                # On some disks all belongs to another, and may be written to all the same.
                with suppress(PermissionError):
                    if file.is_file():
                        file.chmod(0o666 & ~umask)
                _synchronize(file)
            check()
            _check_nothing_else(path, temporary)
            if path.exists():
                if path.is_dir() and sha256_of_directory(path) == sha256_of_directory(temporary):
                    return
                shutil.rmtree(path)
            os.replace(temporary, path)
            _synchronize(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def unchanged(path: str | Path) -> Iterator[None]:
    """Raise InputError if the file is written while the block reads it, as one is whose copy is not complete.

    A plain file would otherwise seem to end where its copy stands.
    """
    before = os.stat(path)
    yield
    after = os.stat(path)
    if stat.S_ISREG(before.st_mode) and (before.st_size, before.st_mtime_ns) != (
        after.st_size,
        after.st_mtime_ns,
    ):
        raise InputError(
            f"{path}: the file changed while it was read. Start again when its copy is complete."
        )


@contextmanager
def all_or_none(*paths: Path) -> Iterator[None]:
    """Remove these files where the block ends with an error: some of them are no result."""
    for path in paths:
        check_output(path)
    try:
        yield
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        raise


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with keys in the given order, atomically. NaN is refused."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_text(path: str | Path) -> str:
    """The text of a file. Raises InputError where there is none.

    A pipe is refused, since whoever reads twice would wait for ever.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: no file, but a folder, a pipe or a device. Name a file.")
    try:
        with disk_errors_name(path):
            return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file.") from None
    except PermissionError:
        raise InputError(f"{path}: you may not read it. Ask its owner, or name another.") from None


def read_json(path: str | Path) -> Any:
    """Read JSON. Raises InputError naming the file, and the line where it does not parse."""
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _each_once(pairs, path))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} line {error.lineno}: not valid JSON ({error.msg}). Mend the file."
        ) from None
    except (RecursionError, ValueError):
        raise InputError(
            f"{path}: JSON nested deeper, or a number longer, than anybody writes. Fetch the file again."
        ) from None


class _Object(dict[str, Any]):
    """An object of a JSON file. Who asks for a key that it does not have is told which file that is."""

    path: str | Path

    def __missing__(self, key: str) -> Any:
        raise MissingKeyError(
            f"{self.path}: no key {key!r}. If another version of this workflow wrote the file, make it again."
        )


def _each_once(pairs: list[tuple[str, Any]], path: str | Path) -> dict[str, Any]:
    """An object of JSON. Raises InputError for a key given twice, of which the first would be lost."""
    found = _Object(pairs)
    found.path = path
    if len(found) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise InputError(f"{path}: {twice!r} stands there twice. Remove one of them.")
    return found


def sha256_of_file(path: str | Path) -> str:
    """SHA-256 of the file's bytes, as 64 hexadecimal digits."""
    with disk_errors_name(Path(path)), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: str | Path, expected: str | None) -> None:
    """Raise InputError unless the file has the checksum; without one there is nothing to check."""
    if expected is not None and (found := sha256_of_file(path)) != expected.lower():
        raise InputError(
            f"{path}: its SHA-256 is {found}, not {expected.lower()}. Fetch the file again, or correct the "
            "checksum in the sheet."
        )


def copy_directory(
    source: Path, target: Path, copy: Callable[[Path, Path], object] = shutil.copyfile
) -> None:
    """Copy a folder's files by `copy`, without dates and rights, which not every disk takes."""
    for file in _files_in(source):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        copy(file, place)


def sha256_of_directory(path: str | Path) -> str:
    """SHA-256 over the names and contents of all files below `path`, whatever their dates."""
    path = Path(path)
    digest = hashlib.sha256()
    for file in _files_in(path):
        digest.update(f"{file.relative_to(path)}\0{sha256_of_file(file)}\n".encode())
    return digest.hexdigest()


def _files_in(directory: Path) -> list[Path]:
    """All files below a directory but the time stamp that Snakemake leaves in each that is an output."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return [path for path in files if path.name != ".snakemake_timestamp"]


def write_directory_summary(path: str | Path, directory: str | Path, description: str) -> None:
    """Write a small JSON file that stands for a directory: its `description` file and its checksum.

    Whoever reads the directory can watch this file instead: it changes when the content does, and not
    when only dates do.
    """
    content = read_json(Path(directory) / description)
    write_json(path, content | {"sha256": sha256_of_directory(directory)})


@contextmanager
def disk_errors_name(path: Path) -> Iterator[None]:
    """Make of an error of the disk, a full one for instance, an OSError that names `path`.

    Who writes to an open file is told no name. safetensors, and shutil where it copies a folder, raise errors
    of their own, without a number.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        known = getattr(error, "errno", None)
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if known == number or (known is None and os.strerror(number) in str(error)):
                raise OSError(number, os.strerror(number), str(path)) from error
        if known is None and os.strerror(errno.EIO) in str(error):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path)) from error
        # Lustre's ESHUTDOWN is a broken pipe to Python; others of its kinds are none of the disk.
        of_disk = type(error) is OSError or known == errno.ESHUTDOWN
        if isinstance(error, OSError) and of_disk and error.filename is None:
            raise OSError(known or errno.EIO, error.strerror or str(error), str(path)) from error
        raise


def check_output(path: Path, folder: bool = False) -> None:
    """Raise InputError for what an output, a file or a `folder`, must not replace: an input, a device.

    Who types a command by hand may name such a thing. The paths of the workflow are all different.
    """
    absolute = Path(os.path.abspath(path))
    if path.name in ("", ".."):
        raise InputError(f"{path}: no name of an output. Name a file or folder to write.")
    if path.is_dir() and not folder:
        raise InputError(f"{path}: a folder. Name a file to write.")
    # As an administrator one would put a file in place of the device.
    if absolute.parent == Path("/dev") or (path.exists() and not (path.is_file() or path.is_dir())):
        raise InputError(
            f"{path}: a device or a pipe, to which nothing can be written as a whole. Name a file."
        )
    if NAMED.count(str(absolute)) > 1:
        raise InputError(f"{path}: named twice, and the output would replace it. Name another output.")


def _check_nothing_else(path: Path, made: Path) -> None:
    """Raise InputError if a folder that was named holds what no earlier output in its place would."""
    if str(path.absolute()) not in NAMED or not path.is_dir():
        return
    known = {".snakemake_timestamp", *(file.name for file in made.iterdir())}
    there = {file.name for file in path.iterdir()}
    # So NFS calls what is deleted while others read it.
    if others := sorted(name for name in there - known if not name.startswith(".nfs")):
        raise InputError(
            f"{path}: holds {others[0]}, which would be lost. Name another folder, or remove this one first."
        )


def _temporary(path: Path) -> Path:
    """A path beside `path` that no other process uses, in a folder that exists.

    What killed processes of this node left behind for `path` is removed. Of another node's processes nobody
    here can say whether they live.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    node = f".{path.name}.{socket.gethostname()}."
    for left in path.parent.iterdir():
        number = left.name.removeprefix(node).removesuffix(".part")
        if left.name == f"{node}{number}.part" and number.isdecimal() and not _lives(int(number)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
    return path.with_name(f"{node}{os.getpid()}.part")


def _lives(process: int) -> bool:
    """Whether another process of this node has this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()


def _synchronize(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Shares of Windows know no such thing of a folder.
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
