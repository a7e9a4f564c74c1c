"""What labs have beside FASTA: GenBank, EMBL, 2bit, bzip2 and xz give the same bases under the same names."""

import bz2
import gzip
import lzma
import struct
from pathlib import Path

import numpy as np
import pytest
from Bio import SeqIO
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from dnalm.running.errors import InputError
from dnalm.sequences import fasta, records
from dnalm.sequences.inputs import check_beginning, kind_of_input
from dnalm.sequences.names import name_hint
from dnalm.sequences.regions import read_bed

COMPRESS = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}
SEQUENCES = {"NC_000913.3": "ACGTNRYacgtn" * 50_000, "U49845.1": "GATTACA", "X.1": "TTTT"}


def read(path: Path) -> dict[str, str]:
    """Name -> bases, joined from the segments."""
    found: dict[str, str] = {}
    for segment in records.stream_sequences(path):
        name = segment.name
        assert segment.start == len(found.setdefault(name, ""))
        found[name] += segment.bases.tobytes().decode()
    return found


def as_text(sequences: dict[str, str], form: str) -> bytes:
    """The sequences as Biopython writes them."""
    made = [
        SeqRecord(Seq(bases), id=name, description="made up", annotations={"molecule_type": "DNA"})
        for name, bases in sequences.items()
    ]
    return "".join(record.format(form) for record in made).encode()


TWO_BIT_HEAD = bytes.fromhex("4327411a") + bytes(4)


def two_bit(sequences: dict[str, str], order: str = "<") -> bytes:
    """A 2bit file by its specification (genome.ucsc.edu/FAQ/FAQformat.html#format7); ACGTN in both cases."""

    def blocks(marked: np.ndarray) -> bytes:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], marked, [0]])))
        starts, ends = edges[::2], edges[1::2]
        return struct.pack(f"{order}{1 + 2 * len(starts)}I", len(starts), *starts, *(ends - starts))

    bodies = []
    for bases in sequences.values():
        letters = np.frombuffer(bases.encode(), np.uint8)
        codes = np.array(
            [max(0, "TCAG".find(letter)) for letter in bases.upper() + "T" * (-len(bases) % 4)], int
        )
        packed = (codes.reshape(-1, 4) << np.array([6, 4, 2, 0])).sum(1).astype(np.uint8).tobytes()
        n = (letters | 0x20) == ord("n")
        mask = letters >= ord("a")
        reserved = struct.pack(f"{order}I", 0)
        length = struct.pack(f"{order}I", len(bases))
        bodies.append(length + blocks(n.astype(int)) + blocks(mask.astype(int)) + reserved + packed)
    offset = 16 + sum(1 + len(name) + 4 for name in sequences)
    head = struct.pack(f"{order}4I", 0x1A412743, 0, len(sequences), 0)
    for name, body in zip(sequences, bodies, strict=True):
        head += bytes([len(name)]) + name.encode() + struct.pack(f"{order}I", offset)
        offset += len(body)
    return head + b"".join(bodies)


@pytest.mark.parametrize("container", COMPRESS)
@pytest.mark.parametrize("form", ["fasta", "genbank", "embl"])
def test_every_form_gives_the_bases_of_the_fasta_file(tmp_path, form, container):
    path = tmp_path / "genome.anything"
    path.write_bytes(COMPRESS[container](as_text(SEQUENCES, form)))
    expected = SEQUENCES if form == "fasta" else {name: bases.upper() for name, bases in SEQUENCES.items()}
    assert read(path) == expected
    assert kind_of_input(path) == form


