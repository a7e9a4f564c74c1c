"""The conda environments agree with what the tests run, and cover what the scripts import."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import rattler
import yaml

from digest import PYPI_NAMES
from dnalm.running.code import dependencies

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENTS = sorted((REPOSITORY / "envs").glob("*.yaml"))
# A package whose other half is a package of its own, always of the version that fits.
BROUGHT_ALONG = {"pydantic": "pydantic_core"}
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
            scripts = re.findall(r'command\(\s*"(\w+)"', body)
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


@pytest.mark.parametrize("script, environment", rules(), ids=lambda value: value)
def test_an_environment_covers_every_import_of_its_scripts(script, environment):
    available = {IMPORT_NAMES.get(name, name) for name in pins(REPOSITORY / "envs" / f"{environment}.yaml")}
    available |= {half for whole, half in BROUGHT_ALONG.items() if whole in available}
    for path in dependencies(REPOSITORY / "scripts" / f"{script}.py"):
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for module in modules:
                root = module.split(".")[0]
                own = (REPOSITORY / "scripts" / root).is_dir() or (
                    REPOSITORY / "scripts" / f"{root}.py"
                ).is_file()
                known = own or root in sys.stdlib_module_names or root in available
                assert known, f"{path.name} imports {root}, which envs/{environment}.yaml lacks"


def test_every_environment_file_is_used_and_exists():
    used = {environment for _, environment in rules()}
    assert used == {path.stem for path in ENVIRONMENTS}
