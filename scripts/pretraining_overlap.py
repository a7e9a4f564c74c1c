"""Which test sequences of a task does the language model know from pretraining, without their labels?

In:  the test split of a task (TSV with `id`, `seq`, `label`) and the training lines of all genomes and
     corpora (scripts/extract_windows.py, scripts/corpus_from_task.py), one sequence per line.
Out: a JSON: task, n (test sequences), word_bp, and test sequences of which the lines hold every word of 32
     bp (`whole`), at least half of them (`half`), or any (`any`), on either strand; and those that have no
     such word (`without_words`), being shorter or full of N.

Nothing is dropped for it: genomes are public, and published models have read them all. But a model that has
read a test sequence may be better on it than on one that nobody has sequenced yet. Words over the border of
two lines are not counted, and repeats of 32 bp are.
"""

import logging
import re
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from dnalm.prepare_task.checks import OVERLAP_BP, overlap_fractions
from dnalm.running.commandline import parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import write_json
from dnalm.sequences.tables import read_sequence_table

logger = logging.getLogger("dnalm")


def main(task: str, test: Path, windows: list[Path], output: Path) -> None:
    """Count the test sequences that occur in the lines, and write the counts."""
    sequences = read_sequence_table(test)["seq"].tolist()
    counts = count_overlaps(chain.from_iterable(map(read_lines, windows)), sequences)
    logger.info(
        "%s: of %d test sequences the pretraining lines hold %d whole, %d by half or more",
        *(task, len(sequences), counts["whole"], counts["half"]),
    )
    write_json(output, {"task": task, "n": len(sequences), "word_bp": OVERLAP_BP} | counts)


def count_overlaps(lines: Iterable[str], sequences: list[str]) -> dict[str, int]:
    """How many sequences share all, half or more, or any of their words with the lines, or have none."""
    fractions = overlap_fractions(lines, sequences)
    wordless = sum(re.search(f"[ACGT]{{{OVERLAP_BP}}}", sequence) is None for sequence in sequences)
    return {
        "whole": int((fractions == 1).sum()),
        "half": int((fractions >= 0.5).sum()),
        "any": int((fractions > 0).sum()),
        "without_words": wordless,
    }


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a file, upper case. Raises InputError where there is none."""
    try:
        with open(path, encoding="ascii") as file:
            for line in file:
                yield line.strip().upper()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not lines of DNA.") from None


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--task", required=True, help="name of the task")
    arguments.add_argument("--test", type=Path, required=True, help="TSV of the test split")
    arguments.add_argument("--windows", type=Path, nargs="+", required=True, help="training lines")
    arguments.add_argument("--output", type=Path, required=True, help="JSON to write")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
