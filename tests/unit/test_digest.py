"""A step reruns when its code changes, and not when a comment does."""

import pytest

from digest import code_digest, dependencies


@pytest.fixture
def scripts(tmp_path):
    (tmp_path / "dnalm").mkdir()
    (tmp_path / "dnalm" / "__init__.py").touch()
    (tmp_path / "dnalm" / "deep.py").write_text("VALUE = 1\n")
    (tmp_path / "dnalm" / "near.py").write_text("from dnalm.deep import VALUE\n")
    (tmp_path / "dnalm" / "other.py").write_text("VALUE = 3\n")
    (tmp_path / "step.py").write_text('import json\nfrom dnalm import near\nTEMPLATE = "page.html.j2"\n')
    (tmp_path / "page.html.j2").write_text("<html>\n")
    return tmp_path


@pytest.mark.parametrize(
    "file, text, changes",
    [
        ("step.py", "\nprint(1)\n", True),
        ("step.py", "\n\n# why it is so\n", False),
        ("dnalm/near.py", "X = 1\n", True),
        ("dnalm/deep.py", "X = 1\n", True),
        ("dnalm/deep.py", "X = '# not a comment'  # a comment\n", True),
        ("dnalm/other.py", "X = 1\n", False),
        ("page.html.j2", "<p>\n", True),
    ],
)
def test_the_digest_follows_code_and_what_it_imports(scripts, file, text, changes):
    import digest

    before = code_digest("step", scripts)
    digest._code_of.cache_clear()
    digest._imports.cache_clear()
    with (scripts / file).open("a") as appended:
        appended.write(text)
    assert (code_digest("step", scripts) != before) is changes


def test_dates_and_places_do_not_count(scripts, tmp_path_factory):
    import shutil

    copy = tmp_path_factory.mktemp("elsewhere") / "scripts"
    shutil.copytree(scripts, copy)
    assert code_digest("step", scripts) == code_digest("step", copy)


def test_every_module_that_a_script_imports_is_found(repository):
    for script in (repository / "scripts").glob("*.py"):
        names = {path.name for path in dependencies(script)}
        assert "commandline.py" in names, script.name
