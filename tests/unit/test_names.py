"""One name per thing: who knows a rule knows its script, log, benchmark, file of rules and package."""

import ast
import re
from pathlib import Path

import pytest

from dnalm.config import Config

REPOSITORY = Path(__file__).parents[2]
# Files that hold the rules of a section of the configuration with several of them, or of several sections.
SECTIONS = {"corpora", "explore", "fetch", "models", "publish", "tokenizers"}
# What steps share, beside some of the sections.
SHARED = {"problems", "sequences", "running"}
# Rules that put the script of another rule to a special use.
SPECIAL_USES = {
    "cross_validate_baseline": "cross_validate",
    "cross_validate_combined": "cross_validate",
    "cross_validate_stacked": "cross_validate",
    "evaluate_baseline": "evaluate",
    "fetch_genome": "fetch",
    "fetch_task": "fetch",
    "fetch_tokenizer": "fetch_hub",
    "fetch_checkpoint": "fetch_hub",
}
# In the text of a rule.
SCRIPT = re.compile(r'command(?:_of_many)?\(\s*"(\w+)"')
# What was downloaded or pushed stays, whatever happens to the script that did it.
STAYS = {"fetch", "fetch_hub", "push_to_hub"}


def rules() -> list[tuple[str, str, str]]:
    """(name of the file, of the rule, its text) of every rule with a command."""
    found = []
    for file in sorted((REPOSITORY / "workflow/rules").glob("*.smk")):
        parts = re.split(r"^ *rule (\w+):", file.read_text(), flags=re.MULTILINE)[1:]
        found += [(file.stem, *rule) for rule in zip(parts[::2], parts[1::2], strict=True)]
    return [rule for rule in found if SCRIPT.search(rule[2])]


@pytest.mark.parametrize("file, rule, text", rules(), ids=lambda value: value if value.isidentifier() else "")
def test_a_rule_names_everything_alike(file, rule, text):
    script = SPECIAL_USES.get(rule, rule)
    assert SCRIPT.findall(text) == [script]
    assert (REPOSITORY / f"scripts/{script}.py").is_file()
    # So that it runs again when its code changes.
    assert f'*code("{script}", ' in text or script in STAYS
    for kind in ("logs", "benchmarks"):
        for path in re.findall(rf'"<{kind}>/([^"]+)"', text):
            assert re.split(r"[/.]", path)[0] == rule, path
    assert file in SECTIONS or (REPOSITORY / f"scripts/{file}.py").is_file(), file


def test_a_package_is_a_step_a_section_or_shared():
    """And a section of the configuration that is a step has a script."""
    scripts = {path.stem for path in (REPOSITORY / "scripts").glob("*.py")}
    packages = {path.parent.name for path in (REPOSITORY / "scripts/dnalm").glob("*/__init__.py")}
    assert packages <= scripts | SECTIONS | SHARED
    sections = {name for name, field in Config.model_fields.items() if "Settings" in str(field.annotation)}
    assert sections <= scripts | SECTIONS | {"resources"}


def imported(file: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever it does."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


def test_what_steps_share_knows_no_step_and_the_library_no_script():
    scripts = {path.stem for path in (REPOSITORY / "scripts").glob("*.py")}
    for file in (REPOSITORY / "scripts/dnalm").rglob("*.py"):
        names = imported(file)
        assert not scripts & {name.split(".")[0] for name in names}, file
        if file.parent.name in SHARED | {"tokenizers", "models"}:
            steps = {name.split(".")[1] for name in names if name.startswith("dnalm.")}
            assert steps <= SHARED | {"tokenizers", "models"}, file
