"""Lines of VCF files. Light, so that the workflow can look at them before any job starts.

Source: The Variant Call Format Specification, version 4.3 (samtools.github.io/hts-specs/VCFv4.3.pdf).
"""

import re
from collections.abc import Iterable
from itertools import takewhile
from typing import NamedTuple

from dnalm.running.errors import InputError
from dnalm.sequences.strands import IUPAC

# The columns that say what the variant is; those of samples, which may be thousands, are not looked at.
COLUMNS = ("CHROM", "POS", "ID", "REF", "ALT")


class VariantLine(NamedTuple):
    """A line of a VCF file.

    start: of the reference allele in its chromosome, counted from 0 (in the file from 1).
    alternatives: upper case. What has no bases of its own, as <DEL>, * or a breakend, is not among them;
    `without_bases` says how many such there are. A point, for no variant, is one of them.
    """

    chromosome: str
    start: int
    id: str
    reference: str
    alternatives: list[str]
    without_bases: int


def is_vcf(lines: Iterable[str]) -> bool:
    """Whether the header, with which these lines begin, is that of a file of variants.

    All of it is looked at: without its first line, which some tools leave out, a file whose ids are numbers
    would pass for BED.
    """
    header = takewhile(lambda line: line.startswith("#"), lines)
    return any(line.startswith(("##fileformat=VCF", "#CHROM\tPOS")) for line in header)


def vcf_fields(row: str, place: str) -> VariantLine | None:
    """What a line of a VCF file says; None for one without a variant. Raises InputError naming `place`."""
    # Excel puts quotation marks around header lines.
    if not row.strip() or row.startswith(("#", '"##')):
        return None
    fields = row.split("\t", len(COLUMNS))
    if len(fields) < len(COLUMNS):
        raise InputError(f"{place}: {', '.join(COLUMNS)}, parted by tabs, were expected.")
    chromosome, position, id, reference, alternative = fields[: len(COLUMNS)]
    if not re.fullmatch("[0-9]{1,15}", position):
        raise InputError(f"{place}: the position is {position[:40]!r}. A whole number is needed.")
    alleles = alternative.strip().upper().split(",")
    alternatives = [allele for allele in alleles if _BASES.fullmatch(allele)]
    for allele in alleles:
        if not (_BASES.fullmatch(allele) or _WITHOUT_BASES.search(allele)):
            raise InputError(
                f"{place}: the alternative allele is {allele[:40]!r}. Bases, parted by commas, are needed."
            )
    reference = reference.upper()
    if alternatives and not _BASES.fullmatch(reference):
        raise InputError(f"{place}: the reference allele is {reference[:40]!r}. Bases are needed.")
    if alternatives and int(position) == 0:
        raise InputError(f"{place}: the position is 0. In VCF the first base of a chromosome is 1.")
    if id in ("", "."):
        id = f"{chromosome}:{position}"
    return VariantLine(
        chromosome, int(position) - 1, id, reference, alternatives, len(alleles) - len(alternatives)
    )


_BASES = re.compile(f"[{IUPAC}]+")
# Symbolic alleles (<DEL>, <NON_REF>), breakends (G]17:198982], .A), a deletion that another line tells (*),
# and no allele at all (.).
_WITHOUT_BASES = re.compile(r"^<.*>$|[][]|^\*$|^\.|\.$")
