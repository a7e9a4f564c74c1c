"""What Snakemake does when conda is switched on, with a stand-in for conda: real ones need its channels.

The stand-in answers Snakemake's questions and "makes" environments whose `python` is the one of the tests. So
this proves that profile and rules work with conda, not that conda can solve the environments. In the clones
the environments have the Python of the tests, since another Python is a reason to run again.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stand_in_conda import stand_in_for_conda
from workflow_jobs import REPOSITORY, workflow_jobs

import digest


@pytest.fixture
def conda(tmp_path, monkeypatch) -> Path:
    base = stand_in_for_conda(tmp_path / "conda")
    monkeypatch.setenv("PATH", f"{base / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    return base


@pytest.fixture
def fresh_clone(tmp_path) -> Path:
    folder = tmp_path / "clone"
    for name in ("config", "envs", "resources", "scripts", "slurm", "tests", "workflow"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for environment in (folder / "envs").glob("*.yaml"):
        python = f"- python ={digest.installed('python')}"
        environment.write_text(re.sub(r"- python =[\d.]+", python, environment.read_text()))
    return folder


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["snakemake", *arguments], cwd=folder, capture_output=True, text=True, timeout=300)


def test_the_literal_command_works_in_a_fresh_clone(conda, fresh_clone):
    done = snakemake(fresh_clone, "--profile", "slurm", "-n")
    assert done.returncode == 0, done.stderr
    assert "Using profiles slurm and workflow specific profile" in done.stderr
    assert "pretrain" in done.stdout + done.stderr


@pytest.fixture
def no_conda(monkeypatch):
    if shutil.which("conda"):
        pytest.skip("conda is installed")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def test_without_conda_the_literal_command_uses_the_running_python(no_conda, fresh_clone):
    """docs/cluster.md quotes the message."""
    done = snakemake(fresh_clone, "--profile", "slurm", "-n", "--printshellcmds")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("conda is not found; all steps use the packages of") == 1
    assert f"exec {shlex.quote(sys.executable)}" in done.stdout + done.stderr


def test_without_conda_and_packages_the_message_names_the_switches(no_conda, monkeypatch):
    import software

    monkeypatch.setattr(software.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LookupError, match=r"has no torch.*software-deployment-method in slurm/config.yaml"):
        software.with_conda({"conda"}, speak=False)


def test_with_an_image_every_step_runs_in_it(tmp_path, monkeypatch):
    """Apptainer is a stand-in that only tells its version."""
    program = tmp_path / "apptainer"
    program.write_text("#!/bin/sh\necho apptainer version 1.3.0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    jobs = workflow_jobs(
        REPOSITORY / "config/config.yaml",
        config={"resources": {"image": "all.sif"}},
        deployment_methods=["apptainer"],
    )
    assert {job.container_img_url for job in jobs if job.rule.name != "all"} == {"all.sif"}
    assert not any(sys.executable in job.shellcmd for job in jobs if job.shellcmd)


def test_rules_use_the_python_of_their_environment(conda, fresh_clone):
    if " " in str(conda):
        pytest.skip(
            "Snakemake finds no conda in a folder with a blank in its name, nor can it be installed there"
        )
    target = "results/short/windows/simulated.stats.json"
    configuration = ("--configfile", "tests/short/config.yaml")
    done = snakemake(fresh_clone, target, "--cores", "2", "--sdm", "conda", *configuration)
    assert done.returncode == 0, done.stderr
    # simulate_demo and extract_windows share one environment.
    (made,) = (conda / "made").read_text().splitlines()
    used = (conda / "used").read_text().splitlines()
    assert len(used) == 2
    assert all(Path(python).parents[1].samefile(made) for python in used)
    # Without conda afterwards, nothing runs again.
    again = snakemake(fresh_clone, target, "-n", *configuration)
    assert "Nothing to be done" in again.stdout + again.stderr
