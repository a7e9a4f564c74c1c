"""Snakemake itself refuses what tests/unit/test_mistakes.py refuses in one process: the same lines."""

import re

import pytest
from mistakes import CONFIGURATION, REPOSITORY, START, sections, spoil, write_run
from snakemake_process import snakemake

ROWS = {row.mistake: row for section in sections() for row in section.mistakes}
SNAKEMAKE = ["-s", str(REPOSITORY / "workflow/Snakefile"), "--configfile", CONFIGURATION]
SAMPLE = (
    "a misspelt key",
    "a key given twice",
    "a column named twice",
    "predictions with the classifier of no task",
)


def test_the_run_without_a_mistake_is_planned(dry_runs, tmp_path):
    write_run(tmp_path)
    assert {"extract_windows", "pretrain", "predict"} <= set(dry_runs.jobs(tmp_path, *SNAKEMAKE))


def test_a_target_that_the_configuration_does_not_ask_for_is_none(dry_runs, tmp_path):
    write_run(tmp_path)
    with pytest.raises(RuntimeError, match="No rule to produce study"):
        dry_runs.jobs(tmp_path, "study", *SNAKEMAKE)


@pytest.mark.parametrize("mistake", SAMPLE)
def test_the_start_refuses(dry_runs, tmp_path, mistake):
    row = ROWS[mistake]
    assert row.script == START
    write_run(tmp_path)
    spoil(tmp_path, row)
    with pytest.raises(RuntimeError) as refused:
        dry_runs.jobs(tmp_path, *SNAKEMAKE)
    # Snakemake makes the path of the configuration absolute.
    said = str(refused.value).replace(f"{tmp_path}/", "")
    assert [bool(re.fullmatch(row.pattern(), line.strip())) for line in said.splitlines()].count(True) == 1
    assert "Traceback" not in said
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            b"title: a\nresults: b: c\n",
            r" line 2: not valid YAML \(mapping values are not allowed here\)\. .*",
        ),
        (b'title: "a\nresults: b\n', r" line 3: .* while scanning a quoted scalar of line 1\)\. Look .*"),
        ("title: café".encode("latin-1"), r": not a text file \(UTF-8\)\. Save it in UTF-8\."),
    ],
)
def test_a_default_configuration_that_is_no_yaml_is_told_by_file_and_line(dry_runs, tmp_path, content, says):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_bytes(content)
    with pytest.raises(RuntimeError) as refused:
        dry_runs.jobs(tmp_path, *SNAKEMAKE[:2])
    assert re.search(f"^config/config.yaml{says}$", str(refused.value), re.M)


def test_a_script_refuses_and_nothing_expensive_has_begun(tmp_path):
    row = ROWS["RNA"]
    write_run(tmp_path)
    spoil(tmp_path, row)
    done = snakemake(tmp_path, *SNAKEMAKE, cores=1)
    assert done.returncode == 1
    # By the workflow's onerror.
    line = f"error in results/logs/extract_windows/chr.log: {row.pattern()}"
    assert [bool(re.fullmatch(line, said)) for said in done.stderr.splitlines()].count(True) == 1, done.stderr
    assert not list((tmp_path / "results").glob("windows/*"))
    assert not {"pretrain", "finetune", "embed"} & {path.name for path in tmp_path.glob("results/logs/*")}
