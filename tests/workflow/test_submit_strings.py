"""What the Slurm plugin would hand to sbatch for every rule, also where a site's defaults get in the way."""

import re
from types import SimpleNamespace

import pytest
import yaml
from snakemake.exceptions import WorkflowError
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string
from workflow_jobs import REPOSITORY, workflow_jobs

# Defaults that real sites have, each of which silently beats a rule's threads or mem_mb.
SITE_DEFAULTS = ["slurm_partition=main", "cpus_per_task=1", "mem_mb_per_cpu=500", "tasks=1", "runtime=30"]
GPU_RULES = {
    "pretrain",
    "embed",
    "stack",
    "evaluate",
    "evaluate_language_model",
    "predict",
    "embed_sequences",
    "score_variants",
    "cross_validate",
    "cross_validate_combined",
    "cross_validate_stacked",
}
LOCAL_RULES = {
    "all",
    "fetch_genome",
    "fetch_task",
    "fetch_tokenizer",
    "fetch_checkpoint",
    "write_configuration",
    "push_to_hub",
}
PARAMETERS = {
    "run_uuid": "dna-modernbert_1",
    "slurm_logfile": "log",
    "comment_str": "rule",
    "account": "",
    "partition": "",
    "workdir": ".",
}


@pytest.fixture(scope="module")
def configfile(tmp_path_factory):
    """A configuration whose first run has a job of every rule but those of cross-validation."""
    folder = tmp_path_factory.mktemp("every_rule")
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    (folder / "genomes.tsv").write_text(
        f"genome\tfasta\nsimulated\t{folder}/results/simulation/genome.fa.gz\n"
        "human\thttps://example.org/hg38.fa.gz\n"
    )
    (folder / "tasks.tsv").write_text(
        f"task\ttrain\ttest\nenhancers\t{folder}/results/simulation/train.tsv\t"
        f"{folder}/results/simulation/test.tsv\nfar\thttps://example.org/a.tsv\thttps://example.org/b.tsv\n"
    )
    (folder / "new.tsv").write_text("seq\nACGT\n")
    name = next(iter(config["models"]))
    config |= {
        "results": f"{folder}/results",
        "genomes": f"{folder}/genomes.tsv",
        "tasks": f"{folder}/tasks.tsv",
        "publish": {"shared": {"model": name}},
        "predict": {"new": {"input": f"{folder}/new.tsv", "model": name, "task": "enhancers"}},
    }
    config["fill_mask"] = {"gaps": {"model": name, "sequences": ["ACGT" * 8], "hide": ["1-2"]}}
    config["embed_sequences"] = {"new": {"model": name, "input": f"{folder}/new.tsv"}}
    (folder / "new.vcf").write_text("##fileformat=VCFv4.2\nchr1\t5\t.\tA\tC\n")
    genome = f"{folder}/results/simulation/genome.fa.gz"
    config["score_variants"] = {"known": {"model": name, "input": f"{folder}/new.vcf", "genome": genome}}
    config["corpora"] = {"own": {"task": "enhancers"}, "reads": {"lines": f"{folder}/new.tsv"}}
    config["study"] = {"model": name, "vary": {"finetune.seed": [1]}, "train_sequences": [10]}
    config["tokenizers"]["given"] = {"source": "owner/tokenizer"}
    config["models"]["continued"] = config["models"][name] | {
        "architecture": None,
        "checkpoint": "owner/model",
        "tokenizer": "given",
    }
    config["finetune"]["backbones"] = ["frozen", "full"]
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def crossed(configfile):
    """The same with a task in folds, of which there can be neither subsets nor a corpus."""
    config = yaml.safe_load(configfile.read_text())
    sheet = configfile.with_name("crossed.tsv")
    sheet.write_text(f"task\ttrain\tfolds\nenhancers\t{config['results']}/simulation/train.tsv\t5\n")
    config |= {"tasks": str(sheet), "study": None, "corpora": {}}
    path = configfile.with_name("crossed.yaml")
    path.write_text(yaml.safe_dump(config))
    return path


