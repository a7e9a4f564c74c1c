"""Make a task sheet of a published suite of classification tasks, as it lies on the disk after its download.

In:  a folder in one of these layouts, told apart by what is in it, at any depth:

     GUE (DNABERT-2)                  TASK/{train,dev,test}.csv with the columns sequence and label
     Nucleotide Transformer tasks     TASK/{train,test}.fna, records whose header ends with |LABEL
     Genomic Benchmarks               TASK/{train,test}/LABEL/*.txt, one sequence in each file

Out: a folder with tasks.tsv, which `tasks` of a configuration may name, and for the latter two layouts one
     table with id, seq and label per split; the CSV files of GUE are named where they are.

A task is called like its folder, behind the name of the folder above where that is below the suite's and says
more (tf_0, EMP_H3). A split called dev, val or valid is the validation split; without one the workflow makes
it of the training sequences. The published splits stay as they are: what leaks between them is found,
reported and dropped by the workflow.
"""

import csv
import gzip
import logging
import os
import re
import zlib
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from Bio.SeqIO.FastaIO import SimpleFastaParser

from dnalm.running.commandline import parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file
from dnalm.sequences.tables import read_rows, write_labelled_table

logger = logging.getLogger("dnalm")

SPLITS = {"train": "train", "dev": "validation", "val": "validation", "valid": "validation", "test": "test"}
SUFFIXES = (".csv", ".csv.gz", ".fna", ".fna.gz", ".fasta", ".fasta.gz", ".fa", ".fa.gz")
COLUMNS = ("train", "validation", "test")


def main(suite: Path, output: Path) -> None:
    """Find the tasks, write their tables where they are not tables already, and the sheet."""
    if not suite.is_dir():
        raise InputError(f"{suite}: no such folder. Give the folder into which the suite was unpacked.")
    tasks = find_tasks(suite)
    if not tasks:
        raise InputError(
            f"{suite}: no folder in it holds a train and a test split as GUE (train.csv, test.csv), the "
            "Nucleotide Transformer tasks (train.fna, test.fna) or Genomic Benchmarks (train/LABEL/*.txt) do."
        )
    rows = []
    for name, splits in tasks.items():
        tables = {split: as_table(path, output / name / f"{split}.tsv") for split, path in splits.items()}
        rows.append([name, *(str(tables.get(split, "")) for split in COLUMNS)])
        logger.info("%s: %s", name, ", ".join(splits))
    sheet = output / "tasks.tsv"
    with atomic_file(sheet) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(["task", *COLUMNS])
        table.writerows(rows)
    plural = "" if len(rows) == 1 else "s"
    logger.info("%s: %d task%s. Name it under `tasks` in a configuration.", sheet, len(rows), plural)


def find_tasks(suite: Path) -> dict[str, dict[str, Path]]:
    """Every folder with a training and a test split: name of the task -> split -> file or folder.

    Raises InputError where two files are the same split, or two tasks would have the same name.
    """
    tasks: dict[str, dict[str, Path]] = {}
    for folder in [suite, *sorted(path for path in suite.rglob("*") if path.is_dir())]:
        splits: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            split = split_of(path)
            if split in splits:
                raise InputError(f"{path}: {splits[split].name} is the {split} split already. Remove one.")
            if split:
                splits[split] = path
        if {"train", "test"} <= splits.keys():
            name = task_name(folder, suite)
            if name in tasks:
                raise InputError(f"{folder}: there is a task {name} already. Rename the folder.")
            tasks[name] = {split: splits[split] for split in COLUMNS if split in splits}
    return tasks


def split_of(path: Path) -> str | None:
    """The split that a file or a folder of classes holds; None for anything else."""
    if path.is_dir():
        classes = [folder for folder in path.iterdir() if folder.is_dir()]
        return SPLITS.get(path.name) if classes and all(any(c.glob("*.txt")) for c in classes) else None
    suffix = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)
    return SPLITS.get(path.name.removesuffix(suffix)) if suffix else None


def task_name(folder: Path, suite: Path) -> str:
    """`tf_0` of tf/0, `prom_300_tata` of prom/prom_300_tata, `human_or_worm` of human_or_worm."""
    parts = folder.relative_to(suite).parts or (folder.resolve().name,)
    above = parts[-2] if len(parts) > 1 else ""
    name = parts[-1] if not above or parts[-1].startswith(above) else f"{above}_{parts[-1]}"
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def as_table(path: Path, output: Path) -> Path:
    """A table as it is, made absolute; of FASTA or a folder of classes the table that is written to `output`.

    Raises InputError for what has no sequences or labels.
    """
    if path.name.endswith((".csv", ".csv.gz")):
        read_rows(path)
        return path.resolve()
    try:
        records = list(class_records(path) if path.is_dir() else fasta_records(path))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}). Fetch it again.") from None
    if not records:
        raise InputError(f"{path}: no sequences. Fetch it again.")
    output.parent.mkdir(parents=True, exist_ok=True)
    rows = pd.DataFrame(records, columns=["id", "seq", "label"])
    write_labelled_table(output, rows)
    # As users' tables are read, so that what is wrong shows here.
    read_rows(output)
    return output.resolve()


def fasta_records(path: Path) -> Iterator[tuple[str, str, str]]:
    """Id, sequence and label of every record; ids are numbered, since published names occur twice."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
        for number, (header, sequence) in enumerate(SimpleFastaParser(file), start=1):
            name, bar, label = header.strip().rpartition("|")
            if not bar or not label:
                raise InputError(f"{path}: the header >{header[:60]} does not end with |LABEL.")
            yield f"{number}:{name.split()[0] if name else ''}", sequence.upper(), label


def class_records(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Id, sequence and label of every file of a folder of classes."""
    for label in sorted(path for path in folder.iterdir() if path.is_dir()):
        names = [entry.name for entry in os.scandir(label) if entry.name.endswith(".txt")]
        # By length first: numbers by value.
        for name in sorted(names, key=lambda name: (len(name), name)):
            yield f"{label.name}:{Path(name).stem}", (label / name).read_text().strip().upper(), label.name


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--suite", type=Path, required=True, help="folder of the suite")
    arguments.add_argument("--output", type=Path, required=True, help="folder for tasks.tsv and tables")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
