"""Windows: the same lines as a plain loop over Biopython records, with every window accounted for."""

import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from Bio import SeqIO
from hypothesis import given, settings
from hypothesis import strategies as st
from settings_objects import grouped

import extract_windows
from dnalm.extract_windows.settings import ExtractWindowsSettings
from dnalm.running.errors import InputError
from dnalm.sequences import fasta as fasta_module

DEFAULTS = {
    "genome": "g",
    "length": 1000,
    "stride": 1000,
    "max_non_acgt": 0,
    "max_soft_masked": 1.0,
    "validation_sequences": [],
    "validation_fraction": 0.0,
    "validation_block": 100_000,
}


def extract(folder: Path, content: bytes, **options) -> tuple[list[str], list[str], dict]:
    """Run the script on a FASTA file with this content; lines for training, for validation, statistics."""
    (folder / "genome.fa").write_bytes(content)
    outputs = {name: folder / f"out.{name}" for name in ("train", "validation", "stats")}
    settings = grouped(DEFAULTS | options, settings=ExtractWindowsSettings)
    extract_windows.main(fasta=folder / "genome.fa", **settings, **outputs)
    statistics = json.loads(outputs["stats"].read_text())
    assert statistics["input"] == {"file": "genome.fa", "sha256": hashlib.sha256(content).hexdigest()}
    lines = {}
    for name in ("train", "validation"):
        data = outputs[name].read_bytes()
        assert data == b"" or data.endswith(b"\n")
        lines[name] = data.decode().splitlines()
    return lines["train"], lines["validation"], statistics


def reference(content: bytes, *, length, stride, max_non_acgt, max_soft_masked, is_validation) -> dict:
    """The rules of the script's docstring, one base at a time. `is_validation(name, position in genome)`."""
    result = {name: [] for name in extract_windows.FATES}
    result["by_sequence"] = []
    offset = 0
    for record in SeqIO.parse(io.StringIO(content.decode(), newline=None), "fasta"):
        before = {name: len(result[name]) for name in extract_windows.FATES}
        sequence = str(record.seq)
        for start in range(0, len(sequence), stride):
            window = sequence[start : start + length]
            held_out = {is_validation(record.id, offset + start + i) for i in range(len(window))}
            if len(window) < length:
                reason = "incomplete"
            elif sum(base not in "ACGTacgt" for base in window) > max_non_acgt:
                reason = "non_acgt"
            elif sum(base.islower() for base in window) > round(max_soft_masked * length, 6):
                reason = "soft_masked"
            elif len(held_out) == 2:
                reason = "split_border"
            else:
                reason = "validation" if held_out == {True} else "train"
            result[reason].append(window.upper())
        offset += len(sequence)
        counts = {name: len(result[name]) - before[name] for name in extract_windows.FATES}
        result["by_sequence"].append({"name": record.id, "bases": len(sequence), **counts})
    return result


@st.composite
def genomes(draw) -> bytes:
    """Contigs with stretches of upper case, lower case and N, some empty, some of one window; blank lines."""
    stretch = st.one_of(
        st.text(alphabet="ACGT", max_size=60),
        st.text(alphabet="acgt", max_size=20),
        st.text(alphabet="NnRACGT", max_size=6),
    )
    few = st.lists(st.lists(stretch, max_size=6).map("".join), min_size=1, max_size=6)
    many = st.lists(stretch, min_size=10, max_size=40)
    contigs = draw(st.one_of(few, many))
    width = draw(st.integers(1, 30))
    line_end = draw(st.sampled_from(["\n", "\n", "\r\n", "\n\n"]))
    text = ""
    for number, contig in enumerate(contigs):
        lines = [contig[i : i + width] for i in range(0, len(contig), width)]
        text += line_end.join([f">s{number}", *lines]) + line_end
    return text.encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("windows")


