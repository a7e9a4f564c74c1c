"""What in the code counts as a change, and what does not."""

import ast
import importlib
import json
import os
import shutil

import pytest

import digest
from dnalm.running import code
from dnalm.running.code import dependencies, digests, keep, sha256_of_modules

STEP = '''\
"""What the script does."""
import json
import logging
from typing import TYPE_CHECKING

from dnalm import near
from dnalm.far import VALUE as FAR
from dnalm.pretrain.telemetry import watch
from dnalm.running.errors import InputError

if TYPE_CHECKING:
    from dnalm import other

logger = logging.getLogger("dnalm")
TEMPLATE = "page.html.j2"


def step(x: int) -> int:
    """Adds."""
    if x < 0:
        raise InputError(f"{x} is negative. Give a positive number.")
    logger.info("adding %d", x)
    parser.add_argument("--x", default=3, help="what to add")
    add = parser.add_argument
    add("--y", default=5, help="what else")
    total: int = x + FAR
    return total
'''


@pytest.fixture
def scripts(tmp_path):
    files = {
        "step.py": STEP,
        "page.html.j2": "<html>\n",
        "dnalm/__init__.py": '"""Library."""\n',
        "dnalm/near.py": "from .deep.er import VALUE\n",
        "dnalm/far.py": "VALUE = 1\n",
        "dnalm/other.py": "VALUE = 3\n",
        "dnalm/deep/__init__.py": "",
        "dnalm/deep/er.py": "VALUE = 1\n",
        "dnalm/near/settings.py": "DEFAULT = 1\n",
        "dnalm/pretrain/telemetry.py": "from dnalm import other\nwatch = 1\n",
        "dnalm/running/errors.py": "class InputError(Exception): pass\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def changed(scripts, file, old, new):
    """The files whose digest an edit changes."""
    before = digests(scripts / "step.py", scripts)
    text = (scripts / file).read_text()
    assert old in text
    (scripts / file).write_text(text.replace(old, new) if old else text + new)
    after = digests(scripts / "step.py", scripts)
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("step.py", "x + FAR", "x - FAR"),
        ("step.py", "x < 0", "x < 1"),
        ("step.py", "default=3", "default=4"),
        ("step.py", "default=5", "default=6"),
        ("step.py", "VALUE as FAR", "VALUES as FAR"),
        ("step.py", "raise InputError", "raise ValueError"),
        ("step.py", "", "print(1)\n"),
        ("step.py", "", "import torch.an_effect\n"),
        ("dnalm/far.py", "1", "2"),
        ("dnalm/far.py", "1", "'# not a comment'"),
        ("dnalm/deep/er.py", "1", "2"),
        ("dnalm/deep/__init__.py", "", "X = 1\n"),
        ("dnalm/__init__.py", "", "X = 1\n"),
        ("page.html.j2", "<html>", "<p>"),
    ],
)
def test_what_can_change_a_number_counts_and_is_named(scripts, file, old, new):
    assert changed(scripts, file, old, new) == {file}


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("step.py", "Adds.", "Adds one."),
        ("step.py", '    """Adds."""\n', ""),
        ("step.py", "x + FAR", "(x +  # why\n\n FAR)"),
        ("step.py", "is negative. Give", "is below zero. Please give"),
        ("step.py", '"adding %d"', '"now adding %d"'),
        ("step.py", '    logger.info("adding %d", x)\n', ""),
        ("step.py", "what to add", "the summand"),
        ("step.py", "what else", "what more"),
        ("step.py", "(x: int) -> int", "(x: float) -> float"),
        ("step.py", "total: int", "total: float"),
        ("step.py", "FAR", "DISTANT"),
        ("step.py", "    total:", "    from dnalm.far import VALUE as FAR\n    total:"),
        ("step.py", "import json\nimport logging\n", "import logging\nimport json\n"),
        ("step.py", "import other\n", "import other, far\n"),
        ("dnalm/other.py", "3", "4"),
        ("dnalm/running/errors.py", "pass", "x = 1"),
        ("dnalm/pretrain/telemetry.py", "watch = 1", "watch = 2"),
    ],
)
def test_what_cannot_does_not(scripts, file, old, new):
    assert changed(scripts, file, old, new) == set()


def test_settings_count_as_params_not_as_code(scripts):
    (scripts / "dnalm" / "far.py").write_text("from dnalm.near.settings import DEFAULT\n")
    assert "dnalm/near/settings.py" not in digests(scripts / "step.py", scripts)
    assert scripts / "dnalm/near/settings.py" in dependencies(scripts / "step.py", scripts)


def test_dates_and_places_do_not_count(scripts, tmp_path_factory):
    copy = tmp_path_factory.mktemp("elsewhere") / "scripts"
    shutil.copytree(scripts, copy)
    assert digests(scripts / "step.py", scripts) == digests(copy / "step.py", copy)


def forget():
    """What a new process of Python does not know."""
    for function in (code._sources, code._files_of):
        function.cache_clear()


def test_a_cache_of_what_was_read_changes_no_digest_and_is_parsed_once(scripts, tmp_path, monkeypatch):
    kept = tmp_path / "run" / "code.json"
    plain = digests(scripts / "step.py", scripts)
    assert digests(scripts / "step.py", scripts, kept) == plain
    keep(scripts, kept)
    forget()
    monkeypatch.setattr(code.ast, "parse", None)
    assert digests(scripts / "step.py", scripts, kept) == plain
    assert [path.name for path in kept.parent.iterdir()] == ["code.json"]


