"""Ask a DNA language model what stands in a gap.

In: a model directory and one or several sequences with [MASK] in them, such as
`TATAAAAGGC[MASK]GCTAGCTAGG`. Each [MASK] stands for one token, which may be one base or several.
Out, on the terminal: a tab-separated table, per [MASK] the likeliest tokens and their probabilities.

The sequence left and right of [MASK] is cut into tokens by itself; where one of these cuts differs from
those of the uninterrupted sequence, the answer differs as well.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import torch
import transformers

from dnalm.evaluate_language_model.scoring import MaskedLine, model_log_probabilities
from dnalm.models.architecture import load_model
from dnalm.running import commandline
from dnalm.running.errors import InputError
from dnalm.tokenizers.encoding import encode, load_tokenizer


def main(model: Path, sequence: list[str], top: int) -> None:
    """Write the table to standard output."""
    tokenizer = load_tokenizer(model)
    lines = []
    for number, text in enumerate(sequence, start=1):
        ids = encode(tokenizer, [text])[0].astype(np.int64)
        positions = np.flatnonzero(ids == tokenizer.mask_token_id)
        if len(positions) == 0:
            raise InputError(f"sequence {number}: no {tokenizer.mask_token} in it. Put one where you ask.")
        lines.append(MaskedLine(number, ids, ids, positions))
    if not 1 <= top <= len(tokenizer):
        raise InputError(f"--top is {top}; the vocabulary has {len(tokenizer)} tokens.")
    # Its bar for loading weights is noise in a log.
    transformers.utils.logging.disable_progress_bar()
    network = load_model(model, tokenizer).eval()
    scores = dict(model_log_probabilities(network, lines, tokenizer.pad_token_id, torch.device("cpu")))
    table = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    table.writerow(["sequence", "mask", "rank", "token", "probability"])
    for number, log_probabilities in sorted(scores.items()):
        for mask, row in enumerate(log_probabilities, start=1):
            best = torch.topk(row, top)
            tokens = tokenizer.convert_ids_to_tokens(best.indices.tolist())
            probabilities = best.values.exp().tolist()
            for rank, (token, probability) in enumerate(zip(tokens, probabilities, strict=True), start=1):
                table.writerow([number + 1, mask, rank, token, f"{probability:.6f}"])


if __name__ == "__main__":
    parser = commandline.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model directory with its tokenizer")
    parser.add_argument(
        "--sequence", nargs="+", required=True, help="DNA with [MASK] in it; several are answered in order"
    )
    parser.add_argument("--top", type=int, default=5, help="number of tokens per [MASK] (5)")
    commandline.run(main, parser.parse_args())
