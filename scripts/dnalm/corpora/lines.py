"""Sequences as a corpus: one per line, and what is counted of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dnalm.running.files import atomic_file, sha256_of_file


def write_lines(sequences: Iterable[str], path: Path) -> None:
    """Write the sequences, upper case, one per line."""
    with atomic_file(path) as temporary:
        temporary.write_text("".join(f"{sequence.upper()}\n" for sequence in sequences))


def describe_lines(name: str, source: str, train: Path, validation: Path) -> dict[str, Any]:
    """The statistics of a corpus of two files of lines, with the keys that genomes have too.

    `source` says where the sequences come from. Lengths are in bp.
    """
    lines = {"train": train.read_text().splitlines(), "validation": validation.read_text().splitlines()}
    every = lines["train"] + lines["validation"]
    lengths = [len(line) for line in every]
    known = sum(line.count(base) for line in every for base in "ACGT")
    return {
        "genome": name,
        "source": source,
        "sequences": len(every),
        "bases": sum(lengths),
        "gc_content": sum(line.count("G") + line.count("C") for line in every) / known if known else 0.0,
        "length": {"shortest": min(lengths), "median": float(np.median(lengths)), "longest": max(lengths)},
        "windows": {split: len(of) for split, of in lines.items()},
        "sha256": {"train": sha256_of_file(train), "validation": sha256_of_file(validation)},
    }
