"""Pieces of sequences: what a file of any kind holds, cut into windows where it is long."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from dnalm.running.errors import InputError
from dnalm.sequences.inputs import KIND_NAMES, OF_A_GENOME, kind_of_input
from dnalm.sequences.records import sequence_lengths, stream_sequences
from dnalm.sequences.regions import Region, read_bed, read_regions
from dnalm.sequences.strands import reverse_complement
from dnalm.sequences.tables import read_sequence_table

logger = logging.getLogger("dnalm")

# Sequences that are tokenized and sorted by length together.
SEQUENCES_PER_CHUNK = 4096


@dataclass
class LeftOut:
    """What of the input has no row in the output: windows with too many unknown bases, sequences by name."""

    windows: int = 0
    sequences: list[str] = field(default_factory=list)
    read: int = 0

    def whole(self, name: str, windows: Iterable["Window"]) -> Iterator["Window"]:
        """The windows of one sequence, which is noted if it has none."""
        self.read += 1
        found = False
        for window in windows:
            found = True
            yield window
        if not found:
            self.sequences.append(name)

    def say(self, path: Path, max_unknown_fraction: float) -> str:
        """A sentence for the log; empty where everything has a row."""
        if not self.windows and not self.sequences:
            return ""
        names = ", ".join(self.sequences[:3]) + (", …" if len(self.sequences) > 3 else "")
        return (
            f"{path}: {self.windows:,} windows were left out, because more than {max_unknown_fraction:.0%} "
            f"of their bases are not A, C, G or T (max_unknown_fraction); {len(self.sequences):,} of "
            f"{self.read:,} sequences have no row" + (f": {names}" if names else "")
        )


@dataclass(frozen=True)
class Window:
    """A piece of DNA: where it lies (0-based, end not included), whose it is, its bases."""

    sequence: str
    start: int
    end: int
    id: str
    bases: str


def checked_kind(path: Path, genome: Path | None) -> str:
    """The kind of an input, a key of KIND_NAMES.

    Raises InputError unless `genome` goes with BED and VCF alone.
    """
    kind = kind_of_input(path)
    if kind in OF_A_GENOME and genome is None:
        lie = {"bed": "regions", "vcf": "variants"}[kind]
        raise InputError(
            f"{path}: a {KIND_NAMES[kind]} file needs --genome, the file of sequences its {lie} lie in."
        )
    if kind == "table" and genome is not None:
        raise InputError(
            f"{path}: --genome goes with a BED or VCF file, but this one begins neither with chromosome, "
            "start and end, parted by tabs, nor with the header of VCF. Write it so, or leave the genome out."
        )
    if kind not in OF_A_GENOME and genome is not None:
        raise InputError(
            f"{path}: --genome goes with a BED or VCF file, but this is a {KIND_NAMES[kind]} file. "
            "Leave it out."
        )
    return kind


class Windows(NamedTuple):
    """All windows of a file, and how many there are, those included that will be passed over."""

    items: Iterator[Window]
    total: int


def read_windows(
    path: Path,
    kind: str,
    genome: Path | None,
    window: int,
    stride: int | None,
    max_unknown_fraction: float,
    left_out: LeftOut,
) -> Windows:
    """All windows of a file of this kind, in the order of the file; the rows of a table are read whole.

    `window`, `stride`: in bp; without a stride half a window. What is passed over is counted in `left_out`.
    To know how many there are, sequences are read once before.
    """
    if kind == "table":
        table = read_sequence_table(path)
        rows = zip(table["id"], table["seq"], strict=True)
        return Windows((Window(id, 0, len(sequence), id, sequence) for id, sequence in rows), len(table))
    stride = max(1, window // 2) if stride is None else stride
    if stride > window:
        raise InputError(
            f"--stride is {stride}, but windows have {window} bp, so that bases between them would not be "
            "read. Lower it, or give --window."
        )
    logger.info("%s: windows of %d bp, every %d bp", path, window, stride)
    if kind != "bed":
        lengths = list(sequence_lengths(path).values())
        items = record_windows(path, window, stride, max_unknown_fraction, left_out)
    else:
        assert genome is not None
        regions = read_bed(path)
        lengths = [region.end - region.start for region in regions]
        bases = read_regions(regions, path, genome)
        items = region_windows(regions, bases, window, stride, max_unknown_fraction, left_out)
    return Windows(items, sum(number_of_windows(length, window, stride) for length in lengths))


def number_of_windows(length: int, window: int, stride: int) -> int:
    """How many windows :func:`cut` makes of a sequence in which all bases are known."""
    return min(length, 1) if length <= window else 1 - (window - length) // stride


def record_windows(
    path: Path, window: int, stride: int, max_unknown_fraction: float, left_out: LeftOut
) -> Iterator[Window]:
    """The windows of every record, in file order, with memory for one window and one block of the file."""
    segments = ((segment.name, segment.bases.tobytes()) for segment in stream_sequences(path))
    for name, parts in groupby(segments, key=lambda segment: segment[0]):
        bases = (part for _, part in parts)
        yield from left_out.whole(
            name, cut(name, 0, name, bases, window, stride, max_unknown_fraction, left_out)
        )


def cut(
    sequence: str,
    offset: int,
    id: str,
    parts: Iterable[bytes],
    window: int,
    stride: int,
    max_unknown_fraction: float,
    left_out: LeftOut,
) -> Iterator[Window]:
    """Cut one sequence, which comes in parts, into windows; a short one stays whole.

    `offset` is added to positions. Windows of a long sequence in which more than `max_unknown_fraction` of
    the bases are not A, C, G or T (gaps in an assembly) are left out. A sequence without bases gives none.
    """
    buffer = bytearray()
    position = start = 0  # of the first base in the buffer; of the next window

    def take(begin: int) -> Iterator[Window]:
        bases = bytes(buffer[begin - position : begin - position + window]).upper()
        unknown = len(bases) - sum(map(bases.count, b"ACGT"))
        if len(buffer) < window or unknown <= max_unknown_fraction * len(bases):
            yield Window(sequence, offset + begin, offset + begin + len(bases), id, bases.decode("ascii"))
        else:
            left_out.windows += 1

    for part in parts:
        buffer += part
        while start + window <= position + len(buffer):
            yield from take(start)
            start += stride
        # The last `window` bases stay: the last window ends with the sequence.
        drop = min(start, position + len(buffer) - window) - position
        if drop > 0:
            del buffer[:drop]
            position += drop
    length = position + len(buffer)
    if 0 < length < window:
        yield from take(0)
    elif length and start - stride + window < length:
        yield from take(length - window)


def region_windows(
    regions: list[Region],
    bases: list[bytes],
    window: int,
    stride: int,
    max_unknown_fraction: float,
    left_out: LeftOut,
) -> Iterator[Window]:
    """The windows of every region, in the order of the regions."""
    for region, forward in zip(regions, bases, strict=True):
        windows = cut(
            region.chromosome,
            region.start,
            region.name,
            [forward],
            window,
            stride,
            max_unknown_fraction,
            left_out,
        )
        for w in left_out.whole(region.name, windows):
            reverse = region.strand == "-"
            yield Window(w.sequence, w.start, w.end, w.id, reverse_complement(w.bases)) if reverse else w
