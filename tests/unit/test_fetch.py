"""Downloads: whole and verified or not at all, resumed where they stopped, with clear words when it fails."""

import errno
import fcntl
import hashlib
import json
import os
import re
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from web_server import WebServer

import fetch
from dnalm.running.errors import InputError

CONTENT = np.random.default_rng(0).integers(0, 256, 1_000_000, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(WebServer):
    """A web server on this machine that misbehaves as told."""

    def __init__(self):
        super().__init__()
        self.url += "/genome.fa.gz"
        self.content = CONTENT
        self.version: str | None = '"v1"'
        self.stop_after: list[int] = []  # bytes after which the next answers break off
        self.refuse: list[int] = []  # status codes of the next answers
        self.headers: dict[str, str] = {}
        self.ranges = True
        self.announce_length = True
        self.pause_s = 0.0
        self.requests: list[dict[str, str]] = []

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append({name.lower(): value for name, value in handler.headers.items()})
        if self.refuse:
            handler.send_response(self.refuse.pop(0))
            for name, value in self.headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        start = 0
        asked = re.match(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        unchanged = handler.headers.get("If-Range") in (None, self.version)
        if asked and self.ranges and unchanged:
            start = int(asked[1])
            if start >= len(self.content):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(self.content)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206)
            size = len(self.content)
            handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        else:
            handler.send_response(200)
        if self.version:
            handler.send_header("ETag", self.version)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        body = self.content[start:]
        if self.announce_length:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if self.stop_after:
            body = body[: self.stop_after.pop(0)]
        for place in range(0, len(body), 50_000):
            handler.wfile.write(body[place : place + 50_000])
            time.sleep(self.pause_s)
        handler.close_connection = True


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch, "FIRST_PAUSE_S", 0.001)
    with Server() as server:
        yield server


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "downloads" / "genome.fa.gz"


def download(url: str, output: Path, sha256: str | None = SHA256, attempts: int = 3) -> None:
    fetch.main(url=url, sha256=sha256, output=output, attempts=attempts, timeout=5.0)


def files(output: Path) -> list[str]:
    return sorted(path.name for path in output.parent.iterdir())


def test_the_file_arrives_alone(server, output):
    download(server.url, output)
    assert output.read_bytes() == CONTENT
    assert files(output) == ["genome.fa.gz"]
    assert len(server.requests) == 1


def test_checksum_is_optional_and_may_be_in_capitals(server, output):
    download(server.url, output, sha256=None)
    download(server.url, output, sha256=f" {SHA256.upper()} ")
    assert output.read_bytes() == CONTENT


def test_truncated_transfer_goes_on_where_it_stopped(server, output):
    server.stop_after = [100_000, 300_000]
    download(server.url, output)
    assert output.read_bytes() == CONTENT
    assert [request.get("range") for request in server.requests] == [None, "bytes=100000-", "bytes=400000-"]
    assert server.requests[1]["if-range"] == '"v1"'


def test_gaining_bytes_never_uses_up_the_tries(server, output):
    server.stop_after = [1000] * 20
    download(server.url, output, attempts=2)
    assert output.read_bytes() == CONTENT


def test_giving_up_keeps_what_arrived_for_the_next_run(server, output):
    server.stop_after = [100_000, 0, 0, 0]
    with pytest.raises(InputError, match=r"100,000 of 1,000,000 bytes arrived.*100,000 bytes are kept"):
        download(server.url, output)
    assert files(output) == ["genome.fa.gz.part", "genome.fa.gz.part.json"]
    server.requests.clear()
    server.stop_after = []
    download(server.url, output)
    assert output.read_bytes() == CONTENT
    assert server.requests[0]["range"] == "bytes=100000-"
    assert files(output) == ["genome.fa.gz"]


def interrupted(server: Server, output: Path, size: int = 100_000) -> None:
    server.stop_after = [size]
    with pytest.raises(InputError):
        download(server.url, output, attempts=1)
    server.requests.clear()


