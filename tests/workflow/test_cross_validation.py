"""A task with folds goes the whole way: what is trained once for all folds, and what is not made at all."""

from collections import Counter

import pytest
import yaml
from workflow_jobs import REPOSITORY, workflow_jobs


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """All jobs of the demo with its task as it is, and once more with its training table in folds."""
    folder = tmp_path_factory.mktemp("folds")
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    simulation = f"{folder}/results/simulation"
    (folder / "genomes.tsv").write_text(f"genome\tfasta\nsimulated\t{simulation}/genome.fa.gz\n")
    (folder / "tasks.tsv").write_text(
        "task\ttrain\ttest\tfolds\n"
        f"split\t{simulation}/train.tsv\t{simulation}/test.tsv\t\n"
        f"crossed\t{simulation}/train.tsv\t\t4\n"
    )
    config |= {
        "results": f"{folder}/results",
        "genomes": f"{folder}/genomes.tsv",
        "tasks": f"{folder}/tasks.tsv",
    }
    config["finetune"] |= {"backbones": ["frozen", "full"], "repetitions": 2}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return workflow_jobs(path)


def of_task(jobs, task: str) -> Counter:
    return Counter(job.rule.name for job in jobs if job.wildcards.get("task") == task)


def test_one_job_trains_a_predictor_in_all_folds(jobs):
    crossed, split = of_task(jobs, "crossed"), of_task(jobs, "split")
    # Two models (one untrained), two ways, two seeds.
    assert crossed["cross_validate"] == 8
    assert crossed["cross_validate_baseline"] == split["evaluate_baseline"] == 3
    assert crossed["cross_validate_combined"] == crossed["cross_validate_stacked"] == 1
    # Every evaluation of the one task has its like of the other.
    assert sum(n for rule, n in crossed.items() if rule.startswith("cross_validate")) == (
        split["evaluate"] + split["evaluate_baseline"]
    )
    assert not {"evaluate", "evaluate_baseline", "baseline", "baseline_cnn", "combine", "stack"} & set(
        crossed
    )
    assert not [rule for rule in split if rule.startswith("cross_validate")]
    # What is put to use is trained on all sequences, in both ways.
    assert crossed["finetune"] == 2


def test_all_sequences_are_embedded_once_for_all_folds(jobs):
    splits = [(j.wildcards.model, j.wildcards.split) for j in jobs if j.rule.name == "embed"]
    tested = [job for job in jobs if job.rule.name == "embed" and job.wildcards.split == "test"]
    assert sorted(job.wildcards.model for job in tested) == ["demo", "demo-untrained"]
    assert all(job.wildcards.task == "crossed" for job in tested) and ("demo", "train") in splits


def test_the_report_shows_both(jobs):
    (report,) = [job for job in jobs if job.rule.name == "report"]
    for task in ("split", "crossed"):
        assert any(f"/evaluation/demo/{task}/stacked/metrics.json" in path for path in report.input)
        assert any(f"/tasks/{task}/checks.json" in path for path in report.input)
    asked = " ".join(job.shellcmd for job in jobs if job.rule.name == "prepare_task")
    assert asked.count("--folds 4") == 1 and asked.count("--test ") == 1
