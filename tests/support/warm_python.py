"""A Python that starts at once: scripts run in forks of a process that has imported PyTorch and the like.

Most of the time of a small run of the workflow is imports, seven seconds for each of its jobs. `WarmPython`
gives the path of a program that takes a script and its arguments, as python does, and has a server run them.
"""

import json
import os
import runpy
import socket
import subprocess
import sys
import time
from pathlib import Path
from shlex import quote

SOCKET = "warm.socket"
# No path in a `#!` line may hold a blank, and none of a socket be longer than 107 bytes.
PROGRAM = """\
#!/bin/sh
exec {python} -IS {client} "$@"
"""
CLIENT = """\
import json, os, socket, sys
request = json.dumps([os.getcwd(), sys.argv[1:], dict(os.environ)]).encode()
os.chdir({folder!r})
server = socket.socket(socket.AF_UNIX)
server.connect({socket!r})
socket.send_fds(server, [request], [0, 1, 2])
sys.exit(int(server.recv(16) or 1))
"""


class WarmPython:
    """Starts the server. Use as a context manager; `program` is the path of the Python."""

    def __init__(self, folder: Path):
        self.folder, self.program = folder, folder / "warm_python"

    def __enter__(self) -> "WarmPython":
        client = self.folder / "client.py"
        client.write_text(CLIENT.format(folder=str(self.folder), socket=SOCKET))
        self.program.write_text(PROGRAM.format(python=quote(sys.executable), client=quote(str(client))))
        self.program.chmod(0o755)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen([sys.executable, __file__], cwd=self.folder, env=environment)
        end = time.monotonic() + 120
        while not (self.folder / SOCKET).exists():
            assert self.process.poll() is None and time.monotonic() < end, "the server does not start"
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)

    def serve(self, repository: Path) -> None:
        """Have all jobs of a copy of the repository run here."""
        common = repository / "workflow" / "rules" / "common.smk"
        slow = "shlex.quote(sys.executable)"
        assert common.read_text().count(slow) == 1
        common.write_text(common.read_text().replace(slow, f"shlex.quote({str(self.program)!r})"))


def _run(connection: socket.socket) -> int:
    """Run what is asked for, in this process, which is a fork."""
    message, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    directory, arguments, environment = json.loads(message)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
    try:
        runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _serve() -> None:
    # Third-party packages alone: the scripts are those of the folder that asks. Nothing is computed here: a
    # process with running threads must not be forked.
    import datasets  # noqa: F401
    import pandas  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    import torch
    from transformers import (  # noqa: F401
        BertForMaskedLM,
        DistilBertForMaskedLM,
        ModernBertForMaskedLM,
        ModernBertForSequenceClassification,
        PreTrainedTokenizerFast,
        RobertaForMaskedLM,
    )

    torch.set_num_threads(1)
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{SOCKET}.part")
    server.listen()
    os.rename(f"{SOCKET}.part", SOCKET)
    while True:
        connection, _ = server.accept()
        # The grandchild is nobody's to wait for.
        if (child := os.fork()) == 0:
            if os.fork() == 0:
                code = 1
                try:
                    code = _run(connection)
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    connection.sendall(str(code).encode())
                    os._exit(0)
            os._exit(0)
        os.waitpid(child, 0)
        connection.close()


if __name__ == "__main__":
    _serve()
