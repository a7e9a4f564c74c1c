"""Show the first masked batch of a pretraining, and a call of its tokenizer, for people to look at.

In:   --tokens       token caches of the training lines, in the order of the pretraining
      --lines        text files with one sequence per line, of which the tokenizer call takes two pieces
      --tokenizer    the tokenizer directory
      the pretraining's own settings of masks, batch size and seed
Out:  --output       JSON: model, lines and columns of the batch, masking, shown (per line: tokens, counts of
                     what became of them, seen, truth and fate per token), call (text, tokens, input_ids,
                     attention_mask and special_tokens_mask of two sequences)

The batch is the very one that the first training step reads: masks depend on seed, epoch and line alone.
"""

import itertools
import logging
from argparse import ArgumentParser
from pathlib import Path

from dnalm.explore.batch import masked_line, tokenizer_call
from dnalm.explore.settings import BatchSettings
from dnalm.models.directory import quieten
from dnalm.pretrain.settings import ContextSettings, MaskingSettings
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import write_json
from dnalm.tokenize_windows.cache import load_tokens
from dnalm.tokenize_windows.context import ContextLines
from dnalm.tokenizers.encoding import load_tokenizer

logger = logging.getLogger("dnalm")

# Two pieces of different length, so that the shorter one is padded; in letters.
CALL_LENGTHS = (24, 60)


def main(
    model: str,
    tokens: list[Path],
    lines: list[Path],
    tokenizer: Path,
    context: ContextSettings,
    masking: MaskingSettings,
    batch_size: int,
    training_seed: int,
    settings: BatchSettings,
    output: Path,
) -> None:
    """Make the first training batch again and write down what the model sees of it."""
    quieten()
    loaded = load_tokenizer(tokenizer)
    corpus_lines = load_tokens(*tokens)
    if len(corpus_lines) == 0:
        raise InputError(f"{tokens[0]}: no lines.")

    from dnalm.pretrain.batches import Corpus, TrainingBatches, Vocabulary

    pieces = ContextLines(corpus_lines, context.max_tokens, truncated=context.truncate)
    corpus = Corpus(pieces, Vocabulary.of(loaded), masking, seed=training_seed)
    [batch] = TrainingBatches(corpus, 1, batch_size)[0]
    mask = batch.get("attention_mask", (batch["input_ids"] >= 0).long())
    rows = zip(batch["input_ids"].numpy(), batch["labels"].numpy(), mask.numpy(), strict=True)
    shown = [
        masked_line(loaded, *row, settings.batch_tokens)
        for row in itertools.islice(rows, settings.batch_lines)
    ]
    result = {
        "model": model,
        "lines": len(batch["input_ids"]),
        "columns": batch["input_ids"].shape[1],
        "masking": masking.model_dump(),
        "shown": shown,
        "call": tokenizer_call(loaded, call_texts(lines)),
    }
    write_json(output, result)
    logger.info("model %s: %d lines of the first training batch described", model, len(shown))


def call_texts(files: list[Path]) -> list[str]:
    """The beginnings of the first two lines of all files, or of the only one."""
    first: list[str] = []
    for path in files:
        with open(path, encoding="utf-8") as file:
            first += [line.strip() for line in itertools.islice(file, len(CALL_LENGTHS) - len(first))]
    return [text[:length] for text, length in zip(itertools.cycle(first), CALL_LENGTHS, strict=False)]


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--model", default="model", help="name of the model")
    add("--tokens", type=Path, nargs="+", required=True, help="token caches of the training lines")
    add("--lines", type=Path, nargs="+", required=True, help="text files with one sequence per line")
    add("--tokenizer", type=Path, required=True, help="tokenizer directory")
    add_settings_flags(arguments, ContextSettings, "context")
    add_settings_flags(arguments, MaskingSettings, "masking", "masking-")
    add("--batch-size", type=int, required=True, help="lines per optimizer step of the pretraining")
    add("--training-seed", type=int, required=True, help="seed of the pretraining")
    add_settings_flags(arguments, BatchSettings)
    add("--output", type=Path, required=True, help="JSON file to write")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
