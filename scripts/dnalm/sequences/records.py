"""Reading sequences of every form that labs keep.

FASTA goes through the fast reader of :mod:`dnalm.sequences.fasta`; GenBank and EMBL records and UCSC's 2bit
go through Biopython: slower, and a GenBank or EMBL record stands in memory as a whole.
"""

import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dnalm.running.errors import InputError
from dnalm.sequences.fasta import (
    BLOCK_BYTES,
    Batch,
    Segment,
    count_bases,
    letter_hint,
    not_a_nucleotide,
    parse_fasta,
    read_blocks,
)
from dnalm.sequences.formats import FORMATS, TWO_BIT, sequence_format
from dnalm.sequences.names import check_name

if TYPE_CHECKING:
    from Bio.SeqRecord import SeqRecord


def stream_sequences(path: str | Path) -> Iterator[Segment]:
    """Yield the records of a file as segments, in file order; the rest as in :func:`stream_batches`."""
    for batch in stream_batches(path):
        yield from batch.segments()


def sequence_lengths(path: str | Path) -> dict[str, int]:
    """How many bases each record of a file has, in file order."""
    lengths: dict[str, int] = {}
    for segment in stream_sequences(path):
        lengths[segment.name] = segment.start + len(segment.bases)
    return lengths


def stream_batches(path: str | Path, on_read: Callable[[int], None] | None = None) -> Iterator[Batch]:
    """Yield the records of a FASTA, GenBank, EMBL or 2bit file in batches, in file order.

    All but 2bit may be compressed with gzip, bgzip, bzip2 or xz. The name of a GenBank or EMBL record is its
    accession with version, as in the FASTA files of the same databases. Their letters count as upper case,
    since these formats write lower case throughout; 2bit keeps its soft-masking. Every record is in at least
    one batch; `on_read` is called with the bytes of the file read so far. Raises InputError.
    """
    path = Path(path)
    # A pipe can be read only once, and a 2bit file only out of order.
    if path.is_file():
        with open(path, "rb") as file:
            if file.read(4) in TWO_BIT:
                yield from _batches(path, "2bit", _two_bit_records(file, path, on_read))
                return
    blocks = read_blocks(path, on_read)
    first = next(blocks, b"")
    blocks = chain([first], blocks)
    form = sequence_format(first)
    if form in ("genbank", "embl"):
        yield from _batches(path, form, _annotated_records(blocks, form))
    else:
        yield from parse_fasta(path, blocks)


def _annotated_records(blocks: Iterator[bytes], form: str) -> "Iterator[SeqRecord]":
    """The records of a GenBank or EMBL file. What they tell about features is passed over."""
    from Bio.GenBank.Scanner import EmblScanner, GenBankScanner

    text = io.TextIOWrapper(as_file(blocks), encoding="utf-8", errors="replace")
    scanner = GenBankScanner() if form == "genbank" else EmblScanner()
    while True:
        with warnings.catch_warnings():
            # A record that is cut off is only worth a warning there.
            for message in ("Premature end", "Expected sequence length"):
                warnings.filterwarnings("error", message)
            record = scanner.parse(text, do_features=False)
        if record is None:
            return
        yield record


