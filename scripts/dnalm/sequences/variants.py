"""Variants of a genome: the alleles of VCF files, and the sequences around them with either allele."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from dnalm.running.errors import InputError
from dnalm.sequences.fasta import read_blocks
from dnalm.sequences.formats import decoded
from dnalm.sequences.names import check_readable, spelt_otherwise
from dnalm.sequences.records import as_file
from dnalm.sequences.regions import Region, bases_of, not_there
from dnalm.sequences.vcf import COLUMNS, vcf_fields
from dnalm.sequences.windows import Window

# Memory for the alleles that are looked up in one pass over the genome. Measured: 1,000 bytes each, and three
# for each base, since those of the pass before are still there.
PASS_BYTES = 750_000_000
ALLELE_BYTES, BASE_BYTES = 1_000, 3
# Bytes of a line that are read: what stands behind them is of samples, of which there may be a million.
LINE_BYTES = 1 << 20
# The same where the alleles, written out, are longer.
LONGEST_ALLELES_BYTES = 1 << 26
# Of sequences that the genome lacks, in the log.
NAMES_SAID = 5


@dataclass(frozen=True)
class Allele:
    """An alternative allele beside that of the reference, both in upper case.

    start: of the reference allele in its chromosome, counted from 0. line: in the VCF file, counted from 1.
    """

    chromosome: str
    start: int
    id: str
    reference: str
    alternative: str
    line: int

    @property
    def end(self) -> int:
        """Where the reference allele ends, not included."""
        return self.start + len(self.reference)


@dataclass
class AllelesLeftOut:
    """How many alleles have no row in the output, by reason, and how many were read.

    window: in bp; where none is given nothing is left out for its length or for unknown bases. only_as_long:
    whether those shorter or longer than the reference allele are left out.
    """

    window: int = 0
    max_unknown_fraction: float = 1.0
    only_as_long: bool = False
    read: int = 0
    without_bases: int = 0
    of_other_length: int = 0
    long: int = 0
    unknown: int = 0
    # By the name of the sequence, and what one of them is perhaps called in the genome.
    not_in_genome: Counter[str] = field(default_factory=Counter)
    spelt_otherwise: tuple[str, str] | None = None

    @property
    def in_passing(self) -> int:
        """How many of those that `read_vcf` gave are left out by what the genome says."""
        return self.long + self.unknown + self.not_in_genome.total()

    def say(self, path: Path) -> str:
        """A sentence for the log; empty where every allele has a row."""
        names = [f"{name} {number:,}" for name, number in self.not_in_genome.most_common(NAMES_SAID)]
        more = len(self.not_in_genome) - len(names)
        absent = ", ".join(names) + (f" and {more:,} more names" if more else "")
        unknown = f"with more than {self.max_unknown_fraction:.0%} of the window not A, C, G or T"
        reasons = {
            "without bases of their own (<DEL>, *, breakends, no alternative)": self.without_bases,
            "shorter or longer than the reference": self.of_other_length,
            f"longer than half a window of {self.window} bp": self.long,
            f"{unknown} (max_unknown_fraction)": self.unknown,
            f"on sequences that the genome does not have ({absent})": self.not_in_genome.total(),
        }
        left_out = sum(reasons.values())
        listed = ", ".join(f"{number:,} {reason}" for reason, number in reasons.items() if number)
        if self.spelt_otherwise:
            name, there = self.spelt_otherwise
            listed += (
                f". Is {name} the genome's {there}? Then give both one name (bcftools annotate --rename-chrs)"
            )
        return f"{path}: {left_out:,} of {self.read:,} alleles have no row: {listed}" if left_out else ""


def read_vcf(path: Path, left_out: AllelesLeftOut) -> Iterator[Allele]:
    """The alternative alleles of a VCF file, plain or compressed, in the order of the file.

    Those without bases are counted in `left_out`. Raises InputError naming the line.
    """
    file, line = as_file(_with_line_feeds(read_blocks(path))), 0
    while row := file.readline(LINE_BYTES):
        line += 1
        rest = row
        while len(rest) == LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(LINE_BYTES)
            if row.count(b"\t") < len(COLUMNS) and len(row) < LONGEST_ALLELES_BYTES:
                row += rest
        variant = vcf_fields(decoded(row.rstrip(b"\r\n")), f"{path} line {line}")
        if variant is None:
            continue
        try:
            check_readable(variant.id)
        except ValueError as error:
            raise InputError(f"{path} line {line}: {error}") from None
        left_out.read += len(variant.alternatives) + variant.without_bases
        left_out.without_bases += variant.without_bases
        for alternative in variant.alternatives:
            if left_out.only_as_long and len(alternative) != len(variant.reference):
                left_out.of_other_length += 1
                continue
            yield Allele(variant.chromosome, variant.start, variant.id, variant.reference, alternative, line)


def _with_line_feeds(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Text, which comes in blocks; carriage returns alone, as Excel for Mac writes, become line feeds."""
    first = next(blocks, b"")
    blocks = chain([first], blocks)
    if b"\r" in first and b"\n" not in first:
        return (block.replace(b"\r", b"\n") for block in blocks)
    return blocks


