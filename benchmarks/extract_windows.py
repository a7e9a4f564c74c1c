"""How fast windows are cut, beside a plain loop over Biopython records. Same lines out, checked.

    python benchmarks/extract_windows.py [--fasta genome.fa.gz] [--megabases 400]

Without --fasta, a random genome is written to a temporary folder: chromosomes with lines of 60 bases and
a run of N, plain and gzip, and a draft assembly of many short contigs. Each way runs in a process
of its own, alternating; the fastest of --repeats runs counts. Printed: seconds, Mbp/s, peak memory and
the ratio of the times. Python's start (and here the flush to disk, which the plain loop leaves out) is
included, so that the ratio grows with the genome.
"""

import argparse
import filecmp
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]

PLAIN = """
import gzip, sys
from Bio import SeqIO
fasta, output = sys.argv[1:]
with open(fasta, "rb") as file:
    compressed = file.read(2) == b"\\x1f\\x8b"
with (gzip.open(fasta, "rt") if compressed else open(fasta)) as file, open(output, "w") as lines:
    for record in SeqIO.parse(file, "fasta"):
        sequence = str(record.seq).upper()
        for start in range(0, len(sequence) - 999, 1000):
            window = sequence[start:start + 1000]
            if set(window) <= set("ACGT"):
                lines.write(window + "\\n")
"""


# In a process of its own: what a parent holds in memory would count for its children.
WRITE_GENOME = """
import gzip, sys
import numpy as np
path, megabases, contig = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
generator = np.random.default_rng(42)
with (gzip.open(path, "wb", 6) if path.endswith(".gz") else open(path, "wb")) as file:
    for number in range(megabases * 1_000_000 // contig):
        bases = np.frombuffer(b"ACGTacgt", np.uint8)[generator.integers(0, 8, contig)]
        if contig >= 1_000_000:
            bases[: contig // 20] = ord("N")
        full = contig // 60 * 60
        lines = np.full((full // 60, 61), ord("\\n"), np.uint8)
        lines[:, :60] = bases[:full].reshape(-1, 60)
        file.write(b">contig%d\\n" % number + lines.tobytes() + bases[full:].tobytes() + b"\\n")
"""


def measure(command: list) -> tuple[float, float]:
    """Seconds and peak resident memory in MB of a command, in a fork of its own."""
    start = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        sys.exit(f"this command failed: {command}")
    # Linux gives kilobytes, macOS bytes.
    return seconds, usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def compare(fasta: Path, folder: Path, repeats: int, label: str) -> None:
    ours = [
        sys.executable,
        REPOSITORY / "scripts/extract_windows.py",
        "--fasta",
        fasta,
        "--genome",
        "benchmark",
    ]
    ours += ["--validation-fraction", "0", "--train", folder / "train.txt"]
    ours += ["--validation", folder / "validation.txt", "--stats", folder / "stats.json"]
    plain = [sys.executable, "-c", PLAIN, fasta, folder / "plain.txt"]
    results = {"this repository": [], "Biopython loop": []}
    for _ in range(repeats):
        results["this repository"].append(measure(ours))
        results["Biopython loop"].append(measure(plain))
    if not filecmp.cmp(folder / "train.txt", folder / "plain.txt", shallow=False):
        sys.exit("the two ways do not write the same lines")
    megabases = json.loads((folder / "stats.json").read_text())["bases"] / 1e6
    print(f"{label} ({megabases:.1f} Mbp, {fasta.stat().st_size / 1e6:.0f} MB)")
    for name, runs in results.items():
        seconds, memory = min(run[0] for run in runs), max(run[1] for run in runs)
        print(f"  {name:16s} {seconds:7.2f} s  {megabases / seconds:7.1f} Mbp/s  {memory:6.0f} MB peak")
    ratio = min(r[0] for r in results["Biopython loop"]) / min(r[0] for r in results["this repository"])
    print(f"  ratio of times   {ratio:7.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fasta", type=Path, help="a genome; without it, random ones are made")
    parser.add_argument("--megabases", type=int, default=400, help="size of the random genomes (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if arguments.fasta:
            compare(arguments.fasta, folder, arguments.repeats, arguments.fasta.name)
            return
        cases = [("chromosomes", "a.fa", 25_000_000), ("chromosomes, gzip", "a.fa.gz", 25_000_000)]
        cases.append(("contigs of 2 kb", "b.fa", 2_000))
        for label, name, contig in cases:
            command = [sys.executable, "-c", WRITE_GENOME, folder / name, arguments.megabases, contig]
            subprocess.run([str(word) for word in command], check=True)
            compare(folder / name, folder, arguments.repeats, label)


if __name__ == "__main__":
    main()
