import argparse
import errno
import hashlib
import json
import logging
import os
import resource
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

import fetch
from dnalm.running import files
from dnalm.running.checkpointer import Checkpointer, Snapshot
from dnalm.running.checkpoints import CheckpointStore, damage, fingerprint
from dnalm.running.commandline import run
from dnalm.running.errors import InputError, Interrupted
from dnalm.running.files import atomic_directory, atomic_file, copy_directory, read_json, sha256_of_file
from dnalm.running.world import World

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3)}
OPTIMIZER = {"exp_avg/a": torch.ones(2, 3), "step/a": torch.tensor(3.0)}


@pytest.fixture
def store(tmp_path):
    store = CheckpointStore(tmp_path, {"seed": 1, "training": {"steps": 9}})
    store.prepare()
    return store


def save(store, step, optimizer=OPTIMIZER):
    state = {"step": step, "tokens": 10 * step, "losses": [0.1 + step]}
    return store.save(state, [{"step": step, "loss": 1 / 3}], WEIGHTS, optimizer)


def test_what_was_saved_comes_back(store):
    assert store.newest() is None
    size = save(store, 3)
    found = store.newest()
    assert (found.step, found.finished, found.state["losses"]) == (3, False, [3.1])
    assert torch.equal(found.weights()["a"], WEIGHTS["a"])
    assert found.optimizer().keys() == OPTIMIZER.keys()
    assert torch.equal(found.optimizer()["step/a"], OPTIMIZER["step/a"])
    assert found.log() == [{"step": 3, "loss": 1 / 3}]
    assert size == sum(f.stat().st_size for f in found.path.iterdir() if f.name != "manifest.json")


def test_two_are_kept_and_only_weights_at_the_end(store):
    for step in (1, 2, 3):
        save(store, step)
    assert sorted(p.name for p in store.directory.glob("step-*")) == ["step-00000002", "step-00000003"]
    save(store, 4, optimizer=None)
    assert store.newest().finished
    assert [p.name for p in store.directory.glob("step-*")] == ["step-00000004"]
    assert not (store.newest().path / "optimizer.safetensors").exists()


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: flip_a_bit(path / "model.safetensors"),
        lambda path: flip_a_bit(path / "optimizer.safetensors"),
        lambda path: (path / "state.json").write_text("{}"),
        lambda path: (path / "training_log.jsonl").unlink(),
        lambda path: (path / "manifest.json").unlink(),
        lambda path: (path / "manifest.json").write_text('{"files": '),
        lambda path: np.memmap(path / "model.safetensors", mode="r+", shape=(8,)).fill(0),
    ],
)
def test_the_previous_checkpoint_replaces_a_damaged_one(store, harm):
    save(store, 1)
    save(store, 2)
    harm(store.directory / "step-00000002")
    assert damage(store.directory / "step-00000002")
    assert store.newest().step == 1
    assert not (store.directory / "step-00000002").exists()
    harm(store.directory / "step-00000001")
    assert store.newest() is None


def test_remains_of_a_killed_save_are_removed_and_never_read(store):
    save(store, 1)
    leftover = store.directory / ".step-00000002.123.part"
    leftover.mkdir()
    (leftover / "model.safetensors").write_bytes(b"half")
    assert store.newest().step == 1
    store.prepare()
    assert not leftover.exists()


def test_a_fingerprint_is_of_the_content():
    assert fingerprint({"a": 1, "b": 2.0}) == fingerprint({"b": 2.0, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_other_trainings_are_not_touched_and_their_difference_is_named(store, tmp_path):
    save(store, 5)
    other = CheckpointStore(tmp_path, {"seed": 1, "training": {"steps": 10}})
    other.prepare()
    assert other.newest() is None
    assert other.differences() == [f"{store.fingerprint[:12]} (other training.steps)"]


def test_nothing_is_pickled(store):
    save(store, 1)
    for file in store.newest().path.iterdir():
        assert file.suffix in {".json", ".jsonl", ".safetensors"}
        if file.suffix == ".json":
            json.loads(file.read_text())


FULL = "the disk, or your quota on it, is full. Make room and start again."
FAILS = "The disk fails, or nobody may write to it. Start again when it works; what is finished stays."


def disk_error(name):
    """What the kernel says of an open file, which names none."""
    number = getattr(errno, name)
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        # safetensors has an error of its own, Arrow one without a number.
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), FULL),
        (SafetensorError("Error while serializing: I/O error: Input/output error (os error 5)"), None),
        (OSError("error closing file"), f"error closing file. {FAILS}"),
        (disk_error("EDQUOT"), FULL),
        (disk_error("EIO"), None),
        (disk_error("ESTALE"), None),
        # Lustre, after the server has given this node up. Python calls it a broken pipe.
        (disk_error("ESHUTDOWN"), None),
    ],
)
def test_a_disk_that_fails_while_something_is_written_ends_in_one_line_that_names_it(
    tmp_path, capsys, error, said
):
    def main():
        with atomic_directory(tmp_path / "step-00000001") as folder:
            (folder / "half").touch()
            raise error

    with pytest.raises(SystemExit) as ended:
        run(main, argparse.Namespace())
    assert ended.value.code == 1
    said = said or f"{os.strerror(getattr(error, 'errno', None) or errno.EIO)}. {FAILS}"
    assert capsys.readouterr().err == f"error: {tmp_path}/step-00000001: {said}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read", [read_json, sha256_of_file])
