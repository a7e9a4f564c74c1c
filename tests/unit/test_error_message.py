"""What stands at the end of the terminal's output when steps failed."""

import os
import time
from pathlib import Path

import pytest

from error_message import error_message

COMMAND = "2026-01-01 10:00:00 $ scripts/embed.py"


def ended(folder: Path, name: str, *words: str) -> Path:
    """A log of the rule embed that was written now."""
    log = folder / "logs" / "embed" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("\n".join([COMMAND, *(f"2026-01-01 10:00:01 {line}" for line in words)]) + "\n")
    return log


def run_in_which(
    folder: Path, *logs: Path, then: str = "", group: bool = False, output: str = "x, y"
) -> list[str]:
    """Snakemake's log of a run in which the jobs with these logs failed."""
    by = "        " if group else ""
    failures = (
        f"{by}{'' if group else 'Error in '}rule embed:\n{by}    jobid: {number}\n{by}    output: {output}\n"
        f"{by}    log: {log} (check log file(s) for error details)\n"
        for number, log in enumerate(logs)
    )
    run = folder / "snakemake.log"
    run.write_text(("Error in group embed_1:\n    jobs:\n" if group else "") + "".join(failures) + then)
    return [str(run)]


@pytest.mark.parametrize("group", [False, True])
def test_each_failure_has_its_last_words_and_who_has_none_was_killed(tmp_path, group):
    wrong, killed = ended(tmp_path, "a", "error: x.fa: empty."), ended(tmp_path, "b", "embedding: 3 of 9")
    ended(tmp_path, "c", "done")
    said = error_message(tmp_path / "logs", 0, run_in_which(tmp_path, wrong, killed, group=group))
    assert said[0] == f"error in {wrong}: x.fa: empty."
    assert said[1].startswith(f"embed was killed, {killed} ends without an error. Most often memory ran out.")
    assert "--set-resources embed:mem_mb=" in said[1]
    assert len(said) == 2


@pytest.mark.parametrize("ahead", [-600, 600])
def test_the_clock_of_the_file_server_may_be_another(tmp_path, monkeypatch, ahead):
    earlier, wrong = ended(tmp_path, "a", "error: x.fa: empty."), ended(tmp_path, "b", "error: y.fa: empty.")
    os.utime(earlier, (time.time() - 60, time.time() - 60))
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() - ahead)
    assert error_message(tmp_path / "logs", time.time() - 30) == [f"error in {wrong}: y.fa: empty."]


def test_a_job_that_succeeded_at_the_second_attempt_is_not_named(tmp_path):
    log = ended(tmp_path, "a", "done")
    again = "Trying to restart job 0.\nFinished jobid: 0 (Rule: embed)\n"
    assert not error_message(tmp_path / "logs", 0, run_in_which(tmp_path, log, then=again))
    # With --quiet progress nobody says that it finished.
    assert not error_message(tmp_path / "logs", 0, run_in_which(tmp_path, log, output=f"{log}, {tmp_path}"))


def test_a_file_that_was_lost_is_no_lack_of_memory(tmp_path):
    log, killed = ended(tmp_path, "a", "embedding: 3 of 9"), ended(tmp_path, "b", "embedding: 3 of 9")
    died = "Command 'exec scripts/embed.py --log {} --name m' died with <Signals.{}>.\n"
    then = died.format(log, "SIGBUS: 7") + died.format(killed, "SIGKILL: 9")
    lost, out_of_memory = error_message(tmp_path / "logs", 0, run_in_which(tmp_path, log, killed, then=then))
    assert lost.startswith(f"error in {log}: a file could not be read any more (SIGBUS).")
    assert "memory ran out" in out_of_memory


def test_who_typed_ctrl_c_knows_what_killed_the_jobs(tmp_path):
    log = ended(tmp_path, "a", "embedding: 3 of 9")
    command = "Command 'exec scripts/embed.py' died with <Signals.SIGINT: 2>.\n"
    assert not error_message(tmp_path / "logs", 0, run_in_which(tmp_path, log, then=command))


def test_what_did_not_come_as_far_as_a_script_was_not_killed(tmp_path):
    log = ended(tmp_path, "a")
    log.write_text("bash: python: command not found\n")
    assert not error_message(tmp_path / "logs", 0, run_in_which(tmp_path, log, tmp_path / "logs/no.log"))
