"""Reading FASTA in blocks, however long its sequences are.

Plain, gzip, bgzip, bzip2 and xz files are told apart by content, never by name. LF and CRLF line ends, any
line width (also one line per chromosome), lower case, IUPAC codes, empty records and any number of records
are read. Memory stays at a few megabytes: a chromosome never stands in memory unless the caller joins
its segments.

    for segment in stream_fasta("genome.fa.gz"):
        print(segment.record.name, segment.start, len(segment.bases))
"""

import bz2
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from isal import igzip

from dnalm.running.errors import InputError
from dnalm.sequences.formats import BZIP2, GZIP, XZ

# Small enough to stay in a processor's second-level cache while numpy passes over it several times.
BLOCK_BYTES = 256 * 1024

# A header longer than this is no header: the file is no FASTA, or its line ends are not those of today.
LONGEST_HEADER_BYTES = 1024 * 1024

# Names of the entries of Segment.composition. "other" are the IUPAC codes for more than one base but N.
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
_ALLOWED = np.zeros(256, bool)
_ALLOWED[list(b"ACGTN" + _IUPAC + b"acgtn" + _IUPAC.lower())] = True
_ACGT = b"ACGT"
_LOWER_BIT = np.uint8(0x20)
_UPPER_MASK = np.uint8(0xDF)
_BLANKS = b"\n\r\t "
# Below this, the count of all bytes is faster than a pass for each letter.
SHORT_BP = 16_384


class Record(NamedTuple):
    """One record: its name, in FASTA the first word of the header, and where it stands.

    line: of the header, counted from 1; in formats without lines, which record it is.
    """

    name: str
    line: int


class Segment(NamedTuple):
    """Consecutive bases of one record.

    bases: uint8[n], ASCII codes in the case of the file, line ends removed, only IUPAC nucleotide codes.
    start: position of bases[0] in the record, counted from 0.
    composition: int64[7], how often each of COMPOSITION occurs in `bases`; A to other ignore case.
    all_acgt: there is neither N nor another code among them.
    """

    record: Record
    start: int
    bases: np.ndarray
    composition: np.ndarray
    all_acgt: bool


def stream_fasta(path: str | Path, on_read: Callable[[int], None] | None = None) -> Iterator[Segment]:
    """Yield the records of a FASTA file as segments, in file order.

    `on_read` is called with the number of bytes read from the file so far (compressed bytes if it is
    compressed). The rest as in :func:`parse_fasta`.
    """
    return parse_fasta(path, read_blocks(path, on_read))


def parse_fasta(path: str | Path, blocks: Iterator[bytes]) -> Iterator[Segment]:
    """Yield the records of FASTA text, which comes in blocks, as segments. `path` is for messages.

    Every record yields at least one segment; an empty record yields one without bases. Raises InputError,
    with the line, for anything that is not nucleotide FASTA.
    """
    record: Record | None = None
    names: set[str] = set()
    header: bytearray | None = None
    start = 0
    line = 1
    at_line_start = True
    is_first_block = True

    for block in blocks:
        position = 0
        if is_first_block:
            is_first_block = False
            position = len(_UTF8_MARK) if block.startswith(_UTF8_MARK) else 0
        while position < len(block):
            if header is not None:
                end = block.find(b"\n", position)
                header += block[position : end if end >= 0 else len(block)]
                if len(header) > LONGEST_HEADER_BYTES:
                    raise InputError(
                        f"{path} line {line}: the header does not end. Give FASTA with LF or CRLF line ends."
                    )
                if end < 0:
                    break
                record, header = _record(path, bytes(header), line, names), None
                start, position, line, at_line_start = 0, end + 1, line + 1, True
                continue
            if at_line_start and block[position] == ord(">"):
                if record is not None and start == 0:
                    yield make_segment(record, 0, _NO_BASES)
                header = bytearray()
                position += 1
                continue
            end = _next_header(block, position)
            chunk = block[position:end]
            bases, line_ends = _strip_line_ends(chunk)
            if bases.size:
                if record is None:
                    raise InputError(_not_fasta(path, chunk, line))
                try:
                    segment = make_segment(record, start, bases)
                except ValueError:
                    # In a damaged gzip file, garbage comes before its checksum. Reading on lets that speak.
                    for _ in blocks:
                        pass
                    raise InputError(_bad_letter(path, record, chunk, line)) from None
                yield segment
                start += bases.size
            position, line, at_line_start = end, line + line_ends, chunk.endswith(b"\n")

    if header is not None:
        record, start = _record(path, bytes(header), line, names), 0
    if record is None:
        raise InputError(f"{path}: no FASTA record in this file. Its records would begin with '>'.")
    if start == 0:
        yield make_segment(record, 0, _NO_BASES)


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
    with raw:
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
    openers: dict[bytes, tuple[str, Any]] = {
        GZIP: ("gzip", igzip.open),
        BZIP2: ("bzip2", bz2.open),
        XZ: ("xz", lzma.open),
    }
    name, opener = next(found for magic, found in openers.items() if head.startswith(magic))
    try:
        with opener(raw, "rb") as file:
            while block := file.read(BLOCK_BYTES):
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


