"""The command `dna-modernbert`: Snakemake with the workflow that was installed with this package.

dna-modernbert init             copies the presets and the Slurm profile into the working directory
dna-modernbert --cores 4        runs the workflow; all arguments are Snakemake's
dna-modernbert --version
"""

import os
import shutil
import sys
from importlib import metadata
from pathlib import Path

# Filled when the package is built; in a clone the Snakefile is at hand and Snakemake finds it.
BUNDLE = Path(__file__).parent / "bundle"
COPIED = ("config", "slurm")


def main() -> None:
    """Entry point. Ends the process, or becomes Snakemake."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(__doc__)
    elif arguments == ["--version"]:
        print(metadata.version("dna-modernbert"))
    elif arguments == ["init"]:
        sys.exit(init(Path()))
    else:
        snakefile = BUNDLE / "workflow" / "Snakefile"
        if not snakefile.is_file():
            sys.exit("error: no workflow is installed with this package. In a clone, type: snakemake")
        # `-m`: the Snakemake of this Python, whatever is on the PATH.
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), *arguments]
        os.execv(sys.executable, command)


def init(folder: Path) -> str | None:
    """Copy presets and profile into `folder`. Returns an error in words where they are there already."""
    there = [name for name in COPIED if (folder / name).exists()]
    if there:
        return f"error: {there[0]}/ exists already. Move it away, or work in another directory."
    for name in COPIED:
        shutil.copytree(BUNDLE / name, folder / name)
    print("Edit config/config.yaml and its sheets, then type: dna-modernbert --cores 4")
    return None
