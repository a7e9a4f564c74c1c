"""Starts pretraining many times without importing torch and Transformers (seven seconds) each time.

The server imports once and forks a fresh process per run, which is killed like any other process.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).parents[2]


class PretrainingServer:
    """`start` a run of scripts/pretrain.py in a process of its own, `wait` for its exit code."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY / "scripts")}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._answer() == {"ready": True}

    def start(
        self, arguments: Sequence[str | Path], log: Path, environment: dict[str, str] | None = None
    ) -> int:
        """Start a run; what it prints goes into `log`. Returns its process id."""
        request = {
            "arguments": [str(a) for a in arguments],
            "log": str(log),
            "environment": environment or {},
        }
        return self._ask(request)["pid"]

    def wait(self, pid: int) -> int:
        """The exit code of a run; negative: the signal that ended it."""
        return self._ask({"wait": pid})["code"]

    def run(
        self, arguments: Sequence[str | Path], log: Path, environment: dict[str, str] | None = None
    ) -> int:
        return self.wait(self.start(arguments, log, environment))

    def _ask(self, request: dict) -> dict:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=30)

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        assert line, "the pretraining server has ended"
        return json.loads(line)


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def tiny_corpus(directory: Path, n_lines: int, seed: int) -> Path:
    """A token cache of random lines of 6 to 20 tokens, for the tokenizer of the fixture `tiny_model`."""
    from dnalm.tokenize_windows.cache import write_tokens

    numbers = np.random.default_rng(seed)
    # Skewed, so that there is something to learn.
    lines = [
        np.concatenate([[1], 5 + numbers.binomial(11, 0.3, numbers.integers(4, 19)), [2]]).astype(np.uint16)
        for _ in range(n_lines)
    ]
    directory.mkdir(parents=True)
    write_tokens(directory, [lines], 16)
    return directory


def serve() -> None:
    """Read requests from stdin, one JSON line each, and answer on stdout."""
    import warnings

    warnings.filterwarnings("ignore")
    # Everything that a run imports, so that the forked processes start at once. Nothing is computed here:
    # a process with running threads must not be forked.
    import torch
    import transformers
    from transformers import ModernBertForMaskedLM, PreTrainedTokenizerFast  # noqa: F401

    import pretrain
    from dnalm.pretrain import (
        training,  # noqa: F401
    )
    from dnalm.running.commandline import run

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    answers = os.fdopen(os.dup(1), "w")

    def answer(**values: object) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    answer(ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer(code=os.waitstatus_to_exitcode(status))
            continue
        pid = os.fork()
        if pid == 0:
            log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.environ.update(request["environment"])
            sys.argv = [str(REPOSITORY / "scripts" / "pretrain.py"), *request["arguments"]]
            try:
                run(pretrain.main, pretrain.command_line().parse_args(request["arguments"]))
            except SystemExit as end:
                os._exit(end.code or 0)
        answer(pid=pid)


if __name__ == "__main__":
    serve()
