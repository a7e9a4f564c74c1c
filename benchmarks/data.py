"""The data of benchmarks: real genomes and tasks where there are some, simulated ones otherwise.

A program of its own, since what a process holds in memory would count for the processes that it starts:

    python benchmarks/data.py genome out.fa --bases 200000000 [--contig-bp 2000] [--real FOLDER]
    python benchmarks/data.py sequences out.tsv --number 600 --bp 200 [--real FOLDER]
    python benchmarks/data.py model out/ --tokenizer DIR [--architecture course]

--real names a folder with genomes/*.fa.gz and */*/train.tsv.
"""

import argparse
import csv
import gzip
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
from measuring import REPOSITORY, SCRIPTS, Bench, python

LETTERS = np.frombuffer(b"ACGTacgt", np.uint8)
LINE_BP = 60
MB = 1_000_000
# The last record of every genome, one window: all others are for training.
HELD_OUT, HELD_OUT_BP = "held_out", 1000


# ----------------------------------------------------------------------------- asked for by stages


def genome(bench: Bench, name: str, bases: int, contig_bp: int | None = None) -> Path:
    """A FASTA file of so many bases, in contigs of `contig_bp` or as whole chromosomes."""
    words = ["--bases", bases] + (["--contig-bp", contig_bp] if contig_bp else [])
    return _made(bench, "genome", bench.folder / name, *words)


def lines(bench: Bench, name: str, megabases: int) -> Path:
    """Windows of 1000 bp, one a line."""
    path = bench.folder / name
    if not path.is_file():
        fasta = genome(bench, f"{name}.fa", megabases * MB)
        python(
            SCRIPTS / "extract_windows.py", "--fasta", fasta, "--genome", "benchmark", "--train", path,
            "--validation-sequences", HELD_OUT, "--validation", path.with_suffix(".none"),
            "--stats", path.with_suffix(".json"),
        )  # fmt: skip
        fasta.unlink()
    return path


def tokenizer(bench: Bench) -> Path:
    """A tokenizer directory of 4096 tokens: DNABERT-2's where it is at hand, else learnt here."""
    path = bench.shared / "tokenizer"
    if not path.is_dir():
        given = bench.data and bench.data / "tokenizer" / "dnabert2-tokenizer.json"
        if given and given.is_file():
            command = [SCRIPTS / "import_tokenizer.py", "--source", given]
        else:
            windows = lines(bench, "tokenizer-lines.txt", 5)
            command = [SCRIPTS / "train_tokenizer.py", "--windows", windows, "--sample-lines", 2000]
        python(*command, "--output", path, "--summary", bench.shared / "tokenizer.json")
    return path


def sequences(bench: Bench, name: str, number: int, bp: int) -> Path:
    """A table of labelled sequences: seq, label."""
    return _made(bench, "sequences", bench.folder / name, "--number", number, "--bp", bp)


def network(quick: bool) -> str:
    """The name of the architecture that is measured."""
    return "laptop" if quick else "course"


def model(bench: Bench) -> Path:
    """An untrained model directory: speed does not depend on what its weights are."""
    architecture = ["--architecture", network(bench.quick)]
    return _made(bench, "model", bench.shared / "model", "--tokenizer", tokenizer(bench), *architecture)


def _made(bench: Bench, kind: str, path: Path, *words: object) -> Path:
    if not path.exists():
        real = ["--real", bench.data] if bench.data and kind != "model" else []
        python(__file__, kind, path, *words, *real)
    return path


# ----------------------------------------------------------------------------- made


def real_records(folder: Path) -> Iterator[bytes]:
    """The bases of all records of all real genomes, over and over."""
    files = sorted((folder / "genomes").glob("*.fa.gz"))
    if not files:
        sys.exit(f"{folder}/genomes: no *.fa.gz")
    while True:
        for file in files:
            with gzip.open(file) as text:
                for record in text.read().split(b">")[1:]:
                    yield record.partition(b"\n")[2].translate(None, b"\r\n")


def random_records() -> Iterator[bytes]:
    """Chromosomes of 20 million random bases, half of them lower case, with a run of N."""
    generator = np.random.default_rng(42)
    while True:
        bases = LETTERS[generator.integers(0, 8, 20_000_000, dtype=np.uint8)]
        bases[1_000_000:2_000_000] = ord("N")
        yield bases.tobytes()


def write_genome(path: Path, bases_wanted: int, contig_bp: int | None, real: Path | None) -> None:
    """FASTA in lines of 60 bases, cut off after so many bases."""
    left = bases_wanted - HELD_OUT_BP
    numbers = count()
    with open(path, "wb") as file:
        for record in real_records(real) if real else random_records():
            bases = record[:left]
            left -= len(bases)
            step = contig_bp or max(1, len(bases))
            for start in range(0, len(bases), step):
                contig = bases[start : start + step]
                full = len(contig) // LINE_BP * LINE_BP
                grid = np.full((full // LINE_BP, LINE_BP + 1), ord("\n"), np.uint8)
                grid[:, :-1] = np.frombuffer(contig[:full], np.uint8).reshape(-1, LINE_BP)
                file.write(b">contig%d\n" % next(numbers) + grid.tobytes() + contig[full:] + b"\n")
            if not left:
                file.write(b">%s\n%s\n" % (HELD_OUT.encode(), b"ACGT" * (HELD_OUT_BP // 4)))
                return


def write_sequences(path: Path, number: int, bp: int, real: Path | None) -> None:
    """Labelled sequences of about `bp` letters, from the real task whose are that long, or random ones."""
    rows: list[tuple[str, str]] = []
    for task in sorted(real.glob("*/*/train.tsv")) + sorted(real.glob("*/train.tsv")) if real else []:
        with open(task, newline="") as file:
            table = [(row["seq"], row["label"]) for row in csv.DictReader(file, delimiter="\t")]
        if abs(np.median([len(sequence) for sequence, _ in table]) - bp) < bp / 10:
            rows = table
            break
    if not rows:
        generator = np.random.default_rng(7)
        rows = [
            ("".join(generator.choice(list("ACGT"), generator.integers(bp * 9 // 10, bp + 1))), str(i % 2))
            for i in range(number)
        ]
    with open(path, "w") as file:
        file.write("id\tseq\tlabel\n")
        for i in range(number):
            sequence, label = rows[i % len(rows)]
            file.write(f"s{i}\t{sequence}\t{label}\n")


def write_model(path: Path, tokenizer_directory: Path, architecture: str) -> None:
    """A model directory of random weights."""
    sys.path.insert(0, str(SCRIPTS))
    from dnalm.models.architecture import model_config, new_model
    from dnalm.models.checks import read_architecture
    from dnalm.tokenizers.encoding import load_tokenizer

    tokenizer = load_tokenizer(tokenizer_directory)
    shape = read_architecture(REPOSITORY / f"resources/architectures/{architecture}.json")
    new_model(model_config(shape, tokenizer), seed=42).save_pretrained(path)
    tokenizer.save_pretrained(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("genome", "sequences", "model"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--bases", type=int)
    parser.add_argument("--contig-bp", type=int)
    parser.add_argument("--number", type=int)
    parser.add_argument("--bp", type=int)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--architecture", default="course")
    parser.add_argument("--real", type=Path)
    options = parser.parse_args()
    if options.kind == "genome":
        write_genome(options.path, options.bases, options.contig_bp, options.real)
    elif options.kind == "sequences":
        write_sequences(options.path, options.number, options.bp, options.real)
    else:
        write_model(options.path, options.tokenizer, options.architecture)


if __name__ == "__main__":
    main()
