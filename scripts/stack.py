"""Stack the predictors of a task: one logistic regression on the probabilities of all of them.

In:  the directories of the predictors (scripts/baseline.py, scripts/baseline_cnn.py, scripts/combine.py,
     scripts/finetune.py), and the validation split of their task (TSV with `id`, `seq`, `label`).
Out: a directory with stacked.json (labels; of each member its weight, and its loss and accuracy on the
     validation split; intercepts; the best single member there; which penalties were tried) and members/, the
     predictors themselves, so that it predicts from sequences; and a summary: the same JSON with the sha256
     of the directory's contents.

Weights are fitted on the validation split alone, since the members have learned the training sequences. The
strength of the penalty is the one with the lowest loss in a five-fold cross-validation there. The validation
split has also chosen epochs and penalties of the members, so their losses on it are a little too low. The
test split is not read. Files of the members are hard links where the file system has them, and take no space
twice.
"""

import logging
import os
import shutil
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from dnalm.evaluate.settings import FEW_SEQUENCES
from dnalm.problems.kinds import KINDS
from dnalm.problems.metrics import losses
from dnalm.problems.names import SINGLE_LABEL
from dnalm.running.commandline import parser, run
from dnalm.running.devices import add_batch_tokens_flag, add_device_flags, check_batch_tokens, choose_device
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_directory, copy_directory, sha256_of_directory, write_json
from dnalm.running.versions import versions
from dnalm.sequences.tables import read_labelled_table
from dnalm.stack.predictor import DESCRIPTION, MEMBERS, open_member
from dnalm.stack.regression import StackedRegression, choose_penalty, fit_stacked

logger = logging.getLogger("dnalm")


def main(
    name: str,
    task: str,
    members: list[Path],
    validation: Path,
    batch_tokens: int | None,
    gpus: int,
    allow_cpu: bool,
    output: Path,
    summary: Path,
) -> None:
    """Fit the regression and write its directory and summary."""
    check_batch_tokens(batch_tokens)
    names = [name_of(member) for member in members]
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(f"--members: two or more predictors of different names are needed, not {names}.")
    for member in members:
        if not member.is_dir():
            raise InputError(f"{member}: no such directory.")
    table = read_labelled_table(validation)
    sequences = table["seq"].tolist()

    device = choose_device(gpus, allow_cpu=allow_cpu)
    opened = [open_member(member, device) for member in members]
    labels = opened[0].labels
    for path, one in zip(members, opened, strict=True):
        if sorted(one.labels) != sorted(labels):
            raise InputError(f"{path}: its classes are {one.labels}, those of {members[0]} are {labels}.")
    truth = KINDS[SINGLE_LABEL].targets(table["label"], labels, validation)
    read = np.stack([one.probabilities(sequences, batch_tokens, labels) for one in opened])

    penalty, tried = choose_penalty(read, truth, sequences)
    regression = fit_stacked(read, truth, penalty)
    measured = describe_members(names, read, truth, regression)
    for about in measured:
        logger.info("%(name)s: validation loss %(loss).4f, weight %(weight).3f", about)
    description = {
        "model": name,
        "task": task,
        "labels": labels,
        "n_validation": len(truth),
        "members": measured,
        "intercepts": regression.intercepts.tolist(),
        "best_single": min(measured, key=lambda about: about["loss"])["name"],
        "penalty": penalty,
        "tried": tried,
        "versions": versions("numpy", "torch", "transformers"),
    }
    if len(truth) < FEW_SEQUENCES:
        logger.warning(
            "%s: the weights rest on %d validation sequences only; with so few they say little.",
            *(task, len(truth)),
        )
    with atomic_directory(output) as directory:
        write_json(directory / DESCRIPTION, description)
        for path, member_name in zip(members, names, strict=True):
            copy_directory(path, directory / MEMBERS / member_name, link_or_copy)
    write_json(summary, description | {"sha256": sha256_of_directory(output)})


def name_of(member: Path) -> str:
    """`kmer` of baselines/kmer/TASK, `frozen` of classifiers/MODEL/TASK/frozen."""
    return member.parent.name if (member / "baseline.json").is_file() else member.name


def describe_members(
    names: list[str], read: np.ndarray, truth: np.ndarray, regression: StackedRegression
) -> list[dict[str, Any]]:
    """Name, weight, and loss (nats) and accuracy on the validation split of each member."""
    return [
        {
            "name": name,
            "weight": float(weight),
            "loss": round(float(losses(truth, probabilities).mean()), 6),
            "accuracy": float((probabilities.argmax(axis=1) == truth).mean()),
        }
        for name, weight, probabilities in zip(names, regression.weights, read, strict=True)
    ]


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link to a file of one's own, or a copy, also where the file system has no links.

    The rights of a file of another member of a group cannot be set, and a link to it is that file.
    """
    if os.stat(source).st_uid == os.geteuid():
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copyfile(source, target)


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--name", required=True, help="name of the language model")
    add("--task", required=True, help="name of the task")
    add("--members", type=Path, nargs="+", required=True, help="directories of the predictors")
    add("--validation", type=Path, required=True, help="TSV of the validation split")
    add_batch_tokens_flag(arguments)
    add_device_flags(arguments)
    add("--output", type=Path, required=True, help="directory to write")
    add("--summary", type=Path, required=True, help="JSON summary to write")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