@settings(max_examples=60, deadline=None)
@given(
    sequences=st.dictionaries(
        st.text("chr1X_.", min_size=1, max_size=8),
        st.text("ACGTNacgtn", max_size=300),
        min_size=1,
        max_size=4,
    ),
    order=st.sampled_from("<>"),
    block=st.sampled_from([1, 7, 64, 1 << 18]),
)
def test_two_bit_keeps_gaps_and_soft_masking(tmp_path_factory, sequences, order, block):
    path = tmp_path_factory.getbasetemp() / "genome.2bit"
    path.write_bytes(two_bit(sequences, order))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BLOCK_BYTES", block)
        assert read(path) == sequences
    assert kind_of_input(path) == "2bit"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            as_text({"A.1": "ACGT"}, "genbank") * 2,
            "second record is named A.1",
        ),
        (
            as_text({"A.1": "ACGTACGT"}, "genbank").replace(b"acgtacgt", b"acgtmklv"),
            "'L' at position 7 .*Protein",
        ),
        (as_text({"A.1": "ACGTACGT"}, "embl").replace(b"acgtacgt", b"acguacgt"), "'U' at position 4 .*RNA"),
        (
            as_text({"A.1": "ACGT"}, "genbank").replace(
                b"ORIGIN\n        1 acgt\n", b"CONTIG      join(B.1:1..4)\n"
            ),
            "does not hold it. Download the full record",
        ),
        (as_text({"A.1": "ACGT" * 100}, "genbank")[:-60], "record 1: not readable as GenBank"),
        (two_bit({"chr1": "ACGT" * 100})[:40], "2bit"),
        (b"GBBCT1.SEQ  Genetic Sequence Data Bank\n\nno records\n", "no GenBank record"),
        (bz2.compress(b">a\nACGT\n" * 1000)[:-10], "bzip2 data ends too early"),
        (lzma.compress(b">a\nACGT\n" * 1000)[:-10], "xz data ends too early"),
        (bz2.compress(b">a\nACGT\n")[:-8] + b"damaged!", "bzip2 data is damaged"),
        (lzma.compress(b">a\nACGT\n")[:20] + b"damaged!" * 9, "xz data is damaged"),
        # The second of two streams: all behind the first would be missing.
        (bz2.compress(b">a\nACGT\n") + b"damaged!" + bz2.compress(b">b\nACGT\n"), "bzip2 data is damaged"),
        (lzma.compress(b">a\nACGT\n") + b"damaged!" + lzma.compress(b">b\nACGT\n"), "xz data is damaged"),
        (bz2.compress(b">a\nACGT\n") + bz2.compress(b">b\nACGT\n")[:-4], "bzip2 data ends too early"),
        # What a 2bit file says of itself is not believed: it could take hours, or all memory.
        (TWO_BIT_HEAD + b"\xff\xff\xff\xff" + bytes(100), "4,294,967,295 sequences are said to be in it"),
        (two_bit({"chr1": "ACGT", "chr2": "ACGT"}).replace(b"chr2", b"chr1"), "two sequences are named chr1"),
        (two_bit({"chr1": "A" * 7}).replace(b"\7\0\0\0", b"\7\0\0\x40"), "ends too early"),
        (two_bit({"chr1": "ANNGTTT"}).replace(b"\7\0\0\0\1\0\0\0", b"\7\0\0\0\1\0\0\xf0"), "ends too early"),
        (two_bit({"c\t1": "ACGT"}), r"record 1: the name 'c\\t1' has a character that is none to be read"),
        (b">a\0b\nACGT\n", r"line 1: the name 'a\\x00b' has a character that is none to be read"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_names_file_and_record(tmp_path, content, message):
    path = tmp_path / "genome"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_the_same_windows_from_genbank_as_from_fasta(tmp_path, repository):
    import json
    import subprocess
    import sys

    bases = {"A.1": "ACGTTGCA" * 3000}
    windows = []
    for form in ("fasta", "genbank"):
        (tmp_path / form).write_bytes(as_text(bases, form))
        made = {name: str(tmp_path / f"{form}.{name}") for name in ("train", "validation", "stats")}
        flags = [part for name, file in made.items() for part in (f"--{name}", file)]
        command = [sys.executable, repository / "scripts/extract_windows.py", "--genome", "g"]
        command += ["--fasta", str(tmp_path / form), "--length", "100", "--stride", "100"]
        subprocess.run([*command, "--validation-block", "1000", *flags], check=True, capture_output=True)
        counts = json.loads(Path(made["stats"]).read_text())
        assert counts.pop("input")["file"] == form
        windows.append((*(Path(made[name]).read_bytes() for name in ("train", "validation")), counts))
    assert windows[0] == windows[1]


@pytest.mark.parametrize("form", ["bzip2", "xz"])
@given(
    parts=st.lists(st.text("ACGT", min_size=1, max_size=4000), min_size=1, max_size=4),
    padding=st.integers(0, 3),
    block=st.integers(1, 5000),
)
@settings(max_examples=30, deadline=None)
def test_streams_one_behind_the_other_are_read_to_the_end(tmp_path_factory, form, parts, padding, block):
    path = tmp_path_factory.getbasetemp() / f"streams.{form}"
    texts = [f">r{number}\n{part}\n".encode() for number, part in enumerate(parts)]
    path.write_bytes(b"".join(map(COMPRESS[form], texts)) + bytes(4 * padding))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasta, "BLOCK_BYTES", block)
        assert b"".join(fasta.read_blocks(path)) == b"".join(texts)


def test_names_that_are_no_utf8_stay_apart(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_bytes(b">caf\xe9\nACGT\n>caf\xea\nACGTA\n")
    assert read(path) == {"caf\u00e9": "ACGT", "caf\u00ea": "ACGTA"}


def test_only_line_feeds_and_carriage_returns_end_a_line(tmp_path):
    """Form feeds and the like stand in descriptions; `str.splitlines` would take what follows for bases."""
    path = tmp_path / "genome.fa"
    path.write_text(">a splice\x0bsite\x0cJunk\x1d\x85\u2028Junk\nACGT\n")
    assert kind_of_input(path) == "fasta"
    check_beginning(path, "fasta")
    bed = tmp_path / "regions.bed"
    bed.write_text("track name=x\ntrack1\t0\t4\tx\ty\u2028z\r\nbrowser y\n\nbrowser1\t1\t2\r")
    assert [(r.chromosome, r.name, r.line) for r in read_bed(bed)] == [
        ("track1", "x", 2),
        ("browser1", "browser1:1-2", 5),
    ]


def test_names_are_guessed_across_customs():
    assert name_hint("chr2", ["1", "2", "X"]) == "Did you mean 2?"
    assert name_hint("x", ["chr1", "chrX"]) == "Did you mean chrX?"
    assert name_hint("MT", ["chr1", "chrM"]) == "Did you mean chrM?"
    assert name_hint("chrM", ["1", "M3", "MT"]) == "Did you mean MT?"
    assert name_hint("choromosome19", ["chromosome1", "chromosome19"]) == "Did you mean chromosome19?"
    assert name_hint("chr19", ["chr1", "chr2"]) == "Its first sequences are chr1, chr2."
    assert name_hint("plasmid", ["chr1", "chrX"]) == "Its first sequences are chr1, chrX."


def test_files_of_biopython_are_read_as_biopython_reads_them(tmp_path):
    path = tmp_path / "records.gb"
    path.write_bytes(as_text(SEQUENCES, "genbank"))
    assert read(path) == {record.id: str(record.seq) for record in SeqIO.parse(path, "genbank")}
