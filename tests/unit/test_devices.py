import argparse
import importlib
import inspect
import logging
import os
import re
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dnalm.running import claims, devices
from dnalm.running.commandline import run
from dnalm.running.errors import InputError

TAKING_BATCH_TOKENS = ("embed", "embed_sequences", "predict", "evaluate", "stack", "cross_validate")


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(claims, "_held", {})
    monkeypatch.setattr(claims, "_claimed", [])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "_has_nvidia_device", lambda: False)
    others = ("CUDA_VISIBLE_DEVICES", "KUBERNETES_SERVICE_HOST", "RANK", devices.SUBMITTED)
    for names in (*devices.SCHEDULERS.values(), devices.SLURM_GPUS, others):
        for name in names:
            monkeypatch.delenv(name, raising=False)
    enabled = torch.backends.cuda.cudnn_sdp_enabled()
    yield
    torch.backends.cuda.enable_cudnn_sdp(enabled)


def give_gpus(monkeypatch, *capabilities: tuple[int, int], built_for: str = "sm_75 sm_80 sm_86 sm_90 sm_100"):
    """Stand-ins: a machine with GPUs of these compute capabilities, and a torch for some of them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capabilities[index])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Tesla {index}")
    monkeypatch.setattr(torch.cuda, "get_arch_list", built_for.split)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)


@pytest.mark.parametrize("script", TAKING_BATCH_TOKENS)
def test_no_tokens_at_once_are_refused_before_anything_is_read(script):
    main = importlib.import_module(script).main
    nothing = dict.fromkeys(inspect.signature(main).parameters)
    for tokens in (0, -5):
        with pytest.raises(InputError) as error:
            main(**nothing | {"batch_tokens": tokens})
        assert str(error.value) == f"--batch-tokens is {tokens}; it must be at least 1."


def test_every_script_that_takes_tokens_at_once_is_tested(repository):
    scripts = [path.stem for path in (repository / "scripts").glob("*.py")]
    mains = {script: importlib.import_module(script).main for script in scripts}
    taking = {name for name, main in mains.items() if "batch_tokens" in inspect.signature(main).parameters}
    assert taking == set(TAKING_BATCH_TOKENS)


def test_the_help_says_how_many_tokens_are_usual():
    arguments = argparse.ArgumentParser()
    devices.add_batch_tokens_flag(arguments)
    usual = [devices.usual_batch_tokens(device) for device in ("cpu", "cuda")]
    assert "(default: {} on a CPU, {} on a GPU)".format(*usual) in " ".join(arguments.format_help().split())


def test_a_laptop_without_gpu_uses_the_cpu():
    assert devices.choose_device(1).type == "cpu"
    assert devices.choose_device(0).type == "cpu"


@pytest.mark.parametrize("variable", [devices.SUBMITTED, "CUDA_VISIBLE_DEVICES", *devices.SLURM_GPUS])
def test_a_granted_gpu_that_torch_cannot_see_is_an_error(monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(InputError, match="asked for 1 GPU, but torch sees 0"):
        devices.choose_device(1)
    assert devices.choose_device(1, allow_cpu=True).type == "cpu"
    assert devices.choose_device(0).type == "cpu"


def test_a_job_on_slurms_gpu_number_0_has_one(monkeypatch):
    monkeypatch.setenv("SLURM_GPUS_ON_NODE", "0")
    assert devices.choose_device(1).type == "cpu"
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    with pytest.raises(InputError, match="asked for 1 GPU, but torch sees 0"):
        devices.choose_device(1)


@pytest.mark.parametrize(
    "variables", [*devices.SCHEDULERS.values(), ("KUBERNETES_SERVICE_HOST",)], ids=lambda names: names[0]
)
def test_somebodys_own_job_counts_as_granted_only_where_it_has_a_gpu(monkeypatch, variables):
    """An interactive job on CPUs is a place to work like any other."""
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    for variable in variables:
        monkeypatch.setenv(variable, "1")
    assert devices.choose_device(1).type == "cpu"
    monkeypatch.setattr(devices, "_has_nvidia_device", lambda: True)
    with pytest.raises(InputError, match="asked for 1 GPU, but torch sees 0"):
        devices.choose_device(1)


def test_fewer_gpus_than_granted_are_an_error(monkeypatch):
    monkeypatch.setenv(devices.SUBMITTED, "1")
    give_gpus(monkeypatch, (8, 0))
    assert devices.choose_device(1).type == "cuda"
    with pytest.raises(InputError, match="asked for 2 GPUs, but torch sees 1"):
        devices.choose_device(2)
    assert devices.choose_device(2, allow_cpu=True).type == "cuda"


def test_attention_of_cudnn_is_off_on_gpus(monkeypatch):
    give_gpus(monkeypatch, (9, 0))
    torch.backends.cuda.enable_cudnn_sdp(True)
    devices.choose_device(1)
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_the_gpu_is_another_one_than_those_of_other_jobs(monkeypatch):
    give_gpus(monkeypatch, (8, 0), (7, 0), (8, 0), (8, 0))
    used = []
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    assert devices.choose_device(1).index == devices.choose_device(1).index == 0
    # Other processes: their locks are theirs.
    monkeypatch.setattr(claims, "_held", {})
    assert devices.choose_device(2).index == 2
    assert claims.visible_to_workers() == {"CUDA_VISIBLE_DEVICES": "2,3"}
    monkeypatch.setattr(claims, "_held", {})
    # All are taken.
    assert devices.choose_device(1).index == 0
    assert used == [0, 0, 0]


@pytest.mark.parametrize("variable", ["SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES", "RANK"])
def test_gpus_that_somebody_dealt_out_are_taken_in_their_order(monkeypatch, variable):
    give_gpus(monkeypatch, (8, 0), (8, 0))
    monkeypatch.setenv(variable, "1")
    assert devices.choose_device(1) == torch.device("cuda")
    assert claims.visible_to_workers() == {}


def test_a_gpu_without_kernels_is_an_error_that_names_it_and_the_way_out(monkeypatch):
    give_gpus(monkeypatch, (8, 0), (7, 0))
    assert devices.choose_device(1).type == "cuda"
    with pytest.raises(InputError) as error:
        devices.choose_device(2)
    assert devices.choose_device(1).index == 0
    said = str(error.value)
    assert said.startswith("GPU 1 (Tesla 1) has compute capability 7.0, but torch")
    assert "sm_75 sm_80 sm_86 sm_90 sm_100" in said and "whl/cu126" in said
    give_gpus(monkeypatch, (7, 0), built_for="")
    assert devices.choose_device(1).type == "cuda"


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((7, 0), "sm_75 sm_80 sm_90", False),
        ((7, 0), "sm_50 sm_60 sm_70 sm_75", True),
        ((7, 5), "sm_75 sm_80", True),
        ((8, 9), "sm_80 sm_86 sm_90", True),
        ((8, 0), "sm_86", False),
        ((12, 1), "sm_100 sm_120", True),
        ((10, 3), "sm_90 sm_120", False),
        ((10, 3), "sm_80 compute_90", True),
        ((8, 0), "compute_90", False),
        ((9, 0), "sm_90a", True),
        ((9, 0), "gfx90a", True),
        ((7, 0), "", True),
    ],
)
def test_which_gpus_a_build_runs_on(capability, built_for, runs):
    assert devices.has_kernels(capability, built_for.split()) is runs


CAPABILITIES = st.tuples(st.integers(1, 15), st.integers(0, 9))


@given(CAPABILITIES, st.lists(CAPABILITIES, min_size=1), st.booleans())
def test_a_build_runs_on_its_own_and_more_architectures_never_harm(capability, built, translated):
    names = [f"{'compute' if translated else 'sm'}_{major}{minor}" for major, minor in built]
    assert all(devices.has_kernels(version, names) for version in built)
    if devices.has_kernels(capability, names[:1]):
        assert devices.has_kernels(capability, names)
        assert capability >= built[0]
        assert translated or capability[0] == built[0][0]


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


@pytest.mark.parametrize(
    "precision, has, width, told",
    [
        ("auto", "amx_bf16", 4000, True),
        ("auto", "avx512_bf16", 4000, True),
        ("auto", "avx512_f", 4000, False),
        ("auto", "amx_bf16", 10, False),
        ("fp32", "amx_bf16", 4000, False),
    ],
)
def test_who_did_not_choose_is_told_of_a_faster_precision(precision, has, width, told, monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {has: True})
    with caplog.at_level(logging.INFO, "dnalm"):
        devices.suggest_bf16(precision, torch.device("cpu"), torch.nn.Linear(width, width, device="meta"))
        devices.suggest_bf16(precision, torch.device("cuda"), torch.nn.Linear(width, width, device="meta"))
    assert caplog.text.count("models.<name>.precision") == told


def test_a_package_from_outside_the_environment_is_an_error(tmp_path, monkeypatch):
    devices.check_packages()
    (tmp_path / "strayed.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "base_prefix", str(Path(sys.prefix) / "elsewhere"))
    with pytest.raises(InputError, match="strayed is loaded from"):
        devices.check_packages(("strayed",))
    with pytest.raises(InputError, match="not installed"):
        devices.check_packages(("no_such_package",))


@pytest.mark.parametrize(
    ("device", "variable", "found", "missing"),
    [
        ("cpu", "CXX", ["g++"], r"a C\+\+ compiler, but there is no g\+\+"),
        ("cuda", "CC", ["gcc", "clang"], "a C compiler, but there is no gcc or clang"),
    ],
)
@pytest.mark.skipif(sys.platform == "darwin", reason="other names")
def test_compiling_without_a_compiler_is_an_error(monkeypatch, tmp_path, device, variable, found, missing):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InputError, match=missing):
        devices.check_compiler(torch.device(device))
    for name in found:
        (folder / name).touch(mode=0o755)
        devices.check_compiler(torch.device(device))
        (folder / name).rename(tmp_path / "own")
        with pytest.raises(InputError):
            devices.check_compiler(torch.device(device))
    monkeypatch.setenv(variable, str(tmp_path / "own"))
    devices.check_compiler(torch.device(device))
    # Then no other is looked for.
    monkeypatch.setenv(variable, "icx")
    (folder / found[0]).touch(mode=0o755)
    with pytest.raises(InputError, match=f"there is no {variable}=icx"):
        devices.check_compiler(torch.device(device))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "CppCompileError: C++ compile error\n\nCommand:\ng++ …\ng++: No space left on device\n",
            r".* full\.",
        ),
        (
            "CppCompileError: C++ compile error\n\nCommand:\ng++ …\n",
            r".* \(CppCompileError: C\+\+ compile error\)",
        ),
    ],
)
def test_a_compiler_that_fails_is_told_in_one_line(capsys, said, told):
    # By the name of PyTorch's, which takes seconds to import.
    def main():
        raise type("InductorError", (RuntimeError,), {})(said)

    with pytest.raises(SystemExit):
        run(main, argparse.Namespace())
    error = capsys.readouterr().err
    assert re.fullmatch(f"error: --training-compile: {told}.* set compile to false\\.\n", error, re.I)


def test_nothing_is_run_that_others_have_compiled(monkeypatch, tmp_path):
    """PyTorch keeps it in /tmp/torchinductor_NAME, which anyone may have made before."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    devices.check_compiled()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(InputError, match=r"cache: others may write to it.*TORCHINDUCTOR_CACHE_DIR"):
        devices.check_compiled()
    (tmp_path / "cache").chmod(0o775)
    devices.check_compiled()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(InputError, match="others may write to it"):
        devices.check_compiled()
