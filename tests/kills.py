"""Kill a running workflow at random moments and see whether it still makes the same files.

    python tests/kills.py 200 [--seed 1]      or: make test-kills N=200

Pretraining, full fine-tuning, the same in three folds, and Snakemake itself are killed (SIGKILL, sometimes
SIGTERM), a third of the trainings while they write a checkpoint. A killed Snakemake is unlocked and started
again, as a person would; killed steps are repeated by Snakemake. Each run begins in a copy of one that was
left alone, without what came of the three trainings; when it ends, all files are compared. Exit code 1 if a
run ended badly or differently.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))
from short_run import CONFIGURATION, MODEL, RESULTS, copy_repository, files, processes_in

TRAINING = {"steps": 800, "evaluate_every": 100, "checkpoint_every_steps": 10}
SECTIONS = {
    "finetune": {"backbones": ["frozen", "full"], "full": {"epochs": 300}},
    "baseline": {"untrained": False, "stacked": False},
    "evaluate_language_model": {"max_lines": 4},
}
FOLDED = "folded"
CLASSIFIER, CROSS_VALIDATED = f"classifiers/{MODEL}/enhancers/full", f"evaluation/{MODEL}/{FOLDED}/full"
TARGETS = [
    f"{RESULTS}/models/{MODEL}.json",
    f"{RESULTS}/{CLASSIFIER}.json",
    f"{RESULTS}/{CROSS_VALIDATED}/metrics.json",
]
MADE = ("models", CLASSIFIER, CROSS_VALIDATED, "checkpoints", "telemetry")
TRAININGS = ("scripts/pretrain.py", "scripts/finetune.py", "scripts/cross_validate.py")
# How often Snakemake is the victim in place of the training that runs.
MAIN_PROCESS = 0.3
KILLS_PER_RUN = 25
# A healthy run needs a small part of it, also on a busy machine.
PATIENCE = 1800


def save_often(folder: Path) -> None:
    """Let full fine-tuning save every second, which no setting of a workflow does."""
    script = folder / "scripts" / "finetune.py"
    text = script.read_text()
    assert text.count("default=10.0") == 1
    script.write_text(text.replace("default=10.0", "default=1 / 60"))


def add_folded_task(folder: Path) -> None:
    """Let the sheet of tasks have the training sequences once more, in three folds."""
    sheet = folder / "tests" / "short" / "tasks.tsv"
    header, row = sheet.read_text().splitlines()
    _, train, _ = row.split("\t")
    sheet.write_text(f"{header}\tfolds\n{row}\t\n{FOLDED}\t{train}\t\t3\n")


def start(folder: Path, *targets: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", *targets, "--cores", "2", "--retries", "100"]
    with (folder / "snakemake.out").open("a") as output:
        return subprocess.Popen(
            [*command, "--configfile", CONFIGURATION, "--rerun-incomplete"],
            cwd=folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def is_saving(folder: Path) -> bool:
    return any((folder / RESULTS / "checkpoints").rglob(".step-*.part"))


def kill_somebody(folder: Path, main: subprocess.Popen, draw: random.Random) -> str | None:
    """Wait for a random moment, kill a random victim; say which, None if the run ended before."""
    patience = time.monotonic() + 60
    while not (here := [program for program in TRAININGS if processes_in(folder, program)]):
        if main.poll() is not None or time.monotonic() > patience:
            return None
        time.sleep(0.05)
    program = "snakemake" if draw.random() < MAIN_PROCESS else here[0]
    during_save = program != "snakemake" and draw.random() < 1 / 3
    end = time.monotonic() + (60 if during_save else draw.uniform(0, 12))
    while time.monotonic() < end and not (during_save and is_saving(folder)):
        time.sleep(0.002 if during_save else 0.05)
    if main.poll() is not None:
        return None
    victims = [main.pid] if program == "snakemake" else processes_in(folder, program)
    if not victims:
        return None
    number = signal.SIGTERM if program != "snakemake" and draw.random() < 0.2 else signal.SIGKILL
    for victim in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, number)
    return f"{Path(program).stem}{' while saving' if during_save and is_saving(folder) else ''}"


def disturbed_run(folder: Path, kills: int, draw: random.Random) -> Counter[str]:
    """Run the workflow to its end, killing at most so often. Raises RuntimeError if it does not end well."""
    done: Counter[str] = Counter()
    main, begun = start(folder, *TARGETS), time.monotonic()
    try:
        while main.poll() is None or main.returncode != 0:
            if time.monotonic() - begun > PATIENCE:
                raise RuntimeError(f"still running after {PATIENCE} s; see {folder}/snakemake.out")
            if main.poll() is None and done.total() < kills:
                if (victim := kill_somebody(folder, main, draw)) is not None:
                    done[victim] += 1
            elif main.poll() is None:
                time.sleep(0.2)
            elif main.returncode == -signal.SIGKILL:
                unlock = [sys.executable, "-m", "snakemake", "--unlock", "--configfile", CONFIGURATION]
                subprocess.run(unlock, cwd=folder, check=True, capture_output=True)
                main = start(folder, *TARGETS)
            else:
                raise RuntimeError(f"ended with exit code {main.returncode}; see {folder}/snakemake.out")
    finally:
        if main.poll() is None:
            main.kill()
    return done


def main(wanted: int, seed: int, keep: Path | None) -> int:
    """Make runs until `wanted` kills were survived, or not; print the numbers."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        root = keep or Path(scratch).resolve()
        calm = copy_repository(root / "undisturbed", TRAINING, **SECTIONS)
        save_often(calm)
        add_folded_task(calm)
        if start(calm).wait() != 0 or start(calm, *TARGETS).wait() != 0:
            print(f"the undisturbed run fails; see {calm}/snakemake.out")
            return 1
        expected, kills, recovered, run = files(calm), Counter(), 0, 0
        while kills.total() < wanted:
            run += 1
            folder = shutil.copytree(calm, root / f"run-{run}")
            for name in MADE:
                shutil.rmtree(folder / RESULTS / name)
            (folder / RESULTS / f"{CLASSIFIER}.json").unlink()
            try:
                done = disturbed_run(folder, min(KILLS_PER_RUN, wanted - kills.total()), draw)
            except RuntimeError as error:
                print(f"run {run}: {error}")
                return 1
            found = files(folder)
            different = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
            kills += done
            if different:
                print(f"run {run}: {done.total()} kills, other files: {', '.join(different)}")
            else:
                recovered += done.total()
                shutil.rmtree(folder)
            print(f"run {run}: {recovered} of {kills.total()} kills recovered {dict(kills)}", flush=True)
            if not done:
                print("a whole run went by without a kill; the machine is too fast for TRAINING")
                return 1
        print(f"{recovered} of {kills.total()} kills ended with the same {len(expected)} files")
        return int(recovered != kills.total())


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("kills", type=int, help="how many")
    arguments.add_argument("--seed", type=int, default=1, help="draws victims and moments (default 1)")
    arguments.add_argument("--keep", type=Path, help="work in this folder and keep it")
    asked = arguments.parse_args()
    sys.exit(main(asked.kills, asked.seed, asked.keep))
