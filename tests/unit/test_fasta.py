"""Reading FASTA: the same records as Biopython, whatever the layout, and clear words about all else."""

import gzip
import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from Bio import SeqIO, bgzf
from hypothesis import given, settings
from hypothesis import strategies as st

from dnalm.running.errors import InputError
from dnalm.sequences import fasta

letters = st.text(alphabet="ACGTacgtNnRYSWKMBDHVryswkmbdhv", max_size=60)


@st.composite
def fasta_texts(draw) -> bytes:
    """FASTA as found in the wild: any width, LF or CRLF, blank lines, last line with or without its end."""
    sequences = draw(st.lists(letters, min_size=1, max_size=5))
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    width = draw(st.integers(1, 70))
    text = ""
    for number, sequence in enumerate(sequences):
        text += f">s{number} something > else{line_end}"
        for start in range(0, len(sequence), width):
            text += sequence[start : start + width] + line_end
        text += draw(st.sampled_from(["", "", line_end]))
    if draw(st.booleans()):
        text = text.removesuffix(line_end)
    return text.encode()


def compress(text: bytes, container: str) -> bytes:
    if container == "gzip":
        return gzip.compress(text)
    if container == "two gzip members":
        return gzip.compress(text[: len(text) // 2]) + gzip.compress(text[len(text) // 2 :])
    if container == "bgzip":
        return bgzip(text)
    return text


def bgzip(text: bytes) -> bytes:
    buffer = io.BytesIO()
    buffer.close = lambda: None
    with bgzf.BgzfWriter(fileobj=buffer) as writer:
        writer.write(text)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    # The name says nothing about the content: formats are told apart by content.
    return tmp_path_factory.mktemp("fasta") / "genome.fa"


def segments(path: Path) -> Iterator[fasta.Segment]:
    for batch in fasta.parse_fasta(path, fasta.read_blocks(path)):
        yield from batch.segments()


def read_records(path: Path) -> list[tuple[str, str]]:
    """(name, sequence) of every record, joined from its segments."""
    sequences: dict[str, str] = {}
    for segment in segments(path):
        sequences[segment.name] = sequences.get(segment.name, "") + segment.bases.tobytes().decode()
    return list(sequences.items())


containers = st.sampled_from(["plain", "gzip", "two gzip members", "bgzip"])


@settings(max_examples=300, deadline=None)
@given(text=fasta_texts(), container=containers, block_bytes=st.sampled_from([1, 2, 3, 7, 64, 1 << 18]))
def test_same_records_as_biopython(path, text, container, block_bytes):
    path.write_bytes(compress(text, container))
    with mock.patch.object(fasta, "BLOCK_BYTES", block_bytes):
        found = read_records(path)
    expected = [(r.id, str(r.seq)) for r in SeqIO.parse(io.StringIO(text.decode(), newline=None), "fasta")]
    assert found == expected


@settings(max_examples=100, deadline=None)
@given(text=fasta_texts(), block_bytes=st.sampled_from([1, 5, 64, 1 << 18]))
def test_segments_are_consecutive_and_counted(path, text, block_bytes):
    path.write_bytes(text)
    with mock.patch.object(fasta, "BLOCK_BYTES", block_bytes):
        batches = list(fasta.parse_fasta(path, fasta.read_blocks(path)))
    segments = [segment for batch in batches for segment in batch.segments()]
    position: dict[str, int] = {}
    for segment in segments:
        assert segment.start == position.get(segment.name, 0)
        assert segment.bases.size or len([p for p in segments if p.name == segment.name]) == 1
        position[segment.name] = segment.start + segment.bases.size
    for batch in batches:
        letters = batch.bases.tobytes().decode()
        counts = dict(zip(fasta.COMPOSITION, batch.composition, strict=True))
        assert batch.all_acgt == (counts["N"] + counts["other"] == 0)
        for base in "ACGTN":
            assert counts[base] == letters.upper().count(base)
        assert counts["other"] == sum(letter not in "ACGTN" for letter in letters.upper())
        assert counts["soft_masked"] == sum(letter.islower() for letter in letters)


@settings(max_examples=200, deadline=None)
@given(text=fasta_texts(), container=st.sampled_from(["gzip", "bgzip"]), data=st.data())
def test_truncated_compressed_file_is_noticed(path, text, container, data):
    whole = compress(text, container)
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(InputError, match="genome"):
        list(segments(path))


def test_truncation_at_a_bgzip_block_border_is_noticed(path):
    whole = bgzip(b">a\n" + b"ACGT" * 50_000)
    second_block = whole.index(b"\x1f\x8b\x08\x04", 10)
    path.write_bytes(whole[:second_block])
    assert gzip.decompress(path.read_bytes())  # gzip alone does not notice
    with pytest.raises(InputError, match="truncated"):
        list(segments(path))


def test_damaged_gzip_is_noticed(path):
    # Wherever a byte is wrong; also where the damage shows first as a letter that is no nucleotide.
    bases = np.random.default_rng(0).choice(list(b"ACGTacgt"), 10_000).astype(np.uint8).tobytes()
    whole = gzip.compress(b">a\n" + bases)
    for place in range(100, len(whole), 97):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        with (
            mock.patch.object(fasta, "BLOCK_BYTES", 512),
            pytest.raises(InputError, match=r"damaged|truncated"),
        ):
            list(segments(path))


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_every_line_width_gives_the_same_bases(path, line_end):
    # Around the fast path by strides: full lines only, a short last line, one line more or less.
    bases = np.random.default_rng(1).choice(list(b"ACGTacgtN"), 1000).astype(np.uint8).tobytes()
    for width in (1, 2, 7, 60, 100, 499, 500, 501, 1000, 2000):
        lines = [bases[i : i + width] for i in range(0, len(bases), width)]
        path.write_bytes(b">a\n" + line_end.join(lines) + line_end + b">b\n" + line_end.join(lines))
        assert [sequence.encode() for _, sequence in read_records(path)] == [bases, bases]


def test_uneven_lines_whose_last_columns_look_even(path):
    # Line feeds stand where a stride of 3 expects them, and also elsewhere.
    path.write_bytes(b">a\nAC\nAC\nA\n\nAC\n\n\nGT\n")
    assert read_records(path) == [("a", "ACACAACGT")]


def test_blanks_and_marks_of_text_editors_are_ignored(path):
    path.write_bytes(b"\xef\xbb\xbf\n>a b\nAC GT \nAC\t\n\n\n")
    assert read_records(path) == [("a", "ACGTAC")]


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1 << 18])
def test_line_of_a_wrong_letter_is_right_across_blocks(path, block_bytes):
    path.write_bytes(b">a\n" + b"ACGT\n" * 100 + b">b\n\nACGT\nACGU\n")
    with mock.patch.object(fasta, "BLOCK_BYTES", block_bytes), pytest.raises(InputError, match="line 105 "):
        list(segments(path))


