"""Download one file: a genome or a table of labelled sequences.

In:  --url, http(s), ftp or file; --sha256, the checksum it must have (optional, recommended).
Out: --output, the file's bytes as the server holds them, never unpacked. It appears only when it is
     complete: the length the server announced was received and the checksum, if given, agrees.

An interrupted download goes on where it stopped: what has arrived is kept beside the output as
`<output>.part`, with `<output>.part.json` (where it comes from, its length and version at the server).
It is thrown away if the URL or the server's version changed, or the checksum disagrees. Trouble that may
pass (a lost connection, a busy server) is tried again, at first after one second, then after ever longer
pauses; every byte gained starts the count anew. A file that is not there fails at once.

Proxies are taken from https_proxy and its relatives, as usual. Where a server wants a log-in, it is taken
from ~/.netrc (or the file named by NETRC), so that no password stands in a command, a sheet or a log.
"""

import base64
import contextlib
import fcntl
import ftplib
import http.client
import json
import logging
import netrc
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from dnalm.running.commandline import parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import NO_LOCKS, disk_errors_name, sha256_of_file
from dnalm.running.progress import Progress, duration

T = TypeVar("T")

logger = logging.getLogger("dnalm")

BLOCK_BYTES = 256 * 1024
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0

# HTTP status codes that may pass: time-out, too early, too many requests, server errors.
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_ELSEWHERE = "Without network here, download it elsewhere and give its local path."


class Transient(Exception):
    """Trouble that may pass. `pause_s` is how long the server asks to wait."""

    def __init__(self, message: str, pause_s: float = 0.0):
        super().__init__(message)
        self.pause_s = pause_s


@dataclass
class Answer:
    """What a server sends: bytes from `offset` on, of `total` (None: it does not say).

    version: a string that changes with the file at the server (None: it does not say).
    read: returns the next bytes, at most as many as asked for; b"" at the end.
    """

    offset: int
    total: int | None
    version: str | None
    read: Callable[[int], bytes]


