"""Where the packages of the rules come from: conda, an image, or the Python that runs Snakemake."""

import importlib.util
import shutil
import subprocess
import sys
import tomllib
from collections.abc import MutableSet
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PROJECT = "dna-modernbert"
# One package of each environment below envs/.
NEEDED = ("torch", "transformers", "datasets", "pandas", "isal", "Bio", "umap")
# What of a clone decides a result. Configurations and sheets are the user's own.
READ = ("envs", "resources", "scripts", "workflow")


def with_conda(methods: MutableSet[Any], *, speak: bool) -> bool:
    """Whether rules run in conda environments. Where conda is asked for and missing, it is switched off.

    `methods` are Snakemake's deployment methods and are changed in place; `speak` says so on stderr.
    Raises LookupError if the running Python cannot take conda's place either.
    """
    asked = {method for method in methods if "conda" in str(method).lower()}
    if not asked or shutil.which("conda"):
        return bool(asked)
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise LookupError(
            f"conda is not found, and {sys.executable} has no {missing[0]}. Load conda (module load conda), "
            "or type `make .venv/installed && source .venv/bin/activate`, or set an image under "
            "software-deployment-method in slurm/config.yaml."
        )
    methods -= asked
    if speak:
        print(f"conda is not found; all steps use the packages of {sys.executable}", file=sys.stderr)
    return False


def own_version(root: Path) -> dict[str, str]:
    """Name and version of this workflow; nothing where its folders were copied without pyproject.toml."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return {PROJECT: project["version"]}
    except OSError:
        pass
    # The wheel has no pyproject.toml, but the package around the workflow knows its version.
    if root.resolve().parent.name != "dnalm":
        return {}
    try:
        return {PROJECT: metadata.version(PROJECT)}
    except metadata.PackageNotFoundError:
        return {}


@cache
def own_commit(root: Path) -> dict[str, str]:
    """The commit of the clone that `root` is, as `commit`; nothing where it is none, or git does not say.

    Changes that are not committed are told of behind it.
    """
    if root.parent.name == PROJECT and root.parent.parent.name == ".snakemake":
        # Unpacked from a git repository that another workflow names.
        return {"commit": root.name}
    try:
        prefix, commit = _git(root, "rev-parse", "--show-prefix", "HEAD").split("\n")[:2]
        # Of a folder within a clone of something else there is a prefix.
        if prefix:
            return {}
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", *READ)
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    return {"commit": f"{commit} and changes that are not committed" if changed else commit}


def _git(root: Path, *arguments: str) -> str:
    # Where many share an installation, git is asked by others than its owner.
    settings = ["-c", "safe.directory=*", "-c", "core.fsmonitor=false", "--no-optional-locks"]
    command = ["git", *settings, "-C", str(root), *arguments]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)
    return answer.stdout


def with_images(methods: MutableSet[Any]) -> bool:
    """Whether rules run in the image that the configuration names."""
    return any("apptainer" in str(method).lower() for method in methods)
