"""Reading FASTA in blocks, however long its sequences are.

Plain, gzip, bgzip, bzip2 and xz files are told apart by content, never by name. LF and CRLF line ends, any
line width (also one line per chromosome), lower case, IUPAC codes, empty records and any number of records
are read. Memory stays at a few megabytes: a chromosome never stands in memory unless the caller joins
its segments.

    for batch in parse_fasta("genome.fa.gz", read_blocks("genome.fa.gz")):
        print(batch.names, batch.start, len(batch.bases))
"""

import bz2
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterator
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from isal import igzip

from dnalm.running.errors import InputError
from dnalm.running.files import unchanged
from dnalm.sequences.formats import BZIP2, GZIP, XZ, decoded
from dnalm.sequences.names import check_name

# Small enough to stay in a processor's second-level cache while numpy passes over it several times.
BLOCK_BYTES = 256 * 1024

# A header longer than this is no header: the file is no FASTA, or its line ends are not those of today.
LONGEST_HEADER_BYTES = 1024 * 1024

# Names of the entries of Batch.composition. "other" are the IUPAC codes for more than one base but N.
COMPOSITION = ("A", "C", "G", "T", "N", "other", "soft_masked")

# What tells the formats apart that people also give as a genome. Sources: the formats' specifications.
_MAGIC = {
    b"\x28\xb5\x2f\xfd": "zstd-compressed. Decompress it, or compress it with gzip or bgzip",
    b"PK\x03\x04": "a zip archive. Unpack it first",
    b"\xff\xfe": "UTF-16 text. Save it as plain ASCII text",
    b"\xfe\xff": "UTF-16 text. Save it as plain ASCII text",
}
_UTF8_MARK = b"\xef\xbb\xbf"

# The empty block that ends every bgzip file, so that truncation at a block border shows (SAM
# specification, section 4.1.2).
_BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")

_IUPAC = b"RYSWKMBDHV"
_LETTERS = b"ACGTN" + _IUPAC + b"acgtn" + _IUPAC.lower()
_ALLOWED = np.zeros(256, bool)
_ALLOWED[list(_LETTERS)] = True
_ACGT = b"ACGT"
_LOWER_BIT = np.uint8(0x20)
_UPPER_MASK = np.uint8(0xDF)
_BLANKS = b"\n\r\t "
# Bases counted at once: small enough that what is made of them stays in a processor's first-level cache.
COUNTED_BYTES = 64 * 1024

# In shorter chunks, deleting line feeds one by one is faster than a copy by stride.
SHORT_BYTES = 8192

Bases = bytes | memoryview


class Segment(NamedTuple):
    """Consecutive bases of one record.

    name: of the record; in FASTA, the first word of the header.
    start: position of bases[0] in the record, counted from 0.
    bases: uint8[n], ASCII codes in the case of the file, line ends removed, only IUPAC nucleotide codes.
    """

    name: str
    start: int
    bases: np.ndarray


class Batch(NamedTuple):
    """Segments of k consecutive records, joined: few of long sequences, many of short ones.

    names: of the k records, in file order.
    ends: where the bases of each end in `bases`.
    start: position of bases[0] in the first record, counted from 0. All others begin in this batch.
    bases: uint8[n], as in Segment.
    composition: int64[7], how often each of COMPOSITION occurs in `bases`; A to other ignore case.
    all_acgt: there is neither N nor another code among them.
    """

    names: list[str]
    ends: list[int]
    start: int
    bases: np.ndarray
    composition: np.ndarray
    all_acgt: bool

    def segments(self) -> Iterator[Segment]:
        """The batch taken apart."""
        begin, start = 0, self.start
        for name, end in zip(self.names, self.ends, strict=True):
            yield Segment(name, start, self.bases[begin:end])
            begin, start = end, 0