def test_a_file_of_old_line_ends_is_not_read_to_its_end():
    # Its first line is the whole file: a genome in memory, and searched again with each block.
    blocks = iter([b">a\rACGT\r", *[b"ACGT\r" * 1000] * 1000])
    with pytest.raises(InputError, match="line 1: the header does not end"):
        list(fasta.parse_fasta("x.fa", blocks))
    assert next(blocks, None) is not None


@pytest.mark.parametrize("container", ["plain", "gzip"])
def test_a_file_whose_copy_is_not_complete_is_told(tmp_path, container):
    """A plain file would seem to end where the copy stands, and the rest of the genome would be missing."""
    path = tmp_path / "genome.fa"
    path.write_bytes(compress(b">a\nACGT\n", container))
    blocks = fasta.read_blocks(path)
    next(blocks)
    with open(path, "ab") as file:
        file.write(compress(b">b\nACGT\n", container))
    with pytest.raises(InputError, match=r"genome\.fa: the file changed while it was read"):
        list(blocks)
    assert b"".join(fasta.read_blocks(path)) == b">a\nACGT\n>b\nACGT\n"


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        list(segments(tmp_path / "none.fa"))
    with pytest.raises(InputError, match="directory"):
        list(segments(tmp_path))


@pytest.mark.parametrize("container", ["plain", "gzip"])
@pytest.mark.parametrize("width", [60, 20_000_000])
def test_memory_does_not_grow_with_the_sequence(path, container, width):
    with gzip.open(path, "wb", 1) if container == "gzip" else open(path, "wb") as file:
        file.write(b">a\n")
        line = b"A" * min(width, 1_000_000) + (b"\n" if width == 60 else b"")
        for _ in range(20_000_000 // min(width, 1_000_000) if width > 60 else 50_000):
            file.write(line)
    tracemalloc.start()
    total = sum(segment.bases.size for segment in segments(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == (20_000_000 if width > 60 else 3_000_000)
    assert peak < 4_000_000


@given(bases=st.binary(max_size=200) | letters.map(str.encode), at_once=st.sampled_from([1, 7, 1 << 16]))
def test_bases_are_counted_as_letters_are(bases, at_once):
    with mock.patch.object(fasta, "COUNTED_BYTES", at_once):
        counts = fasta.count_bases(np.frombuffer(bases, np.uint8))
    upper = bases.upper()
    known = {name: upper.count(name.encode()) for name in "ACGTN"}
    other = sum(upper.count(letter) for letter in b"RYSWKMBDHV")
    if sum(known.values()) + other < len(bases):
        assert counts is None
        return
    composition, all_acgt = counts
    soft_masked = sum(chr(byte).islower() for byte in bases)
    assert dict(zip(fasta.COMPOSITION, composition.tolist(), strict=True)) == {
        **known,
        "other": other,
        "soft_masked": soft_masked,
    }
    assert all_acgt == (known["N"] + other == 0)
    assert fasta.is_acgt(np.frombuffer(bases, np.uint8)).tolist() == [byte in b"ACGTacgt" for byte in bases]


def plainly(text: bytes) -> list[tuple[str, str]] | str:
    """The records of FASTA text, read line by line; or what is wrong, without what to do about it."""
    records: list[tuple[str, str]] = []
    for number, line in enumerate(text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if line.startswith(b">"):
            header = line[1:].rstrip(b"\r").decode("utf-8", "replace")
            if len(line) - 1 > fasta.LONGEST_HEADER_BYTES:
                return f"line {number}: the header does not end."
            if "\r" in header:
                return f"line {number}: line ends are single carriage returns"
            if not header.split():
                return f"line {number}: a record without a name."
            name = header.split()[0]
            if name in dict(records):
                return f"line {number}: a second record is named {name}."
            records.append((name, ""))
            continue
        bases = line.translate(None, b"\r\t ")
        if bases and not records:
            return f"line {number}: "
        wrong = bases.translate(None, b"ACGTNRYSWKMBDHVacgtnryswkmbdhv")
        if wrong:
            return f"line {number} (record {records[-1][0]}): {chr(wrong[0])!r} is no nucleotide."
        if bases:
            records[-1] = (records[-1][0], records[-1][1] + bases.decode())
    return records or "no FASTA record in this file."


@st.composite
def broken_texts(draw) -> bytes:
    """Lines of one width, and among them what stands in files by mistake."""
    width = draw(st.integers(1, 6))
    full = st.text(alphabet="ACGTacgtN", min_size=width, max_size=width)
    short = st.text(alphabet="ACGTacgtN", max_size=width)
    header = st.sampled_from([">a", ">b c > d", ">c", ">d\te", ">\u00e9"])
    odd = st.sampled_from(["U", "A>C", "-", " ", "A\tC ", ">", "> x", ">a\rA", ">" + "n" * 70, "\r"])
    usual = st.one_of(full, full, full, short, header)
    lines = draw(st.lists(usual, max_size=30))
    for line in draw(st.lists(odd, max_size=2)):
        lines.insert(draw(st.integers(0, len(lines))), line)
    if draw(st.integers(0, 9)):
        lines.insert(0, ">s")
    mark, last = draw(st.sampled_from(["", "", "\ufeff"])), draw(st.sampled_from(["", "\n"]))
    return (mark + draw(st.sampled_from(["\n", "\n", "\r\n"])).join(lines) + last).encode()


@settings(max_examples=1000, deadline=None)
@given(
    text=broken_texts(),
    block_bytes=st.sampled_from([3, 4, 11, 50, 1 << 18]),
    short_bytes=st.sampled_from([0, 8192]),
)
def test_batches_give_the_records_and_mistakes_of_single_lines(text, block_bytes, short_bytes):
    blocks = (text[i : i + block_bytes] for i in range(0, len(text), block_bytes))
    found: dict[str, str] = {}
    with (
        mock.patch.object(fasta, "SHORT_BYTES", short_bytes),
        mock.patch.object(fasta, "LONGEST_HEADER_BYTES", 60),
    ):
        expected = plainly(text)
        try:
            for batch in fasta.parse_fasta("x.fa", blocks):
                for segment in batch.segments():
                    found.setdefault(segment.name, "")
                    assert segment.start == len(found[segment.name])
                    found[segment.name] += segment.bases.tobytes().decode()
        except InputError as error:
            assert isinstance(expected, str), error
            assert str(error).replace("x.fa: ", "x.fa ").startswith(f"x.fa {expected}")
            return
    assert list(found.items()) == expected
