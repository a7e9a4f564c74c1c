"""What a report says of the workflow that made it: its version, and the commit where it is a clone."""

import subprocess
from pathlib import Path

import pytest

import digest
import software

REPOSITORY = Path(__file__).parents[2]


def git(folder: Path, *arguments: str) -> str:
    known = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    command = ["git", *known, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    for part in software.READ:
        (folder / part).mkdir(parents=True)
        (folder / part / "file").write_text("as committed")
    (folder / "config").mkdir()
    (folder / "config" / "genomes.tsv").write_text("genome")
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    software.own_commit.cache_clear()
    return folder


def test_a_clone_says_its_commit(clone):
    commit = git(clone, "rev-parse", "HEAD")
    assert software.own_commit(clone) == {"commit": commit}
    software.own_commit.cache_clear()
    # Its user's own.
    (clone / "config" / "genomes.tsv").write_text("another genome")
    (clone / "my-run.yaml").write_text("{}")
    assert software.own_commit(clone) == {"commit": commit}
    software.own_commit.cache_clear()
    (clone / "scripts" / "file").write_text("edited")
    assert software.own_commit(clone) == {"commit": f"{commit} and changes that are not committed"}


def test_a_copy_within_another_clone_has_no_commit(clone):
    assert software.own_commit(clone / "scripts") == {}
    unpacked = Path(".snakemake", "dna-modernbert", "0123abcd")
    assert software.own_commit(unpacked) == {"commit": "0123abcd"}


def test_without_git_there_is_no_commit(clone, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert software.own_commit(clone) == {}


def test_the_version_is_that_of_the_clone_or_of_the_installed_package(tmp_path, monkeypatch):
    assert software.own_version(REPOSITORY).keys() == {"dna-modernbert"}
    assert software.own_version(tmp_path) == {}
    bundle = tmp_path / "dnalm" / "bundle"
    bundle.mkdir(parents=True)
    monkeypatch.setattr(software.metadata, "version", lambda name: f"version of {name}")
    assert software.own_version(bundle) == {"dna-modernbert": "version of dna-modernbert"}


def test_reported_packages_have_the_names_of_pypi():
    found = digest.reported_packages(["train", "genome"], with_conda=True)
    assert {"torch", "isal", "huggingface-hub"} <= found.keys() and "pytorch" not in found
    assert "psutil" not in found and "python" not in found