def parse_fasta(path: str | Path, blocks: Iterator[bytes]) -> Iterator[Batch]:
    """Yield the records of FASTA text, which comes in blocks, in batches. `path` is for messages.

    A record has bases in every batch that names it; an empty record is named once. Raises InputError, with
    the line, for anything that is not nucleotide FASTA; of several mistakes, for the first in the file.
    """
    known: set[str] = set()
    # The record that the text goes on with, "" before the first, and how many of its bases came before.
    name, start = "", 0
    line = 1
    at_line_start = True
    unfinished_header = b""
    strip: Callable[[bytes], Bases] = _without_line_feeds

    first_block = next(blocks, b"").removeprefix(_UTF8_MARK)
    # One line feed more does no harm, and ends a header that ends with the file.
    for block in chain([first_block], blocks, [b"\n"]):
        text = unfinished_header + block
        names, chunks, unfinished_header, wrong_header = _split(text, at_line_start, name, known)
        at_line_start = bool(unfinished_header) or text.endswith(b"\n") or (at_line_start and not text)
        if not name and chunks[0].translate(None, _BLANKS):
            raise InputError(_not_fasta(path, chunks[0], line))

        parts, bases = _stripped(chunks, strip)
        counts = count_bases(bases)
        if counts is None and strip is _without_line_feeds:
            # Other white space, which later blocks will have too, or lines that only looked even.
            strip = _without_blanks
            parts, bases = _stripped(chunks, strip)
            counts = count_bases(bases)
        if counts is None:
            # In a damaged gzip file, garbage comes before its checksum. Reading on lets that speak.
            for _ in blocks:
                pass
            raise InputError(_bad_letter(path, names, chunks, line))
        line += len(names) - 1
        if strip is _without_line_feeds:
            line += sum(map(len, chunks)) - bases.size
        else:
            line += sum(chunk.count(b"\n") for chunk in chunks)
        if len(unfinished_header) > 1 + LONGEST_HEADER_BYTES:
            wrong_header = _ENDLESS
        if wrong_header is not None:
            raise InputError(f"{path} line {line}: {wrong_header}")

        # The first record may have ended before this text; the bases of the last may follow it.
        first = 1 if len(parts[0]) == 0 and (start or not name) else 0
        last = len(names) if len(parts[-1]) else len(names) - 1
        if first < last:
            ends = list(accumulate(map(len, parts)))
            yield Batch(names[first:last], ends[first:last], 0 if first else start, bases, *counts)
        start = len(parts[-1]) + (start if len(names) == 1 else 0)
        name = names[-1]

    if not name:
        raise InputError(f"{path}: no FASTA record in this file. Its records would begin with '>'.")
    if start == 0:
        yield Batch([name], [0], 0, _NO_BASES, np.zeros(len(COMPOSITION), np.int64), True)


def _split(
    text: bytes, at_line_start: bool, name: str, known: set[str]
) -> tuple[list[str], list[bytes], bytes, str | None]:
    """Part a text at its headers.

    The names of the records, which begin with the one that the text goes on with; what follows each, before
    the next header; a header whose end is not in the text; what is wrong with the header where this stopped.
    """
    begin = 0 if at_line_start and text.startswith(b">") else _next_header(text, 0)
    names, chunks = [name], [text[:begin]]
    while (end := text.find(b"\n", begin)) >= 0:
        try:
            names.append(_name(text[begin + 1 : end], known))
        except ValueError as error:
            return names, chunks, b"", str(error)
        begin = _next_header(text, end)
        chunks.append(text[end + 1 : begin])
    return names, chunks, text[begin:], None


