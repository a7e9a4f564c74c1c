"""What kind of file holds sequences, told by content, never by name. Imports nothing heavy."""

import bz2
import gzip
import io
import lzma
import re
from pathlib import Path
from typing import Any

from dnalm.running.hints import either

GZIP, BZIP2, XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ"
# UCSC's 2bit, from machines of either byte order. Source: genome.ucsc.edu/FAQ/FAQformat.html#format7
TWO_BIT = (b"\x43\x27\x41\x1a", b"\x1a\x41\x27\x43")
HEAD_BYTES = 65_536

# First lines of records. A file of GenBank's releases has a head of its own before the first record.
_GENBANK = re.compile(rb"\A\s*LOCUS {2,}|\A[^>].*Genetic Sequence Data Bank", re.DOTALL)
_EMBL = re.compile(rb"\A\s*ID {3}")

# Names of formats as people say them.
FORMATS = {"fasta": "FASTA", "genbank": "GenBank", "embl": "EMBL", "2bit": "2bit"}
ANY_FORMAT = either([*FORMATS.values()])


def sequence_format(head: bytes) -> str | None:
    """The key of FORMATS that fits the beginning of a file, decompressed; None if none does."""
    if head.startswith(TWO_BIT):
        return "2bit"
    if _GENBANK.search(head[:2000]):
        return "genbank"
    if _EMBL.search(head[:2000]):
        return "embl"
    return "fasta" if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b">") else None


def decoded(data: bytes) -> str:
    """Bytes as text: UTF-8 or, where they are none, Latin-1, in which every byte is a letter."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def lines_of(text: str) -> list[str]:
    """The lines of a text. `str.splitlines` would also part them at form feeds and the like."""
    return io.StringIO(text, newline=None).read().split("\n")


def head_of(path: str | Path) -> bytes:
    """The first bytes of a plain, gzip, bzip2 or xz file, decompressed. Raises OSError or EOFError."""
    with open(path, "rb") as file:
        magic = file.read(8)
    openers: dict[bytes, Any] = {GZIP: gzip.open, BZIP2: bz2.open, XZ: lzma.open}
    opener = next((opener for start, opener in openers.items() if magic.startswith(start)), open)
    try:
        with opener(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except lzma.LZMAError as error:
        raise OSError(f"damaged xz data: {error}") from None
