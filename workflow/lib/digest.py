"""What can change a rule's numbers besides its inputs and settings, as params that Snakemake compares.

Each file and each package is a param of its own, so that the reason Snakemake gives for running a step again
names the file or the package that changed:

    before: 'scripts/dnalm/pretrain/masking.py 1f0c…' now: 'scripts/dnalm/pretrain/masking.py 77ab…'
"""

import platform
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
if str(ROOT / "scripts") not in sys.path:
    sys.path.append(str(ROOT / "scripts"))

from dnalm.running.code import digests, keep  # noqa: E402

# What the scripts say, beside Snakemake's own notes in the working directory
CACHE = Path(".snakemake", "dnalm-code.json")
# conda-forge's name -> PyPI's name, where they differ
PYPI_NAMES = {"pytorch": "torch", "python-isal": "isal", "huggingface_hub": "huggingface-hub"}
ABSENT = "absent"
# Packages that decide no number: they measure, check settings, or show trainings to people.
DECIDE_NOTHING = {"psutil", "pydantic", "tensorboardx", "wandb", "mlflow", "mlflow-skinny"}


def code(script: str, environment: str, *, with_conda: bool, root: Path = ROOT) -> list[str]:
    """Digests of the script's code and the versions of its environment's packages, one string each.

    With conda the versions are the pins in `envs/<environment>.yaml`, without they are those installed.
    """
    files = digests(root / "scripts" / f"{script}.py", root / "scripts", CACHE.absolute())
    return [f"scripts/{file} {digest}" for file, digest in files.items()] + [
        f"{package} {version}" for package, version in packages(environment, with_conda, root).items()
    ]


def packages(environment: str, with_conda: bool, root: Path = ROOT) -> dict[str, str]:
    """Version of each package (conda's name) of an environment that can change a number."""
    versions = pins(root / "envs" / f"{environment}.yaml")
    if not with_conda:
        versions = {package: installed(package) for package in versions}
    return {name: version for name, version in versions.items() if name not in DECIDE_NOTHING}


def reported_packages(environments: Iterable[str], with_conda: bool) -> dict[str, str]:
    """Version of each package (PyPI's name) of some environments, Python apart."""
    return {
        PYPI_NAMES.get(name, name): version
        for environment in environments
        for name, version in packages(environment, with_conda).items()
        if name != "python" and version != ABSENT
    }


def keep_for_next_start(root: Path = ROOT) -> None:
    """Keep what was read of the scripts in the working directory."""
    keep(root / "scripts", CACHE.absolute())


@cache
def pins(environment: Path) -> dict[str, str]:
    """Package (conda's name) -> pinned version of an environment file, where a package has one."""
    specifications = yaml.safe_load(environment.read_text())["dependencies"]
    pairs = (spec.partition("=") for spec in specifications if isinstance(spec, str))
    return {name.strip(): version.strip(" =") for name, _, version in pairs}


@cache
def installed(package: str) -> str:
    """The version of a package (conda's name) here, as conda would write it; ABSENT where it is not."""
    if package == "python":
        return ".".join(platform.python_version_tuple()[:2])
    try:
        # 2.13.0+cpu: which build it is depends on the machine.
        return metadata.version(PYPI_NAMES.get(package, package)).split("+")[0]
    except metadata.PackageNotFoundError:
        return ABSENT
