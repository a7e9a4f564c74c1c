"""`pip install .` gives the library and a command that runs the workflow; the version stands in one place."""

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
import yaml
from workflow_jobs import REPOSITORY

VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A new environment that has the package, and everything else from the environment of the tests."""
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    folder = tmp_path_factory.mktemp("package")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, REPOSITORY, cwd=folder)
    (wheel,) = folder.glob(f"dna_modernbert-{VERSION}-*.whl")
    venv.create(folder / "environment", symlinks=True)
    site = next((folder / "environment").glob("lib/python*/site-packages"))
    python = folder / "environment" / "bin" / "python"
    run(*pip, "--python", python, "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder)
    ours = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    (site / "others.pth").write_text(f"{ours}\n")
    return folder / "environment" / "bin"


@pytest.mark.slow
def test_the_library_can_be_imported(installed, tmp_path):
    said = run(
        installed / "python", "-c", "import dnalm.models.directory as d; print(d.__file__)", cwd=tmp_path
    )
    assert str(installed.parent) in said


@pytest.mark.slow
def test_the_command_runs_the_workflow_that_came_with_it(installed, tmp_path):
    command = installed / "dna-modernbert"
    assert run(command, "--version", cwd=tmp_path).strip() == VERSION
    run(command, "init", cwd=tmp_path)
    assert (tmp_path / "config/course.yaml").is_file()
    again = subprocess.run([command, "init"], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 1 and "config/ exists already" in again.stderr
    said = run(command, "-n", "-p", "--cores", "2", cwd=tmp_path)
    assert "dnalm/bundle/scripts/pretrain.py" in said
    run(command, "results/windows/simulated.stats.json", "--cores", "2", cwd=tmp_path)
    assert (tmp_path / "results/windows/simulated.stats.json").is_file()


def test_the_version_is_the_same_wherever_it_is_told():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == VERSION
    newest = re.search(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert newest[1] == VERSION
    assert citation["license"] == "MIT" and "MIT License" in (REPOSITORY / "LICENSE").read_text()