def test_a_file_that_its_server_has_lost_is_named(tmp_path, monkeypatch, read):
    def stale(*_):
        raise disk_error("ESTALE")

    monkeypatch.setattr(hashlib, "file_digest", stale)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: stale())
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match="Stale") as told:
        read(tmp_path / "a")
    assert told.value.filename == str(tmp_path / "a")


def test_a_remainder_that_cannot_be_removed_hides_no_error(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise disk_error("EROFS")

    with pytest.raises(OSError, match="quota"), atomic_file(tmp_path / "a") as temporary:
        temporary.write_text("half")
        monkeypatch.setattr(Path, "unlink", refuse)
        raise disk_error("EDQUOT")
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_synchronized_is_named(tmp_path, monkeypatch):
    fsync = os.fsync

    def full(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise disk_error("EDQUOT")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as told, atomic_file(tmp_path / "a") as temporary:
        temporary.write_text("a")
    assert told.value.filename == str(tmp_path / "a")


class SignalElsewhere(World):
    """Two processes, of which the other one has received a signal."""

    def any(self, signalled, *wishes):
        return [True, *wishes]

    def wait(self):
        pass


def test_a_signal_to_one_process_is_not_taken_for_the_time_limit_by_another(tmp_path):
    told = []
    with Checkpointer(tmp_path, {}, stop_before_minutes=1) as checkpointer:
        with pytest.raises(Interrupted, match="a signal in another process: saved after step 3"):
            checkpointer.after_step(
                3,
                lambda: Snapshot({"step": 3}, [], WEIGHTS, OPTIMIZER),
                world=SignalElsewhere(0, 2),
                saved=lambda why, size, seconds: told.append(why),
            )
        assert checkpointer.newest().step == 3
    assert told == ["signal"]


def test_outputs_are_written_to_disks_that_know_less(tmp_path, monkeypatch):
    """A share of Windows: all belongs to whom mounted it, and a folder cannot be synchronized."""
    fsync = os.fsync

    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    def files_alone(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "chmod", refuse)
    monkeypatch.setattr(os, "fsync", files_alone)
    with atomic_directory(tmp_path / "model") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "a").write_text("a")
        (folder / ".snakemake_timestamp").touch()
    with atomic_directory(tmp_path / "classifier") as folder:
        copy_directory(tmp_path / "model", folder / "model")
    with atomic_file(tmp_path / "model.json") as temporary:
        temporary.write_text("{}")
    assert (tmp_path / "model" / "inner" / "a").read_text() == "a"
    copied = [file for file in (tmp_path / "classifier").rglob("*") if file.is_file()]
    assert copied == [tmp_path / "classifier" / "model" / "inner" / "a"]
    assert (tmp_path / "model.json").read_text() == "{}"


def test_what_a_killed_process_left_behind_is_removed(tmp_path):
    ended, living = (subprocess.Popen(["sleep", seconds]) for seconds in ("0", "60"))
    ended.wait()
    node = socket.gethostname()
    try:
        for owner in (f"{node}.{ended.pid}", f"{node}.{living.pid}", f"other.{ended.pid}"):
            (tmp_path / f".model.{owner}.part").mkdir()
            (tmp_path / f".model.{owner}.part" / "config.json").touch()
        (tmp_path / f".model.json.{node}.{ended.pid}.part").touch()
        # Somebody's own.
        (tmp_path / str(ended.pid)).touch()
        with atomic_directory(tmp_path / "model") as folder:
            (folder / "config.json").write_text("{}")
        with atomic_file(tmp_path / "model.json") as file:
            file.write_text("{}")
        assert living.poll() is None
    finally:
        living.kill()
    of_others = [f".model.{node}.{living.pid}.part", f".model.other.{ended.pid}.part", str(ended.pid)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*of_others, "model", "model.json"])