def test_changed_file_at_the_server_is_downloaded_anew(server, output):
    interrupted(server, output)
    server.content, server.version = CONTENT[::-1], '"v2"'
    download(server.url, output, sha256=None)
    assert output.read_bytes() == CONTENT[::-1]


def test_changed_size_is_noticed_without_a_version(server, output):
    server.version = None
    interrupted(server, output)
    server.content = CONTENT[::-1][:500_000]
    download(server.url, output, sha256=None)
    assert output.read_bytes() == server.content


def test_another_url_is_downloaded_anew(server, output):
    interrupted(server, output)
    download(server.url + "?other", output)
    assert "range" not in server.requests[0]
    assert output.read_bytes() == CONTENT


def test_server_without_ranges(server, output):
    server.ranges = False
    interrupted(server, output)
    download(server.url, output)
    assert server.requests[0]["range"] == "bytes=100000-"
    assert output.read_bytes() == CONTENT


def test_server_that_announces_no_length_and_no_version(server, output):
    server.announce_length, server.version = False, None
    download(server.url, output)
    assert output.read_bytes() == CONTENT


def test_unfinished_download_that_was_already_complete(server, output):
    interrupted(server, output, size=999_999)
    (output.parent / "genome.fa.gz.part").write_bytes(CONTENT)
    download(server.url, output)
    assert output.read_bytes() == CONTENT
    assert [request.get("range") for request in server.requests] == ["bytes=1000000-"]


@pytest.mark.parametrize("found", [b"?" * 100_000, b"?" * 2_000_000])
def test_damaged_unfinished_download_is_replaced(server, output, found):
    interrupted(server, output)
    (output.parent / "genome.fa.gz.part").write_bytes(found)
    download(server.url, output)
    assert output.read_bytes() == CONTENT


@pytest.mark.parametrize("notes", ["", "{", "[]", "{}"])
def test_damaged_notes_are_replaced(server, output, notes):
    interrupted(server, output)
    (output.parent / "genome.fa.gz.part.json").write_text(notes)
    download(server.url, output)
    assert "range" not in server.requests[0]
    assert output.read_bytes() == CONTENT


def test_wrong_checksum(server, output):
    with pytest.raises(InputError, match=f"wrong SHA-256: {SHA256} arrived, {'0' * 64} was expected"):
        download(server.url, output, sha256="0" * 64)
    assert files(output) == []
    assert len(server.requests) == 1


def test_no_checksum(server, output):
    with pytest.raises(InputError, match="64 hexadecimal digits"):
        download(server.url, output, sha256="d41d8cd98f00b204e9800998ecf8427e")
    assert server.requests == []


def test_a_busy_server_is_asked_again(server, output, monkeypatch):
    pauses = []
    monkeypatch.setattr(fetch.time, "sleep", pauses.append)
    server.refuse, server.headers = [503, 429], {"Retry-After": "7"}
    download(server.url, output)
    assert output.read_bytes() == CONTENT
    assert [pause for pause in pauses if pause] == [7.0, 7.0]


@pytest.mark.parametrize(
    ("status", "words"), [(404, "no such file there"), (403, "log-in"), (400, "Check the URL")]
)
def test_a_refusal_fails_at_once(server, output, status, words):
    server.refuse = [status] * 5
    with pytest.raises(InputError, match=words) as error:
        download(server.url, output)
    assert str(status) in str(error.value)
    assert len(server.requests) == 1
    assert files(output) == []


def test_a_web_page_is_no_genome(server, output):
    server.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(InputError, match="sent a web page"):
        download(server.url, output, sha256=None)


def test_a_log_in_comes_from_netrc_and_goes_to_its_server_only(server, output, tmp_path, monkeypatch):
    entries = "machine 127.0.0.1 login ann password s3cret\ndefault login bob password other\n"
    (tmp_path / "netrc").write_text(entries)
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    download(server.url, output)
    assert server.requests[-1]["authorization"] == "Basic YW5uOnMzY3JldA=="
    assert fetch.login_for("example.org") is None


