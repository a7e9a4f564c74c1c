"""Jobs ask for no more time than their partition allows."""

from types import SimpleNamespace

import pytest
from snakemake.iocontainers import ResourceList

from slurm_limits import keep_within_limits, limit_of, minutes, time_limits

PARAMETERS = {"run_uuid": "run", "slurm_logfile": "log", "comment_str": "rule", "account": "", "workdir": "."}
SETTINGS = SimpleNamespace(requeue=True, no_requeue=False, qos=None, reservation=None)


@pytest.fixture
def sinfo(tmp_path, monkeypatch):
    """Puts an sinfo on the PATH that runs this shell code."""

    def program(code: str) -> None:
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        (tmp_path / "sinfo").write_text(f"#!/bin/sh\n{code}\n")
        (tmp_path / "sinfo").chmod(0o755)

    return program


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2-00:00:00", 2880), ("1-12:30:59", 2190), ("8:00:00", 480), ("30:00", 30), ("infinite", None)],
)
def test_limits_are_read_in_slurm_s_forms(text, expected):
    assert minutes(text) == expected


def test_limits_are_those_of_sinfo(sinfo):
    sinfo('[ "$2" = "--format=%R|%l" ] && printf "gpu|8:00:00\\ncpu|infinite\\nlong|7-00:00:00\\n"')
    limits = time_limits()
    assert limits == {"gpu": 480, "long": 10080}
    assert limit_of("long,gpu", limits) == 480
    assert limit_of("cpu", limits) is None


@pytest.mark.parametrize("code", ["exit 1", "echo slurm_load_partitions: Unable to contact >&2; exit 1"])
def test_an_unknown_limit_is_none(sinfo, code):
    sinfo(code)
    assert time_limits() == {}


def test_what_is_submitted_fits_the_partition(sinfo):
    import snakemake_executor_plugin_slurm as installed

    sinfo('printf "gpu|8:00:00\\ncpu|infinite\\n"')
    plugin = SimpleNamespace(get_submit_command=installed.get_submit_command)
    for _ in range(2):
        keep_within_limits(plugin)

    def asked(partition: str, runtime: int | str) -> str:
        resources = ResourceList(fromdict={"runtime": runtime, "mem_mb": 1440})
        job = SimpleNamespace(resources=resources, threads=1, is_group=lambda: False)
        command = plugin.get_submit_command(job, PARAMETERS | {"partition": partition}, settings=SETTINGS)
        assert "--mem 1440" in command
        return command.split(" -t ")[1].split()[0]

    assert asked(" -p gpu", 1440) == "480"
    assert asked(" -p gpu", 60) == "60"
    assert asked(" -p cpu", 1440) == "1440"
    assert asked("", 1440) == "1440"


def test_sinfo_is_asked_once(sinfo, tmp_path):
    sinfo('echo >> "${0%/*}/asked"')
    plugin = SimpleNamespace(get_submit_command=lambda job, params: "sbatch -t 10")
    keep_within_limits(plugin)
    for _ in range(3):
        plugin.get_submit_command(SimpleNamespace(resources={"runtime": 10}), {"partition": " -p gpu"})
    assert (tmp_path / "asked").read_text() == "\n"
