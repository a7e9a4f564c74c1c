"""Make a given vocabulary fit for DNA: upper-casing, N policy and `[CLS] … [SEP]` inside the tokenizer.

In: a `tokenizer.json`, or a directory with one (a tokenizer or a model, as the Hub has them). It must have
tokens for [UNK] [CLS] [SEP] [PAD] [MASK] and for A, C, G and T. The ids of its tokens stay as they are.
A vocabulary of all words of one length, without single bases, as that of the first DNABERT, is made to read
overlapping words from plain sequence. Or no file but a length: the vocabulary of all k-mers of so many bases.
Out: a Hugging Face fast tokenizer directory: `tokenizer.json`, `tokenizer_config.json`, and
`dna_tokenizer.json`, which says what lower case, N and IUPAC letters become, with and without the adjustment;
and a JSON summary, the same with the SHA-256 of the directory. The tokenizer is called as its directory.
"""

import logging
import random
from argparse import ArgumentParser
from pathlib import Path

from tokenizers import Tokenizer

from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import sha256_of_file
from dnalm.tokenizers import vocabulary
from dnalm.tokenizers.settings import ImportTokenizerSettings
from dnalm.tokenizers.special_tokens import (
    BASES,
    check_ids,
    check_n_policy,
    check_vocabulary,
    overlapping_kmer_length,
    tokenizer_file,
)

logger = logging.getLogger("dnalm")


def main(source: Path | None, settings: ImportTokenizerSettings, output: Path, summary: Path) -> None:
    """Take the vocabulary at `source`, or all k-mers; adjust it, check it by trying, write it to `output`."""
    if (source is None) == (settings.kmer_length is None):
        raise InputError("give either --source or --kmer-length.")
    if source is not None:
        path = tokenizer_file(source)
        tokenizer, special_tokens = read_vocabulary(path)
        check_n_policy(path, settings.n_policy)
        origin = {"source": source.name, "source_sha256": sha256_of_file(path)}
        place = str(path)
    else:
        assert settings.kmer_length is not None
        tokenizer = vocabulary.kmers(settings.kmer_length, overlapping=settings.overlapping)
        special_tokens = vocabulary.SPECIAL_TOKENS
        overlapping = ", overlapping" if settings.overlapping else ""
        origin = {"source": f"all {settings.kmer_length}-mers{overlapping}"}
        place = f"--kmer-length {settings.kmer_length}"
    plain = vocabulary.copy(tokenizer)
    vocabulary.adjust_for_dna(tokenizer, special_tokens, settings.n_policy)
    try:
        vocabulary.check(tokenizer, special_tokens, settings.n_policy, place)
    except InputError:
        raise
    except Exception as error:  # tokenizers raises bare Exception
        raise InputError(f"{place}: it cannot read DNA ({error}). Fetch it again.") from error
    if told := otherwise_read(plain, tokenizer):
        logger.warning("%s: %s", place, told)
    description = {**origin, **vocabulary.describe(tokenizer, plain, special_tokens, settings.n_policy)}
    vocabulary.save(tokenizer, special_tokens, description, output, summary)


def otherwise_read(plain: Tokenizer, adjusted: Tokenizer) -> str:
    """A sentence for people if A, C, G, T become other tokens now than before the adjustment; else empty.

    Special tokens are compared unless `plain` is a bare vocabulary, without a template for them.
    """
    sequence = "".join(random.Random(0).choices(BASES, k=300))
    length = overlapping_kmer_length(plain.get_vocab()) or 1
    words = [sequence[start : start + length] for start in range(len(sequence) - length + 1)]
    own, whole = vocabulary.copy(plain), plain.post_processor is not None
    own.no_truncation()
    own.no_padding()
    before = own.encode(" ".join(words) if length > 1 else sequence, add_special_tokens=whole)
    now = adjusted.encode(sequence, add_special_tokens=whole)
    if before.ids == now.ids:
        return ""
    said = [f"{' '.join(found.tokens[:3])} … {' '.join(found.tokens[-2:])}" for found in (before, now)]
    return (
        f"by itself it reads DNA as {said[0]}, here as {said[1]}. A model that was trained with it before "
        "reads what it does not know; train it further, or train a new one."
    )


def read_vocabulary(path: Path) -> tuple[Tokenizer, dict[str, str]]:
    """The tokenizer in the file `path` and its special tokens; InputError if it is none of DNA."""
    tokenizer = read_tokenizer(path)
    check_ids(tokenizer.get_vocab(), path)
    special_tokens = check_vocabulary(tokenizer.get_vocab(), path)
    return tokenizer, special_tokens


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in the file `path`; InputError if it is missing or of another format."""
    if not path.is_file():
        raise InputError(f"{path}: no such file. Give a tokenizer.json or a directory that holds one.")
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises bare Exception
        raise InputError(f"{path}: not a Hugging Face tokenizer.json ({error}). Fetch it again.") from error


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--source", type=Path, help="tokenizer.json, or a directory that holds one")
    add_settings_flags(arguments, ImportTokenizerSettings)
    arguments.add_argument("--output", type=Path, required=True, help="tokenizer directory to write")
    arguments.add_argument(
        "--summary", type=Path, required=True, help="JSON file: what it does, and its SHA-256"
    )
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
