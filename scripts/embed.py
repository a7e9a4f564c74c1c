"""Embed labelled sequences: one vector per sequence from a frozen language model.

Reads a model directory (scripts/pretrain.py) and one or several tables with the columns seq and label
(and id). Writes one `.npz` file per table, rows in the table's order:

  id, label         text[n]
  cls, mean, max    float32[n, hidden]: the state of [CLS]; the mean and the maximum over all tokens of the
                    sequence, [CLS] and [SEP] included (the mean that Transformers' classifier takes)
  tokens            int32[n]: tokens the model read, [CLS] and [SEP] included
  about             JSON text: model, task, split, digest of the weights, what was cut of the sequences

`numpy.load("F.npz")["mean"]` opens it, without pickle. All tables share one loading of the model.
"""

import logging
from argparse import ArgumentParser
from pathlib import Path

import numpy as np

from dnalm.embed.embedding import (
    embed_tokens,
    load_backbone,
    model_digest,
    read_model_config,
    write_embeddings,
)
from dnalm.finetune.settings import SequenceSettings
from dnalm.models.families import token_limit
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.devices import (
    add_inference_flags,
    check_batch_tokens,
    choose_device,
    choose_precision,
    suggest_bf16,
)
from dnalm.running.errors import InputError
from dnalm.running.versions import versions
from dnalm.sequences.tables import read_labelled_table
from dnalm.tokenizers.cut import count_cut
from dnalm.tokenizers.encoding import encode, load_tokenizer

logger = logging.getLogger("dnalm")


def main(
    model: Path,
    sequences: list[Path],
    split: list[str],
    output: list[Path],
    name: str,
    task: str,
    settings: SequenceSettings,
    batch_tokens: int | None,
    precision: str,
    gpus: int,
    allow_cpu: bool,
) -> None:
    """Embed every table in `sequences`; the n-th becomes the n-th `output`."""
    check_batch_tokens(batch_tokens)
    if not len(sequences) == len(split) == len(output):
        raise InputError("--sequences, --split and --output need the same number of values.")
    # Everything that can be wrong with the input shows before the slow imports.
    tables = [read_labelled_table(path, problem=None) for path in sequences]
    config = read_model_config(model)
    max_tokens = token_limit(config, settings.max_tokens)
    device = choose_device(gpus, allow_cpu=allow_cpu)
    asked, precision = precision, choose_precision(precision, device)
    tokenizer = load_tokenizer(model)
    backbone = load_backbone(model, device)
    suggest_bf16(asked, device, backbone)
    digest = model_digest(model)
    for path, part, table, target in zip(sequences, split, tables, output, strict=True):
        sequences_of_table = table["seq"].tolist()
        tokens = encode(tokenizer, sequences_of_table, max_tokens)
        cut = count_cut(tokenizer, sequences_of_table, max_tokens, tokens)
        if warning := cut.warning(f"sequences of {path}"):
            logger.warning(warning)
        vectors = embed_tokens(
            backbone,
            tokens,
            pad_id=config["pad_token_id"],
            batch_tokens=batch_tokens,
            bf16=precision == "bf16",
        )
        columns = {
            "id": np.array(table["id"].tolist(), np.str_),
            "label": np.array(table["label"].tolist(), np.str_),
            **vectors,
            "tokens": np.array([len(ids) for ids in tokens], np.int32),
        }
        about = {
            "model": name,
            "task": task,
            "split": part,
            "sequences": len(tokens),
            "max_tokens": max_tokens,
            "cut": cut.summary(),
            "model_sha256": digest,
            "precision": precision,
            "versions": versions("torch", "transformers"),
        }
        write_embeddings(target, columns, about)
        logger.info(
            "%s: %d sequences embedded, %d dimensions", target, len(tokens), backbone.config.hidden_size
        )


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--model", type=Path, required=True, help="model directory of the language model")
    arguments.add_argument(
        "--sequences", type=Path, nargs="+", required=True, help="tables with seq and label"
    )
    arguments.add_argument("--split", nargs="+", required=True, help="name of each table's split, e.g. train")
    arguments.add_argument(
        "--output", type=Path, nargs="+", required=True, help=".npz file to write for each table"
    )
    arguments.add_argument("--name", required=True, help="name of the model, written into the files")
    arguments.add_argument("--task", required=True, help="name of the task, written into the files")
    add_settings_flags(arguments, SequenceSettings)
    add_inference_flags(arguments)
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
