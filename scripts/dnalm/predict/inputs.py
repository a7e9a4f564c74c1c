"""What kind of file holds the sequences to classify."""

from pathlib import Path

from dnalm.running.errors import InputError
from dnalm.sequences.formats import FORMATS, head_of, sequence_format

# What the kinds are called in messages.
KIND_NAMES = {**FORMATS, "bed": "BED", "table": "table"}


def kind_of_input(path: Path) -> str:
    """A key of KIND_NAMES, by the first lines of the file, plain or compressed.

    Raises OSError or EOFError where it cannot be read, InputError for variants.
    """
    head = head_of(path)
    if form := sequence_format(head):
        return form
    lines = [line for line in head.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    if lines and lines[0].startswith(("##fileformat=VCF", "#CHROM\tPOS")):
        raise InputError(
            f"{path}: a VCF file holds variants, not sequences. Write the regions around them as BED (for "
            "instance 100 bp to either side), and give the genome."
        )
    lines = [line for line in lines if not line.startswith(("#", "track", "browser"))]
    fields = lines[0].split("\t") if lines else []
    return "bed" if len(fields) >= 3 and fields[1].isdecimal() and fields[2].isdecimal() else "table"
