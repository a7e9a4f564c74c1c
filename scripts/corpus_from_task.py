"""Make a corpus of a task's own sequences, to adapt a language model to them before it is fine-tuned.

In: the training and the validation split of a task, as prepare_task writes them. Labels are not read; the
test split is no input.
Out: two text files, one sequence per line: the training sequences to learn from, those of the validation
split held out; and a JSON file with counts, like that of extract_windows.
"""

from argparse import ArgumentParser
from pathlib import Path

from dnalm.corpora.lines import describe_lines, write_lines
from dnalm.running.commandline import parser, run
from dnalm.running.files import all_or_none, write_json
from dnalm.sequences.tables import read_sequence_table


def main(
    corpus: str,
    task: str,
    train_sequences: Path,
    validation_sequences: Path,
    train: Path,
    validation: Path,
    stats: Path,
) -> None:
    """Write the sequences of both splits as lines, and the counts."""
    with all_or_none(train, validation, stats):
        for table, lines in ((train_sequences, train), (validation_sequences, validation)):
            write_lines(read_sequence_table(table)["seq"], lines)
        write_json(stats, describe_lines(corpus, f"training sequences of task {task}", train, validation))


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--corpus", required=True, help="name of the corpus, for the counts")
    arguments.add_argument("--task", required=True, help="name of the task, for the counts")
    arguments.add_argument("--train-sequences", type=Path, required=True, help="table of the training split")
    arguments.add_argument(
        "--validation-sequences", type=Path, required=True, help="table of the validation split"
    )
    arguments.add_argument("--train", type=Path, required=True, help="lines to learn from, to write")
    arguments.add_argument("--validation", type=Path, required=True, help="held-out lines, to write")
    arguments.add_argument("--stats", type=Path, required=True, help="JSON file for the counts")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
