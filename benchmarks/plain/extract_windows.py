"""Windows as a loop over Biopython's records cuts them.

python benchmarks/plain/extract_windows.py genome.fa(.gz) lines.txt
"""

import gzip
import sys

from Bio import SeqIO

fasta, output = sys.argv[1:]
with open(fasta, "rb") as file:
    compressed = file.read(2) == b"\x1f\x8b"
with gzip.open(fasta, "rt") if compressed else open(fasta) as file, open(output, "w") as lines:
    for record in SeqIO.parse(file, "fasta"):
        sequence = str(record.seq).upper()
        for start in range(0, len(sequence) - 999, 1000):
            window = sequence[start : start + 1000]
            if set(window) <= set("ACGT"):
                lines.write(window + "\n")
