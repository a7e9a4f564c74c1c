"""Other repositories use this workflow: as a module, from a git repository, deployed with snakedeploy."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from stand_in_conda import stand_in_for_conda
from workflow_jobs import REPOSITORY

COPIED = ("config", "envs", "resources", "scripts", "tests/short", "workflow", "LICENSE")
GITHUB = "https://github.com/somebody/dna-modernbert"


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """This repository as a git repository, under a name with a blank, with the tag v1."""
    folder = tmp_path_factory.mktemp("front door") / "dna-modernbert"
    for name in COPIED:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(REPOSITORY / name, folder / name)
    for name in folder.rglob("__pycache__"):
        shutil.rmtree(name)
    for command in (
        ("init", "-q", "-b", "main"),
        ("add", "-A"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "all"),
        ("tag", "v1"),
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    folder = tmp_path / "analysis"
    (folder / "workflow").mkdir(parents=True)
    return folder


def run(*command: str, cwd: Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def snakemake(*arguments: str, cwd: Path, environment: dict[str, str] | None = None) -> str:
    return run(
        sys.executable, "-m", "snakemake", "--cores", "2", *arguments, cwd=cwd, environment=environment
    )


def use_as_module(folder: Path, snakefile: str, *, configuration: str, name: str = "*") -> None:
    (folder / "workflow" / "Snakefile").write_text(
        f'configfile: "{configuration}"\n\n'
        f"module dna:\n    snakefile: {snakefile}\n    config: config\n\nuse rule * from dna{name}\n"
    )


@pytest.mark.parametrize("renamed", ["", " as dna_*"])
def test_another_repository_uses_the_workflow_as_a_module(clone, elsewhere, renamed):
    use_as_module(
        elsewhere, f'"{clone}/workflow/Snakefile"', configuration=f"{clone}/config/config.yaml", name=renamed
    )
    target = ["dna_all"] if renamed else []
    said = snakemake("-n", "-p", *target, cwd=elsewhere)
    assert "scripts/pretrain.py" in said
    # Found beside the workflow, since this directory has no resources/.
    assert "resources/architectures/demo.json" in said
    assert not (elsewhere / "resources").exists()


def test_a_file_of_the_working_directory_goes_first(clone, elsewhere):
    use_as_module(
        elsewhere, f'"{clone}/workflow/Snakefile"', configuration=f"{clone}/config/config.yaml", name=""
    )
    (elsewhere / "resources/architectures").mkdir(parents=True)
    shutil.copy(clone / "resources/architectures/demo.json", elsewhere / "resources/architectures")
    said = snakemake("-n", "-p", cwd=elsewhere)
    assert "--architecture resources/architectures/demo.json" in said


def test_the_workflow_runs_in_any_directory(clone, elsewhere):
    said = snakemake("-n", "-s", str(clone / "workflow/Snakefile"), cwd=elsewhere)
    assert "total" in said


def test_with_p_snakemake_tells_all_of_a_job(clone, elsewhere):
    flags = ("-n", "-p", "--set-resources", "pretrain:mem_mb=1234", "-s", str(clone / "workflow/Snakefile"))
    said = snakemake(*flags, cwd=elsewhere)
    pretrain = said.partition("rule pretrain:")[2].partition("Shell command:")[0]
    assert "results/models/demo" in pretrain and "mem_mb=1234" in pretrain


def write_two_runs(folder: Path, snakefile: Path, *, then: str = "") -> None:
    """A workflow with rules, and a configuration, of its own; `one` and `two` are runs of this one."""
    whole = {"samples": {1: "first"}}
    for name in ("one", "two"):
        short = yaml.safe_load((REPOSITORY / "tests/short/config.yaml").read_text())
        for key in ("genomes", "tasks"):
            sheet = (REPOSITORY / short[key]).read_text().replace(short["results"], f"out/{name}")
            (folder / f"{name}.{key}.tsv").write_text(sheet)
            short[key] = f"{name}.{key}.tsv"
        short["resources"]["partition"] = f"{name}_nodes"
        whole[name] = {**short, "results": f"out/{name}"}
    (folder / "config.yaml").write_text(yaml.safe_dump(whole))
    modules = "".join(
        f"module {name}:\n    snakefile: {str(snakefile)!r}\n    config: config[{name!r}]\n\n"
        f"use rule * from {name} as {name}_*\n\n"
        for name in ("one", "two")
    )
    (folder / "workflow" / "Snakefile").write_text(
        'configfile: "config.yaml"\n\n'
        'rule own:\n    input: "used.txt"\n    default_target: True\n\n'
        # Path variables of its own, which Snakemake hands down to modules.
        'pathvars:\n    results="own",\n    logs="own/logs",\n\n'
        'rule use:\n    log: "<logs>/use.log"\n'
        '    input: "out/one/windows/simulated.stats.json", "out/two/tokenizers/short.json"\n'
        '    output: "used.txt"\n    resources: slurm_partition="own_nodes"\n'
        '    shell: "cat {input} > {output}"\n\n' + modules + then
    )


def test_two_runs_stand_in_a_workflow_with_rules_of_its_own(clone, elsewhere):
    queues = "".join(
        f"print({rule!r}, workflow.get_rule({rule!r}).resources['slurm_partition'])\n"
        for rule in ("use", "one_pretrain", "two_pretrain")
    )
    changed = "use rule pretrain from one as one_* with:\n    threads: 7\n\n"
    write_two_runs(elsewhere, clone / "workflow/Snakefile", then=changed + queues)
    said = snakemake("-n", "-p", cwd=elsewhere)
    assert "--log out/two/logs/train_tokenizer/short.log" in said and "log: own/logs/use.log" in said
    # It decides itself what is made if nothing is asked for, and where its own steps run.
    ran = {words[0] for line in said.splitlines() if (words := line.split()) and words[-1] == "1"}
    assert {"own", "use", "one_extract_windows", "two_train_tokenizer"} <= ran
    assert not {"one_all", "two_all", "one_train_tokenizer"} & ran
    for rule, queue in {"use": "own", "one_pretrain": "one", "two_pretrain": "two"}.items():
        assert re.search(rf"^{rule} .*{queue}_nodes", said, re.MULTILINE)
    # Steps that need the internet run where Snakemake runs, under whatever name.
    assert "localrules" not in said


def test_rules_around_it_may_make_what_it_reads(clone, elsewhere, dry_runs):
    config = yaml.safe_load((clone / "config/config.yaml").read_text())
    asked = {"input": "made/peaks.bed", "genome": "made/genome.fa", "model": "demo"}
    config |= {
        "genomes": "genomes.tsv",
        "tasks": "tasks.tsv",
        "simulate_demo": None,
        "predict": {"new": asked | {"task": "enhancers", "backbone": "full"}},
        "corpora": {"reads": {"lines": "made/reads.txt"}},
    }
    (elsewhere / "config.yaml").write_text(yaml.safe_dump({"dna": config}))
    (elsewhere / "genomes.tsv").write_text("genome\tfasta\nmine\tmade/genome.fa\n")
    (elsewhere / "tasks.tsv").write_text("task\ttrain\ttest\nenhancers\tmade/train.tsv\tmade/test.tsv\n")
    module = (
        f'configfile: "config.yaml"\n\nmodule dna:\n    snakefile: "{clone}/workflow/Snakefile"\n'
        '    config: config["dna"]\n\nuse rule * from dna as dna_*\n'
    )
    maker = 'rule make:\n    output: "made/{file}"\n    shell: "touch {output}"\n\n'
    (elsewhere / "workflow" / "Snakefile").write_text(maker + module)
    jobs = dry_runs.jobs(elsewhere, "dna_all")
    assert jobs["make"] == {
        f"file={name}" for name in ("genome.fa", "train.tsv", "test.tsv", "peaks.bed", "reads.txt")
    }
    assert jobs["dna_predict"] == {"name=new"}
    (elsewhere / "workflow" / "Snakefile").write_text(module)
    with pytest.raises(RuntimeError, match="no such file: made/reads"):
        dry_runs.jobs(elsewhere, "dna_all")


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ("config['two']", "config['two'] | {'titel': 1}", "configuration of a module: unknown key titel."),
        (
            "\nmodule two",
            "\nconfig['two']['titel'] = 1\n\nmodule two",
            "config.yaml: two: unknown key titel.",
        ),
        (
            "config: config['two']",
            "config: config['two']\n    prefix: 'below'",
            "prefix:, replace_prefix: or pathvars: of",
        ),
        (
            "use rule * from two as two_*\n",
            "use rule * from two as two_*\nuse rule embed from two as two_* with:\n    resources: mem_mb=9\n",
            "replaces all resources of two_embed, its GPUs too. Take it out",
        ),
        (
            "config: config['two']",
            "config: config['two']\n    pathvars:\n        results='below'",
            "prefix:, replace_prefix: or pathvars: of",
        ),
        ("configfile:", "import sheets\n\nconfigfile:", "sheets.py was read before this workflow"),
    ],
)
def test_a_workflow_that_uses_this_one_wrongly_is_told_so(clone, elsewhere, dry_runs, old, new, expected):
    write_two_runs(elsewhere, clone / "workflow/Snakefile")
    (elsewhere / "workflow" / "sheets.py").write_text("")
    snakefile = elsewhere / "workflow" / "Snakefile"
    assert snakefile.read_text().count(old) == 1
    snakefile.write_text(snakefile.read_text().replace(old, new))
    with pytest.raises(RuntimeError, match=re.escape(expected)):
        dry_runs.jobs(elsewhere)


@pytest.mark.slow
def test_a_module_really_runs(clone, elsewhere):
    short = yaml.safe_load((clone / "tests/short/config.yaml").read_text())
    (elsewhere / "config.yaml").write_text(yaml.safe_dump({**short, "results": "out"}))
    use_as_module(elsewhere, f'"{clone}/workflow/Snakefile"', configuration="config.yaml", name="")
    # The sheets of the short run name the simulation below its own results.
    for sheet in ("genomes", "tasks"):
        text = (clone / f"tests/short/{sheet}.tsv").read_text()
        (elsewhere / "tests/short").mkdir(parents=True, exist_ok=True)
        (elsewhere / f"tests/short/{sheet}.tsv").write_text(text.replace(short["results"], "out"))
    name = next(iter(short["models"]))
    snakemake(f"out/models/{name}.json", cwd=elsewhere)
    assert (elsewhere / f"out/models/{name}/model.safetensors").is_file()
    # Nothing is left in the repository.
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True)
    assert [line for line in status.stdout.splitlines() if "__pycache__" not in line] == []
    assert "Nothing to be done" in snakemake(
        f"out/models/{name}.json", "--rerun-triggers", "mtime", "params", "input", cwd=elsewhere
    )


def test_a_workflow_may_say_why_a_step_of_its_module_failed(clone, elsewhere):
    config = yaml.safe_load((clone / "config/config.yaml").read_text())
    (elsewhere / "config.yaml").write_text(yaml.safe_dump(config | {"tasks": "tasks.tsv"}))
    (elsewhere / "tasks.tsv").write_text("task\ttrain\tfolds\nrna\trna.tsv\t2\n")
    (elsewhere / "rna.tsv").write_text("seq\tlabel\nACGU\t1\n")
    use_as_module(elsewhere, f'"{clone}/workflow/Snakefile"', configuration="config.yaml", name=" as dna_*")
    with (elsewhere / "workflow/Snakefile").open("a") as snakefile:
        snakefile.write("\nonerror:\n    dna.onerror()\n")
    with pytest.raises(AssertionError, match=r"error in .*prepare_task/rna.log: rna.tsv line 2: 'U' at"):
        snakemake("results/tasks/rna/checks.json", cwd=elsewhere)


def test_a_module_is_read_from_a_git_repository(clone, elsewhere):
    use_as_module(
        elsewhere,
        f'gitfile("{clone}", path="workflow/Snakefile", tag="v1")',
        configuration=f"{clone}/config/config.yaml",
        name="",
    )
    commit = subprocess.run(
        ["git", "rev-parse", "v1"], cwd=clone, capture_output=True, text=True
    ).stdout.strip()
    said = snakemake("-n", "-p", cwd=elsewhere)
    assert f".snakemake/dna-modernbert/{commit}/scripts/pretrain.py" in said


@pytest.mark.slow
def test_snakedeploy_deploys_from_github_and_the_demo_starts(clone, tmp_path):
    pytest.importorskip("snakedeploy", reason="snakedeploy is not installed")
    # git asks this clone in place of GitHub.
    offline = {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": f"url.{clone}.insteadOf",
        "GIT_CONFIG_VALUE_0": GITHUB,
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": "*",
    }
    deployed = tmp_path / "deployed"
    program = Path(sys.executable).parent / "snakedeploy"
    run(program, "deploy-workflow", GITHUB, deployed, "--tag", "v1", cwd=tmp_path, environment=offline)
    assert 'tag="v1"' in (deployed / "workflow/Snakefile").read_text()
    assert "total" in snakemake("-n", cwd=deployed, environment=offline)
    snakemake("results/windows/simulated.stats.json", cwd=deployed, environment=offline)
    assert (deployed / "results/windows/simulated.stats.json").is_file()


@pytest.mark.parametrize("profile", ["cores", "lsf", "gridengine", "kubernetes"])
def test_the_example_profiles_of_other_executors_work(profile, monkeypatch, tmp_path):
    if profile != "cores":
        executors = Path(sys.prefix) / "executors"
        plugin = "cluster_generic" if profile == "gridengine" else profile
        if not (executors / f"snakemake_executor_plugin_{plugin}").is_dir():
            pytest.skip("the plugin is not installed (make .venv/executors/installed)")
        monkeypatch.setenv("PYTHONPATH", str(executors))
    conda = stand_in_for_conda(tmp_path / "conda")
    path = {"PATH": f"{conda / 'bin'}:{os.environ['PATH']}"}
    # The example's volume is not here.
    volume = ["--default-storage-prefix", str(REPOSITORY)] if profile == "kubernetes" else []
    # The demo may have been run here.
    options = ("-n", "--forceall", "--profile", f"workflow/profiles/{profile}", *volume)
    said = snakemake(*options, cwd=REPOSITORY, environment=path)
    assert f"workflow/profiles/{profile}" in said and "pretrain" in said
    assert profile in (REPOSITORY / "docs/executors.md").read_text()