def read_blocks(path: str | Path, on_read: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """Yield the content of a plain, gzip, bgzip, bzip2 or xz file in blocks of at most BLOCK_BYTES bytes.

    Raises InputError if the file is missing, empty, truncated, damaged or in another container.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: this is a directory. Give a file.")
    try:
        raw = open(path, "rb")  # noqa: SIM115 - closed by the `with` below
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Paths are relative to the working directory.") from None
    except PermissionError:
        raise InputError(f"{path}: no permission to read this file.") from None
    with raw, unchanged(path):
        head = raw.peek(32)[:32]
        if not head:
            raise InputError(f"{path}: the file is empty. Download or write it again.")
        for magic, description in _MAGIC.items():
            if head.startswith(magic):
                raise InputError(f"{path}: the file is {description}.")
        if head.startswith((GZIP, BZIP2, XZ)):
            if _is_bgzip(head) and raw.seekable():
                _check_bgzip_end(path, raw)
            yield from _decompressed_blocks(path, raw, head, on_read)
        else:
            while block := raw.read(BLOCK_BYTES):
                if on_read is not None:
                    on_read(raw.tell())
                yield block


def _decompressed_blocks(
    path: Path, raw: BinaryIO, head: bytes, on_read: Callable[[int], None] | None
) -> Iterator[bytes]:
    readers: dict[bytes, tuple[str, Callable[[], Iterator[bytes]]]] = {
        GZIP: ("gzip", lambda: _gzip_blocks(raw)),
        BZIP2: ("bzip2", lambda: _blocks_of_streams(raw, bz2.BZ2Decompressor)),
        XZ: ("xz", lambda: _blocks_of_streams(raw, lzma.LZMADecompressor)),
    }
    name, read = next(found for magic, found in readers.items() if head.startswith(magic))
    try:
        for block in read():
            if on_read is not None:
                on_read(raw.tell())
            yield block
    except EOFError:
        raise InputError(
            f"{path}: the {name} data ends too early, the file is truncated. Download or copy it again."
        ) from None
    # bz2 raises OSError on damage, and so does a disk that cannot be read; both are worth another copy.
    except (OSError, zlib.error, igzip.isal_zlib.error, lzma.LZMAError) as error:  # type: ignore[misc]
        raise InputError(
            f"{path}: the {name} data is damaged ({error}). Download or copy it again."
        ) from None


def _gzip_blocks(raw: BinaryIO) -> Iterator[bytes]:
    with igzip.open(raw, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def _blocks_of_streams(raw: BinaryIO, start: Callable[[], Any]) -> Iterator[bytes]:
    """What bzip2 or xz have compressed, in one stream or several, one behind the other.

    `bz2.open` and `lzma.open` pass over all that follows a stream and is none, so that the rest of a damaged
    genome would be missing without a word. Zeros may fill up the file.
    """
    stream, data, block = None, raw.read(BLOCK_BYTES), b""
    while data or stream is not None:
        if stream is None:
            data = data.lstrip(b"\0")
            stream = start() if data else None
        if stream is not None:
            block += stream.decompress(data, BLOCK_BYTES - len(block))
            if len(block) == BLOCK_BYTES:
                yield block
                block = b""
            data = stream.unused_data
            stream = None if stream.eof else stream
        if not data and (stream is None or stream.needs_input):
            data = raw.read(BLOCK_BYTES)
            if not data and stream is not None:
                raise EOFError
    if block:
        yield block


def _is_bgzip(head: bytes) -> bool:
    return len(head) >= 14 and bool(head[3] & 4) and head[12:14] == b"BC"


def _check_bgzip_end(path: Path, raw: BinaryIO) -> None:
    size = raw.seek(0, os.SEEK_END)
    raw.seek(max(0, size - len(_BGZIP_END)))
    if raw.read() != _BGZIP_END:
        raise InputError(
            f"{path}: the bgzip end-of-file block is missing, the file is truncated. "
            "Download or copy it again."
        )
    raw.seek(0)


_ENDLESS = "the header does not end. Give FASTA with LF or CRLF line ends."


def _name(header: bytes, known: set[str]) -> str:
    """The name in a header, which becomes known. Raises ValueError saying what is wrong with the header."""
    if len(header) > LONGEST_HEADER_BYTES:
        raise ValueError(_ENDLESS)
    header = header.rstrip(b"\r")
    if b"\r" in header:
        raise ValueError("line ends are single carriage returns (old Mac). Convert them, e.g. with mac2unix.")
    words = decoded(header).split(None, 1)
    if not words:
        raise ValueError("a record without a name. Write one after the '>'.")
    name = words[0]
    check_name(name)
    if name in known:
        raise ValueError(f"a second record is named {name}. Names must be unique; rename one.")
    known.add(name)
    return name


def _next_header(block: bytes, position: int) -> int:
    """Index of the next '>' at the start of a line, after `position`; the block's length if none."""
    found = block.find(b">", position)
    while found >= 0:
        if found > position and block[found - 1] == ord("\n"):
            return found
        found = block.find(b">", found + 1)
    return len(block)


def _without_line_feeds(chunk: bytes) -> Bases:
    """The chunk without line feeds, as far as it is nucleotides and line feeds; else of undefined content.

    Lines of one width, the usual case, are copied by stride: five times as fast as deleting bytes one by
    one. Only line feeds are ever left out; if one stays, the bases are not all nucleotides.
    """
    if len(chunk) < SHORT_BYTES:
        return chunk.replace(b"\n", b"")
    first = chunk.find(b"\n")
    width = chunk.find(b"\n", first + 1) - first
    rows = (len(chunk) - first - 1) // width if width > 0 else 0
    # A line feed ends the part before the first full line; the last part may be an unfinished line.
    stop = first + 1 + rows * width
    data = np.frombuffer(chunk, np.uint8)
    if rows < 2 or (grid := data[first + 1 : stop].reshape(rows, width))[:, -1].tobytes().strip(b"\n"):
        return chunk.replace(b"\n", b"")
    tail = chunk[stop:].replace(b"\n", b"")
    body_end = first + rows * (width - 1)
    bases = np.empty(body_end + len(tail), np.uint8)
    bases[:first] = data[:first]
    bases[first:body_end].reshape(rows, width - 1)[:] = grid[:, :-1]
    bases[body_end:] = np.frombuffer(tail, np.uint8)
    return bases.data


def _without_blanks(chunk: bytes) -> Bases:
    """The chunk without any white space."""
    return chunk.translate(None, _BLANKS)


def _stripped(chunks: list[bytes], strip: Callable[[bytes], Bases]) -> tuple[list[Bases], np.ndarray]:
    """The bases of each chunk, and those of all as one uint8[n]."""
    parts = [strip(chunk) for chunk in chunks]
    return parts, np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), np.uint8)


