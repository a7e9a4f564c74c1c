"""Short steps of several tasks share jobs of a cluster, where the configuration says so."""

import re
import shlex
from collections import Counter

import pytest
import yaml
from snakemake_interface_executor_plugins.utils import encode_target_jobs_cli_args
from workflow_jobs import REPOSITORY, workflow_jobs

TASKS = 5
STEPS = ("prepare_task", "baseline", "embed", "classifiers", "stack", "evaluate", "compare")


@pytest.fixture(scope="module")
def configfile(tmp_path_factory):
    """The demo with five tasks, and with full fine-tuning beside the frozen backbone."""
    return write_demo(tmp_path_factory.mktemp("tasks"), TASKS, ["frozen", "full"])


def write_demo(folder, tasks, backbones):
    """The demo's configuration with so many tasks."""
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    simulation = f"{folder}/results/simulation"
    (folder / "genomes.tsv").write_text(f"genome\tfasta\nsimulated\t{simulation}/genome.fa.gz\n")
    rows = [f"task{n}\t{simulation}/train.tsv\t{simulation}/test.tsv\n" for n in range(tasks)]
    (folder / "tasks.tsv").write_text("task\ttrain\ttest\n" + "".join(rows))
    config |= {
        "results": f"{folder}/results",
        "genomes": f"{folder}/genomes.tsv",
        "tasks": f"{folder}/tasks.tsv",
    }
    config["finetune"]["backbones"] = backbones
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def shared(configfile, **settings):
    """All jobs of the workflow, and those of the cluster that hold several of them."""
    asked = {"resources": {"partition": "cpu", "gpu_partition": "gpu"} | settings}
    jobs = workflow_jobs(configfile, config=asked)
    dag = jobs[0].dag
    return jobs, {group for job in jobs if (group := dag.get_job_group(job))}


def test_tasks_share_a_job_in_each_short_step(configfile):
    jobs, groups = shared(configfile, tasks_per_job="3")
    assert {group.groupid for group in groups} == {f"{step}_{number}" for step in STEPS for number in (1, 2)}
    inside = Counter(job.rule.name for group in groups for job in group.jobs)
    assert {job.rule.name for job in jobs if hasattr(job.wildcards, "task")} == set(inside)
    alone = {job for job in jobs if not any(job in group.jobs for group in groups)}
    # Full fine-tuning is long and saves checkpoints.
    assert {job.wildcards.backbone for job in alone if job.rule.name == "finetune"} == {"full"}
    assert not any("frozen" in list(job.wildcards) for job in alone)
    assert len(groups) + len(alone) < len(jobs) / 2

    for group in groups:
        tasks = {job.wildcards.task for job in group.jobs}
        assert tasks == {f"task{n}" for n in (range(3) if group.groupid.endswith("_1") else (3, 4))}
        asked = group.resources
        # One after another, on the node that one of them needs.
        assert asked.get("gpu", 0) == (1 if group.groupid.startswith(("embed", "stack", "evaluate")) else 0)
        assert asked.slurm_partition == ("gpu" if asked.get("gpu") else "cpu")
        assert asked.get("nodes", 1) == 1
        assert asked.runtime == sum(job.resources.runtime for job in group.jobs)
        assert all(5 <= job.resources.runtime < 20 for job in group.jobs)


def test_otherwise_every_step_of_every_task_is_a_job(configfile):
    jobs, groups = shared(configfile)
    assert not groups
    assert len([job for job in jobs if job.rule.name == "prepare_task"]) == TASKS
    assert min(job.resources.runtime for job in jobs if job.rule.name == "embed") >= 20


def test_of_a_large_study_fewer_tasks_share_a_job(tmp_path):
    """Slurm is told of all parts in one word of a command line, which the kernel cuts at 128 KB."""
    path = write_demo(tmp_path, 4, ["frozen", "full"])
    config = yaml.safe_load(path.read_text())
    grid = {"training.seed": list(range(8)), "masking.probability": [n / 100 for n in range(10, 22)]}
    path.write_text(yaml.safe_dump(config | {"study": {"model": "demo", "vary": grid}}))
    _, groups = shared(path, tasks_per_job=3)
    largest = max(groups, key=len)
    assert 2 * 96 <= len(largest) <= 500 and len({job.wildcards.task for job in largest.jobs}) == 2
    assert len(shlex.join(encode_target_jobs_cli_args(largest.get_target_spec()))) < 100_000


@pytest.mark.slow
def test_as_many_jobs_as_the_page_on_clusters_says(tmp_path):
    page = " ".join((REPOSITORY / "docs" / "cluster.md").read_text().split())
    told = re.search(
        r"50 tasks with the demo's configuration are ([\d,]+) jobs.* in each short step: (\d+) jobs, of "
        r"which (\d+) are full fine-tunings; with `backbones: \[frozen\]`, (\d+) in place of ([\d,]+)\.",
        page,
    )
    counted = []
    for backbones in (["frozen", "full"], ["frozen"]):
        jobs, groups = shared(write_demo(tmp_path, 50, backbones), tasks_per_job="10")
        # What runs where the command was typed is no job of the cluster.
        submitted = [job for job in jobs if job.rule.name not in ("all", "write_configuration")]
        inside = {job for group in groups for job in group.jobs}
        alone = [job for job in submitted if job not in inside]
        full = [job for job in alone if job.rule.name == "finetune"]
        counted.append((len(submitted), len(groups) + len(alone), len(full)))
    (every, fewer, full), (every_frozen, fewer_frozen, _) = counted
    assert [int(number.replace(",", "")) for number in told.groups()] == [
        *(every, fewer, full),
        *(fewer_frozen, every_frozen),
    ]
