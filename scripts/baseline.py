"""Train a simple predictor as a baseline of the language model.

In:  the training split of a task and, for k-mers, the validation split: TSV with `id`, `seq`, `label`.
Out: a directory with baseline.json (baseline, task, problem, labels, training sequences; for k-mers what was
     tried on the validation split and what was chosen) and, for k-mers, model.safetensors; and a summary:
     the same JSON with the sha256 of the directory's contents.

`majority` predicts the shares of the labels in training for every sequence, of values their mean. `kmer` is
a logistic regression on k-mer frequencies, one for each of several labels, a ridge regression of values; k,
the strands that are counted (forward, or both as one) and the strength of the penalty are those with the
lowest loss on the validation split. `gapped_kmer` is the same on k-mers with gaps or on k-mers by where they
stand (`dnalm.baseline.gapped`), chosen in the same way. The test split is not read.
"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from dnalm.baseline.gapped import GappedKmerRegression, train_gapped_regression
from dnalm.baseline.predictors import KmerRegression, train_kmer_regression, write_arrays
from dnalm.baseline.settings import KmerSettings, baselines_of
from dnalm.baseline.splits import read_splits, read_training
from dnalm.problems.flags import add_problem_flag
from dnalm.problems.kinds import KINDS, Problem
from dnalm.problems.names import SINGLE_LABEL
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_directory, sha256_of_directory, write_json


def main(
    baseline: str,
    task: str,
    train: Path,
    validation: Path | None,
    settings: KmerSettings,
    output: Path,
    summary: Path,
    problem: str = SINGLE_LABEL,
) -> None:
    """Train one baseline and write its directory and summary."""
    kind = KINDS[problem]
    labels, learned = read_training(kind, train)
    description: dict[str, Any] = {"baseline": baseline, "task": task, "problem": problem, "labels": labels}
    description["n_train"] = len(learned.sequences)
    if baseline == "majority":
        constant = kind.without_sequence(learned.targets, len(labels)).tolist()
        description["frequencies"] = dict(zip(labels, constant, strict=True))
        tensors: dict[str, np.ndarray] = {}
    else:
        lengths = sorted(settings.kmer_lengths) if baseline == "kmer" else None
        description, tensors = regression(kind, description, train, validation, lengths)
    with atomic_directory(output) as directory:
        write_json(directory / "baseline.json", description)
        if tensors:
            write_arrays(directory / "model.safetensors", tensors)
    write_json(summary, description | {"sha256": sha256_of_directory(output)})


def regression(
    kind: Problem, description: dict, train: Path, validation: Path | None, lengths: list[int] | None
) -> tuple[dict, dict[str, np.ndarray]]:
    """Train the regression on k-mers of these lengths, or on gapped ones; its description and its weights."""
    if validation is None:
        raise InputError(
            f"--baseline {description['baseline']} needs --validation: k-mers and penalty are chosen there."
        )
    labels, learned, held_out = read_splits(kind, train, validation)
    splits = (learned.sequences, learned.targets), (held_out.sequences, held_out.targets)
    model: KmerRegression | GappedKmerRegression
    if lengths is None:
        model, tried = train_gapped_regression(kind.name, *splits, labels)
        description["length"] = model.length
    else:
        model, tried = train_kmer_regression(kind.name, *splits, labels, lengths)
    description |= {
        "n_validation": len(held_out.sequences),
        "chosen": min(tried, key=lambda result: result["loss"]),
        "tried": tried,
        "versions": {"scikit-learn": sklearn.__version__},
    }
    return description, {"weights": model.weights, "intercepts": model.intercepts}


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument(
        "--baseline", required=True, choices=baselines_of("baseline"), help="which baseline"
    )
    arguments.add_argument("--task", required=True, help="name of the task")
    arguments.add_argument("--train", type=Path, required=True, help="TSV of the training split")
    arguments.add_argument("--validation", type=Path, help="TSV of the validation split (kmer, gapped_kmer)")
    add_problem_flag(arguments)
    add_settings_flags(arguments, KmerSettings)
    arguments.add_argument("--output", type=Path, required=True, help="directory of the baseline")
    arguments.add_argument("--summary", type=Path, required=True, help="JSON summary to write")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
