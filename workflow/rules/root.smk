# Where this workflow's own files are. They stand beside the Snakefile: in a clone, in an installed package, or
# in a git repository that another workflow names (`snakefile: github(…)`), which is unpacked first because
# scripts import each other.

import os
import shutil
import subprocess
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError


def root_of(snakefile_folder):
    """The folder with workflow/, scripts/, envs/, resources/ and config/, relative to the working directory."""
    if hasattr(snakefile_folder, "__fspath__") or isinstance(snakefile_folder, str):
        return Path(os.path.relpath(Path(snakefile_folder).parents[1]))
    git = getattr(snakefile_folder, "repo_path", None) or snakefile_folder.hosted_repo.repo_clone
    commit = subprocess.run(
        ["git", "-C", git, "rev-parse", f"{snakefile_folder.ref}^{{commit}}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    folder = Path(".snakemake", "dna-modernbert", commit)
    if not folder.is_dir():
        part = folder.with_name(f".{commit}.{os.getpid()}.part")
        part.mkdir(parents=True)
        archive = subprocess.run(["git", "-C", git, "archive", commit], check=True, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", part], check=True, input=archive.stdout)
        try:
            part.rename(folder)
        except OSError:
            # Another Snakemake was faster.
            shutil.rmtree(part)
    return folder


def beside_workflow(path):
    """The path itself or, where the working directory has no such file, the one beside the workflow."""
    if not isinstance(path, str) or os.path.exists(path) or not (ROOT / path).exists():
        return path
    return str(ROOT / path)


def as_configured(path):
    """What `beside_workflow` was asked for: where this workflow is changes no result."""
    return path.removeprefix(f"{ROOT}/") if isinstance(path, str) else path


def check_names(files):
    """Raise WorkflowError where Python has read another module under the name of one of these, and would use it."""
    for file in files:
        place = getattr(sys.modules.get(file.stem), "__file__", None) or file
        if not Path(place).resolve().is_relative_to(file.resolve()):
            raise WorkflowError(
                f"{place} was read before this workflow, which has {file}. Rename yours. Two versions of this "
                "workflow are no modules of one; run them one after the other."
            )


ROOT = root_of(workflow.current_basedir)
# Otherwise it is a module of another workflow.
IS_MAIN = workflow.modifier.is_main_snakefile()

check_names([*ROOT.glob("workflow/lib/*.py"), ROOT / "scripts" / "dnalm"])
sys.path[:0] = [os.path.abspath(ROOT / folder) for folder in ("workflow/lib", "scripts")]


def check_default(path):
    """Raise WorkflowError, with file and line, for a default configuration that is no YAML."""
    # Not found before the line above.
    from dnalm.config_reading import check_yaml
    from dnalm.running.errors import InputError

    try:
        check_yaml(path)
    except InputError as error:
        raise WorkflowError(str(error))