def _two_bit_records(file: Any, path: Path, on_read: Callable[[int], None] | None) -> "Iterator[SeqRecord]":
    """The records of a 2bit file; their bases are read when they are asked for."""
    from Bio.SeqIO.TwoBitIO import TwoBitIterator

    size, done = path.stat().st_size, 0
    _check_two_bit(file, size)
    file.seek(0)
    records = TwoBitIterator(file)
    total = max(1, sum(len(records[name].seq) for name in records.keys()))  # noqa: SIM118 - not a dict
    for record in records:
        yield record
        done += len(record.seq)
        if on_read is not None:
            on_read(size * done // total)


def _check_two_bit(file: Any, size: int) -> None:
    """Raise ValueError unless a 2bit file has room for all that it says of itself.

    Biopython believes it: it would read the index for hours, or ask for as much memory as a table is said to
    take; and of two sequences with one name it would know the second.
    """
    file.seek(0)
    order: Any = "little" if file.read(4) == TWO_BIT[0] else "big"

    def number(width: int = 4) -> int:
        data = file.read(width)
        if len(data) < width:
            raise ValueError("it ends too early")
        return int.from_bytes(data, order)

    file.seek(8)
    count = number()
    # Each has a byte or more of name, the length of that, and its place.
    if 16 + 6 * count > size:
        raise ValueError(f"{count:,} sequences are said to be in it")
    file.seek(16)
    places: dict[bytes, int] = {}
    for _ in range(count):
        name = file.read(number(1))
        if name in places:
            raise ValueError(f"two sequences are named {name.decode('ascii', 'replace')}")
        places[name] = number()
    packed = 0
    for place in places.values():
        file.seek(place)
        packed += (number() + 3) // 4
        # Gaps, then soft-masked stretches: how many, where each begins, how long each is.
        for _ in range(2):
            file.seek(8 * number(), os.SEEK_CUR)
        file.seek(4, os.SEEK_CUR)
        if max(file.tell(), packed) > size:
            raise ValueError("it ends too early")


def _batches(path: Path, form: str, records: "Iterator[SeqRecord]") -> Iterator[Batch]:
    """The bases of Biopython's records, checked, at most BLOCK_BYTES in a batch, of one record."""
    names: set[str] = set()
    number = 0
    while True:
        number += 1
        place = f"{path} record {number}"
        with _damage_as_input_error(place, form):
            found = next(records, None)
        if found is None:
            break
        name = found.id or ""
        if name in ("", "<unknown id>"):
            raise InputError(f"{place}: a record without a name. Give it an accession.")
        try:
            check_name(name)
        except ValueError as error:
            raise InputError(f"{place}: {error}") from None
        if name in names:
            raise InputError(f"{place}: a second record is named {name}. Names must be unique; rename one.")
        names.add(name)
        sequence = found.seq
        assert sequence is not None
        for start in range(0, max(1, len(sequence)), BLOCK_BYTES):
            with _damage_as_input_error(f"{place} ({name})", form):
                bases = np.frombuffer(bytes(sequence[start : start + BLOCK_BYTES]), np.uint8)
            counts = count_bases(bases)
            if counts is None:
                index = not_a_nucleotide(bases)
                letter = chr(bases[index])
                raise InputError(
                    f"{place} ({name}): {letter!r} at position {start + index + 1} is no nucleotide. "
                    f"{letter_hint(letter)}."
                )
            yield Batch([name], [bases.size], start, bases, *counts)
    if not names:
        raise InputError(f"{path}: no {FORMATS[form]} record in this file.")


@contextmanager
def _damage_as_input_error(place: str, form: str) -> Iterator[None]:
    """What Biopython raises on a file that is cut or garbled, which may be anything, as one line."""
    from Bio.Seq import UndefinedSequenceError

    try:
        yield
    except InputError:
        raise
    except UndefinedSequenceError:
        raise InputError(
            f"{place}: the record names its sequence but does not hold it. Download the full record (NCBI: "
            "'GenBank (full)'), or FASTA."
        ) from None
    except Exception as error:
        text = " ".join(str(error).split())
        raise InputError(
            f"{place}: not readable as {FORMATS[form]} ({text}). Download or copy the file again."
        ) from error


def as_file(blocks: Iterator[bytes]) -> io.BufferedReader:
    """Blocks of bytes as a file, for readers that want one."""
    return io.BufferedReader(_Blocks(blocks))


class _Blocks(io.RawIOBase):
    def __init__(self, blocks: Iterator[bytes]):
        self.blocks = blocks
        self.rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.rest:
            self.rest = next(self.blocks, b"")
        n = min(len(buffer), len(self.rest))
        buffer[:n], self.rest = self.rest[:n], self.rest[n:]
        return n
