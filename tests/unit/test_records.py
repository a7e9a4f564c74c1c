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
from dnalm.sequences import records
from dnalm.sequences.inputs import kind_of_input
from dnalm.sequences.names import name_hint

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
    ],
)
def test_what_cannot_be_read_is_one_line_that_names_file_and_record(tmp_path, content, message):
    path = tmp_path / "genome"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_the_same_windows_from_genbank_as_from_fasta(tmp_path, repository):
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
        windows.append([Path(made[name]).read_bytes() for name in made])
    assert windows[0] == windows[1]


def test_names_are_guessed_across_customs():
    assert name_hint("chr2", ["1", "2", "X"]) == "Did you mean 2?"
    assert name_hint("x", ["chr1", "chrX"]) == "Did you mean chrX?"
    assert name_hint("plasmid", ["chr1", "chrX"]) == "Its first sequences are chr1, chrX."


def test_files_of_biopython_are_read_as_biopython_reads_them(tmp_path):
    path = tmp_path / "records.gb"
    path.write_bytes(as_text(SEQUENCES, "genbank"))
    assert read(path) == {record.id: str(record.seq) for record in SeqIO.parse(path, "genbank")}