@dataclass
class Partial:
    """An unfinished download: the open file `<output>.part` and what `<output>.part.json` says of it."""

    path: Path
    file: BinaryIO
    total: int | None = None
    version: str | None = None

    @property
    def notes(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    @property
    def size(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    def load(self, url: str) -> None:
        """Read the notes; start anew if they are absent, unreadable or of another file."""
        try:
            notes = json.loads(self.notes.read_text())
            if notes["url"] != url:
                raise ValueError("another URL")
            self.total, self.version = notes["total"], notes["version"]
            if self.total is None and self.version is None:
                raise ValueError("nothing would tell a changed file")
        except (OSError, ValueError, KeyError, TypeError):
            self.restart()

    def begin(self, url: str, answer: Answer) -> None:
        """Note what the answer is a part of, and go to its place in the file."""
        self.total, self.version = answer.total, answer.version
        self.file.truncate(answer.offset)
        self.file.seek(answer.offset)
        self.notes.write_text(json.dumps({"url": url, "total": self.total, "version": self.version}))

    def write(self, block: bytes) -> None:
        rest = memoryview(block)
        with disk_errors_name(self.path):
            while rest:
                rest = rest[self.file.write(rest) :]

    def restart(self) -> None:
        self.total = self.version = None
        self.file.truncate(0)
        self.notes.unlink(missing_ok=True)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)


@contextlib.contextmanager
def partial_file(output: Path) -> Iterator[Partial]:
    """Open `<output>.part`, kept from an earlier try or new, and lock it against a second download.

    Where the file system has no locks, the log says so and the download goes on.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    path = output.with_name(output.name + ".part")
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0) as file:
        another = InputError(f"{path}: another process is downloading this file. Wait for it.")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise another from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            logger.info("%s: no locks on this file system; a second download is not noticed", path)
        # One that ended between the opening and the lock has made the output of what was opened.
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise another
        partial = Partial(path, file)
        try:
            yield partial
        finally:
            if partial.size == 0:
                partial.remove()


@contextlib.contextmanager
def open_http(url: str, partial: Partial, timeout_s: float) -> Iterator[Answer]:
    """Ask a web server for the bytes that are missing."""
    headers = {"User-Agent": "dna-modernbert", "Accept-Encoding": "identity"}
    size = partial.size
    if size:
        headers["Range"] = f"bytes={size}-"
        if partial.version:
            # Makes the server send the whole file if it is no longer the one that was begun.
            headers["If-Range"] = partial.version
    request = urllib.request.Request(url, headers=headers)
    if login := login_for(urllib.parse.urlsplit(url).hostname or ""):
        words = base64.b64encode(":".join(login).encode()).decode()
        # Unredirected: the server may send us on to another one, which must not learn it.
        request.add_unredirected_header("Authorization", f"Basic {words}")
    try:
        response = send(request, timeout_s)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and size:
                # Nothing lies beyond what we have: complete, or no part of that file at all.
                total = _total_of_range(error.headers) or partial.total
                if total == size:
                    yield Answer(size, total, partial.version, lambda _: b"")
                    return
                partial.restart()
                raise Transient("the unfinished download did not fit the file at the server") from None
            _refuse(url, error)
    with response:
        if response.headers.get_content_type() == "text/html" and not re.search(r"\.html?([?#]|$)", url):
            raise InputError(
                f"{url}: the server sent a web page, not a file. Open it in a browser to see what it says."
            )
        # A weak ETag (W/) does not promise the same bytes; HTTP forbids it in If-Range (RFC 9110, 13.1.5).
        tag = response.headers.get("ETag")
        version = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
        if response.status == 206:
            total = _total_of_range(response.headers)
            same = partial.total is None or total is None or total == partial.total
            if not same or not response.headers.get("Content-Range", "").startswith(f"bytes {size}-"):
                partial.restart()
                raise Transient("the server sent another part than was asked for")
            yield Answer(size, total, version, response.read)
        else:
            length = response.headers.get("Content-Length")
            yield Answer(0, int(length) if length else None, version, response.read)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server that sends on, but not from where what is sent is protected to where it is not."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        there = urllib.parse.urlsplit(newurl)
        if req.type == "https" and there.scheme != "https":
            raise InputError(
                f"{req.full_url}: the server sends on to {there.scheme}://{there.hostname}, where nothing "
                "protects what is sent. Give that address, and the file's checksum in the sheet."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def send(request: urllib.request.Request, timeout_s: float) -> Any:
    """The answer of a web server, or of the one to which it sends on."""
    return urllib.request.build_opener(_Redirects).open(request, timeout=timeout_s)


def login_for(host: str) -> tuple[str, str] | None:
    """User and password of a host by the user's netrc file. Raises InputError if that cannot be read.

    What stands there for any host (`default`) is for none: a sheet may name a server that nobody trusts.
    """
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    if not path.is_file():
        return None
    try:
        found = netrc.netrc(path).hosts.get(host)
    except (netrc.NetrcParseError, OSError) as error:
        reason = error.msg if isinstance(error, netrc.NetrcParseError) else error.strerror
        raise InputError(f"{path}: the log-ins cannot be read ({reason}). Mend the file.") from None
    return (found[0], found[2]) if found else None


def _total_of_range(headers: Message) -> int | None:
    match = re.fullmatch(r"bytes .*/(\d+)", headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _refuse(url: str, error: urllib.error.HTTPError) -> None:
    """Raise what an HTTP error means."""
    said = f"the server answered {error.code} {error.reason}"
    if error.code in _PASSING:
        wait = error.headers.get("Retry-After", "")
        raise Transient(said, float(wait) if wait.isdigit() else 0.0) from None
    if error.code in (404, 410):
        raise InputError(f"{url}: {said}: no such file there. Check the URL.") from None
    if error.code in (401, 403):
        raise InputError(
            f"{url}: {said}: it wants a log-in (~/.netrc) or refuses this machine. {_ELSEWHERE}"
        ) from None
    raise InputError(f"{url}: {said}. Check the URL.") from None


@contextlib.contextmanager
def open_ftp(url: str, partial: Partial, timeout_s: float) -> Iterator[Answer]:
    """Ask an FTP server for the bytes that are missing."""
    parts = urllib.parse.urlsplit(url)
    path = urllib.parse.unquote(parts.path)
    with contextlib.closing(ftplib.FTP(timeout=timeout_s)) as ftp:
        ftp.connect(parts.hostname or "", parts.port or ftplib.FTP_PORT)
        try:
            ftp.login(*(login_for(parts.hostname or "") or ("anonymous", "anonymous@")))
            ftp.voidcmd("TYPE I")
            total, version = _if_known(lambda: ftp.size(path)), _if_known(lambda: ftp.voidcmd(f"MDTM {path}"))
            same = total is not None and (total, version) == (partial.total, partial.version)
            offset = partial.size if same and total is not None and partial.size <= total else 0
            connection = ftp.transfercmd(f"RETR {path}", rest=offset or None)
        except ftplib.error_perm as error:
            raise InputError(f"{url}: the server answered {error}. Check the URL.") from None

        def read(size: int) -> bytes:
            block = connection.recv(size)
            if not block:
                # Raises if the server did not mean to end here.
                ftp.voidresp()
            return block

        with connection:
            yield Answer(offset, total, version, read)


def _if_known(command: Callable[[], T]) -> T | None:
    """The answer to an FTP command that not every server understands."""
    try:
        return command()
    except ftplib.error_perm:
        return None


@contextlib.contextmanager
def open_file(url: str, partial: Partial, timeout_s: float) -> Iterator[Answer]:
    """Read a file:// URL. It is copied anew: copying is quick, and a file has no version to rely on."""
    path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path))
    if not path.is_file():
        raise InputError(f"{url}: no such file: {path}. Check the path.")
    with open(path, "rb") as file:
        yield Answer(0, path.stat().st_size, None, file.read)


_OPEN = {"http": open_http, "https": open_http, "ftp": open_ftp, "file": open_file}


