"""The Hub: only harmless files come, all of them or none, from the cache where there is no network."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import huggingface_hub
import pytest
from web_server import WebServer, send

import fetch_hub
from dnalm.running.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BERT = b'{"model_type": "bert"}'
REPOSITORIES = {
    "lab/model": {
        "config.json": BERT,
        "model.safetensors": b"weights",
        "pytorch_model.bin": b"pickle",
        "modeling_evil.py": b"code",
        "tokenizer.json": b'{"model": {}}',
        "tokenizer_config.json": b"{}",
        "README.md": b"read me",
        "onnx/model.safetensors": b"elsewhere",
    },
    "lab/pickled": {"config.json": BERT, "pytorch_model.bin": b"pickle"},
    "lab/sharded": {
        "config.json": BERT,
        "model.safetensors.index.json": json.dumps(
            {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
        ).encode(),
        "model-1.safetensors": b"one",
    },
    "lab/decoder": {"config.json": b'{"model_type": "gpt2"}', "model.safetensors": b"weights"},
    "lab/code": {
        "config.json": b'{"model_type": "bert", "auto_map": {"AutoModel": "x.Own"}}',
        "model.safetensors": b"weights",
    },
}


class Hub(WebServer):
    """The part of the Hub's web interface that a download uses."""

    def __init__(self):
        super().__init__()
        self.downloaded: list[str] = []

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        send(handler, *self.find(handler.path, handler.command == "GET"))

    def find(self, path: str, with_body: bool) -> tuple[int, bytes, dict[str, str]]:
        is_json = {"Content-Type": "application/json"}
        if match := re.match(r"/api/models/(lab/\w+)(/revision/|/tree/|$)(\w*)", path):
            files = REPOSITORIES.get(match[1])
            if files is None:
                return 404, b"", {"X-Error-Code": "RepoNotFound"}
            if match[3] not in ("", "main", COMMIT):
                return 404, b"", {"X-Error-Code": "RevisionNotFound"}
            if match[2] == "/tree/":
                tree = [
                    {"type": "file", "path": p, "size": len(c), "oid": "0" * 40} for p, c in files.items()
                ]
                return 200, json.dumps(tree).encode(), is_json
            siblings = [{"rfilename": name} for name in files]
            about = {"id": match[1], "sha": COMMIT, "siblings": siblings, "private": False}
            return 200, json.dumps(about).encode(), is_json
        if match := re.match(rf"/(lab/\w+)/resolve/{COMMIT}/(.*)", path):
            content = REPOSITORIES[match[1]][match[2]]
            if with_body:
                self.downloaded.append(match[2])
            return 200, content, {"ETag": f'"{match[2].replace("/", "_")}"', "X-Repo-Commit": COMMIT}
        return 404, b"", {}


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def fetch_from(hub, repository, tmp_path):
    """Run the script against the hub on this machine, with a cache of this test."""

    def fetch(repo: str, kind: str, *options: str, offline: bool = False) -> subprocess.CompletedProcess:
        hub.downloaded.clear()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {"HF_HOME": str(tmp_path / "cache"), "HF_ENDPOINT": hub.url, "no_proxy": "127.0.0.1"}
        environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        if offline:
            environment["HF_HUB_OFFLINE"] = "1"
        command = [sys.executable, repository / "scripts/fetch_hub.py", "--repo", repo, "--kind", kind]
        command += ["--output", tmp_path / "out" / kind, *options]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    return fetch


def test_checkpoint_without_pickle_and_code_also_offline(fetch_from, hub, tmp_path):
    finished = fetch_from("lab/model", "checkpoint")
    assert finished.returncode == 0, finished.stderr
    output = tmp_path / "out" / "checkpoint"
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(hub.downloaded) == names
    assert sorted(path.name for path in output.iterdir()) == sorted([*names, "hub_source.json"])
    assert not any(path.is_symlink() for path in output.iterdir())
    assert (output / "model.safetensors").read_bytes() == b"weights"
    assert json.loads((output / "hub_source.json").read_text())["commit"] == COMMIT

    assert fetch_from("lab/model", "checkpoint", offline=True).returncode == 0
    assert hub.downloaded == []
    finished = fetch_from("lab/sharded", "checkpoint", offline=True)
    assert finished.returncode == 1
    assert "local cache does not hold it" in finished.stderr


def test_tokenizer_of_a_commit(fetch_from, hub):
    finished = fetch_from("lab/model", "tokenizer", "--revision", COMMIT)
    assert finished.returncode == 0, finished.stderr
    assert sorted(hub.downloaded) == ["tokenizer.json", "tokenizer_config.json"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lab/pickled", "checkpoint"], "no model.safetensors. Weights are read as safetensors only"),
        (["lab/sharded", "checkpoint"], "no model-2.safetensors"),
        (["lab/none", "tokenizer"], "no such repository"),
        (["lab/model", "tokenizer", "--revision", "v9"], "no revision v9"),
    ],
)
def test_what_cannot_be_had_is_explained_in_one_line(fetch_from, tmp_path, arguments, words):
    finished = fetch_from(*arguments)
    assert finished.returncode == 1
    assert words in finished.stderr
    assert finished.stderr.count("\n") == 1
    assert not (tmp_path / "out" / arguments[1]).exists()


@pytest.mark.parametrize(
    ("repo", "words"),
    [
        ("lab/decoder", "Hugging Face Hub, lab/decoder/config.json: model_type is 'gpt2'. Use one of"),
        ("lab/code", "Hugging Face Hub, lab/code/config.json: the model needs program code of its own"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_before_its_weights_come(fetch_from, hub, repo, words):
    finished = fetch_from(repo, "checkpoint")
    assert finished.returncode == 1 and words in finished.stderr and finished.stderr.count("\n") == 1
    assert hub.downloaded == ["config.json"]


def test_invalid_name():
    with pytest.raises(InputError, match="owner/name"):
        fetch_hub.download("a/b/c", None, ["config.json"])


@pytest.mark.parametrize("index", ["[]", "{}", '{"weight_map": ["a"]}', '{"weight_map": {"a": 1}}', "{"])
def test_an_index_that_lists_no_files(tmp_path, index):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(InputError, match=r"lists no files|not valid JSON"):
        fetch_hub.check(tmp_path, "lab/model", "checkpoint")


def test_folder_without_what_is_needed(tmp_path: Path):
    with pytest.raises(InputError, match=r"no tokenizer\.json"):
        fetch_hub.check(tmp_path, "lab/model", "tokenizer")
    with pytest.raises(InputError, match=r"no config\.json"):
        fetch_hub.check_model(tmp_path, "lab/model")


def test_a_cache_on_a_disk_without_locks_is_told_with_the_way_out(monkeypatch):
    """The Hub's library makes do without locks only where the kernel says that it has no such call."""

    def no_locks(*_, **__):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_locks)
    with pytest.raises(InputError, match=r"lab/model: the disk of .*, has no locks\. Set HF_HOME"):
        fetch_hub.download("lab/model", None, ["*"])
