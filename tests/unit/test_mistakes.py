"""Every mistake of the table is met with one line that names place and remedy, and nothing is left behind.

A mistake is made in the process of the test, through the functions that the workflow's start and the scripts
are made of; a few are made through Snakemake itself, to see that it is the same.
"""

import argparse
import errno
import hashlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mistakes import CHEAP, DOCUMENT, START, Mistake, documentation, meet, sections, write_run
from mistakes import spoil as make

from dnalm.running.commandline import run, set_up_logging
from dnalm.tokenizers import special_tokens

TABLE = [row for section in sections() for row in section.mistakes]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def nothing_computed(monkeypatch) -> Iterator[None]:
    """Fails the test when a network computes anything."""
    if (torch := sys.modules.get("torch")) is not None:

        def computed(*_: object, **__: object) -> None:
            raise AssertionError("a network computed something")

        monkeypatch.setattr(torch.nn.Module, "__call__", computed)
    yield


def listing(folder: Path) -> dict[str, str]:
    """All files and folders with what is in them, hidden ones too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
        # The folder of an output may stay, empty.
        if path.is_file() or path.name != "out"
    }


def test_the_run_without_a_mistake_starts(folder):
    assert meet(Mistake("none", "")) == (0, "")


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        ("extract_windows", "--length 10 --stride 10 --validation-block 20"),
        ("prepare_task", ""),
        ("import_tokenizer", "--source tokenizer"),
    ],
)
def test_the_scripts_succeed_without_a_mistake(folder, script, flags):
    assert meet(Mistake("none", "", script=script, flags=flags)) == (0, "")
    assert any((folder / "out").iterdir())


@pytest.mark.parametrize("mistake", TABLE, ids=[row.mistake for row in TABLE])
def test_a_mistake_is_told_in_one_line_and_leaves_nothing(mistake, folder, nothing_computed):
    make(folder, mistake)
    before = listing(folder)
    code, said = meet(mistake)
    assert re.fullmatch(mistake.pattern(), said), said
    assert code == 1
    assert listing(folder) == before
    check_words(mistake)


def check_words(mistake: Mistake) -> None:
    """A message begins with a place and ends with a remedy."""
    place = re.split(r"[: ]", mistake.says)[0]
    named = [*mistake.settings.values(), *mistake.files, *mistake.flags.split(), "task"]
    assert place.startswith("--") or Path(place).exists() or place in named, "which file, key or flag is it?"
    # A second sentence, or what the value must be.
    assert re.search(r"[.?;:] [^:]+[.?]$|must be|needs|lacks|Known here", mistake.says), "what can be done?"
    # What the workflow meets is met before anything expensive.
    assert mistake.script in (START, *CHEAP) or mistake.by_hand


def test_the_table_is_large_and_no_row_stands_twice():
    assert len(TABLE) >= 150
    names = [row.mistake for row in TABLE]
    assert [name for name in names if names.count(name) > 1] == []


def test_a_file_that_one_may_not_read_is_named_at_the_start(folder, monkeypatch):
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK and access(path, mode))
    said = "my.yaml: models.small.architecture: you may not read small.json. Ask its owner, or name another."
    assert meet(Mistake("none", "")) == (1, said)


def test_a_folder_that_one_may_not_look_into_is_named_at_the_start(folder, monkeypatch):
    def closed(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "is_file", closed)
    code, said = meet(Mistake("none", ""))
    assert code == 1
    assert re.fullmatch(r"\S+: Permission denied. Ask its owner for the right .*, or name another.", said)


def test_a_sheet_that_cannot_be_read_to_its_end_ends_in_one_line(folder, monkeypatch):
    """Of read(2) the error names no file."""

    def stale(_):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr("sheets._text", stale)
    code, said = meet(Mistake("none", ""))
    assert code == 1
    assert said.startswith("my.yaml: Stale file handle. Ask its owner")


def test_names_in_the_log_cannot_steer_the_terminal(tmp_path, capsys, monkeypatch):
    log = tmp_path / "step.log"
    logger = logging.getLogger("dnalm")
    for name, value in (("handlers", []), ("propagate", True), ("level", logger.level)):
        monkeypatch.setattr(logger, name, value)
    set_up_logging(log)
    logger.info("1 sequence has no row: %s", "chr1\x1b[2J\x07")
    assert capsys.readouterr().err == "1 sequence has no row: chr1\\x1b[2J\\x07\n"
    assert "\x1b" not in log.read_text()


def test_a_name_that_is_no_text_is_told_in_one_line_all_the_same(tmp_path, capsys, monkeypatch):
    logger = logging.getLogger("dnalm")
    for name, value in (("handlers", []), ("propagate", True), ("level", logger.level)):
        monkeypatch.setattr(logger, name, value)

    def main() -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fsdecode(b"caf\xe9.fa"))

    with pytest.raises(SystemExit):
        run(main, argparse.Namespace(log=tmp_path / "step.log"))
    assert capsys.readouterr().err == "error: caf\\udce9.fa: No such file or directory\n"
    assert "Traceback" in (tmp_path / "step.log").read_text()


def test_no_vocabulary_has_more_words_than_a_model_may(folder, monkeypatch):
    monkeypatch.setattr(special_tokens, "LARGEST_VOCABULARY", 8)
    said = "tokenizer/tokenizer.json: 9 tokens; no model has more than 8. Choose another."
    assert meet(Mistake("none", "")) == (1, f"my.yaml: tokenizers.bpe.source: {said}")


def test_the_document_is_that_of_the_table():
    assert DOCUMENT.read_text() == documentation(), "run 'make docs'"