EDITS = [("VALUE = 1", "VALUE = 2"), ("VALUE = 1", "from dnalm import other as VALUE")]


@pytest.mark.parametrize("old, new", EDITS)
def test_a_cache_sees_an_edit_that_keeps_the_date(scripts, tmp_path, old, new):
    kept, far = tmp_path / "code.json", scripts / "dnalm/far.py"
    digests(scripts / "step.py", scripts, kept)
    keep(scripts, kept)
    date = far.stat()
    far.write_text(far.read_text().replace(old, new))
    os.utime(far, ns=(date.st_atime_ns, date.st_mtime_ns))
    forget()
    assert digests(scripts / "step.py", scripts, kept) == digests(scripts / "step.py", scripts)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"files": {}}'])
def test_a_damaged_cache_is_not_believed(scripts, tmp_path, content):
    kept = tmp_path / "code.json"
    kept.write_text(content)
    assert digests(scripts / "step.py", scripts, kept) == digests(scripts / "step.py", scripts)
    keep(scripts, kept)
    assert "dnalm/far.py" in json.loads(kept.read_text())["files"]


@pytest.mark.parametrize("by_another", [False, True])
def test_a_cache_of_another_python_or_reader_is_not_believed(scripts, tmp_path, by_another):
    kept = tmp_path / "code.json"
    plain = digests(scripts / "step.py", scripts, kept)
    keep(scripts, kept)
    forget()
    content = json.loads(kept.read_text())
    content["files"]["dnalm/far.py"][1] = "f" * 64
    kept.write_text(json.dumps(content | ({"reader": "another"} if by_another else {})))
    assert (digests(scripts / "step.py", scripts, kept) == plain) == by_another


def test_a_cache_that_cannot_be_written_is_done_without(scripts, tmp_path):
    (tmp_path / "file").write_text("")
    unwritable = tmp_path / "file" / "code.json"
    assert digests(scripts / "step.py", scripts, unwritable) == digests(scripts / "step.py", scripts)
    keep(scripts, unwritable)


def test_checkpoints_judge_modules_by_the_same_law(scripts):
    modules = ["dnalm.far", "dnalm.deep.er"]
    before = sha256_of_modules(modules, scripts)
    (scripts / "dnalm/far.py").write_text('"""Far."""\nVALUE = 1  # one\n')
    assert sha256_of_modules(modules, scripts) == before
    (scripts / "dnalm/far.py").write_text("VALUE = 2\n")
    assert sha256_of_modules(modules, scripts) != before


# Used by trainings, but not of what their numbers depend on.
BESIDE_A_TRAINING = {
    *("models.checks", "models.keys", "models.tensors"),  # refuse what cannot be trained
    *("models.directory", "running.files", "running.checkpoints", "running.weights"),  # write
    "models.new_token",  # had its part when the model was trained
    *("running.devices", "running.launch"),  # say where to compute
    "problems.intervals",  # say how uncertain what came out is
    *("problems.flags", "problems.names"),  # words
    *("sequences.columns", "sequences.tables"),  # read what the fingerprint has the checksum of
    *("tokenizers.bases", "tokenizers.cut", "tokenizers.special_tokens"),  # count what is cut
}
# Pretraining reads tokens, of which the fingerprint has the checksum.
ENCODERS = {"tokenizers.bpe", "tokenizers.encoder", "tokenizers.merges", "tokenizers.overlapping"}


@pytest.mark.parametrize(("script", "beside"), [("pretrain", ENCODERS), ("finetune", set())])
def test_checkpoints_know_all_code_that_decides_a_training(script, beside):
    names = {file.removesuffix(".py").replace("/", ".") for file in digests(code.SCRIPTS / f"{script}.py")}
    known = set(importlib.import_module(script).CODE)
    assert known <= names
    assert {name.removeprefix("dnalm.") for name in names - known - {script}} <= BESIDE_A_TRAINING | beside


def test_modules_that_decide_nothing_exist(repository):
    from dnalm.running.code import DECIDES_NOTHING

    assert [name for name in DECIDES_NOTHING if not (repository / "scripts" / name).is_file()] == []


def test_no_number_that_decides_stands_in_a_module_of_settings(repository):
    """Their values are params of the rules and their code counts for nothing; a constant would be neither."""
    only_in_words = {"FEW_SEQUENCES"}
    found = []
    for path in (repository / "scripts").rglob("*.py"):
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        for node in nodes:
            if path.name != "settings.py" and (node.module or "").endswith(".settings"):
                module = importlib.import_module(node.module)
                values = {alias.name: getattr(module, alias.name) for alias in node.names}
                found += [
                    (path.name, name) for name, value in values.items() if isinstance(value, int | float)
                ]
    assert [(file, name) for file, name in found if name not in only_in_words] == []


def test_every_module_that_a_script_imports_is_found(repository):
    for script in (repository / "scripts").glob("*.py"):
        names = {path.name for path in dependencies(script)}
        assert "commandline.py" in names, script.name


def test_without_conda_the_installed_versions_count(repository):
    here, conda = (digest.code("pretrain", "train", with_conda=conda) for conda in (False, True))
    # Python decides numbers too (its sums of floats are more exact from 3.12 on), and may be another here.
    assert [word for word in here if word not in conda] in ([], [f"python {digest.installed('python')}"])
    assert any(word.startswith("transformers ") for word in here)
    assert digest.installed("no_such_package") == "absent"
