"""Lines tokenized as tutorials do it: `datasets.map`, every line padded to one length.

python benchmarks/plain/tokenize_windows.py lines.txt tokenizer/ max_tokens output/
"""

import sys

from datasets import load_dataset
from transformers import AutoTokenizer

windows, directory, max_length, output = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(directory)
lines = load_dataset("text", data_files=windows)["train"]
tokens = lines.map(
    lambda batch: tokenizer(batch["text"], padding="max_length", truncation=True, max_length=int(max_length)),
    batched=True,
    remove_columns=["text"],
)
tokens.save_to_disk(output)
