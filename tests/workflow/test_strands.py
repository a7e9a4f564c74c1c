"""What a task whose labels the strand decides changes in the steps that learn it."""

import yaml
from workflow_jobs import REPOSITORY, workflow_jobs


def test_only_tasks_that_either_strand_tells_are_learned_from_either(tmp_path):
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    simulation = f"{tmp_path}/results/simulation"
    (tmp_path / "genomes.tsv").write_text(f"genome\tfasta\nsimulated\t{simulation}/genome.fa.gz\n")
    files = f"{simulation}/train.tsv\t{simulation}/test.tsv"
    (tmp_path / "tasks.tsv").write_text(
        f"task\ttrain\ttest\tstrands\neither\t{files}\tboth\none\t{files}\tforward\n"
    )
    config |= {name: f"{tmp_path}/{name}.tsv" for name in ("genomes", "tasks")}
    config["results"] = f"{tmp_path}/results"
    config["finetune"] |= {"backbones": ["frozen", "full"]}
    config["finetune"]["full"] = {"reverse_complement": True}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    asked = {
        (job.wildcards.task, job.wildcards.backbone): str(job.params.flags)
        for job in workflow_jobs(tmp_path / "config.yaml")
        if job.rule.name == "finetune"
    }
    assert "--reverse-complement" in asked["either", "full"].split()
    assert "--no-reverse-complement" in asked["one", "full"].split()
    assert not any("reverse-complement" in asked[task, "frozen"] for task in ("either", "one"))
