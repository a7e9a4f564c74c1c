"""Write the network that pretraining would start from, without training it: a baseline.

In:   --tokenizer                       tokenizer directory
      --architecture or --checkpoint    a JSON file with the size of a network, or a model directory whose
                                        size is taken; its weights are not
Out:  --output                          model directory: config.json, model.safetensors, the tokenizer's
                                        files, training_summary.json

With the architecture, tokenizer and seed of scripts/pretrain.py the weights equal those before its first
step.
"""

import logging
from argparse import ArgumentParser
from pathlib import Path

from dnalm.models.architecture import count_parameters, load_model, model_config, new_model
from dnalm.models.checks import read_architecture
from dnalm.models.directory import quieten, write_model_directory
from dnalm.pretrain.settings import TrainingSettings
from dnalm.running.commandline import parser, run
from dnalm.running.errors import InputError
from dnalm.running.versions import versions
from dnalm.tokenizers.encoding import load_tokenizer

logger = logging.getLogger("dnalm")


def main(
    *,
    tokenizer: Path,
    architecture: Path | None,
    checkpoint: Path | None,
    model: str,
    seed: int,
    output: Path,
    summary: Path | None,
) -> None:
    """Draw the weights and write the model directory."""
    quieten()
    if architecture is not None and checkpoint is None:
        config = model_config(read_architecture(architecture), load_tokenizer(tokenizer))
    elif checkpoint is not None and architecture is None:
        config = load_model(checkpoint, load_tokenizer(tokenizer), new_head=True).config
    else:
        raise InputError("give either --architecture or --checkpoint.")
    network = new_model(config, seed)
    parameters = count_parameters(network)
    description = {
        "model": model,
        "parameters": parameters,
        "steps": 0,
        "settings": {"seed": seed},
        "versions": versions(),
    }
    write_model_directory(output, network, tokenizer, description, summary=summary)
    logger.info("untrained model of %s parameters: %s", f"{parameters['total']:,}", output)


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--tokenizer", type=Path, required=True, help="tokenizer directory")
    arguments.add_argument("--architecture", type=Path, help="JSON file with the size of the network")
    arguments.add_argument("--checkpoint", type=Path, help="model directory whose size is taken, instead")
    arguments.add_argument("--model", default="untrained", help="name of the model, for summaries")
    arguments.add_argument(
        "--seed",
        type=int,
        default=TrainingSettings.model_fields["seed"].default,
        help="seed of the weights (default %(default)s, as pretraining's --training-seed)",
    )
    arguments.add_argument("--output", type=Path, required=True, help="model directory to write")
    arguments.add_argument(
        "--summary", type=Path, help="JSON file: training_summary.json and the SHA-256 of the model directory"
    )
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
