"""Copies of the repository with a short run in them, and what two such runs must have in common."""

import os
import shutil
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[2]
COPIED = ("config", "envs", "resources", "scripts", "slurm", "tests", "workflow")
CONFIGURATION = "tests/short/config.yaml"
RESULTS = Path("results/short")
MODEL = "short"
# Made with a clock in hand: never the same twice.
WITH_A_CLOCK = ("logs", "benchmarks", "telemetry", "checkpoints", "report.html")


def copy_repository(folder: Path, training: dict, **sections: dict) -> Path:
    """A copy whose short configuration has other settings: of its model's training, and of whole sections."""
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / CONFIGURATION
    config = yaml.safe_load(path.read_text())
    config["models"][MODEL]["training"] |= training
    for name, section in sections.items():
        config[name] |= section
    path.write_text(yaml.safe_dump(config))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """Everything below the results of a run, by name, that must be the same in every run."""
    root = folder / RESULTS
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] not in WITH_A_CLOCK
    }


def processes_in(folder: Path, program: str) -> list[int]:
    """Process ids of programs whose command line holds `program` and that work in `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = Path(os.readlink(process / "cwd")) == folder
            if here and program in (process / "cmdline").read_bytes().decode(errors="replace"):
                found.append(int(process.name))
        except OSError:
            continue
    return found
