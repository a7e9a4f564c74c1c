"""What is checked before the configuration is looked at."""

import os
from pathlib import Path

import pytest

from dnalm.running.errors import InputError
from start import check_notes


@pytest.mark.parametrize("locked", [".snakemake", ""], ids=["of a colleague", "an installation for many"])
def test_a_folder_that_snakemake_may_not_write_in_is_refused(tmp_path, monkeypatch, locked):
    """Without a traceback. Root may write everywhere, so that the answer of the system is acted."""
    (tmp_path / locked).mkdir(exist_ok=True)
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / locked or mode != os.W_OK)
    with pytest.raises(InputError, match="`-s /opt/workflow/Snakefile`") as refused:
        check_notes(tmp_path, Path("/opt/workflow/Snakefile"))
    assert str(refused.value).startswith(f"you may not write to {tmp_path / locked}, where ")


def test_a_folder_that_holds_notes_already_may_be_closed_itself(tmp_path, monkeypatch):
    (tmp_path / ".snakemake").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    check_notes(tmp_path, Path("/opt/workflow/Snakefile"))
