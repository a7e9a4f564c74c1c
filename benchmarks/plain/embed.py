"""Mean vectors as a notebook computes them: batches of 32 in the order of the file, padded.

python benchmarks/plain/embed.py model/ sequences.tsv max_tokens|longest vectors.npy
"""

import csv
import sys

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

directory, table, max_tokens, output = sys.argv[1:]
padding = {"padding": "longest"}
if max_tokens != "longest":
    padding = {"padding": "max_length", "max_length": int(max_tokens)}
tokenizer = AutoTokenizer.from_pretrained(directory)
model = AutoModel.from_pretrained(directory).eval()
with open(table, newline="") as file:
    sequences = [row["seq"] for row in csv.DictReader(file, delimiter="\t")]
vectors = []
for start in range(0, len(sequences), 32):
    inputs = tokenizer(sequences[start : start + 32], truncation=True, return_tensors="pt", **padding)
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state
    weights = inputs["attention_mask"].unsqueeze(-1)
    vectors.append(((hidden * weights).sum(1) / weights.sum(1)).numpy())
np.save(output, np.concatenate(vectors))