def of_every_rule(configfile, crossed, **options) -> dict[str, list[str]]:
    """sbatch's options by rule, of both configurations."""
    return submit_strings(workflow_jobs(crossed, **options)) | submit_strings(
        workflow_jobs(configfile, **options)
    )


def submit_strings(jobs) -> dict[str, list[str]]:
    """sbatch's options by rule; finetune is told apart by backbone."""
    commands = {}
    settings = SimpleNamespace(requeue=True, no_requeue=False, qos=None, reservation=None)
    for job in jobs:
        if job.rule.name not in LOCAL_RULES:
            command = get_submit_command(job, PARAMETERS, settings) + set_gres_string(job)
            name = "_".join(
                [job.rule.name, *([job.wildcards.backbone] if job.rule.name == "finetune" else [])]
            )
            commands.setdefault(name, []).append(command)
    return commands


@pytest.fixture(scope="module")
def plain(configfile, crossed):
    return of_every_rule(configfile, crossed)


@pytest.fixture(scope="module")
def with_site_defaults(configfile, crossed):
    return of_every_rule(configfile, crossed, default_resources=SITE_DEFAULTS)


def option(command: str, name: str) -> str | None:
    found = re.search(rf"{name}[= ](\S+)", command)
    return found and found.group(1)


def test_every_rule_that_runs_on_the_cluster_is_looked_at(plain):
    text = "".join(path.read_text() for path in (REPOSITORY / "workflow/rules").glob("*.smk"))
    rules = set(re.findall(r"(?m)^\s*rule (\w+):", text)) - LOCAL_RULES
    assert {name.removesuffix("_frozen").removesuffix("_full") for name in plain} == rules


def test_every_job_says_how_long_and_how_large_it_is(plain):
    for name, commands in plain.items():
        for command in commands:
            assert int(option(command, "-t")) >= 5, name
            assert int(option(command, "--mem")) >= 500, name
            assert int(option(command, "--cpus-per-task")) >= 1, name


@pytest.mark.parametrize("configuration", ["configfile", "crossed"])
def test_a_job_that_failed_asks_for_twice_the_memory_and_time(configuration, request):
    for job in workflow_jobs(request.getfixturevalue(configuration)):
        if job.rule.name in LOCAL_RULES:
            continue
        first = job.resources.mem_mb, job.resources.runtime
        job.attempt = 2
        second = job.resources.mem_mb, job.resources.runtime
        for before, after in zip(first, second, strict=True):
            # Some are sums of several whole minutes.
            assert 2 * before <= after <= 2 * before + 2, f"{job.rule.name}: {first}, {second}"


def test_jobs_that_use_gpus_ask_for_them_and_others_do_not(plain):
    with_gpu = {name for name, commands in plain.items() if any("--gpus" in c for c in commands)}
    assert with_gpu == GPU_RULES | {"finetune_full"}
    assert not any("--gres" in command for commands in plain.values() for command in commands)
    for name in with_gpu:
        for command in plain[name]:
            assert option(command, "--gpus") == "1"
            assert option(command, "--nodes") == "1"


def test_a_site_s_defaults_do_not_replace_what_gpu_rules_ask_for(plain, with_site_defaults):
    for name in GPU_RULES | {"finetune_full", "finetune_frozen"}:
        for before, after in zip(sorted(plain[name]), sorted(with_site_defaults[name]), strict=True):
            for asked in ("--cpus-per-task", "--mem", "--nodes", "--gpus", "-t"):
                assert option(after, asked) == option(before, asked), f"{name}: {after}"
            assert "--ntasks-per-gpu" not in after
            assert "--mem-per-cpu" not in after


def test_several_gpus_are_one_setting(configfile):
    command = submit_strings(
        workflow_jobs(configfile, config={"resources": {"pretrain_gpus": "4", "pretrain_threads": "16"}})
    )["pretrain"][0]
    assert option(command, "--gpus") == "4"
    assert option(command, "--nodes") == "1"
    assert option(command, "--cpus-per-task") == "16"


