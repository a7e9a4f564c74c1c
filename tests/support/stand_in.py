"""Stands in for a script where only Snakemake's bookkeeping is tested: makes the outputs, at once and tiny.

stand_in.py OUTPUT... -- the command that would have run
"""

import sys
from pathlib import Path

# Directories among the outputs have no ending, or that of a split.
DIRECTORIES = {"", ".train", ".validation"}


def main(outputs: list[str], command: str) -> None:
    for output in map(Path, outputs):
        if output.suffix in DIRECTORIES:
            output.mkdir(parents=True, exist_ok=True)
            output = output / "content"
        output.write_text(command + "\n")


if __name__ == "__main__":
    here = sys.argv.index("--")
    main(sys.argv[1:here], " ".join(sys.argv[here + 1 :]))
