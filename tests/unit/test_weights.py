"""What a model's weights become on disks that lose them in silence."""

import argparse
import errno
import os

import pytest
import safetensors.torch
import torch

from dnalm.running.commandline import run
from dnalm.running.files import atomic_directory
from dnalm.running.weights import check_saved, save_weights

WEIGHTS = {
    "layer": torch.arange(6.0).reshape(2, 3),
    "step": torch.tensor(3.0),
    "no number": torch.tensor([float("nan"), 1.0]),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "nothing": torch.zeros(0, 2),
}


def test_all_kinds_of_weights_come_back(tmp_path):
    save_weights(WEIGHTS, tmp_path / "weights", {"format": "pt"})
    assert safetensors.torch.load_file(tmp_path / "weights").keys() == WEIGHTS.keys()
    with pytest.raises(OSError, match="Input/output"):
        check_saved({**WEIGHTS, "step": torch.tensor(4.0)}, tmp_path / "weights")


@pytest.mark.parametrize("kept", ["nothing", "a part", "zeros"])
def test_weights_that_did_not_arrive_are_no_model(tmp_path, monkeypatch, capsys, kept):
    """A file server may say so only when the file is closed, to which safetensors does not listen."""
    save = safetensors.torch.save_file

    def lost(weights, path, metadata=None):
        save(weights, path, metadata)
        size = path.stat().st_size
        os.truncate(path, {"nothing": 0, "a part": size // 2, "zeros": size - 24}[kept])
        if kept == "zeros":
            os.truncate(path, size)

    def main():
        with atomic_directory(tmp_path / "model") as folder:
            save_weights(WEIGHTS, folder / "model.safetensors")

    monkeypatch.setattr(safetensors.torch, "save_file", lost)
    with pytest.raises(SystemExit) as ended:
        run(main, argparse.Namespace())
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path}/") and os.strerror(errno.EIO) in said
    assert list(tmp_path.iterdir()) == []
