"""Learn a BPE vocabulary of DNA from a bounded sample of lines.

In: one or several text files, one sequence per line (what extract_windows writes).
Out: a Hugging Face fast tokenizer directory: `tokenizer.json`, `tokenizer_config.json`, and
`dna_tokenizer.json`, which says what was sampled and what lower case, N and IUPAC letters become; and a JSON
summary, the same with the SHA-256 of the directory. The tokenizer is called as its directory.
[UNK] [CLS] [SEP] [PAD] [MASK] have the ids 0 to 4, A C G T the ids 5 to 8, merges follow; the token N, where
the N policy has one, comes last.

BPE training takes about 53 MB of memory and 1.6 s per million bases, because a line without blanks is one
word. A whole genome would not fit; 20,000 lines of 1000 bp take 1.1 GB.
"""

import logging
import re
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.errors import InputError
from dnalm.tokenizers import vocabulary
from dnalm.tokenizers.settings import TrainTokenizerSettings, UnknownBaseSettings

logger = logging.getLogger("dnalm")


def main(
    windows: list[Path],
    settings: TrainTokenizerSettings,
    unknown_bases: UnknownBaseSettings,
    output: Path,
    summary: Path,
) -> None:
    """Sample lines, learn merges, write the tokenizer directory."""
    vocabulary_size, n_policy = settings.vocabulary_size, unknown_bases.n_policy
    own_tokens = len(vocabulary.SPECIAL_TOKENS) + len(vocabulary.BASES) + (n_policy == "token")
    if vocabulary_size < own_tokens:
        raise InputError(
            f"vocabulary_size is {vocabulary_size}; special tokens and bases alone are {own_tokens}."
        )
    lines_per_file = [count_lines(path) for path in windows]
    total = sum(lines_per_file)
    if total == 0:
        raise InputError(f"{windows[0]}: no lines to learn a vocabulary from.")
    chosen = choose_lines(total, settings.sample_lines, settings.seed)
    sample = list(pick_lines(windows, lines_per_file, chosen))
    bases = sum(len(sequence) for sequence in sample)
    if bases == 0:
        raise InputError(f"{windows[0]}: the sampled lines hold no A, C, G or T.")
    logger.info(
        "learning %d tokens from %d of %d lines, %d bases", vocabulary_size, len(chosen), total, bases
    )
    tokenizer = learn(sample, vocabulary_size - (n_policy == "token"), settings.min_frequency)
    plain = vocabulary.copy(tokenizer)
    vocabulary.adjust_for_dna(tokenizer, vocabulary.SPECIAL_TOKENS, n_policy)
    vocabulary.check(tokenizer, vocabulary.SPECIAL_TOKENS, n_policy, "trained tokenizer")
    size = tokenizer.get_vocab_size()
    if size < vocabulary_size:
        logger.warning(
            "the vocabulary has %d tokens, not %d: no further pair of tokens occurs %d times in the sample",
            size,
            vocabulary_size,
            settings.min_frequency,
        )
    bounds = np.cumsum([0, *lines_per_file])
    description = {
        "source": "trained",
        "settings": settings.model_dump(),
        "sample": {
            "lines": len(chosen),
            "bases": bases,
            "files": [
                {
                    "windows": path.name,
                    "lines": lines_per_file[index],
                    "sampled": int(((chosen >= bounds[index]) & (chosen < bounds[index + 1])).sum()),
                }
                for index, path in enumerate(windows)
            ],
        },
        **vocabulary.describe(tokenizer, plain, vocabulary.SPECIAL_TOKENS, n_policy),
    }
    vocabulary.save(tokenizer, vocabulary.SPECIAL_TOKENS, description, output, summary)


def count_lines(path: Path) -> int:
    """Number of lines of a text file, a last one without line feed included."""
    count, last = 0, b"\n"
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n")


def choose_lines(total: int, sample_lines: int, seed: int) -> np.ndarray:
    """At most `sample_lines` of the line numbers 0 to `total` - 1, ascending, each equally likely."""
    if total <= sample_lines:
        return np.arange(total)
    generator = np.random.default_rng(seed)
    return np.sort(generator.choice(total, size=sample_lines, replace=False, shuffle=False))


def pick_lines(windows: list[Path], lines_per_file: list[int], chosen: np.ndarray) -> Iterator[str]:
    """The stretches of A, C, G, T (upper case) of the chosen lines, numbered through all files."""
    first = 0
    for path, count in zip(windows, lines_per_file, strict=True):
        wanted = set(chosen[(chosen >= first) & (chosen < first + count)].tolist())
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=first):
                if number in wanted:
                    # Cut at N, whatever the policy: no merge is learnt across a gap.
                    yield from (sequence.decode() for sequence in re.findall(rb"[ACGT]+", line.upper()))
        first += count


def learn(sample: list[str], vocabulary_size: int, min_frequency: int) -> Tokenizer:
    """A BPE tokenizer with special tokens, A C G T and the most frequent merges of the sample."""
    tokenizer = Tokenizer(models.BPE(unk_token=vocabulary.SPECIAL_TOKENS["unk"]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=min_frequency,
        special_tokens=list(vocabulary.SPECIAL_TOKENS.values()),
        # All four bases are tokens, even if the sample should lack one.
        initial_alphabet=list(vocabulary.BASES),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample, trainer)
    return tokenizer


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument(
        "--windows", type=Path, nargs="+", required=True, help="text files, one sequence per line"
    )
    add_settings_flags(arguments, TrainTokenizerSettings)
    add_settings_flags(arguments, UnknownBaseSettings, "unknown_bases")
    arguments.add_argument("--output", type=Path, required=True, help="tokenizer directory to write")
    arguments.add_argument(
        "--summary", type=Path, required=True, help="JSON file: what it does, and its SHA-256"
    )
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
