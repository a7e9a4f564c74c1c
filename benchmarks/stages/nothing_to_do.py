"""A run with nothing left to do, and how long a large study takes to read, which every cluster job does."""

import random
from collections.abc import Iterator
from pathlib import Path

from measuring import ONE_THREAD, REPOSITORY, Bench, Limit, Row, Run, bounded, run

# Seconds at most.
NOTHING_TO_DO, PARSING = 4, 6

STUDY = """
genomes: genomes.tsv
tasks: tasks.tsv
tokenizers: {bpe: {train: {vocabulary_size: 128}}}
models: {small: {tokenizer: bpe, architecture: ARCHITECTURE, training: {steps: 10}}}
"""


def snakemake(folder: Path, configuration: Path, *words: object) -> Run:
    return run(
        ["snakemake", "--snakefile", REPOSITORY / "workflow/Snakefile", "--directory", folder,
         "--configfile", configuration, "--cores", 2, *words],
        ONE_THREAD,
    )  # fmt: skip


def write_study(folder: Path, genomes: int, tasks: int) -> Path:
    """The configuration of a study of so many small genomes and tasks."""
    folder.mkdir()
    letters = random.Random(1)
    rows = ["genome\tfasta\tvalidation"]
    for i in range(genomes):
        (folder / f"g{i}.fa").write_text(">chr1\nACGTACGT\n>chr2\nACGTACGT\n")
        rows.append(f"g{i}\tg{i}.fa\tchr2")
    (folder / "genomes.tsv").write_text("\n".join(rows) + "\n")
    rows = ["task\ttrain\ttest"]
    for i in range(tasks):
        for split in ("train", "test"):
            lines = [f"{''.join(letters.choices('ACGT', k=100))}\t{j % 2}\n" for j in range(40)]
            (folder / f"t{i}.{split}.tsv").write_text("seq\tlabel\n" + "".join(lines))
        rows.append(f"t{i}\tt{i}.train.tsv\tt{i}.test.tsv")
    (folder / "tasks.tsv").write_text("\n".join(rows) + "\n")
    path = folder / "config.yaml"
    path.write_text(STUDY.replace("ARCHITECTURE", str(REPOSITORY / "resources/architectures/demo.json")))
    return path


def measure(bench: Bench) -> Iterator[Row]:
    start = Limit(run(["snakemake", "--version"]).seconds, "start of Snakemake")
    growth = []
    for genomes, tasks in ((50, 12), (100, 25), (200, 50)):
        folder = bench.folder / f"study{genomes}"
        study = write_study(folder, genomes, tasks)
        growth.append((f"{genomes} x {tasks}", snakemake(folder, study, "--list-rules")))
    runs = [snakemake(folder, study, "--list-rules") for _ in range(bench.repeats)]
    yield bounded("parsing 200 genomes, 50 tasks", PARSING, "s", runs, limit=start, growth=growth)

    folder, short = bench.folder / "short", REPOSITORY / "tests/short/config.yaml"
    folder.mkdir()
    (folder / "tests").symlink_to(REPOSITORY / "tests")
    # The whole chain takes over a minute; its workflow is read as a whole in any case.
    until = ("--until", "tokenize_windows", "prepare_task") if bench.quick else ()
    snakemake(folder, short, "--quiet", *until)
    runs = [snakemake(folder, short, "--quiet", *until) for _ in range(bench.repeats)]
    stage = "nothing to do, up to tokens and tasks" if bench.quick else "nothing to do"
    yield bounded(stage, NOTHING_TO_DO, "s", runs, limit=start)
