"""Write a model directory from a checkpoint as it is, without training it.

In:   --checkpoint    model directory as published: config.json, model.safetensors
      --tokenizer     its tokenizer directory
Out:  --output        model directory: config.json, model.safetensors, the tokenizer's files,
                      training_summary.json (no steps), an empty training_log.jsonl

A checkpoint without a prediction head gets a random one, as when training goes on from it.
Every later step takes it like a model that was trained here. Beside a model that goes on training from the
checkpoint (domain adaptation) it is what the adapted one is compared with.
"""

import logging
from argparse import ArgumentParser
from pathlib import Path

from dnalm.models.architecture import count_parameters, load_model
from dnalm.models.checks import check_start, check_tokenizer_fits
from dnalm.models.directory import quieten, write_model_directory
from dnalm.running.commandline import parser, run
from dnalm.running.files import sha256_of_directory
from dnalm.running.versions import versions
from dnalm.tokenizers.encoding import load_tokenizer

logger = logging.getLogger("dnalm")


def main(*, tokenizer: Path, checkpoint: Path, model: str, output: Path, summary: Path | None) -> None:
    """Check the checkpoint by loading it, and write the model directory."""
    quieten()
    shape, has_head = check_start(checkpoint)
    check_tokenizer_fits(checkpoint, shape, tokenizer)
    network = load_model(checkpoint, load_tokenizer(tokenizer), new_head=True)
    parameters = count_parameters(network)
    description = {
        "model": model,
        "parameters": parameters,
        "steps": 0,
        "new_head": not has_head,
        "settings": {"checkpoint": sha256_of_directory(checkpoint)},
        "versions": versions(),
    }
    write_model_directory(output, network, tokenizer, description, log=[], summary=summary)
    logger.info("model of %s parameters as published: %s", f"{parameters['total']:,}", output)


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--tokenizer", type=Path, required=True, help="tokenizer directory")
    arguments.add_argument("--checkpoint", type=Path, required=True, help="model directory as published")
    arguments.add_argument("--model", default="published", help="name of the model, for summaries")
    arguments.add_argument("--output", type=Path, required=True, help="model directory to write")
    arguments.add_argument(
        "--summary", type=Path, help="JSON file: training_summary.json and the SHA-256 of the model directory"
    )
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