@pytest.mark.parametrize("file", ["notes.txt", ".nfs0001", ".snakemake_timestamp", "model.json"])
def test_a_named_folder_is_replaced_unless_it_holds_other_files(tmp_path, monkeypatch, file):
    """`.nfs…` is what NFS makes of a deleted file that others still read."""
    folder = tmp_path / "model"
    monkeypatch.setattr(files, "NAMED", [str(folder)])
    folder.mkdir()
    (folder / file).write_text("old")

    def write():
        with atomic_directory(folder) as temporary:
            (temporary / "model.json").write_text("new")

    if file == "notes.txt":
        with pytest.raises(InputError, match=r"holds notes\.txt, which would be lost"):
            write()
        assert (folder / file).read_text() == "old"
    else:
        write()
        assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("model.json", "new")]


def test_others_may_read_the_files_of_a_directory_and_enter_its_folders(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_directory(tmp_path / "model") as folder:
            (folder / "inner").mkdir()
            # As safetensors does.
            (folder / "inner" / "weights").touch(mode=0o600)
    finally:
        assert os.umask(before) == 0o027
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "model").rglob("*")}
    assert modes == {"inner": 0o750, "weights": 0o640}


def test_no_output_stays_open(tmp_path):
    """A process may have 1,024 files open."""
    before = len(os.listdir("/dev/fd"))
    with atomic_directory(tmp_path / "model") as folder:
        (folder / "config.json").write_text("{}")
    with atomic_file(tmp_path / "model.json") as file:
        file.write_text("{}")
    assert len(os.listdir("/dev/fd")) == before


def test_a_key_that_another_version_did_not_write_is_told_with_its_file(tmp_path, capsys):
    file = tmp_path / "metrics.json"
    file.write_text('{"bootstrap": {"samples": 100}}')

    def main():
        about = read_json(file)["bootstrap"]
        assert about.get("clusters") is None and json.loads(json.dumps(about)) == {"samples": 100} == about
        about["clusters"]

    with pytest.raises(SystemExit):
        run(main, argparse.Namespace())
    assert capsys.readouterr().err == (
        f"error: {file}: no key 'clusters'. If another version of this workflow wrote the file, make it "
        "again.\n"
    )


@pytest.mark.parametrize("wrong", [False, True])
def test_a_log_without_room_is_told_of_in_one_line(capsys, wrong):
    def main():
        logging.getLogger("dnalm").info("something")
        if wrong:
            raise InputError("something is wrong.")

    with pytest.raises(SystemExit) as ended:
        run(main, argparse.Namespace(log=Path("/dev/full")))
    assert ended.value.code == int(wrong)
    said = ["/dev/full is not complete: No space left on device", "something", "error: something is wrong."]
    assert capsys.readouterr().err.splitlines() == said[: 2 + wrong]


def test_a_log_that_cannot_be_opened_is_told_of_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit):
        run(lambda: None, argparse.Namespace(log=tmp_path / "file" / "new.log"))
    assert capsys.readouterr().err == f"error: {tmp_path}/file: File exists\n"


@pytest.mark.parametrize("writer", ["atomic_file", "copied folder", "download"])
def test_a_limit_of_file_sizes_ends_in_one_line_that_names_the_file(tmp_path, capsys, writer):
    given = tmp_path / "given"
    given.mkdir()
    (given / "model.safetensors").write_bytes(bytes(5000))

    def main():
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            if writer == "download":
                with fetch.partial_file(tmp_path / "large") as partial:
                    partial.write(bytes(5000))
            elif writer == "copied folder":
                with atomic_directory(tmp_path / "large") as folder:
                    shutil.copytree(given, folder / "copy")
            else:
                with atomic_file(tmp_path / "large") as temporary:
                    temporary.write_bytes(bytes(5000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    with pytest.raises(SystemExit) as ended:
        run(main, argparse.Namespace())
    assert ended.value.code == 1
    name = "large.part" if writer == "download" else "large"
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/{name}: larger than files may be here. Raise the limit (ulimit -f) and start "
        f"again.\n"
    )
