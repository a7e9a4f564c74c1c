import sys
from pathlib import Path

import pytest
import torch

from dnalm.running import devices
from dnalm.running.errors import InputError


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_laptop_without_gpu_uses_the_cpu():
    assert devices.choose_device(1).type == "cpu"
    assert devices.choose_device(0).type == "cpu"


@pytest.mark.parametrize("variable", ["SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES"])
def test_a_granted_gpu_that_torch_cannot_see_is_an_error(monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(InputError, match="asked for 1 GPU, but torch sees 0"):
        devices.choose_device(1)
    assert devices.choose_device(1, allow_cpu=True).type == "cpu"
    assert devices.choose_device(0).type == "cpu"


def test_fewer_gpus_than_granted_are_an_error(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices.choose_device(1).type == "cuda"
    with pytest.raises(InputError, match="asked for 2 GPUs, but torch sees 1"):
        devices.choose_device(2)


def test_precision(monkeypatch):
    cpu = torch.device("cpu")
    assert devices.choose_precision("auto", cpu) == "fp32"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {})
    with pytest.raises(InputError, match="bf16"):
        devices.choose_precision("bf16", cpu)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert devices.choose_precision("bf16", cpu) == "bf16"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert devices.choose_precision("auto", torch.device("cuda")) == "bf16"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    assert devices.choose_precision("auto", torch.device("cuda")) == "fp32"


def test_a_package_from_outside_the_environment_is_an_error(tmp_path, monkeypatch):
    devices.check_packages()
    (tmp_path / "strayed.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "base_prefix", str(Path(sys.prefix) / "elsewhere"))
    with pytest.raises(InputError, match="strayed is loaded from"):
        devices.check_packages(("strayed",))
    with pytest.raises(InputError, match="not installed"):
        devices.check_packages(("no_such_package",))
