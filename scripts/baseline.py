"""Train a simple classifier as a baseline of the language model.

In:  the training split of a task and, for k-mers, the validation split: TSV with `id`, `seq`, `label`.
Out: a directory with baseline.json (baseline, task, labels, training sequences; for k-mers what was tried on
     the validation split and what was chosen) and, for k-mers, model.safetensors; and a summary: the same
     JSON with the sha256 of the directory's contents.

`majority` predicts the shares of the labels in training for every sequence. `kmer` is a logistic regression
on k-mer frequencies; k, the strands that are counted (forward, or both as one) and the strength of the
penalty are those with the lowest loss on the validation split. The test split is not read.
"""

from pathlib import Path

import numpy as np
import sklearn
from safetensors.numpy import save_file

from dnalm.baseline.predictors import train_kmer_regression
from dnalm.baseline.settings import KmerSettings
from dnalm.baseline.splits import labels_of, read_splits
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_directory, sha256_of_directory, write_json
from dnalm.sequences.tables import read_labelled_table


def main(
    baseline: str,
    task: str,
    train: Path,
    validation: Path | None,
    settings: KmerSettings,
    output: Path,
    summary: Path,
) -> None:
    """Train one baseline and write its directory and summary."""
    table = read_labelled_table(train)
    labels = labels_of(train, table)
    description = {"baseline": baseline, "task": task, "labels": labels, "n_train": len(table)}
    if baseline == "majority":
        counts = table["label"].value_counts()
        description["frequencies"] = {label: float(counts[label] / len(table)) for label in labels}
        tensors: dict[str, np.ndarray] = {}
    else:
        description, tensors = kmer(description, train, validation, settings.kmer_lengths)
    with atomic_directory(output) as directory:
        write_json(directory / "baseline.json", description)
        if tensors:
            # safetensors writes the memory of numpy arrays as it lies; scikit-learn's may lie by columns.
            rows_first = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
            save_file(rows_first, directory / "model.safetensors")
    write_json(summary, description | {"sha256": sha256_of_directory(output)})


def kmer(
    description: dict, train: Path, validation: Path | None, lengths: tuple[int, ...]
) -> tuple[dict, dict[str, np.ndarray]]:
    """Train the k-mer regression; return its description and its weights."""
    if validation is None:
        raise InputError("--baseline kmer needs --validation: k and the penalty are chosen there.")
    labels, learned, held_out = read_splits(train, validation)
    model, tried = train_kmer_regression(
        (learned.sequences, learned.classes),
        (held_out.sequences, held_out.classes),
        labels,
        sorted(lengths),
    )
    description |= {
        "n_validation": len(held_out.sequences),
        "chosen": min(tried, key=lambda result: result["loss"]),
        "tried": tried,
        "versions": {"scikit-learn": sklearn.__version__},
    }
    return description, {"weights": model.weights, "intercepts": model.intercepts}


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--baseline", required=True, choices=["majority", "kmer"], help="which baseline")
    arguments.add_argument("--task", required=True, help="name of the task")
    arguments.add_argument("--train", type=Path, required=True, help="TSV of the training split")
    arguments.add_argument("--validation", type=Path, help="TSV of the validation split (kmer)")
    add_settings_flags(arguments, KmerSettings)
    arguments.add_argument("--output", type=Path, required=True, help="directory of the baseline")
    arguments.add_argument("--summary", type=Path, required=True, help="JSON summary to write")
    run(main, arguments.parse_args())