def test_redirects_are_followed_and_resumed(server, output):
    interrupted(server, output)
    server.refuse, server.headers = [302], {"Location": server.url.replace("genome", "moved")}
    download(server.url, output)
    assert server.requests[1]["range"] == "bytes=100000-"
    assert output.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("begun", "goal", "refused"),
    [
        ("https://a.org/x.fa", "http://b.org/x.fa?token=s3cret", True),
        ("https://a.org/x.fa", "ftp://b.org/x.fa", True),
        ("https://a.org/x.fa", "https://b.org/x.fa", False),
        ("http://a.org/x.fa", "http://b.org/x.fa", False),
    ],
)
def test_no_server_sends_on_to_where_nothing_is_protected(begun, goal, refused):
    """Of https no checksum is asked, since nobody can change what is sent on the way."""

    def follow():
        return fetch._Redirects().redirect_request(
            fetch.urllib.request.Request(begun), None, 302, "Found", {}, goal
        )

    if not refused:
        assert follow().full_url == goal
        return
    with pytest.raises(InputError, match=r"sends on to (http|ftp)://b\.org, where nothing protects") as error:
        follow()
    assert "s3cret" not in str(error.value)


def test_a_password_in_a_url_is_not_repeated(output):
    with pytest.raises(InputError, match="holds a user or password") as error:
        download("https://ann:s3cret@127.0.0.1/a.fa", output)
    assert "s3cret" not in str(error.value)


def test_second_download_of_the_same_file_is_refused(server, output):
    server.pause_s = 0.05
    first = threading.Thread(target=download, args=(server.url, output))
    first.start()
    while not server.requests:
        time.sleep(0.01)
    with pytest.raises(InputError, match="another process is downloading"):
        download(server.url, output)
    first.join()
    assert output.read_bytes() == CONTENT


