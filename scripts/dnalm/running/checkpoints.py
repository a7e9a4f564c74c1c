"""Checkpoints that appear whole or not at all, belong to one training only, and are never half believed.

    <checkpoints>/<fingerprint>/
        settings.json                what the fingerprint stands for
        lock                         who is training here (dnalm.running.runlock)
        micro_batch.json             lines at once, once memory has run out (dnalm.running.memory)
        sessions/0001.json           telemetry of each process that trained here (dnalm.pretrain.telemetry)
        sessions/0001.step           its newest step
        step-00000500/
            model.safetensors        weights
            optimizer.safetensors    the optimizer's tensors; absent when the training has ended
            state.json               step, sums, end of training or not
            training_log.jsonl       the log so far
            manifest.json            sizes and SHA-256 of the files above; written last

Nothing is pickled. The two newest checkpoints are kept.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnalm.running.files import atomic_directory, sha256_of_file, write_json
from dnalm.running.runlock import check_held
from dnalm.running.weights import save_weights

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("dnalm")

KEPT = 2
MANIFEST, STATE, LOG = "manifest.json", "state.json", "training_log.jsonl"
MODEL, OPTIMIZER = "model.safetensors", "optimizer.safetensors"


@dataclass
class Checkpoint:
    """A checkpoint whose checksums hold."""

    path: Path
    step: int
    finished: bool
    state: dict[str, Any]

    def weights(self) -> dict[str, "torch.Tensor"]:
        """Weights by parameter name, on the CPU."""
        from safetensors.torch import load_file

        return load_file(self.path / MODEL)

    def optimizer(self) -> dict[str, "torch.Tensor"]:
        """The optimizer's tensors, on the CPU."""
        from safetensors.torch import load_file

        return load_file(self.path / OPTIMIZER)

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / LOG).read_text().splitlines()]


class CheckpointStore:
    """The checkpoints of one training. Only the holder of the lock may write."""

    def __init__(self, root: str | Path, settings: Mapping[str, Any]):
        self.settings = dict(settings)
        self.fingerprint = fingerprint(settings)
        self.directory = Path(root) / self.fingerprint

    def prepare(self) -> None:
        """Make the directory, note its settings and remove what a killed process left half-written."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not (self.directory / "settings.json").is_file():
            write_json(self.directory / "settings.json", self.settings)
        for leftover in (*self.directory.glob(".step-*.part"), *self.directory.glob(".nodes-*")):
            shutil.rmtree(leftover, ignore_errors=True)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole. Damaged ones are named in the log and removed."""
        for path in sorted(self.directory.glob("step-*"), reverse=True):
            problem = damage(path)
            if problem is None:
                return self._open(path)
            logger.info("checkpoint %s is damaged (%s); using an older one if there is one", path, problem)
            shutil.rmtree(path, ignore_errors=True)
        return None

    def at(self, step: int) -> Checkpoint:
        """The checkpoint of `step`, which another process has found whole."""
        return self._open(self._path(step))

    def _path(self, step: int) -> Path:
        return self.directory / f"step-{step:08d}"

    def _open(self, path: Path) -> Checkpoint:
        state = json.loads((path / STATE).read_text())
        return Checkpoint(path, state["step"], state["finished"], state)

    def save(
        self,
        state: Mapping[str, Any],
        log: Iterable[Mapping[str, Any]],
        weights: Mapping[str, "torch.Tensor"],
        optimizer: Mapping[str, "torch.Tensor"] | None,
    ) -> int:
        """Publish a checkpoint of `state["step"]`; without `optimizer` it ends the training.

        Returns its size in bytes.
        """
        path = self._path(state["step"])
        with atomic_directory(path, check_held) as temporary:
            save_weights(weights, temporary / MODEL)
            if optimizer is not None:
                save_weights(optimizer, temporary / OPTIMIZER)
            (temporary / LOG).write_text("".join(json.dumps(record) + "\n" for record in log))
            (temporary / STATE).write_text(json.dumps({**state, "finished": optimizer is None}) + "\n")
            files: dict[str, dict[str, Any]] = {
                file.name: {"bytes": file.stat().st_size, "sha256": sha256_of_file(file)}
                for file in sorted(temporary.iterdir())
            }
            (temporary / MANIFEST).write_text(
                json.dumps({"fingerprint": self.fingerprint, "files": files}) + "\n"
            )
        self._remove_old(1 if optimizer is None else KEPT)
        return sum(entry["bytes"] for entry in files.values())

    def differences(self) -> list[str]:
        """For each other training below the same root: in which settings it differs, in words."""
        result = []
        for file in sorted(self.directory.parent.glob("*/settings.json")):
            if file.parent == self.directory or not any(file.parent.glob("step-*")):
                continue
            try:
                other = json.loads(file.read_text())
            except (OSError, ValueError):
                continue
            keys = _differing(other, self.settings)
            result.append(f"{file.parent.name[:12]} (other {', '.join(keys)})")
        return result

    def _remove_old(self, kept: int) -> None:
        for path in sorted(self.directory.glob("step-*"))[:-kept]:
            # Without its manifest, a half-removed checkpoint cannot be mistaken for a whole one.
            (path / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)


def damage(path: Path) -> str | None:
    """What is wrong with the checkpoint at `path`, or None. Reads every byte."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        files = manifest["files"]
    except FileNotFoundError:
        return "no manifest"
    except (OSError, ValueError, KeyError, TypeError):
        return "unreadable manifest"
    for name, expected in files.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != expected["bytes"]:
            return f"{name} has {file.stat().st_size} instead of {expected['bytes']} bytes"
        if sha256_of_file(file) != expected["sha256"]:
            return f"checksum of {name}"
    if not {MODEL, STATE, LOG} <= files.keys():
        return "incomplete manifest"
    return None


def fingerprint(settings: Mapping[str, Any]) -> str:
    """SHA-256 over the settings, whatever the order of their keys; 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _differing(one: Any, other: Any, prefix: str = "") -> list[str]:
    """Dotted names of the keys in which two nested settings differ."""
    keys: list[str] = []
    for key in sorted({*one, *other}):
        left, right = one.get(key), other.get(key)
        if left == right:
            continue
        if isinstance(left, dict) and isinstance(right, dict):
            keys += _differing(left, right, f"{prefix}{key}.")
        else:
            keys.append(f"{prefix}{key}")
    return keys
