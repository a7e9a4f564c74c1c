"""How fast sequences are embedded, beside the way of most notebooks. Same vectors out, checked.

    python benchmarks/embed.py [--model DIR] [--sequences table.tsv] [--number 400]

The plain way pads every sequence to one length, in batches of 32 in the order of the file; once to 50 tokens
(which 200 bp just fit into) and once to 250 (the length the model was pretrained with). Here: batches by
length. Both ways have loaded model and tokenizer, and alternate; the fastest of --repeats runs counts, in
CPU seconds, so that a busy machine does not matter.
Without --model an untrained network of the `course` architecture is used, without --sequences random DNA of
200 bp; without --tokenizer one of 4096 tokens is trained on random DNA.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from untrained import random_dna, untrained_model  # noqa: E402

from dnalm.embed.embedding import embed_tokens, load_backbone  # noqa: E402
from dnalm.sequences.tables import read_sequence_table  # noqa: E402
from dnalm.tokenizers.encoding import encode, load_tokenizer  # noqa: E402


def plain(model: torch.nn.Module, tokenizer, sequences: list[str], max_length: int) -> np.ndarray:
    """Mean vectors as a notebook computes them."""
    result = []
    for start in range(0, len(sequences), 32):
        inputs = tokenizer(
            sequences[start : start + 32],
            padding="max_length",
            truncation=True,
            max_length=max_length,
            return_tensors="pt",
        )
        with torch.no_grad():
            hidden = model(**inputs).last_hidden_state
        weights = inputs["attention_mask"].unsqueeze(-1)
        result.append(((hidden * weights).sum(1) / weights.sum(1)).numpy())
    return np.concatenate(result)


def seconds(function: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """CPU seconds of a call, and its result."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--model", type=Path)
    arguments.add_argument(
        "--architecture", type=Path, default=REPOSITORY / "resources/architectures/course.json"
    )
    arguments.add_argument("--tokenizer", type=Path)
    arguments.add_argument("--sequences", type=Path)
    arguments.add_argument("--number", type=int, default=400)
    arguments.add_argument("--repeats", type=int, default=2)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        directory = options.model or untrained_model(
            Path(folder) / "m", options.architecture, options.tokenizer
        )
        model, tokenizer = load_backbone(directory), load_tokenizer(directory)
    if options.sequences:
        sequences = read_sequence_table(options.sequences)["seq"].tolist()[: options.number]
    else:
        sequences = random_dna(options.number, 200, seed=2)
    pad_id = tokenizer.pad_token_id

    def ours(max_tokens: int) -> np.ndarray:
        tokens = encode(tokenizer, sequences, max_tokens)
        return embed_tokens(model, tokens, pad_id=pad_id)["mean"]

    lengths = [len(ids) for ids in encode(tokenizer, sequences)]
    print(f"{len(sequences)} sequences of {np.mean(lengths):.0f} tokens, {torch.get_num_threads()} threads")
    for max_tokens in (50, 250):
        plain_seconds = our_seconds = float("inf")
        for _ in range(options.repeats):
            took, expected = seconds(partial(plain, model, tokenizer, sequences, max_tokens))
            plain_seconds = min(plain_seconds, took)
            took, vectors = seconds(partial(ours, max_tokens))
            our_seconds = min(our_seconds, took)
            np.testing.assert_allclose(vectors, expected, atol=1e-4)
        print(
            f"padded to {max_tokens:3d} tokens {plain_seconds:7.2f} CPU s   here {our_seconds:7.2f} CPU s "
            f"({len(sequences) / our_seconds:.0f} sequences/s)   ratio {plain_seconds / our_seconds:.1f}"
        )


if __name__ == "__main__":
    main()
