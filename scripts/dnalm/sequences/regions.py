"""Regions of a genome: BED files, and the bases that they name."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dnalm.running.errors import InputError
from dnalm.sequences.bed import bed_fields
from dnalm.sequences.fasta import read_blocks
from dnalm.sequences.formats import decoded, lines_of
from dnalm.sequences.names import check_name, name_hint
from dnalm.sequences.records import as_file, stream_sequences

# In bytes.
LONGEST_LINE = 1 << 20


@dataclass(frozen=True)
class Region:
    """A line of a BED file. `line` is counted from 1."""

    chromosome: str
    start: int
    end: int
    name: str
    strand: str
    line: int


def read_bed(path: Path) -> list[Region]:
    """The regions of a BED file. Raises InputError naming the line."""
    regions = []
    for line, row in enumerate(_lines(path), start=1):
        fields = bed_fields(row, f"{path} line {line}")
        if fields is None:
            continue
        chromosome, start, end = fields[0], int(fields[1]), int(fields[2])
        name = fields[3] if len(fields) > 3 and fields[3] else f"{chromosome}:{start}-{end}"
        try:
            check_name(name)
        except ValueError as error:
            raise InputError(f"{path} line {line}: {error}") from None
        regions.append(Region(chromosome, start, end, name, fields[5] if len(fields) > 5 else "+", line))
    if not regions:
        raise InputError(f"{path}: no regions in this BED file.")
    return regions


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text file, plain or compressed, however long it is. Raises InputError."""
    file, number = as_file(read_blocks(path)), 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE:
            raise InputError(f"{path} line {number}: too long for a line of BED. Is this another file?")
        yield from lines_of(decoded(line.rstrip(b"\r\n")))


def read_regions(regions: list[Region], bed: Path, genome: Path) -> list[bytes]:
    """The bases of each region, forward strand, in the order of the regions; one pass over the genome.

    Raises InputError, with the line of `bed`, for a region that the genome does not have.
    """
    found, lengths = bases_of(regions, genome)
    missing = [region for region in regions if region.chromosome not in lengths]
    if missing:
        names = len({region.chromosome for region in missing})
        lacking = f" ({names:,} names are missing there, with {len(missing):,} of {len(regions):,} places)"
        raise not_there(missing[0], bed, genome, lengths, lacking if names > 1 else "")
    for region, bases in zip(regions, found, strict=True):
        if len(bases) < region.end - region.start:
            raise InputError(
                f"{bed} line {region.line}: the region ends at {region.end}, but {region.chromosome} has "
                f"{lengths[region.chromosome]} bases. Use the genome that the regions belong to."
            )
    return found


def not_there(
    region: Region, source: Path, genome: Path, lengths: Iterable[str], more: str = ""
) -> InputError:
    """The error of a region whose chromosome is not among those of the genome, with its line in `source`."""
    return InputError(
        f"{source} line {region.line}: {region.chromosome} is not in {genome}{more}. "
        f"{name_hint(region.chromosome, lengths)}"
    )


def bases_of(regions: list[Region], genome: Path) -> tuple[list[bytes], dict[str, int]]:
    """The bases of each region, as far as its chromosome reaches, and the length in bp of every chromosome.

    One pass over the genome. A region of a chromosome that is not there has no bases.
    """
    found = [bytearray() for _ in regions]
    # Per chromosome the regions by start, the first at the end of the list, and those that have begun.
    waiting: dict[str, list[int]] = {}
    for index in sorted(range(len(regions)), key=lambda i: -regions[i].start):
        waiting.setdefault(regions[index].chromosome, []).append(index)
    begun: list[int] = []
    lengths: dict[str, int] = {}
    for segment in stream_sequences(genome):
        name, start, end = segment.name, segment.start, segment.start + len(segment.bases)
        lengths[name] = end
        if start == 0:
            begun = []
        later = waiting.get(name, [])
        while later and regions[later[-1]].start < end:
            begun.append(later.pop())
        for index in begun:
            region = regions[index]
            found[index] += segment.bases[max(0, region.start - start) : region.end - start].tobytes()
        begun = [index for index in begun if regions[index].end > end]
    # Taken out one by one, so that the bases of all regions are not there twice.
    found.reverse()
    return [bytes(found.pop()) for _ in regions], lengths
