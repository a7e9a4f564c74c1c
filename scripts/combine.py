"""Train one linear model on k-mers and embeddings together.

Its difference to the k-mers alone (scripts/baseline.py) says whether the language model knows anything about
a task that k-mers do not.

In:  the training and the validation split of a task (TSV with `id`, `seq`, `label`), their embeddings
     (scripts/embed.py), the model that made them, and the k-mer baseline of the task, whose k and strands
     are taken.
Out: a directory with combined.json (problem, labels, k, strands, pooling, max_tokens, what was tried on the
     validation split and what was chosen), combined.safetensors, and the model in language_model/, so that
     it predicts from sequences; and a summary: the same JSON with the sha256 of the directory's contents.

A linear model with an L2 penalty (logistic regression, of values ridge regression) reads the roots of k-mer
frequencies and, beside them, the standardised embedding. How much the embedding weighs and how strong the
penalty is are those with the lowest loss on the validation split. The test split is not read.
"""

from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import sklearn

from dnalm.baseline.predictors import KmerRegression, write_arrays
from dnalm.baseline.splits import Split, read_splits
from dnalm.baseline.stored import load_baseline
from dnalm.combine.predictor import train_combined
from dnalm.embed.embedding import POOLINGS, model_digest, read_embeddings
from dnalm.problems.flags import add_problem_flag
from dnalm.problems.kinds import KINDS
from dnalm.problems.names import SINGLE_LABEL
from dnalm.running.commandline import parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_directory, copy_directory, sha256_of_directory, write_json


def main(
    name: str,
    task: str,
    model: Path,
    kmer: Path,
    train: Path,
    validation: Path,
    train_embeddings: Path,
    validation_embeddings: Path,
    pooling: str,
    output: Path,
    summary: Path,
    problem: str = SINGLE_LABEL,
) -> None:
    """Train the regression and write its directory and summary."""
    labels, learned, held_out = read_splits(KINDS[problem], train, validation)
    kmers = load_baseline(kmer)
    if not isinstance(kmers, KmerRegression):
        raise InputError(f"{kmer}: not the k-mer baseline. Make it with scripts/baseline.py --baseline kmer.")
    digest = model_digest(model)
    learned_vectors, max_tokens = read_vectors(train_embeddings, learned, pooling, digest)
    held_out_vectors, _ = read_vectors(validation_embeddings, held_out, pooling, digest)
    regression, tried = train_combined(
        problem,
        (learned.sequences, learned_vectors, learned.targets),
        (held_out.sequences, held_out_vectors, held_out.targets),
        kmers.k,
        kmers.strands,
    )
    description = {
        "model": name,
        "task": task,
        "problem": problem,
        "labels": labels,
        "n_train": len(learned.sequences),
        "n_validation": len(held_out.sequences),
        "k": kmers.k,
        "strands": kmers.strands,
        "pooling": pooling,
        "max_tokens": max_tokens,
        "chosen": min(tried, key=lambda result: result["loss"]),
        "tried": tried,
        "versions": {"scikit-learn": sklearn.__version__},
    }
    tensors = {
        "weights": regression.weights,
        "intercepts": regression.intercepts,
        "mean": regression.features.mean,
        "scale": regression.features.scale,
    }
    with atomic_directory(output) as directory:
        write_json(directory / "combined.json", description)
        write_arrays(directory / "combined.safetensors", tensors)
        copy_directory(model, directory / "language_model")
    write_json(summary, description | {"sha256": sha256_of_directory(output)})


def read_vectors(path: Path, split: Split, pooling: str, model_sha256: str) -> tuple[np.ndarray, int]:
    """Embeddings float32[n, hidden] of a split, and how many tokens were read of each sequence at most.

    Raises InputError unless they were made from these sequences by this model.
    """
    read = read_embeddings(path, pooling)
    if read.ids != split.table["id"].tolist() or read.about["model_sha256"] != model_sha256:
        raise InputError(
            f"{path}: these are embeddings of other sequences or of another model. "
            "Embed the sequences again with scripts/embed.py."
        )
    return read.vectors, read.about["max_tokens"]


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--name", required=True, help="name of the language model")
    add("--task", required=True, help="name of the task")
    add_problem_flag(arguments)
    add("--model", type=Path, required=True, help="model directory of the language model")
    add("--kmer", type=Path, required=True, help="directory of the task's k-mer baseline")
    add("--train", type=Path, required=True, help="TSV of the training split")
    add("--validation", type=Path, required=True, help="TSV of the validation split")
    add("--train-embeddings", type=Path, required=True, help="its embeddings (.npz)")
    add("--validation-embeddings", type=Path, required=True, help="the embeddings of the validation split")
    add("--pooling", choices=POOLINGS, default="mean", help="which embedding (default %(default)s)")
    add("--output", type=Path, required=True, help="directory to write")
    add("--summary", type=Path, required=True, help="JSON summary to write")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
