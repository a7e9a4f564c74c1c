"""What kind of file holds the sequences to classify."""

import gzip
from pathlib import Path


def kind_of_input(path: Path) -> str:
    """`fasta`, `bed` or `table`, by the first lines of the file, plain or gzip.

    Raises OSError where it cannot be read.
    """
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else open(path, "rb") as file:
        head = file.read(65536)
    lines = [line for line in head.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    if lines and lines[0].startswith(">"):
        return "fasta"
    lines = [line for line in lines if not line.startswith(("#", "track", "browser"))]
    fields = lines[0].split("\t") if lines else []
    return "bed" if len(fields) >= 3 and fields[1].isdecimal() and fields[2].isdecimal() else "table"
