"""Tokenize lines of sequence once, into a cache that every model reads.

In: a text file, one sequence per line (what extract_windows writes), and a tokenizer directory.
Out: a Hugging Face `datasets` directory with one column `input_ids` (`datasets.load_from_disk` opens it):
one row per line, `[CLS] … [SEP]`, not padded, not truncated, uint16 where the vocabulary fits; and a JSON
summary with counts of lines, tokens and bases and the distribution of tokens per line.

Memory stays bounded by a few thousand lines, whatever the size of the file.
"""

import hashlib
import os
import string
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from dnalm.running.commandline import parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_directory, read_json, write_json
from dnalm.running.progress import Progress
from dnalm.tokenize_windows.cache import LINES_PER_BATCH, write_tokens
from dnalm.tokenizers import bpe, overlapping
from dnalm.tokenizers.encoder import split, token_dtype
from dnalm.tokenizers.encoding import SEQUENCES_PER_CALL

# Sequences are read as bytes; anything else in a line is a mistake of the file, not an unknown base.
SEQUENCE_LETTERS = string.ascii_letters.encode()
# Lines of whole chromosomes would need gigabytes each in the tokenizer.
LONGEST_LINE_BP = 1_000_000


def main(
    windows: Path, tokenizer: Path, genome: str, split: str, threads: int, output: Path, summary: Path
) -> None:
    """Tokenize `windows` into `output` and write the counts to `summary`."""
    # Read by the tokenizers library when it starts its first batch.
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
    backend = read_backend(tokenizer)
    counts = Counts(backend)
    progress = Progress(f"tokenizing {windows.name}", windows.stat().st_size, "bytes")
    with atomic_directory(output) as temporary:
        write_tokens(temporary, token_batches(windows, backend, counts, progress), counts.vocabulary_size)
        if counts.lines == 0:
            raise InputError(f"{windows}: empty. One sequence per line was expected.")
    write_json(
        summary,
        {
            "genome": genome,
            "split": split,
            "tokenizer": read_json(tokenizer / "dna_tokenizer.json")["tokenizer"],
            **counts.summary(),
        },
    )


def read_backend(directory: Path) -> Tokenizer:
    """The tokenizer of a directory made by import_tokenizer or train_tokenizer."""
    # Not through Transformers, which takes seconds to import and does the same here.
    for name in ("tokenizer.json", "dna_tokenizer.json"):
        if not (directory / name).is_file():
            raise InputError(
                f"{directory}: no {name}. Make it with import_tokenizer.py or train_tokenizer.py."
            )
    try:
        backend = Tokenizer.from_file(str(directory / "tokenizer.json"))
    except Exception as error:  # tokenizers raises bare Exception
        raise InputError(f"{directory}/tokenizer.json: not a tokenizer ({error}).") from error
    backend.no_padding()
    backend.no_truncation()
    return backend


