"""The conda environments agree with what the tests run, and cover what the scripts import."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import rattler
import yaml

from digest import PYPI_NAMES
from dnalm.running.code import dependencies

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENTS = sorted((REPOSITORY / "envs").glob("*.yaml"))
# Half a package -> the whole one, always of the version that fits.
BROUGHT_ALONG = {"pydantic_core": "pydantic"}
# PyPI's name -> imported name, where they differ
IMPORT_NAMES = {
    "scikit-learn": "sklearn",
    "huggingface-hub": "huggingface_hub",
    "biopython": "Bio",
    "umap-learn": "umap",
    "tensorboardx": "tensorboardX",
}


def pins(environment: Path) -> dict[str, str]:
    """Package (named as on PyPI) -> pinned version."""
    specs = [
        rattler.MatchSpec(d, strict=True) for d in yaml.safe_load(environment.read_text())["dependencies"]
    ]
    names = [spec.name.normalized for spec in specs]
    return {
        PYPI_NAMES.get(n, n): str(s.version).lstrip("=").removesuffix(".*")
        for n, s in zip(names, specs, strict=True)
    }


def project_pins() -> dict[str, str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    requirements = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    return dict(requirement.split("==") for requirement in requirements)


def test_rules_run_again_for_the_packages_of_their_own_environment():
    for file in (REPOSITORY / "workflow" / "rules").glob("*.smk"):
        for body in re.split(r"^\s*rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            for script, environment in re.findall(r'\*code\("(\w+)", "(\w+)"\)', body):
                assert f"envs/{environment}.yaml" in body, body[:40]
                assert re.search(rf'command(?:_of_many)?\(\s*"{script}"', body), body[:40]


def rules() -> list[tuple[str, str]]:
    """(script, environment) of every rule."""
    found = []
    for file in sorted((REPOSITORY / "workflow" / "rules").glob("*.smk")):
        for body in re.split(r"^\s*rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            scripts = re.findall(r'command(?:_of_many)?\(\s*"(\w+)"', body)
            environment = re.findall(r'conda:\s+"\.\./\.\./envs/(\w+)\.yaml"', body)
            assert len(environment) == 1, f"{file.name}: a rule without conda environment: {body[:40]}"
            found += [(script, environment[0]) for script in scripts]
    return found


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.stem)
def test_pins_agree_with_the_project_and_with_what_is_installed(environment):
    for package, version in pins(environment).items():
        if package == "python":
            continue
        assert project_pins()[package] == version, package
        assert metadata.version(package).split("+")[0] == version, package


def test_the_pythons_that_are_allowed_are_the_same_everywhere():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    lowest, above = re.fullmatch(r">=(3\.\d+),<3\.(\d+)", project["project"]["requires-python"]).groups()
    assert f"Python {lowest} to 3.{int(above) - 1} " in (REPOSITORY / "README.md").read_text()
    assert project["tool"]["mypy"]["python_version"] == lowest
    assert f"--python-version {lowest} " in (REPOSITORY / "Makefile").read_text()
    assert f'python-version: "{lowest}"' in (REPOSITORY / ".github/workflows/ci.yml").read_text()
    assert {pins(environment)["python"] for environment in ENVIRONMENTS} == {lowest}


def test_the_lock_file_holds_the_pins_and_no_gpu_packages():
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    locked = dict(line.split("==") for line in lines if "==" in line)
    for package, version in project_pins().items():
        assert locked[package] == version, package
    assert not [name for name in locked if name.startswith(("nvidia", "triton"))]


def available(environment: str) -> set[str]:
    return {IMPORT_NAMES.get(name, name) for name in pins(REPOSITORY / "envs" / f"{environment}.yaml")}


@cache
def imported(script: str) -> dict[str, str]:
    """Package that the script imports from elsewhere, directly or not -> a file that does."""
    found = {}
    for path in dependencies(REPOSITORY / "scripts" / f"{script}.py"):
        for node in ast.walk(ast.parse(path.read_text())) if path.suffix == ".py" else ():
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for root in (module.split(".")[0] for module in modules):
                own = REPOSITORY / "scripts" / root
                if (
                    root not in sys.stdlib_module_names
                    and not own.is_dir()
                    and not own.with_suffix(".py").is_file()
                ):
                    found[BROUGHT_ALONG.get(root, root)] = path.name
    return found


@pytest.mark.parametrize("script, environment", rules(), ids=lambda value: value)
def test_an_environment_covers_every_import_of_its_scripts(script, environment):
    for package, file in imported(script).items():
        assert package in available(environment), (
            f"{file} imports {package}, which envs/{environment}.yaml lacks"
        )


@pytest.mark.parametrize("environment", [path.stem for path in ENVIRONMENTS])
def test_an_environment_holds_nothing_that_its_scripts_do_not_import(environment):
    scripts = [script for script, its in rules() if its == environment]
    assert available(environment) - set().union(*map(imported, scripts)) == {"python"}


def test_every_environment_file_is_used_and_exists():
    used = {environment for _, environment in rules()}
    assert used == {path.stem for path in ENVIRONMENTS}