def test_a_download_that_ends_while_another_begins_stays(server, output, monkeypatch):
    flock = fcntl.flock

    def late(file, operation):
        monkeypatch.setattr(fcntl, "flock", flock)
        download(server.url, output)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(InputError, match="another process is downloading"):
        download(server.url, output)
    assert output.read_bytes() == CONTENT
    assert files(output) == ["genome.fa.gz"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_takes_the_download(server, output, monkeypatch, caplog, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with caplog.at_level("INFO", "dnalm"):
        download(server.url, output)
    assert output.read_bytes() == CONTENT
    assert files(output) == ["genome.fa.gz"]
    assert caplog.text.count("genome.fa.gz.part: no locks on this file system") == 1


def test_any_other_trouble_with_the_lock_is_told(server, output, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error"):
        download(server.url, output)


def test_killed_download_is_resumed(server, output, repository):
    server.pause_s = 0.05
    command = [sys.executable, repository / "scripts/fetch.py", "--url", server.url, "--output", output]
    process = subprocess.Popen([*command, "--sha256", SHA256], stderr=subprocess.DEVNULL)
    part = output.parent / "genome.fa.gz.part"
    while not (part.exists() and part.stat().st_size > 200_000):
        time.sleep(0.01)
    process.kill()
    process.wait()
    server.pause_s = 0.0
    finished = subprocess.run([*command, "--sha256", SHA256], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "going on after" in finished.stderr
    assert output.read_bytes() == CONTENT
    assert int(server.requests[1]["range"].strip("bytes=-")) > 200_000


def test_offline(output, monkeypatch):
    def no_network(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fetch, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    for url in ("https://genomes.invalid/a.fa", "ftp://genomes.invalid/a.fa"):
        with pytest.raises(InputError, match=r"genomes\.invalid cannot be resolved.*no network.*local path"):
            download(url, output)


def test_nobody_listens(output, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch, "FIRST_PAUSE_S", 0.001)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(InputError, match=r"refused.*after 3 tries"):
        download(f"http://127.0.0.1:{port}/a.fa", output)


def test_certificate_that_cannot_be_verified(output, monkeypatch):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"

    def untrusted(*_, **__):
        raise fetch.urllib.error.URLError(error)

    monkeypatch.setattr(fetch, "send", untrusted)
    with pytest.raises(InputError, match=r"self-signed.*SSL_CERT_FILE"):
        download("https://example.invalid/a.fa", output)


@pytest.mark.parametrize(
    "url", ["s3://bucket/a.fa", "genome.fa", "http://127.0.0.1:1/a b.fa", "http:///a.fa"]
)
def test_what_is_no_url(output, url):
    with pytest.raises(InputError, match="URL"):
        download(url, output)


def test_local_url(tmp_path, output):
    (tmp_path / "my genome.fa").write_bytes(CONTENT)
    download((tmp_path / "my genome.fa").as_uri(), output)
    assert output.read_bytes() == CONTENT
    with pytest.raises(InputError, match="no such file"):
        download((tmp_path / "none.fa").as_uri(), output)


def test_command_reports_in_one_line(server, output, repository):
    server.refuse = [404]
    command = [sys.executable, repository / "scripts/fetch.py", "--url", server.url, "--output", output]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 1
    assert finished.stderr.count("\n") == 1
    assert not output.exists()


class FtpServer:
    """The part of an FTP server (RFC 959, 3659) that a download needs."""

    def __init__(self):
        self.stop_after: list[int] = []
        self.offsets: list[int] = []
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, text: str) -> None:
                self.wfile.write(f"{text}\r\n".encode())

            def handle(self):
                offset = 0
                self.say("220 ready")
                for line in self.rfile:
                    command, _, argument = line.decode().strip().partition(" ")
                    if command in ("SIZE", "MDTM", "RETR") and argument != "/pub/genome.fa":
                        self.say("550 no such file")
                    elif command == "SIZE":
                        self.say(f"213 {len(CONTENT)}")
                    elif command == "MDTM":
                        self.say("213 20240101000000")
                    elif command in ("PASV", "EPSV"):
                        listener = socket.create_server(("127.0.0.1", 0))
                        high, low = divmod(listener.getsockname()[1], 256)
                        self.say(f"227 (127,0,0,1,{high},{low})")
                    elif command == "REST":
                        offset = int(argument)
                        self.say("350 ok")
                    elif command == "RETR":
                        server.offsets.append(offset)
                        self.say("150 coming")
                        connection, _ = listener.accept()
                        body = CONTENT[offset:]
                        broken = bool(server.stop_after)
                        with connection, listener:
                            connection.sendall(body[: server.stop_after.pop(0)] if broken else body)
                        self.say("426 aborted" if broken else "226 done")
                    else:
                        self.say("230 ok" if command == "USER" else "200 ok")

        self.tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.tcp.daemon_threads = True
        self.url = f"ftp://127.0.0.1:{self.tcp.server_address[1]}/pub/genome.fa"
        threading.Thread(target=self.tcp.serve_forever, args=(0.01,), daemon=True).start()


def test_ftp_is_resumed(output, monkeypatch):
    monkeypatch.setattr(fetch, "FIRST_PAUSE_S", 0.001)
    server = FtpServer()
    try:
        server.stop_after = [100_000]
        with pytest.raises(InputError, match=r"426|arrived"):
            download(server.url, output, attempts=1)
        notes = json.loads((output.parent / "genome.fa.gz.part.json").read_text())
        assert notes["total"] == len(CONTENT)
        server.stop_after = [200_000]
        download(server.url, output)
        assert output.read_bytes() == CONTENT
        assert server.offsets == [0, 100_000, 300_000]
        with pytest.raises(InputError, match="550"):
            download(server.url + ".none", output)
    finally:
        server.tcp.shutdown()
        server.tcp.server_close()