def _record(path: str | Path, header: bytes, line: int, names: set[str]) -> Record:
    header = header.rstrip(b"\r")
    if b"\r" in header:
        raise InputError(
            f"{path} line {line}: line ends are single carriage returns (old Mac). "
            "Convert them, e.g. with mac2unix."
        )
    words = header.decode("utf-8", "replace").split(None, 1)
    if not words:
        raise InputError(f"{path} line {line}: a record without a name. Write one after the '>'.")
    if words[0] in names:
        raise InputError(
            f"{path} line {line}: a second record is named {words[0]}. Names must be unique; rename one."
        )
    names.add(words[0])
    return Record(words[0], line)


def _next_header(block: bytes, position: int) -> int:
    """Index of the next '>' at the start of a line, after `position`; the block's length if none."""
    found = block.find(b">", position)
    while found >= 0:
        if found > position and block[found - 1] == ord("\n"):
            return found
        found = block.find(b">", found + 1)
    return len(block)


def _strip_line_ends(chunk: bytes) -> tuple[np.ndarray, int]:
    """The chunk without white space as uint8[n], and the number of line feeds in it.

    Lines of one width, the usual case, are copied by stride: five times as fast as deleting bytes one
    by one. The stride is used only where every line feed of the chunk stands where it should.
    """
    line_ends = chunk.count(b"\n")
    data = np.frombuffer(chunk, np.uint8)
    if b"\r" in chunk or b" " in chunk or b"\t" in chunk:
        return np.frombuffer(chunk.translate(None, _BLANKS), np.uint8), line_ends
    if line_ends == 0:
        return data, 0
    first = chunk.find(b"\n")
    width = chunk.find(b"\n", first + 1) - first
    rows = (len(chunk) - first - 1) // width if width > 0 else 0
    # One line feed ends the part before the first full line; the last part may be an unfinished line.
    if rows > 1 and line_ends == rows + 1:
        stop = first + 1 + rows * width
        grid = data[first + 1 : stop].reshape(rows, width)
        if (grid[:, -1] == ord("\n")).all():
            return np.concatenate([data[:first], grid[:, :-1].reshape(-1), data[stop:]]), line_ends
    return np.frombuffer(chunk.replace(b"\n", b""), np.uint8), line_ends


def make_segment(record: Record, start: int, bases: np.ndarray) -> Segment:
    """Count the bases. Raises ValueError if one of them is no IUPAC nucleotide code."""
    if bases.size < SHORT_BP:
        # One pass over few bases costs less than starting several.
        composition = np.bincount(bases, minlength=128)[_LETTERS] @ _COUNTS_AS
        a, c, g, t, n, other, _ = composition.tolist()
        if a + c + g + t + n + other < bases.size:
            raise ValueError("not a nucleotide code")
        return Segment(record, start, bases, composition, n + other == 0)
    composition = np.zeros(len(COMPOSITION), np.int64)
    upper = bases & _UPPER_MASK
    composition[:4] = [np.count_nonzero(upper == letter) for letter in _ACGT]
    acgt = int(composition[:4].sum())
    if acgt < bases.size:
        if not _ALLOWED[bases].all():
            raise ValueError("not a nucleotide code")
        composition[4] = np.count_nonzero(upper == ord("N"))
        composition[5] = bases.size - acgt - composition[4]
    composition[6] = np.count_nonzero(bases & _LOWER_BIT)
    return Segment(record, start, bases, composition, acgt == bases.size)


# ASCII's letters, and what each counts as: int64[64, 7], by entry of COMPOSITION.
_LETTERS = slice(64, 128)
_COUNTS_AS = np.zeros((64, len(COMPOSITION)), np.int64)
for _byte in np.flatnonzero(_ALLOWED).tolist():
    _letter = chr(_byte).upper()
    _COUNTS_AS[_byte - 64, COMPOSITION.index(_letter if _letter in "ACGTN" else "other")] = 1
    _COUNTS_AS[_byte - 64, COMPOSITION.index("soft_masked")] = _byte >= ord("a")


_NO_BASES = np.empty(0, np.uint8)


def _not_fasta(path: str | Path, chunk: bytes, line: int) -> str:
    text = chunk.lstrip(_BLANKS)
    line += chunk[: len(chunk) - len(text)].count(b"\n")
    shown = text[:20].split(b"\n")[0].decode("ascii", "backslashreplace").strip()
    if text.startswith(b"@"):
        hint = "This looks like FASTQ or SAM; a genome in FASTA format is needed"
    elif text.startswith(b"<"):
        hint = "This looks like a web page, not the file behind it; download the file again"
    elif text.startswith(b"version https://git-lfs"):
        hint = "This is a Git LFS pointer; run `git lfs pull`"
    else:
        hint = "Give a FASTA file; its first line begins with '>'"
    return f"{path} line {line}: {shown!r} stands before the first '>'. {hint}."


def _bad_letter(path: str | Path, record: Record, chunk: bytes, line: int) -> str:
    data = np.frombuffer(chunk, np.uint8)
    index = not_a_nucleotide(data)
    line += chunk[:index].count(b"\n")
    letter = chr(data[index])
    shown = letter if letter.isascii() and letter.isprintable() else f"byte 0x{data[index]:02x}"
    return f"{path} line {line} (record {record.name}): {shown!r} is no nucleotide. {letter_hint(letter)}."


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