@settings(max_examples=300, deadline=None)
@given(
    content=genomes(),
    length=st.integers(1, 20),
    stride=st.integers(1, 30),
    max_non_acgt=st.integers(0, 3),
    max_soft_masked=st.sampled_from([0.0, 0.29, 0.5, 1.0]),
    hold_out=st.sampled_from(["nothing", "sequences", "blocks"]),
    fraction=st.sampled_from([0.5, 0.34, 0.2, 0.05]),
    block=st.integers(20, 40),
    block_bytes=st.sampled_from([1, 13, 50, 1 << 18]),
    buffer_bytes=st.sampled_from([1, 50, 1 << 18]),
)
def test_same_windows_as_a_plain_loop(
    folder,
    content,
    length,
    stride,
    max_non_acgt,
    max_soft_masked,
    hold_out,
    fraction,
    block,
    block_bytes,
    buffer_bytes,
):
    options = {
        "length": length,
        "stride": stride,
        "max_non_acgt": max_non_acgt,
        "max_soft_masked": max_soft_masked,
    }
    split = {}

    def is_validation(name: str, position: int) -> bool:
        if hold_out == "sequences":
            return name == "s0"
        if hold_out == "blocks":
            period = round(1 / fraction)
            return position // block % period == period // 2
        return False

    if hold_out == "sequences":
        split = {"validation_sequences": ["s0"], "validation_fraction": 0.05}
    elif hold_out == "blocks":
        split = {"validation_fraction": fraction, "validation_block": block}
    expected = reference(content, **options, is_validation=is_validation)
    enough = expected["train"] and (expected["validation"] or hold_out == "nothing")
    with (
        mock.patch.object(fasta_module, "BLOCK_BYTES", block_bytes),
        mock.patch.object(extract_windows, "BUFFER_BYTES", buffer_bytes),
    ):
        if not enough:
            with pytest.raises(InputError, match=r"no window is left|all empty"):
                extract(folder, content, **options, **split)
            return
        train, validation, statistics = extract(folder, content, **options, **split)
    assert train == expected["train"]
    assert validation == expected["validation"]
    assert statistics["windows"] == {"train": len(train), "validation": len(validation)}
    assert statistics["dropped"] == {name: len(expected[name]) for name in extract_windows.DROPPED}
    assert statistics["by_sequence"] == expected["by_sequence"]
    assert statistics["empty_sequences"] == sum(row["bases"] == 0 for row in expected["by_sequence"])
    assert statistics["bases"] == sum(sequence["bases"] for sequence in statistics["by_sequence"])
    assert statistics["bases"] == sum(statistics["composition"].values())
    assert statistics["sequences"] == content.count(b">")


def test_statistics_say_what_was_read(folder):
    _, _, statistics = extract(
        folder, b">chr1 first\nACGTac\nNNRGGG\n>empty\n>chr2\nCCCCCCC\n", length=3, stride=3
    )
    assert statistics["genome"] == "g"
    assert statistics["sequences"] == 3
    assert statistics["empty_sequences"] == 1
    assert statistics["composition"] == {"A": 2, "C": 9, "G": 4, "T": 1, "N": 2, "other": 1}
    assert statistics["gc_content"] == pytest.approx(13 / 16)
    assert statistics["soft_masked_bases"] == 2
    assert statistics["windows"] == {"train": 5, "validation": 0}
    assert statistics["dropped"] == {"incomplete": 1, "non_acgt": 1, "soft_masked": 0, "split_border": 0}
    assert [sequence["name"] for sequence in statistics["by_sequence"]] == ["chr1", "empty", "chr2"]
    assert statistics["settings"]["length"] == 3


def test_splits_share_no_base(folder):
    # Every base is different from all others by its position, written in base 4 as 8 letters.
    def word(n: int) -> str:
        return "".join("ACGT"[n >> 2 * i & 3] for i in range(8))

    sequence = "".join(word(n) for n in range(2000))
    options = {"length": 80, "stride": 8, "validation_fraction": 0.25, "validation_block": 800}
    train, validation, _ = extract(folder, f">a\n{sequence}\n".encode(), **options)
    words = [{line[i : i + 8] for line in lines for i in range(0, 80, 8)} for lines in (train, validation)]
    assert words[0] and words[1]
    assert not words[0] & words[1]


def test_blocks_hold_out_the_fraction_and_are_spread(folder):
    sequence = "ACGT" * 50_000
    options = {"length": 100, "stride": 100, "validation_fraction": 0.05, "validation_block": 1000}
    _, validation, statistics = extract(folder, f">a\n{sequence}\n".encode(), **options)
    assert len(validation) / sum(statistics["windows"].values()) == pytest.approx(0.05)
    assert statistics["dropped"]["split_border"] == 0


def test_thousands_of_contigs_are_listed_up_to_a_limit(folder):
    content = "".join(f">c{n}\n{'ACGT' * 5}\n" for n in range(3000)).encode()
    train, _, statistics = extract(folder, content, length=10, stride=10)
    assert len(train) == 6000
    assert statistics["sequences"] == 3000
    assert len(statistics["by_sequence"]) == 1000
    assert statistics["sequences_not_listed"] == 2000


@pytest.mark.parametrize(
    ("names", "options", "words"),
    [
        ("chr1 chr2 chrX", {"validation_sequences": ["2"]}, "no sequence is named 2.* Did you mean chr2"),
        ("1 2 X", {"validation_sequences": ["chrX"]}, "Did you mean X"),
        ("chr1 chr2", {"validation_sequences": ["Chr2"]}, "Did you mean chr2"),
        ("scaffold_1 scaffold_12", {"validation_sequences": ["scafold_12"]}, "Did you mean scaffold_12"),
        ("alpha beta", {"validation_sequences": ["chr7"]}, "first sequences are alpha, beta"),
        ("a b", {"validation_sequences": ["a", "b"]}, "left for training. Hold out fewer"),
        ("a", {"validation_fraction": 0.05}, "left for validation. The genome of 40 bases is small"),
        ("a", {"length": 100}, "shorter than 100 bp"),
        ("a", {"max_soft_masked": 0.5}, "soft-masked share"),
    ],
)
def test_what_cannot_work_is_explained(folder, names, options, words):
    content = "".join(f">{name}\n{'acgt' * 10}\n" for name in names.split()).encode()
    with pytest.raises(InputError, match=words) as error:
        extract(folder, content, **{"length": 10, "stride": 10, **options})
    assert "\n" not in str(error.value)


