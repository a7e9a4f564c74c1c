"""The flag that says the kind of a task."""

from argparse import ArgumentParser

from dnalm.problems.names import PROBLEMS, SINGLE_LABEL


def add_problem_flag(arguments: ArgumentParser) -> None:
    """Add `--problem`."""
    arguments.add_argument(
        "--problem",
        choices=PROBLEMS,
        default=SINGLE_LABEL,
        help="what a label is: the name of one class, several names joined by ';' (or none), or a number "
        "(default one class)",
    )
