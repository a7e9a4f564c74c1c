"""Probabilities as a notebook computes them: batches of 32 in the order of the file, padded.

python benchmarks/plain/predict.py classifier/ input max_tokens|longest probabilities.npy

A FASTA file is cut into windows of 200 bp, every 100 bp; a table is read whole.
"""

import csv
import sys

import numpy as np
import torch
from Bio import SeqIO
from transformers import AutoModelForSequenceClassification, AutoTokenizer

directory, source, max_tokens, output = sys.argv[1:]
padding = {"padding": "longest"}
if max_tokens != "longest":
    padding = {"padding": "max_length", "max_length": int(max_tokens)}
tokenizer = AutoTokenizer.from_pretrained(directory)
model = AutoModelForSequenceClassification.from_pretrained(directory).eval()
if source.endswith(".fa"):
    sequences = [
        str(record.seq[start : start + 200])
        for record in SeqIO.parse(source, "fasta")
        for start in range(0, len(record) - 199, 100)
    ]
else:
    with open(source, newline="") as file:
        sequences = [row["seq"] for row in csv.DictReader(file, delimiter="\t")]
probabilities = []
for start in range(0, len(sequences), 32):
    inputs = tokenizer(sequences[start : start + 32], truncation=True, return_tensors="pt", **padding)
    with torch.no_grad():
        probabilities.append(model(**inputs).logits.softmax(-1).numpy())
np.save(output, np.concatenate(probabilities))
