"""Make a corpus of sequences that stand one per line, such as reads or sequences from elsewhere.

In: a text file, plain or gzip, one DNA sequence per line; empty lines do not count.
Out: two text files, one upper-case sequence per line, in the order of the input: to learn from, and held
out; and a JSON file with counts, like that of extract_windows.

Which sequences are held out depends on their content alone, not on their order or number: those with the
smallest digests. Both strands of a sequence, and copies of it, have one digest.
"""

from argparse import ArgumentParser
from pathlib import Path

from dnalm.corpora.lines import describe_lines, read_lines, split_sequences, write_lines
from dnalm.corpora.settings import LinesSettings
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import all_or_none, write_json


def main(
    corpus: str, lines: Path, settings: LinesSettings, train: Path, validation: Path, stats: Path
) -> None:
    """Write the sequences of both sides, and the counts."""
    sequences = read_lines(lines)
    held_out = split_sequences(sequences, settings.validation_fraction)
    if held_out.all():
        raise InputError(
            f"{lines}: all sequences are one and the same. Give two different ones at least, one to learn "
            "from and one to hold out."
        )
    with all_or_none(train, validation, stats):
        for path, side in ((train, ~held_out), (validation, held_out)):
            write_lines((sequences[number] for number in side.nonzero()[0]), path)
        write_json(stats, describe_lines(corpus, f"lines of {lines.name}", train, validation, lines))


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--corpus", required=True, help="name of the corpus, for the counts")
    arguments.add_argument("--lines", type=Path, required=True, help="text with one sequence per line")
    add_settings_flags(arguments, LinesSettings)
    arguments.add_argument("--train", type=Path, required=True, help="lines to learn from, to write")
    arguments.add_argument("--validation", type=Path, required=True, help="held-out lines, to write")
    arguments.add_argument("--stats", type=Path, required=True, help="JSON file for the counts")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
