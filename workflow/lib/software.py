"""Where the packages of the rules come from: conda, an image, or the Python that runs Snakemake."""

import importlib.util
import shutil
import sys
import tomllib
from collections.abc import MutableSet
from pathlib import Path
from typing import Any

# One package of each environment below envs/.
NEEDED = ("torch", "transformers", "datasets", "pandas", "isal", "Bio", "umap")


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
    except OSError:
        return {}
    return {project["name"]: project["version"]}


def with_images(methods: MutableSet[Any]) -> bool:
    """Whether rules run in the image that the configuration names."""
    return any("apptainer" in str(method).lower() for method in methods)
