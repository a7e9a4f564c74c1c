"""Snakemake's notes must be where they can be written, and known where there are results."""

import json
import os
from pathlib import Path

import pytest

from dnalm.running.errors import InputError
from notes import check_known, check_writable, lines_of


@pytest.mark.parametrize("locked", [".snakemake", ""], ids=["of a colleague", "an installation for many"])
def test_a_folder_that_snakemake_may_not_write_in_is_refused(tmp_path, monkeypatch, locked):
    """Without a traceback. Root may write everywhere, so that the answer of the system is acted."""
    (tmp_path / locked).mkdir(exist_ok=True)
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / locked or mode != os.W_OK)
    with pytest.raises(InputError, match="`-s /opt/workflow/Snakefile`") as refused:
        check_writable(tmp_path, Path("/opt/workflow/Snakefile"))
    assert str(refused.value).startswith(f"you may not write to {tmp_path / locked}, where ")


def test_a_folder_that_holds_notes_already_may_be_closed_itself(tmp_path, monkeypatch):
    (tmp_path / ".snakemake").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    check_writable(tmp_path, Path("/opt/workflow/Snakefile"))


SETTINGS = {"title": "One", "study": None, "models": {"small": {"training": {"steps": 30}, "revision": None}}}


@pytest.fixture
def made(tmp_path, monkeypatch) -> str:
    """A folder of results without Snakemake's notes, in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    Path("results/configuration.json").write_text(json.dumps(SETTINGS))
    return "results"


def changed(steps: int = 30, **others: object) -> dict:
    small = {"training": {"steps": steps}, "revision": None}
    return {**SETTINGS, "models": {"small": small}, **others}


def test_a_changed_setting_is_refused_where_it_would_not_be_noticed(made, tmp_path):
    with pytest.raises(InputError) as refused:
        check_known(made, changed(60), "my.yaml")
    assert str(refused.value).startswith(
        "my.yaml: models.small.training.steps was 30 when results was made, and is 60 now, but Snakemake's "
        f"notes about results are missing in {tmp_path}/.snakemake: nothing would be made again. "
    )
    models = {"small": {"training": None, "revision": None}}
    with pytest.raises(InputError, match=r"training was a section .*, and is empty now"):
        check_known(made, changed(models=models), "my.yaml")


@pytest.mark.parametrize(
    "settings",
    [
        changed(title="Two", results="elsewhere"),
        changed(predict={"new": {"input": "new.fa"}}),
        changed(study={"model": "small"}),
        changed(models={**SETTINGS["models"], "other": {}}),
    ],
    ids=["of no result", "a new section", "an empty section filled", "a new model"],
)
def test_what_is_made_in_any_case_is_not_refused(made, capsys, settings):
    check_known(made, settings, "my.yaml")
    assert "notes about results are missing" in capsys.readouterr().err


@pytest.mark.parametrize("deeper", ["", "x" * 300])
@pytest.mark.parametrize("ended", [True, False])
def test_snakemakes_own_notes_are_found(made, capsys, deeper, ended):
    """Also of a name that its file system would not take as that of one file, and of what a kill cut off."""
    from snakemake.persistence.file import FilePersistence

    results = f"{made}/{'/'.join(deeper[i : i + 100] for i in range(0, len(deeper), 100))}".rstrip("/")
    file = Path(results, "configuration.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(SETTINGS) if ended else '{"models": {"sma')
    keeper = FilePersistence()
    keeper._io_write(keeper._metadata_path if ended else keeper._incomplete_path, {}, str(file))
    check_known(results, changed(60), "my.yaml")
    assert not capsys.readouterr().err


def test_a_new_folder_needs_no_notes(tmp_path, capsys):
    check_known(str(tmp_path / "new"), SETTINGS, "my.yaml")
    assert not capsys.readouterr().err


def test_settings_as_lines():
    assert list(
        lines_of({"models": {"a": {"steps": 3, "revision": None}}, "predict": {}, "maps": ["pca"]})
    ) == [
        "models.a.steps: 3",
        "models.a.revision: empty",
        "predict: {}",
        'maps: ["pca"]',
    ]