def transfer(url: str, partial: Partial, timeout_s: float) -> None:
    """Fetch the missing bytes once. Raises Transient if they do not all arrive."""
    ask = _OPEN[urllib.parse.urlsplit(url).scheme]
    with contextlib.ExitStack() as stack:
        with _network_trouble(url):
            answer = stack.enter_context(ask(url, partial, timeout_s))
        partial.begin(url, answer)
        progress = Progress(f"downloading {name_of(url)}", answer.total, "bytes")
        progress.resume_at(answer.offset)
        if answer.offset:
            logger.info("%s: going on after %s bytes", name_of(url), f"{answer.offset:,}")
        done = answer.offset
        while True:
            with _network_trouble(url):
                block = answer.read(BLOCK_BYTES)
            if not block:
                break
            # Outside of _network_trouble: a full disk does not get better by trying again.
            partial.write(block)
            done += len(block)
            progress.update(done)
        if answer.total is not None and done != answer.total:
            if done > answer.total:
                partial.restart()
            raise Transient(f"{done:,} of {answer.total:,} bytes arrived")


@contextlib.contextmanager
def _network_trouble(url: str) -> Iterator[None]:
    """Turn what the network libraries raise into Transient or InputError."""
    try:
        yield
    except (Transient, InputError):
        raise
    except (http.client.HTTPException, ftplib.Error, EOFError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(error, http.client.InvalidURL | ValueError) and not isinstance(error, OSError):
            raise InputError(f"{url}: this is no valid URL ({error}).") from None
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise InputError(
                f"{url}: the server's certificate cannot be verified ({reason.verify_message}). "
                "Behind a proxy that inspects traffic, set SSL_CERT_FILE to its certificate."
            ) from None
        if isinstance(reason, socket.gaierror):
            host = urllib.parse.urlsplit(url).hostname
            raise Transient(
                f"the server's name {host} cannot be resolved, perhaps there is no network"
            ) from None
        if isinstance(reason, TimeoutError):
            raise Transient("the server does not answer") from None
        raise Transient(str(getattr(reason, "strerror", None) or reason or type(reason).__name__)) from None


def fetch(url: str, partial: Partial, attempts: int, timeout_s: float) -> bool:
    """Fetch until everything is there. Returns whether parts of several transfers were joined."""
    failures = 0
    joined = partial.size > 0
    while True:
        before = partial.size
        try:
            transfer(url, partial, timeout_s)
            return joined
        except Transient as error:
            failures = 1 if partial.size > before else failures + 1
            joined |= partial.size > 0
            if failures >= attempts:
                kept = (
                    f" {partial.size:,} bytes are kept; the next run goes on from there."
                    if partial.size
                    else ""
                )
                raise InputError(
                    f"{url}: {error}. Gave up after {failures} tries. {_ELSEWHERE}{kept}"
                ) from None
            pause = min(max(error.pause_s, FIRST_PAUSE_S * 2 ** (failures - 1)), LONGEST_PAUSE_S)
            logger.info("%s: %s; trying again in %s", name_of(url), error, duration(pause))
            time.sleep(pause)


def name_of(url: str) -> str:
    """The file's name in a URL, for messages."""
    return urllib.parse.unquote(Path(urllib.parse.urlsplit(url).path).name) or url


def main(*, url: str, sha256: str | None, output: Path, attempts: int, timeout: float) -> None:
    """Download `url` to `output`. See the top of this file."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in _OPEN:
        raise InputError(f"{url}: not a URL that can be fetched. It begins with {', '.join(_OPEN)}.")
    if parts.username or parts.password:
        raise InputError(
            f"--url for {parts.hostname} holds a user or password, which would stand in every log. Take it "
            "out, and put it into ~/.netrc."
        )
    if not parts.hostname and parts.scheme != "file":
        raise InputError(f"{url}: this URL names no server. Check the URL.")
    sha256 = sha256.strip().lower() if sha256 else None
    if sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise InputError(f"SHA-256 {sha256} for {url}: give 64 hexadecimal digits, as `sha256sum` prints.")
    with partial_file(output) as partial:
        partial.load(url)
        while True:
            joined = fetch(url, partial, attempts, timeout)
            found = sha256_of_file(partial.path)
            if sha256 is None or found == sha256:
                break
            partial.restart()
            if not joined:
                partial.remove()
                raise InputError(
                    f"{url}: wrong SHA-256: {found} arrived, {sha256} was expected. "
                    "The file at the server changed, or the checksum is of another file."
                )
            logger.info("%s: the checksum disagrees; downloading it anew", name_of(url))
        size = partial.size
        with disk_errors_name(output):
            os.fsync(partial.file.fileno())
        os.replace(partial.path, output)
        partial.notes.unlink(missing_ok=True)
    verified = "as expected" if sha256 else "write it into the sheet to have it verified"
    logger.info("%s: %s bytes, SHA-256 %s (%s)", output.name, f"{size:,}", found, verified)


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--url", required=True, help="what to download: http, https, ftp or file")
    add("--sha256", help="checksum the file must have, 64 hexadecimal digits")
    add("--output", type=Path, required=True, help="output: the file")
    add(
        "--attempts",
        type=int,
        default=5,
        help="tries without a byte gained before giving up (default %(default)s)",
    )
    add(
        "--timeout",
        type=float,
        default=60.0,
        help="seconds without an answer that count as trouble (%(default)s)",
    )
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
