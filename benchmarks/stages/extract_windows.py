"""FASTA -> windows, beside a loop over Biopython's records. Same lines out, checked."""

import filecmp
import gzip
import hashlib
import shutil
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import data
from isal import igzip
from measuring import PLAIN, SCRIPTS, Bench, Limit, Row, Run, grown, pairs, python


def ours(fasta: Path) -> Run:
    folder = fasta.parent
    return python(
        SCRIPTS / "extract_windows.py", "--fasta", fasta, "--genome", "benchmark",
        "--validation-sequences", data.HELD_OUT, "--train", folder / "ours.txt",
        "--validation", folder / "held_out.txt", "--stats", folder / "stats.json",
    )  # fmt: skip


def plain(fasta: Path) -> Run:
    return python(PLAIN / "extract_windows.py", fasta, fasta.parent / "plain.txt")


def reading_and_writing(fasta: Path) -> Limit:
    """Reading the bases, the SHA-256 of the file and writing the lines: what no program can leave out."""
    start = time.process_time()
    with open(fasta, "rb") as file:
        hashlib.file_digest(file, "sha256")
    if fasta.suffix == ".gz":
        with igzip.open(fasta) as text:
            while text.read(1 << 20):
                pass
    with open(fasta.parent / "ours.txt", "rb") as lines, open(fasta.parent / "copy.txt", "wb") as copy:
        shutil.copyfileobj(lines, copy, 1 << 20)
    what = "decompressing" if fasta.suffix == ".gz" else "reading"
    return Limit(time.process_time() - start, f"{what}, SHA-256, writing")


def compared(bench: Bench, stage: str, sizes: list[Path], goal: float) -> Row:
    """A row for the last of `sizes`; the others show the growth."""
    megabytes = [round(size.stat().st_size / 1e6) for size in sizes]
    growth = grown(ours, sizes, megabytes, "MB")
    measured = pairs(bench, partial(plain, sizes[-1]), partial(ours, sizes[-1]), growth[-1][1])
    # The held-out record is the last one.
    with open(bench.folder / "ours.txt", "ab") as lines:
        lines.write((bench.folder / "held_out.txt").read_bytes())
    if not filecmp.cmp(bench.folder / "ours.txt", bench.folder / "plain.txt", shallow=False):
        sys.exit(f"{stage}: the two ways do not write the same lines")
    limit = reading_and_writing(sizes[-1])
    return Row(stage, "Biopython loop", measured, goal, limit, growth)


def measure(bench: Bench) -> Iterator[Row]:
    sizes = [5, 10, 20] if bench.quick else [50, 100, 200]
    chromosomes = [data.genome(bench, f"chromosomes{size}.fa", size * data.MB) for size in sizes]
    yield compared(bench, "extract_windows", chromosomes, 5)
    compressed = []
    for path in chromosomes:
        with open(path, "rb") as text, gzip.open(f"{path}.gz", "wb", 6) as file:
            shutil.copyfileobj(text, file, 1 << 20)
        compressed.append(Path(f"{path}.gz"))
        path.unlink()
    yield compared(bench, "extract_windows, gzip", compressed, 6)
    contigs = [data.genome(bench, f"contigs{size}.fa", size * data.MB, contig_bp=2000) for size in sizes]
    yield compared(bench, "extract_windows, contigs of 2 kb", contigs, 2)
