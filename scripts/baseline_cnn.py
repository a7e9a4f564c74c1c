"""Train a small convolutional network as a baseline of the language model.

In:  the training and the validation split of a task: TSV with `id`, `seq`, `label`.
Out: a directory with baseline.json (baseline, task, problem, labels, sequences, settings, parameters, log by
     epoch, the epoch that was kept) and model.safetensors; and a summary: the same JSON with the sha256 of
     the directory's contents.

The design is that of DeepBind: motif detectors that read both strands (unless the strand matters), pooled by
maximum and mean; `deep_cnn` has a second convolution (`dnalm.baseline_cnn.network`). Of all epochs the one
with the lowest validation loss is kept. The test split is not read. Runs on one CPU core.
"""

import logging
from argparse import ArgumentParser
from pathlib import Path

from dnalm.baseline.settings import baselines_of
from dnalm.baseline.splits import read_splits
from dnalm.baseline_cnn.settings import CnnSettings
from dnalm.evaluate.settings import StrandSettings
from dnalm.problems.flags import add_problem_flag
from dnalm.problems.kinds import KINDS
from dnalm.problems.names import SINGLE_LABEL
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.files import atomic_directory, sha256_of_directory, write_json
from dnalm.running.versions import versions
from dnalm.running.weights import save_weights

logger = logging.getLogger("dnalm")


def main(
    baseline: str,
    task: str,
    train: Path,
    validation: Path,
    settings: CnnSettings,
    strands: StrandSettings,
    output: Path,
    summary: Path,
    problem: str = SINGLE_LABEL,
) -> None:
    """Train the network and write its directory and summary."""
    labels, learned, held_out = read_splits(KINDS[problem], train, validation)

    # PyTorch takes seconds to import; whatever can be wrong with the tables has shown by now.
    from dnalm.baseline_cnn.training import train_network

    weights, log = train_network(
        problem,
        (learned.sequences, learned.targets),
        (held_out.sequences, held_out.targets),
        len(labels),
        settings,
        strands.strands == "both",
        deep=baseline == "deep_cnn",
    )
    kept = min(log, key=lambda record: record["validation_loss"])
    logger.info(
        "kept epoch %d of %d: validation loss %.4f",
        *(kept["epoch"], len(log), kept["validation_loss"]),
    )
    description = {
        "baseline": baseline,
        "task": task,
        "problem": problem,
        "labels": labels,
        "n_train": len(learned.sequences),
        "n_validation": len(held_out.sequences),
        "settings": settings.model_dump() | strands.model_dump(),
        "parameters": sum(value.numel() for value in weights.values()),
        "kept": kept,
        "log": log,
        "versions": versions("torch"),
    }
    with atomic_directory(output) as directory:
        write_json(directory / "baseline.json", description)
        save_weights(weights, directory / "model.safetensors")
    write_json(summary, description | {"sha256": sha256_of_directory(output)})


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument(
        "--baseline", default="cnn", choices=baselines_of("baseline_cnn"), help="which (default %(default)s)"
    )
    arguments.add_argument("--task", required=True, help="name of the task")
    arguments.add_argument("--train", type=Path, required=True, help="TSV of the training split")
    arguments.add_argument("--validation", type=Path, required=True, help="TSV of the validation split")
    add_problem_flag(arguments)
    add_settings_flags(arguments, CnnSettings)
    add_settings_flags(arguments, StrandSettings, "strands")
    arguments.add_argument("--output", type=Path, required=True, help="directory of the baseline")
    arguments.add_argument("--summary", type=Path, required=True, help="JSON summary to write")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
