"""Folders and files whose names hold blanks and dots, or that lie in a storage."""

import re
import shlex
import subprocess

import pytest
import yaml
from snakemake_process import snakemake
from workflow_jobs import REPOSITORY, workflow_jobs

# A shell that read it would do something.
FOLDER = "my run.v1;touch $(id)&`id`|#!"


@pytest.fixture(scope="module")
def jobs(tmp_path_factory) -> list:
    """A run of every section, in a folder and with files of such names."""
    folder = tmp_path_factory.mktemp("a folder") / FOLDER
    folder.mkdir()
    results = folder / "results"
    labelled = f"{results}/simulation/train.tsv"
    for name, text in {
        "genomes": f"genome\tfasta\nsimulated\t{results}/simulation/genome.fa.gz\n",
        "tasks": "task\ttrain\ttest\tfolds\n"
        f"split\t{labelled}\t{results}/simulation/test.tsv\t\ncrossed\t{labelled}\t\t4\n",
        "sequences": f"id\tseq\nfirst\t{'ACGTTGCA' * 25}\n",
    }.items():
        (folder / f"{name}.tsv").write_text(text)
    config = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    config |= {name: f"{folder}/{name}.tsv" for name in ("genomes", "tasks")}
    config["finetune"] |= {"backbones": ["frozen", "full"]}
    asked = {"input": f"{folder}/sequences.tsv", "model": "demo"}
    config |= {
        "results": f"{results}/",
        "embed_sequences": {"new": asked},
        "predict": {"new": asked | {"task": "crossed", "backbone": "full"}},
        "publish": {"given": {"model": "demo", "task": "split", "backbone": "full"}},
        "study": {"model": "demo", "vary": {"finetune.pooling": ["mean", "cls"]}},
        "published": "resources/published.tsv",
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return workflow_jobs(path)


def test_they_are_one_word_of_every_command(jobs):
    scripts = set()
    for job in jobs:
        words = shlex.split(job.shellcmd or "")
        scripts.update(word for word in words if word.endswith(".py"))
        # One that was cut at its blank has a half of the name only.
        assert not [word for word in words if word.endswith(" my") or word.endswith("/my")], job.shellcmd
    assert len(scripts) > 20


def test_no_shell_obeys_them(jobs, tmp_path):
    """What bash hands to a script are the words of its command, and nothing else has happened."""
    commands = [job.shellcmd for job in jobs if (job.shellcmd or "").startswith("exec ")]
    # Some have their words written to a pipe, by the shell.
    commands = [
        re.sub(r" - < <\(printf '%s\\0' (.*)\)$", r" \1", command, flags=re.DOTALL) for command in commands
    ]
    said = [command.replace("exec ", "printf '%s\\0' ", 1) + "; printf '\\n\\0'" for command in commands]
    script = tmp_path / "commands.sh"
    script.write_text("\n".join(said))
    folder = tmp_path / "empty"
    folder.mkdir()
    done = subprocess.run(["bash", script], cwd=folder, capture_output=True, text=True, check=True)
    assert [words.split("\0")[:-1] for words in done.stdout.split("\n\0")[:-1]] == [
        shlex.split(command)[1:] for command in commands
    ]
    assert len(commands) > 20 and not any(folder.iterdir()) and not done.stderr


def test_a_slash_behind_the_folder_of_results_is_none_of_its_name(jobs):
    assert not [file for job in jobs for file in job.output if "//" in file]


def test_what_a_command_reads_may_lie_in_a_storage(tmp_path):
    pytest.importorskip("snakemake_storage_plugin_fs", reason="the plugin is not installed")
    config = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    asked = {"input": "regions.bed", "genome": "genome.fa", "model": "demo"}
    config |= {name: str(REPOSITORY / config[name]) for name in ("genomes", "tasks")}
    config |= {
        "embed_sequences": {"new": asked},
        "predict": {"new": asked | {"task": "enhancers", "backbone": "full"}},
    }
    here, storage = tmp_path / "here", tmp_path / "storage"
    for folder in (here, storage):
        folder.mkdir()
        (folder / "regions.bed").write_text("chr1\t0\t50\n")
        (folder / "genome.fa").write_text(f">chr1\n{'ACGTTGCA' * 25}\n")
    (here / "config.yaml").write_text(yaml.safe_dump(config))
    options = {
        "snakefile": REPOSITORY / "workflow/Snakefile",
        "configfile": "config.yaml",
        "default-storage-provider": "fs",
        "default-storage-prefix": storage,
    }
    done = snakemake(here, "-n", "-p", *(f"--{key}={value}" for key, value in options.items()))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    # A word may be a sheet, of several lines.
    commands = re.findall(r"^Shell command: (exec .*?)\n\n", done.stdout, re.DOTALL | re.MULTILINE)
    words = {word for line in commands for word in shlex.split(line)}
    assert any(word.endswith(f"{storage}/genome.fa") for word in words)
    # Checkpoints and event files stay where they are written.
    kept = ("results/checkpoints", "results/logs/")
    outside = [word for word in words if word.startswith(("results/", "genome.fa", "regions.bed"))]
    assert [word for word in outside if not word.startswith(kept)] == []