@pytest.mark.parametrize("gpus", ["4", "0"])
def test_several_nodes_are_one_setting(configfile, gpus):
    asked = {"pretrain_nodes": "2", "pretrain_gpus": gpus}
    commands = submit_strings(workflow_jobs(configfile, config={"resources": asked}))
    command = commands["pretrain"][0]
    assert option(command, "--nodes") == "2"
    # --gpus counts those of all nodes together; tasks are said where there are no GPUs only.
    assert option(command, "--gpus") is None
    assert option(command, "--gres") == ("gpu:4" if gpus == "4" else None)
    assert option(command, "--ntasks") == (None if gpus == "4" else "2")
    assert option(commands["embed"][0], "--nodes") == "1"


def test_a_model_of_gpu_can_be_chosen_on_one_node_and_on_several(configfile):
    for nodes, asked in (("1", "gpu_model=a100"), ("2", "gres=gpu:a100:4")):
        jobs = workflow_jobs(
            configfile,
            config={"resources": {"pretrain_nodes": nodes, "pretrain_gpus": "4"}},
            set_resources={"pretrain": [asked, "constraint=nvlink"]},
        )
        command = submit_strings(jobs)["pretrain"][0]
        assert option(command, "--gpus") == ("a100:4" if nodes == "1" else None)
        assert option(command, "--gres") == (None if nodes == "1" else "gpu:a100:4")
        assert option(command, " -C").strip("'") == "nvlink"


@pytest.mark.parametrize(
    ("resources", "asked"),
    [
        ({"pretrain_nodes": "2"}, "gpu_model=a100"),
        ({"gres": "gpu"}, "gpu_model=a100"),
        ({}, "gpu_model='nvidia_a100-sxm4-80gb'"),
    ],
)
def test_models_that_the_plugin_would_refuse_or_mistake_are_refused_at_the_start(
    configfile, resources, asked
):
    with pytest.raises(WorkflowError, match=r"^--set-resources pretrain:gpu_model="):
        workflow_jobs(configfile, config={"resources": resources}, set_resources={"pretrain": [asked]})


def test_a_cluster_that_knows_only_gres_is_one_setting(configfile, crossed):
    commands = of_every_rule(configfile, crossed, config={"resources": {"gres": "gpu:a100"}})
    for name in GPU_RULES | {"finetune_full"}:
        assert all(option(command, "--gres") == "gpu:a100:1" for command in commands[name])
    assert not any("--gpus" in command for group in commands.values() for command in group)
    assert not any("--gres" in command for command in commands["finetune_frozen"])


def test_without_gpus_the_same_rules_ask_for_none(configfile, crossed):
    none = {"pretrain_gpus": "0", "embed_gpus": "0", "finetune_gpus": "0"}
    commands = of_every_rule(configfile, crossed, config={"resources": none})
    assert not any("gpu" in command for group in commands.values() for command in group)


def test_partition_and_account_are_one_line_each(configfile):
    from workflow_jobs import edited_profile

    asked = edited_profile((REPOSITORY / "slurm/config.yaml").read_text())["config"]["resources"]
    queues = {key: asked[key] for key in ("partition", "gpu_partition", "account")}
    jobs = workflow_jobs(
        configfile,
        config={"resources": queues},
        set_resources={"compare": ["slurm_partition=short"]},
    )
    for job in jobs:
        if job.rule.name in LOCAL_RULES:
            continue
        wanted = "gpu" if job.resources.get("gpu") else "short" if job.rule.name == "compare" else "cpu"
        assert job.resources.slurm_partition == wanted, job
        assert job.resources.slurm_account == "my_account"


def test_without_them_nothing_is_asked_for(configfile):
    assert not any(job.resources.get("slurm_partition") for job in workflow_jobs(configfile))
