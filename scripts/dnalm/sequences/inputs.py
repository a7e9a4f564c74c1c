"""What kind of file holds sequences of any kind, and what can be told of it from its first lines.

Light: the workflow asks when it starts, hours before a model is there to read the file.
"""

import re
import zlib
from argparse import ArgumentParser
from pathlib import Path

from dnalm.running.errors import InputError
from dnalm.running.hints import either
from dnalm.sequences.bed import bed_fields, is_position, is_remark
from dnalm.sequences.columns import is_parquet, open_table
from dnalm.sequences.formats import FORMATS, HEAD_BYTES, decoded, head_of, lines_of, sequence_format
from dnalm.sequences.strands import IUPAC
from dnalm.sequences.vcf import is_vcf, vcf_fields

# What the kinds are called in messages.
KIND_NAMES = {**FORMATS, "bed": "BED", "vcf": "VCF", "table": "table"}
# Kinds that name places in a genome, which has to be there too.
OF_A_GENOME = ("bed", "vcf")


def add_input_flags(arguments: ArgumentParser) -> None:
    """Add `--input` and `--genome`, files of sequences of any kind."""
    add = arguments.add_argument
    add("--input", type=Path, required=True, help=either([*KIND_NAMES.values()]))
    add("--genome", type=Path, help="file of sequences in which regions (BED) or variants (VCF) lie")


def kind_of_input(path: Path) -> str:
    """A key of KIND_NAMES, by the first lines of the file, plain or compressed.

    Raises InputError where it cannot be read, and for reads and other binary files.
    """
    try:
        head = head_of(path)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{path}: cannot be read ({reason}). Fetch it again.") from None
    if form := sequence_format(head):
        return form
    if head.startswith(b"BCF"):
        raise InputError(f"{path}: a BCF file. Make it a VCF file first (bcftools view).")
    if head.startswith(_UTF_16):
        raise InputError(
            f'{path}: text in UTF-16. Save it in UTF-8 (in Excel: "CSV UTF-8"; BED and VCF: "Text (Tab '
            'delimited)").'
        )
    if b"\0" in head and not is_parquet(path):
        raise InputError(f"{path}: a binary file. Give {', '.join(FORMATS.values())}, BED, VCF or a table.")
    lines = [line for line in lines_of(decoded(head)) if line.strip()]
    if is_vcf(lines):
        return "vcf"
    if len(lines) > 2 and lines[0].startswith("@") and lines[2].startswith("+"):
        raise InputError(f"{path}: reads (FASTQ). Convert them to FASTA first.")
    lines = [line for line in lines if not is_remark(line)]
    fields = lines[0].split("\t") if lines else []
    return "bed" if len(fields) >= 3 and is_position(fields[1]) and is_position(fields[2]) else "table"


def refuse_variants(path: Path) -> None:
    """Raise InputError for a VCF file, where single sequences are asked for."""
    if kind_of_input(path) == "vcf":
        raise InputError(
            f"{path}: a VCF file holds variants, not sequences. Write the regions around them as BED (for "
            "instance 100 bp to either side), and give the genome."
        )


def require_variants(path: Path) -> None:
    """Raise InputError for what is no VCF file."""
    if (kind := kind_of_input(path)) != "vcf":
        raise InputError(f"{path}: variants are needed, a VCF file, but this is a {KIND_NAMES[kind]} file.")


def check_beginning(path: Path, kind: str) -> None:
    """Raise InputError for what is wrong in the first lines of a file of this kind."""
    if kind == "table" and not is_parquet(path):
        with open_table(path, ("seq",), {}):
            pass
    if kind not in ("bed", "vcf", "fasta"):
        return
    head = head_of(path)
    whole = len(head) < HEAD_BYTES
    lines = lines_of(decoded(head))
    # The last line may be cut in two.
    for number, row in enumerate(lines if whole else lines[:-1], start=1):
        if kind == "bed":
            bed_fields(row, f"{path} line {number}")
        elif kind == "vcf":
            vcf_fields(row, f"{path} line {number}")
        elif not row.startswith(">") and (letter := _NO_NUCLEOTIDE.search(row)):
            raise InputError(
                f"{path} line {number}: {letter[0]!r} is no nucleotide. DNA is needed: A, C, G, T and IUPAC "
                "codes such as N."
            )
    if kind == "fasta" and whole and not any(row.strip() and not row.startswith(">") for row in lines):
        raise InputError(f"{path}: no sequence below its headers. Was its copy cut short?")


_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_NO_NUCLEOTIDE = re.compile(f"[^{IUPAC}{IUPAC.lower()}\\s]")