def surroundings(
    path: Path, genome: Path, left_out: AllelesLeftOut, flank: int
) -> Iterator[tuple[Allele, str, str, str]]:
    """Each allele of a VCF file with the bases of the genome before, in place of and behind it, upper case.

    Before and behind are `flank` bases, fewer where a chromosome ends. Alleles on sequences that the genome
    lacks, as decoys and other assemblies' mitochondria, are counted in `left_out`. Raises InputError, naming
    the line, where none has its sequence there, or where the genome has other bases than those of the
    reference allele. Where either has an IUPAC code that is no base, they may differ.
    """
    absent: Region | None = None
    there = False
    lengths: dict[str, int] = {}
    for some in passes(read_vcf(path, left_out), flank):
        regions = [
            Region(a.chromosome, max(0, a.start - flank), a.end + flank, a.id, "+", a.line) for a in some
        ]
        found, lengths = bases_of(regions, genome)
        for allele, region, letters in zip(some, regions, found, strict=True):
            if allele.chromosome not in lengths:
                absent = absent or region
                left_out.not_in_genome[allele.chromosome] += 1
                continue
            there = True
            bases = letters.decode("ascii").upper()
            begin = allele.start - region.start
            end = begin + len(allele.reference)
            if len(bases) < end:
                raise InputError(
                    f"{path} line {allele.line}: the reference allele ends at {allele.end}, but "
                    f"{allele.chromosome} has {lengths[allele.chromosome]} bases. Use the genome that the "
                    "variants belong to."
                )
            if not _agree(allele.reference, bases[begin:end]):
                swapped = bases[begin:end] == allele.alternative
                raise InputError(
                    f"{path} line {allele.line}: the reference allele is {_short(allele.reference)}, but "
                    f"{genome} has {_short(bases[begin:end])} at position {allele.start + 1} of "
                    f"{allele.chromosome}. Use the genome that the variants belong to{_SWAPPED * swapped}."
                )
            yield allele, bases[:begin], bases[begin:end], bases[end:]
    if absent and not there:
        raise not_there(absent, path, genome, lengths)
    commonest = (name for name, _ in left_out.not_in_genome.most_common())
    left_out.spelt_otherwise = spelt_otherwise(commonest, lengths)


# PLINK 1 knows the more frequent allele, not that of the reference.
_SWAPPED = (
    ", or, if the two alleles are swapped, as PLINK may write them, swap them back (plink2 --ref-from-fa "
    "force, or bcftools norm --check-ref s)"
)


def passes(alleles: Iterator[Allele], flank: int) -> Iterator[list[Allele]]:
    """The alleles, as many at a time as have room in PASS_BYTES with `flank` bases before and behind each."""
    some, taken = [], 0
    for allele in alleles:
        some.append(allele)
        taken += ALLELE_BYTES + BASE_BYTES * (2 * flank + len(allele.reference)) + len(allele.alternative)
        if taken >= PASS_BYTES:
            yield some
            some, taken = [], 0
    if some:
        yield some


def _agree(reference: str, bases: str) -> bool:
    return reference == bases or all(
        a == b or a not in "ACGT" or b not in "ACGT" for a, b in zip(reference, bases, strict=True)
    )


def _short(bases: str) -> str:
    return bases if len(bases) <= 20 else f"{bases[:20]}…"


def allele_windows(
    path: Path, genome: Path, left_out: AllelesLeftOut
) -> Iterator[tuple[Allele, Window, Window]]:
    """Each allele of a VCF file with two windows: the reference's, and the same with the allele put in.

    How long the first is `left_out` says, which counts what is passed over. The reference allele stands in
    its middle, or nearer to an end where its chromosome ends. The place of both is the reference's.
    """
    window = left_out.window
    for allele, left, there, right in surroundings(path, genome, left_out, window):
        if max(len(allele.reference), len(allele.alternative)) > window // 2:
            left_out.long += 1
            continue
        begin, reference, alternative = either_window(left, there, allele.alternative, right, window)
        if len(reference) - sum(map(reference.count, "ACGT")) > left_out.max_unknown_fraction * len(
            reference
        ):
            left_out.unknown += 1
            continue
        start = allele.start - len(left) + begin
        place = (allele.chromosome, start, start + len(reference), allele.id)
        yield allele, Window(*place, reference), Window(*place, alternative)


def either_window(
    left: str, reference: str, alternative: str, right: str, window: int
) -> tuple[int, str, str]:
    """Where in left + reference + right a window begins, its bases, and those with the alternative.

    Around the alternative stand the same bases as around the reference, so that it alone makes the
    difference. Were both windows as long, an indel would let other bases in or out at their end: measured,
    these moved a classifier as much as the indel did (docs/variants.md).
    """
    bases = left + reference + right
    centred = len(left) - (window // 2 - len(reference) // 2)
    begin = max(0, min(centred, len(bases) - window))
    end = min(begin + window, len(bases))
    return begin, bases[begin:end], left[begin:] + alternative + bases[len(left) + len(reference) : end]