class Counts:
    """What is counted while lines pass by."""

    def __init__(self, backend: Tokenizer):
        self.vocabulary_size = backend.get_vocab_size()
        self.dtype = token_dtype(self.vocabulary_size)
        self.unknown_id = backend.token_to_id(backend.model.unk_token)
        self.lines = self.bases = 0
        self.per_token = np.zeros(self.vocabulary_size, np.int64)
        self.per_length = np.zeros(1, np.int64)
        self.digest = hashlib.sha256()

    def add(self, batch: list[np.ndarray], bases: int) -> None:
        """Count a batch of token lines that came from `bases` letters."""
        self.lines += len(batch)
        self.bases += bases
        lengths = np.array([len(ids) for ids in batch], dtype="<i4")
        values = np.concatenate(batch)
        self.per_token += np.bincount(values, minlength=self.vocabulary_size)
        histogram = np.bincount(lengths, minlength=len(self.per_length))
        histogram[: len(self.per_length)] += self.per_length
        self.per_length = histogram
        # Of the ids, not of the file, whose bytes a new version of Arrow could lay out differently.
        self.digest.update(lengths.tobytes())
        self.digest.update(values.astype(self.dtype.newbyteorder("<"), copy=False).tobytes())

    def summary(self) -> dict[str, Any]:
        """The counts for the JSON file. `tokens` include [CLS] and [SEP]; `bases` do not know them."""
        tokens = int(self.per_token.sum())
        sequence_tokens = tokens - 2 * self.lines
        lengths = np.flatnonzero(self.per_length)
        cumulated = np.cumsum(self.per_length[lengths])
        return {
            "lines": self.lines,
            "bases": self.bases,
            "tokens": tokens,
            "bases_per_token": round(self.bases / sequence_tokens, 4) if sequence_tokens else None,
            "unknown_tokens": int(self.per_token[self.unknown_id]),
            "vocabulary_size": self.vocabulary_size,
            "vocabulary_used": int(np.count_nonzero(self.per_token)),
            "dtype": self.dtype.name,
            "tokens_per_line": {
                "shortest": int(lengths[0]),
                "median": int(lengths[np.searchsorted(cumulated, (self.lines + 1) // 2)]),
                "longest": int(lengths[-1]),
                "mean": round(tokens / self.lines, 2),
                # [tokens, lines with so many tokens]
                "histogram": [[int(length), int(self.per_length[length])] for length in lengths],
            },
            "sha256": self.digest.hexdigest(),
        }


def token_batches(
    path: Path, backend: Tokenizer, counts: Counts, progress: Progress
) -> Iterator[list[np.ndarray]]:
    """The ids of all lines of `path`, in batches; counts them on the way."""
    done = 0
    encoder = bpe.encoder_for(backend) or overlapping.encoder_for(backend)
    for lines in line_batches(path):
        batch = split(*encoder.encode(lines)) if encoder else encode(lines, backend, counts.dtype)
        bases = sum(map(len, lines))
        counts.add(batch, bases)
        yield batch
        done += bases + len(lines)
        progress.update(done)


def encode(lines: list[bytes], backend: Tokenizer, dtype: np.dtype) -> list[np.ndarray]:
    """The ids of each line, by the library."""
    result: list[np.ndarray] = []
    for start in range(0, len(lines), SEQUENCES_PER_CALL):
        texts = [line.decode("ascii") for line in lines[start : start + SEQUENCES_PER_CALL]]
        result.extend(np.array(found.ids, dtype=dtype) for found in backend.encode_batch_fast(texts))
    return result


def line_batches(path: Path) -> Iterator[list[bytes]]:
    """The lines of `path`, checked, without their ends, at most LINES_PER_BATCH at a time."""
    number, batch, letters = 0, [], 0
    with open(path, "rb") as file:
        # A line that is too long is cut here and refused below, before it fills the memory.
        while line := file.readline(LONGEST_LINE_BP + 2):
            number += 1
            line = line.rstrip(b"\r\n")
            batch.append(checked_line(line, path, number))
            letters += len(line)
            if len(batch) == LINES_PER_BATCH or letters > LINES_PER_BATCH * 1000:
                yield batch
                batch, letters = [], 0
    if batch:
        yield batch


def checked_line(line: bytes, path: Path, number: int) -> bytes:
    """The line; InputError unless it is letters only."""
    if line and len(line) <= LONGEST_LINE_BP and not line.translate(None, SEQUENCE_LETTERS):
        return line
    if not line:
        raise InputError(f"{path} line {number}: empty line. One sequence per line was expected.")
    if line.startswith(b">"):
        raise InputError(f"{path} line {number}: this is FASTA. Cut it into lines with extract_windows.py.")
    if len(line) > LONGEST_LINE_BP:
        raise InputError(
            f"{path} line {number}: longer than {LONGEST_LINE_BP} letters. Cut it with extract_windows.py."
        )
    wrong = line.translate(None, SEQUENCE_LETTERS)[:1].decode("ascii", "backslashreplace")
    raise InputError(f"{path} line {number}: {wrong!r} is no letter of a sequence. Only letters are allowed.")


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--windows", type=Path, required=True, help="text file, one sequence per line")
    arguments.add_argument("--tokenizer", type=Path, required=True, help="tokenizer directory")
    arguments.add_argument("--genome", default="genome", help="name of the genome, for the summary")
    arguments.add_argument("--split", default="train", help="train or validation, for the summary")
    arguments.add_argument("--threads", type=int, default=1, help="CPU cores to use (default %(default)s)")
    arguments.add_argument("--output", type=Path, required=True, help="token cache directory to write")
    arguments.add_argument("--summary", type=Path, required=True, help="JSON file for the counts")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