def count_bases(bases: np.ndarray) -> tuple[np.ndarray, bool] | None:
    """Composition and all_acgt of a Batch; None if one of uint8[n] is no IUPAC nucleotide code."""
    composition = np.zeros(len(COMPOSITION), np.int64)
    for start in range(0, bases.size, COUNTED_BYTES):
        part = bases[start : start + COUNTED_BYTES]
        upper = part & _UPPER_MASK
        counts = [int(np.count_nonzero(upper == letter)) for letter in _ACGT]
        n = other = 0
        if (acgt := sum(counts)) < part.size:
            n = int(np.count_nonzero(upper == ord("N")))
            other = part.size - acgt - n
            if other and not _ALLOWED[part].all():
                return None
        composition += np.array([*counts, n, other, np.count_nonzero(part & _LOWER_BIT)])
    return composition, int(composition[:4].sum()) == bases.size


def is_acgt(bases: np.ndarray) -> np.ndarray:
    """bool[n] for uint8[n]: is it A, C, G or T, in either case?"""
    upper = bases & _UPPER_MASK
    # Much faster than a table with an entry per letter.
    return (upper == ord("A")) | (upper == ord("C")) | (upper == ord("G")) | (upper == ord("T"))


_NO_BASES = np.empty(0, np.uint8)


def _not_fasta(path: str | Path, chunk: bytes, line: int) -> str:
    text = chunk.lstrip(_BLANKS)
    line += chunk[: len(chunk) - len(text)].count(b"\n")
    shown = re.split(rb"[\n\0]", text[:20])[0].decode("ascii", "backslashreplace").strip()
    if text.startswith(b"@"):
        hint = "This looks like FASTQ or SAM; a genome in FASTA format is needed"
    elif text.startswith(b"<"):
        hint = "This looks like a web page, not the file behind it; download the file again"
    elif text[257:262] == b"ustar":
        hint = "This is a tar archive; unpack it, and give one of its files"
    elif text.startswith(b"version https://git-lfs"):
        hint = "This is a Git LFS pointer; run `git lfs pull`"
    else:
        hint = "Give a FASTA file; its first line begins with '>'"
    return f"{path} line {line}: {shown!r} stands before the first '>'. {hint}."


def _bad_letter(path: str | Path, names: list[str], chunks: list[bytes], line: int) -> str:
    """What to say of the first wrong letter. `line`: where the first chunk begins; headers stand between."""
    bad = [chunk.translate(None, _LETTERS + _BLANKS)[:1] for chunk in chunks]
    number = next(i for i, letter in enumerate(bad) if letter)
    before = [*chunks[:number], chunks[number].partition(bad[number])[0]]
    line += number + sum(chunk.count(b"\n") for chunk in before)
    letter = bad[number].decode("latin-1")
    shown = letter if letter.isascii() and letter.isprintable() else f"byte 0x{ord(letter):02x}"
    return f"{path} line {line} (record {names[number]}): {shown!r} is no nucleotide. {letter_hint(letter)}."


def not_a_nucleotide(data: np.ndarray) -> int:
    """Index of the first of uint8[n] that is neither a nucleotide code nor white space."""
    return int(np.argmin(_ALLOWED[data] | np.isin(data, list(_BLANKS))))


def letter_hint(letter: str) -> str:
    """What a letter that is no nucleotide code says about the file."""
    if letter in "Uu":
        return "RNA? Write T instead of U"
    if letter in "EFILPQZJOefilpqzjo*":
        return "Protein? Nucleotide sequences are needed"
    if letter in "-.":
        return "An alignment? Remove the gaps"
    if letter in "Xx":
        return "Write N for unknown or masked bases"
    return "Only A C G T N and the IUPAC codes R Y S W K M B D H V are allowed"
