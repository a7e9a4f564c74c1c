"""Ask a DNA language model what stands in a gap.

In:  a model directory and one or several sequences, either with [MASK] in them, such as
     `TATAAAAGGC[MASK]GCTAGCTAGG`, or whole with --hide, the positions to hide. A [MASK] stands for one token,
     which may be one base or several. With --hide every token that has a base in the interval becomes [MASK]:
     of overlapping k-mers all that hold it. So it takes k times [MASK] to ask for one base of these, and one
     more for each further base.
Out: a tab-separated table on the terminal or as a file, per [MASK] the likeliest tokens:
     sequence, mask        numbers, from 1
     rank, token, probability
     position_bp, left, hidden, right    where it is (from 1), the bases around it, and what was hidden
     hidden_rank, hidden_probability     what the model held of that

The sequence left and right of a written [MASK] is cut into tokens by itself; where one of these cuts differs
from those of the uninterrupted sequence, the answer differs as well. --hide keeps the cuts of the whole
sequence.
"""

import csv
import sys
from argparse import ArgumentParser
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from dnalm.evaluate_language_model.scoring import model_log_probabilities
from dnalm.fill_mask.gaps import Gap, question
from dnalm.fill_mask.settings import GapSettings, check_gaps, check_words
from dnalm.models.architecture import load_model
from dnalm.models.directory import quieten
from dnalm.models.families import position_limit
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file
from dnalm.tokenizers.encoding import load_tokenizer
from dnalm.tokenizers.special_tokens import overlapping_kmer_length

HEADER = ["sequence", "mask", "rank", "token", "probability"]
HEADER += ["position_bp", "left", "hidden", "right", "hidden_rank", "hidden_probability"]


def main(model: Path, settings: GapSettings, output: Path | None) -> None:
    """Write the table to `output` or to standard output."""
    check_gaps(settings)
    tokenizer = load_tokenizer(model)
    check_words(settings, overlapping_kmer_length(tokenizer.get_vocab()))
    questions = [
        question(tokenizer, number, text, settings.hide)
        for number, text in enumerate(settings.sequences, start=1)
    ]
    if settings.top > len(tokenizer):
        raise InputError(f"--top is {settings.top}; the vocabulary has {len(tokenizer)} tokens.")
    quieten()
    network = load_model(model, tokenizer).eval()
    limit = position_limit(network.config.to_dict())
    for number, asked in enumerate(questions, start=1):
        if limit is not None and len(asked.line.ids) > limit:
            raise InputError(
                f"sequence {number} has {len(asked.line.ids)} tokens, but this model reads {limit} at most. "
                "Shorten it around the gap."
            )
    lines = [asked.line for asked in questions]
    scores = dict(model_log_probabilities(network, lines, tokenizer.pad_token_id, torch.device("cpu")))
    rows: list[list[Any]] = [HEADER]
    for number, asked in enumerate(questions):
        for mask, (gap, found) in enumerate(zip(asked.gaps, scores[number], strict=True), start=1):
            for answer in answers(gap, found, tokenizer, settings.top):
                rows.append([number + 1, mask, *answer])
    with ExitStack() as files:
        file = (
            files.enter_context(
                open(files.enter_context(atomic_file(output)), "w", encoding="utf-8", newline="")
            )
            if output
            else sys.stdout
        )
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)


def answers(gap: Gap, log_probabilities: torch.Tensor, tokenizer: Any, top: int) -> list[list[Any]]:
    """The last nine columns of the rows of one [MASK]; `log_probabilities`: float32[vocabulary]."""
    hidden: list[Any] = [gap.position_bp or "", gap.left, gap.token or "", gap.right, "", ""]
    if gap.token is not None:
        true = log_probabilities[tokenizer.convert_tokens_to_ids(gap.token)]
        hidden[4:] = [int((log_probabilities > true).sum()) + 1, f"{true.exp().item():.6f}"]
    best = torch.topk(log_probabilities, top)
    tokens = tokenizer.convert_ids_to_tokens(best.indices.tolist())
    return [
        [rank, token, f"{probability:.6f}", *hidden]
        for rank, (token, probability) in enumerate(zip(tokens, best.values.exp().tolist(), strict=True), 1)
    ]


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--model", type=Path, required=True, help="model directory with its tokenizer")
    add_settings_flags(arguments, GapSettings)
    arguments.add_argument("--output", type=Path, help="TSV to write (default: the terminal)")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
