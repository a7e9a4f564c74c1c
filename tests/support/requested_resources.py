"""What every rule asks for in three runs of different size: the table of docs/cluster.md.

    python tests/support/requested_resources.py      or: make docs

The requests are those of the rules themselves, in a dry run whose input files are as large as real ones and
hold nothing.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from workflow_jobs import REPOSITORY, workflow_jobs

DOCUMENT = REPOSITORY / "docs" / "cluster.md"
BEGIN = "<!-- made by `make docs`: requests -->"
END = "<!-- end of requests -->"
# Rules that run where Snakemake runs.
LOCAL = ("all", "fetch_genome", "fetch_task", "fetch_tokenizer", "fetch_checkpoint", "write_configuration")
# A sequence of 200 bp with its label, in bytes.
ROW = 202
LETTERS = 1_000_000


@dataclass(frozen=True)
class Scenario:
    """A run: a preset with other settings, and how large its genome and its tables are."""

    title: str
    preset: str
    genome_bp: int
    train_rows: int
    test_rows: int
    resources: dict[str, Any]


SCENARIOS = (
    Scenario("course preset: 28 Mb, 2,000 sequences", "course", 28 * LETTERS, 2_268, 600, {}),
    Scenario(
        "human genome, 3.1 Gb, 10 epochs, 114 million parameters, 4 GPUs",
        "human",
        3_100 * LETTERS,
        20_000,
        2_000,
        {},
    ),
    Scenario("course preset, 1,000,000 labelled sequences", "course", 28 * LETTERS, 1_000_000, 100_000, {}),
)


def sparse(path: Path, size: int, header: str = "") -> Path:
    """A file of `size` bytes that takes no room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header)
    os.truncate(path, max(size, 1))
    return path


def configuration(scenario: Scenario, folder: Path) -> Path:
    """The preset, with inputs of the scenario's size in `folder` and what they become below its results."""
    config = yaml.safe_load((REPOSITORY / "config" / f"{scenario.preset}.yaml").read_text())
    results = folder / "results"
    genome = sparse(folder / "genome.fa", scenario.genome_bp)
    (folder / "genomes.tsv").write_text(f"genome\tfasta\ngenome\t{genome}\n")
    sizes = {"train": ROW * scenario.train_rows, "test": ROW * scenario.test_rows}
    tables = {split: sparse(folder / f"{split}.tsv", size, "seq\tlabel\n") for split, size in sizes.items()}
    (folder / "tasks.tsv").write_text(f"task\ttrain\ttest\nenhancers\t{tables['train']}\t{tables['test']}\n")
    config |= {"results": str(results), "genomes": f"{folder}/genomes.tsv", "tasks": f"{folder}/tasks.tsv"}
    config["resources"] = config.get("resources", {}) | scenario.resources
    for tokenizer in config["tokenizers"].values():
        if "source" in tokenizer:
            tokenizer["source"] = "owner/tokenizer"
    sparse(results / "windows" / "genome.train.txt", scenario.genome_bp)
    sparse(results / "windows" / "genome.validation.txt", scenario.genome_bp // 100)
    for split, size in (sizes | {"validation": sizes["train"] // 10}).items():
        sparse(results / "tasks" / "enhancers" / f"{split}.tsv", size)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def requests(scenario: Scenario) -> dict[str, str]:
    """By rule, in the order of the workflow: the largest request of its jobs, in words."""
    with tempfile.TemporaryDirectory() as scratch:
        jobs = workflow_jobs(configuration(scenario, Path(scratch).resolve()))
    largest: dict[str, dict[str, int]] = {}
    for job in jobs:
        if job.rule.name in LOCAL:
            continue
        asked = {name: job.resources.get(name) or 0 for name in ("mem_mb", "runtime", "gpu")}
        asked["cpus"] = job.resources.get("cpus_per_task") or job.threads
        name = f"{job.rule.name}, {job.wildcards.backbone}" if job.rule.name == "finetune" else job.rule.name
        before = largest.setdefault(name, asked)
        largest[name] = {key: max(before[key], value) for key, value in asked.items()}
    return {name: words(asked) for name, asked in sorted(largest.items())}


def words(asked: dict[str, int]) -> str:
    hours = asked["runtime"] / 60
    time = f"{asked['runtime']} min" if hours < 2 else f"{hours:.0f} h"
    gpus = f", {asked['gpu']} GPU{'s' if asked['gpu'] > 1 else ''}" if asked["gpu"] else ""
    cpus = f"{asked['cpus']} CPU{'s' if asked['cpus'] > 1 else ''}"
    return f"{cpus}, {asked['mem_mb'] / 1000:.1f} GB, {time}{gpus}"


def table() -> str:
    """The Markdown table."""
    asked = [requests(scenario) for scenario in SCENARIOS]
    names = sorted(set().union(*asked))
    rows = [["rule", *[scenario.title for scenario in SCENARIOS]], ["---"] * (1 + len(SCENARIOS))]
    rows += [[f"`{name}`", *[of_scenario.get(name, "") for of_scenario in asked]] for name in names]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def document(text: str) -> str:
    """docs/cluster.md with this table in its place."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    DOCUMENT.write_text(document(DOCUMENT.read_text()))
    print(f"wrote {DOCUMENT}")
