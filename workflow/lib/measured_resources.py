"""Write into a Slurm profile what the rules of a finished run needed: memory and time, with some room.

    python workflow/lib/measured_resources.py results slurm/config.yaml      or: make resources

The suggestions are those of the report. Later runs of the same size ask for them instead of the estimates of
the rules; a first line of the block says where they come from, and deleting the block takes them back.
"""

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from dnalm.report.resources import profile_lines  # noqa: E402
from dnalm.report.run import Run  # noqa: E402
from dnalm.running.errors import InputError  # noqa: E402
from dnalm.running.files import atomic_file, read_json  # noqa: E402
from report import read_benchmarks  # noqa: E402

MARK = "# Written by `make resources`"


def with_measured(profile: str, lines: str, source: object) -> str:
    """The text of a profile with `lines` in place of those of an earlier call.

    Raises InputError if requests of the user's own are there, which Snakemake would not add to these.
    """
    own = profile.split(MARK)[0].rstrip() + "\n"
    if "set-resources" in (yaml.safe_load(own) or {}):
        raise InputError(
            "the profile has a section set-resources of your own. Move its lines below those that "
            "`make resources` writes, or take them from the report instead."
        )
    return f"{own}\n{MARK}, from what the rules of {source} needed. It replaces all that follows.\n{lines}\n"


def main(results: Path, profile: Path) -> None:
    """Read the measurements of a run and write the profile. Raises InputError if there are none."""
    benchmarks = results / "benchmarks"
    if not benchmarks.is_dir():
        raise InputError(f"{benchmarks}: no such folder. Name the results of a finished run: RESULTS=…")
    telemetry = [read_json(path) for path in sorted((results / "telemetry" / "pretrain").glob("*.json"))]
    run = Run("", simulated=False, benchmarks=read_benchmarks([benchmarks]), telemetry=telemetry)
    lines = profile_lines(run)
    text = with_measured(profile.read_text(), lines, results)
    with atomic_file(profile) as path:
        path.write_text(text)
    print(f"{profile}: requests of {len(yaml.safe_load(lines)['set-resources'])} rules written")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except (InputError, OSError) as error:
        sys.exit(f"error: {sys.argv[2]}: {error}")