def test_suggested_validation_block_works(folder):
    content = b">a\n" + b"ACGT" * 5000 + b"\n"
    options = {"length": 100, "stride": 100, "validation_fraction": 0.05}
    with pytest.raises(InputError, match="try 500 bp"):
        extract(folder, content, **options, validation_block=100_000)
    _, validation, _ = extract(folder, content, **options, validation_block=500)
    assert len(validation) == 10


def test_what_is_suggested_for_a_genome_of_a_mitochondrion_works(folder):
    content = b">MT\n" + b"ACGT" * 4142 + b"\n"
    options = {"validation_fraction": 0.05, "validation_block": None}
    with pytest.raises(InputError) as refused:
        extract(folder, content, **options)
    found = re.search(r"windows to (\d+) bp, or hold out a fraction of (\S+),", str(refused.value))
    length, fraction = int(found[1]), float(found[2])
    for mended in ({"length": length, "stride": length}, {"validation_fraction": fraction}):
        assert all(extract(folder, content, **options | mended)[:2])


def test_a_small_genome_is_held_out_in_shorter_blocks(folder, caplog):
    """1 Mb has no place for the usual blocks; nobody set their length."""
    content = b">a\n" + b"ACGTTGCA" * 125_000 + b"\n"
    caplog.set_level("INFO", "dnalm")
    options = {"validation_fraction": 0.05, "validation_block": None}
    train, validation, stats = extract(folder, content, **options)
    assert stats["settings"]["validation_block"] == 25_000
    assert (len(train), len(validation)) == (950, 50)
    assert "too small for held-out blocks of 100000 bp; they have 25000 bp" in caplog.text
    _, validation, stats = extract(folder, content + content.replace(b">a", b">b"), **options)
    assert stats["settings"]["validation_block"] == 100_000
    with pytest.raises(InputError, match="no window is left for validation"):
        extract(folder, content, validation_fraction=0.05, validation_block=100_000)


def test_another_file_than_the_checksum_s_is_refused(folder):
    with pytest.raises(InputError, match=r"genome\.fa: its SHA-256 is [0-9a-f]{64}, not 0000"):
        extract(folder, b">a\nACGT\n", sha256="0" * 64)


def test_genome_of_n_only(folder):
    with pytest.raises(InputError, match="no A, C, G or T; use another"):
        extract(folder, b">a\n" + b"N" * 100, length=10, stride=10)


def test_genome_of_empty_records(folder):
    with pytest.raises(InputError, match="2 sequences, all empty"):
        extract(folder, b">a\n>b\n")


def run_script(repository: Path, folder: Path, content: bytes, *options: str) -> subprocess.CompletedProcess:
    (folder / "genome.fa.gz").write_bytes(content)
    command = [sys.executable, repository / "scripts/extract_windows.py", "--genome", "g", *options]
    for name in ("train", "validation", "stats"):
        command += [f"--{name}", folder / "out" / name]
    command += ["--fasta", folder / "genome.fa.gz"]
    return subprocess.run(command, capture_output=True, text=True)


def test_command_leaves_nothing_after_an_error(repository, tmp_path):
    content = gzip.compress(b">chr1\n" + b"ACGT" * 100_000)
    finished = run_script(repository, tmp_path, content[:-100], "--length", "100", "--stride", "100")
    assert finished.returncode == 1
    assert finished.stderr.count("\n") == 1
    assert "truncated" in finished.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_command_writes_the_same_bytes_twice(repository, tmp_path):
    content = gzip.compress(b">chr1\n" + b"ACGTTGCA" * 50_000)
    found = []
    for _ in range(2):
        finished = run_script(repository, tmp_path, content, "--validation-block", "10000")
        assert finished.returncode == 0, finished.stderr
        found.append([path.read_bytes() for path in sorted((tmp_path / "out").iterdir())])
    assert found[0] == found[1]
    assert len(found[0]) == 3


def test_real_genomes_agree_with_biopython(real_data, folder):
    for name in ("dm_chr4_softmasked", "hs_ensembl_core_contigs"):
        content = gzip.decompress((real_data / "genomes" / f"{name}.fa.gz").read_bytes())
        train, validation, _ = extract(folder, content, validation_fraction=0.05)
        expected = []
        for record in SeqIO.parse(io.StringIO(content.decode()), "fasta"):
            sequence = str(record.seq).upper()
            windows = [sequence[i : i + 1000] for i in range(0, len(sequence) - 999, 1000)]
            expected += [window for window in windows if set(window) <= set("ACGT")]
        border = len(expected) - len(train) - len(validation)
        assert border <= 2
        assert set(train) | set(validation) <= set(expected)
