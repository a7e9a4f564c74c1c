"""What the profiles say exists: Snakemake itself ignores unknown keys and unknown rules without a word."""

import itertools
import re
from pathlib import Path

import pytest
import yaml
from snakemake.cli import get_argument_parser, parse_config
from snakemake.iocontainers import Wildcards
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry
from workflow_jobs import REPOSITORY, edited_profile

from dnalm.finetune.settings import BACKBONE_SETTINGS, REPETITION

PROFILE = REPOSITORY / "slurm" / "config.yaml"
LSF = REPOSITORY / "workflow" / "profiles" / "lsf" / "config.yaml"
DEFAULT = REPOSITORY / "workflow" / "profiles" / "default" / "config.yaml"


def known_options() -> set[str]:
    """Every long option of `snakemake`, those of its plugins included, as profiles write them."""
    parser = get_argument_parser()
    return {o.removeprefix("--") for action in parser._actions for o in action.option_strings}


def parsed(profile: dict, folder: Path):
    """The profile as Snakemake's own parser reads it."""
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(profile))
    return get_argument_parser(profiles=[str(folder)]).parse_args([])


def as_committed() -> dict:
    return yaml.safe_load(PROFILE.read_text())


def as_edited() -> dict:
    return edited_profile(PROFILE.read_text())


@pytest.mark.parametrize("profile", [as_committed, as_edited, lambda: yaml.safe_load(DEFAULT.read_text())])
def test_every_key_is_an_option_of_snakemake(profile):
    assert set(profile()) <= known_options()


@pytest.mark.parametrize("profile", [as_committed, as_edited])
def test_every_value_is_accepted(profile, tmp_path):
    settings = parsed(profile(), tmp_path / "profile")
    slurm = ExecutorPluginRegistry().get_plugin("slurm").get_settings(settings)
    assert slurm.status_command == "squeue"
    assert slurm.requeue
    # `jobs` is mandatory on a cluster.
    assert settings.jobs >= 1
    assert settings.retries >= 1
    assert settings.latency_wait >= 60


def test_a_misspelt_key_would_be_found():
    assert "slurm-status-comand" not in known_options()


def test_the_automatically_loaded_profile_does_not_wipe_a_site_s_resources():
    keys = set(yaml.safe_load(DEFAULT.read_text()))
    assert not keys & {"default-resources", "set-resources", "resources", "set-threads", "config", "executor"}
    # Keys in both would be decided by the default profile, whatever the Slurm profile says.
    assert not keys & set(as_edited())


def test_the_workflow_s_settings_can_be_changed_from_the_profile(tmp_path):
    from dnalm.running.resources import ResourceSettings

    asked = parse_config(parsed(as_edited(), tmp_path / "profile").config)["resources"]
    assert set(asked) <= set(ResourceSettings.model_fields)
    assert asked == {
        "partition": "cpu",
        "gpu_partition": "gpu",
        "account": "my_account",
        "pretrain_gpus": "4",
        "tasks_per_job": "10",
        "gres": "gpu",
        "image": "dna-modernbert.sif",
    }


def test_every_line_has_its_reason_above_it():
    lines = PROFILE.read_text().splitlines()
    for above, line in itertools.pairwise(lines):
        if re.match(r"[a-z]", line):
            assert above.startswith("#") or re.match(r"[a-z-]+: ", above), f"no reason above: {line}"


def test_the_literal_name_finds_the_profile(monkeypatch):
    from snakemake.cli import get_profile_dir

    monkeypatch.chdir(REPOSITORY)
    _, found = get_profile_dir("slurm")
    assert Path(found).resolve() == PROFILE.resolve()


def test_what_a_run_needed_becomes_part_of_the_profile(tmp_path):
    import measured_resources

    results, profile = tmp_path / "results", tmp_path / "profile" / "config.yaml"
    for rule, seconds, memory in (("embed", 900.0, 1700.0), ("compare", 3.0, 150.0)):
        file = results / "benchmarks" / rule / "job.tsv"
        file.parent.mkdir(parents=True)
        file.write_text(f"s\tmax_rss\tcpu_time\n{seconds}\t{memory}\t1\n")
    profile.parent.mkdir()
    profile.write_text(PROFILE.read_text())
    for _ in range(2):
        measured_resources.main(results, profile)
    written = yaml.safe_load(profile.read_text())
    assert written.pop("set-resources").keys() == {"embed", "compare"}
    assert written == as_committed()
    asked = parsed(yaml.safe_load(profile.read_text()), tmp_path / "again").set_resources

    def of(rule: str, attempt: int) -> list[int]:
        job = {"input": [], "threads": 1, "attempt": attempt, "rulename": rule, "async_run": None}
        return [asked[rule][name].evaluate(Wildcards(), **job).value for name in ("mem_mb", "runtime")]

    assert of("embed", 1) == [3500, 30] and of("compare", 1) == [2000, 10]
    # As without this block, a job that failed asks for twice as much.
    assert of("embed", 2) == [7000, 60] and of("embed", 3) == [14000, 120]


def test_requests_of_the_user_s_own_are_left_alone(tmp_path):
    import measured_resources
    from dnalm.running.errors import InputError

    own = PROFILE.read_text() + "\nset-resources:\n  embed:\n    runtime: 5\n"
    with pytest.raises(InputError, match="set-resources of your own"):
        measured_resources.with_measured(own, "set-resources:", "results")


def test_lsf_is_asked_for_gpus_for_every_rule_that_uses_them(tmp_path):
    rules = {}
    for file in (REPOSITORY / "workflow" / "rules").glob("*.smk"):
        for body in re.split(r"(?m)^\s*rule ", file.read_text())[1:]:
            rules[body.split(":")[0]] = "resources.on_gpus(" in body
    with_gpus = {name for name, uses in rules.items() if uses}
    assert {"pretrain", "finetune", "stack"} < with_gpus
    # Without the rest, which needs LSF's plugin.
    lines = {"set-resources": yaml.safe_load(LSF.read_text())["set-resources"]}
    asked = parsed(lines, tmp_path / "profile").set_resources
    assert set(asked) == with_gpus

    def of(rule: str, backbone: str) -> list[str | int | None]:
        job = {"input": [], "threads": 1, "attempt": 1, "rulename": rule, "async_run": None}
        wildcards = Wildcards(fromdict={"backbone": backbone})
        return [asked[rule][name].evaluate(wildcards, **job).value for name in ("lsf_queue", "lsf_extra")]

    on_cpu = {(rule, way) for rule in asked for way in BACKBONE_SETTINGS if of(rule, way)[1] == ""}
    assert on_cpu == {("finetune", "frozen")}
    assert of("finetune", f"frozen{REPETITION}43") == ["normal", ""]
    assert of("finetune", "full") == of("stack", "full") == ["gpu", "-gpu num=1"]
