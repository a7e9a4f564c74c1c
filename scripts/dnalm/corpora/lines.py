"""Sequences as a corpus: one per line, and what is counted of them."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file, sha256_of_file
from dnalm.sequences.columns import lines_of_table, open_text
from dnalm.sequences.strands import canonical, check_dna


def read_lines(path: Path) -> list[str]:
    """The sequences of a file with one per line, upper case; empty lines left out. Raises InputError."""
    sequences = []
    with open_text(path) as file:
        for number, line in enumerate(lines_of_table(path, file, number=0), start=1):
            sequence = line.strip()
            if number == 1 and sequence.startswith(">"):
                raise InputError(f"{path}: this is a FASTA file. Name it in the sheet of genomes.")
            if sequence:
                check_dna(f"{path} line {number}", sequence)
                sequences.append(sequence.upper())
    if not sequences:
        raise InputError(f"{path}: no sequences in it. Give a file with one sequence per line.")
    return sequences


def split_sequences(sequences: Sequence[str], validation_fraction: float) -> np.ndarray:
    """bool[n]: which sequences are held out, the share of the molecules with the smallest digests.

    At least one molecule is held out. Strands and copies of a molecule have the same digest.
    """
    digests = np.array(
        [
            int.from_bytes(hashlib.sha256(canonical(sequence).encode()).digest()[:8], "big")
            for sequence in sequences
        ],
        dtype=np.uint64,
    )
    molecules = np.unique(digests)
    held_out = max(1, round(validation_fraction * len(molecules)))
    return digests <= molecules[held_out - 1]


def write_lines(sequences: Iterable[str], path: Path) -> None:
    """Write the sequences, upper case, one per line."""
    with atomic_file(path) as temporary:
        temporary.write_text("".join(f"{sequence.upper()}\n" for sequence in sequences))


def describe_lines(
    name: str, source: str, train: Path, validation: Path, file: Path | None = None
) -> dict[str, Any]:
    """The statistics of a corpus of two files of lines, with the keys that genomes have too.

    `source` says where the sequences come from, `file` is the one, if they had one of their own. Lengths are
    in bp.
    """
    lines = {"train": train.read_text().splitlines(), "validation": validation.read_text().splitlines()}
    every = lines["train"] + lines["validation"]
    lengths = [len(line) for line in every]
    known = sum(line.count(base) for line in every for base in "ACGT")
    return {
        "genome": name,
        "source": source,
        "input": {"file": file.name, "sha256": sha256_of_file(file)} if file else None,
        "sequences": len(every),
        "bases": sum(lengths),
        "gc_content": sum(line.count("G") + line.count("C") for line in every) / known if known else 0.0,
        "length": {"shortest": min(lengths), "median": float(np.median(lengths)), "longest": max(lengths)},
        "windows": {split: len(of) for split, of in lines.items()},
        "sha256": {"train": sha256_of_file(train), "validation": sha256_of_file(validation)},
    }
