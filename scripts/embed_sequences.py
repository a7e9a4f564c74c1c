"""Embed sequences without labels: vectors of any layer of a frozen language model, and their similarities.

The input may be, told apart by content, plain or compressed (gzip, bzip2, xz):

  FASTA    records longer than --window are cut into windows of that length, every --stride bases. GenBank,
           EMBL and 2bit are read likewise.
  BED      regions of --genome (FASTA, GenBank, EMBL or 2bit); a `-` in column 6 reads the other strand.
           Regions longer than --window are cut like records.
  table    TSV, CSV or Parquet with the column seq (and id); every row is read whole.

Writes, with one row per sequence or window, in the order of the input:

  --output         .npz, opened by `numpy.load("F.npz")["mean"]` without pickle:
    id, sequence     text[n]: record, region or row; FASTA record, chromosome or row
    start, end       int64[n]: where the window lies in it, 0-based, end not included
    tokens           int32[n]: tokens the model read, [CLS] and [SEP] included
    cls, mean, max   float32[n, hidden]: the state of [CLS]; mean and maximum over all these tokens
    about            JSON text: model, layer, digest of the weights, what was cut or left out
  --parquet        the same columns, opened by `pandas.read_parquet`
  --similarities   TSV: cosine similarities of the mean vectors of the first rows among each other
  --summary        JSON: `about` as a file
"""

import logging
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from dnalm.embed.embedding import (
    embed_tokens,
    load_backbone,
    model_digest,
    read_model_config,
    write_embeddings,
)
from dnalm.embed_sequences.settings import VectorSettings
from dnalm.embed_sequences.vectors import cosine_similarities, write_parquet, write_similarities
from dnalm.models.families import check_layers, token_limit
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.devices import add_inference_flags, check_batch_tokens, choose_device, choose_precision
from dnalm.running.errors import InputError
from dnalm.running.files import write_json
from dnalm.running.progress import Progress
from dnalm.running.versions import versions
from dnalm.sequences.inputs import add_input_flags, refuse_variants
from dnalm.sequences.windows import SEQUENCES_PER_CHUNK, LeftOut, Window, checked_kind, read_windows
from dnalm.tokenizers.cut import Cut, count_cut
from dnalm.tokenizers.encoding import encode, load_tokenizer

logger = logging.getLogger("dnalm")


def main(
    model: Path,
    input: Path,
    genome: Path | None,
    settings: VectorSettings,
    name: str,
    batch_tokens: int | None,
    precision: str,
    gpus: int,
    allow_cpu: bool,
    output: Path,
    parquet: Path | None,
    similarities: Path | None,
    summary: Path | None,
) -> None:
    """Embed everything in `input` and write the files that are asked for."""
    check_batch_tokens(batch_tokens)
    refuse_variants(input)
    kind = checked_kind(input, genome)
    # Everything that can be wrong with the request shows before the slow imports.
    config = read_model_config(model)
    layers = check_layers(config, settings.layer or 0, "--layer")
    left_out = LeftOut()
    windows = read_windows(
        input, kind, genome, settings.window, settings.stride, settings.max_unknown_fraction, left_out
    )
    max_tokens = token_limit(config, None)
    device = choose_device(gpus, allow_cpu=allow_cpu)
    precision = choose_precision(precision, device)
    tokenizer, backbone = load_tokenizer(model), load_backbone(model, device)
    cut, chunks = Cut(max_tokens), []
    progress = Progress("embedding", windows.total, "sequences")
    while chunk := list(islice(windows.items, SEQUENCES_PER_CHUNK)):
        progress.total = windows.total - left_out.windows
        bases = [window.bases for window in chunk]
        tokens = encode(tokenizer, bases, max_tokens)
        cut += count_cut(tokenizer, bases, max_tokens, tokens)
        vectors = embed_tokens(
            backbone,
            tokens,
            pad_id=config["pad_token_id"],
            batch_tokens=batch_tokens,
            bf16=precision == "bf16",
            layer=settings.layer,
            on_read=progress.advance,
        )
        chunks.append(columns_of(chunk, tokens) | vectors)
    unread = left_out.say(input, settings.max_unknown_fraction)
    if not chunks:
        raise InputError(f"{unread or input}. There is nothing to embed.")
    for warning in (unread, cut.warning(f"sequences of {input}", "Give a smaller window.")):
        if warning:
            logger.warning(warning)
    columns = {column: np.concatenate([part[column] for part in chunks]) for column in chunks[0]}
    about = {
        "model": name,
        "input": input.name,
        "sequences": left_out.read or cut.sequences,
        "vectors": cut.sequences,
        "dimensions": backbone.config.hidden_size,
        "layer": layers if settings.layer is None else settings.layer,
        "layers": layers,
        "left_out": {"windows": left_out.windows, "sequences": len(left_out.sequences)},
        "cut": cut.summary(),
        "model_sha256": model_digest(model),
        "precision": precision,
        "versions": versions("torch", "transformers"),
    }
    write_embeddings(output, columns, about)
    if parquet:
        write_parquet(parquet, columns, about)
    if similarities:
        first = {column: values[: settings.compared] for column, values in columns.items()}
        write_similarities(similarities, names_of(first), cosine_similarities(first["mean"]))
    if summary:
        write_json(summary, about)
    logger.info(
        "%s: %s vectors of %s dimensions, layer %s of %s",
        output,
        f"{about['vectors']:,}",
        about["dimensions"],
        about["layer"],
        layers,
    )


def columns_of(windows: list[Window], tokens: list[np.ndarray]) -> dict[str, np.ndarray]:
    """What is known of windows beside their vectors: id, sequence, start, end, tokens."""
    return {
        "id": np.array([window.id for window in windows], np.str_),
        "sequence": np.array([window.sequence for window in windows], np.str_),
        "start": np.array([window.start for window in windows], np.int64),
        "end": np.array([window.end for window in windows], np.int64),
        "tokens": np.array([len(ids) for ids in tokens], np.int32),
    }


def names_of(columns: Mapping[str, np.ndarray]) -> list[str]:
    """The id of each row; of windows of one sequence also where they lie."""
    ids, counts = columns["id"].tolist(), Counter(columns["id"].tolist())
    places = zip(ids, columns["start"].tolist(), columns["end"].tolist(), strict=True)
    return [f"{id}:{start}-{end}" if counts[id] > 1 else id for id, start, end in places]


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--model", type=Path, required=True, help="model directory of the language model")
    add_input_flags(arguments)
    arguments.add_argument(
        "--name", default="language model", help="name of the model, written into the files"
    )
    add_settings_flags(arguments, VectorSettings)
    add_inference_flags(arguments)
    arguments.add_argument("--output", type=Path, required=True, help=".npz file to write")
    arguments.add_argument("--parquet", type=Path, help="Parquet file to write")
    arguments.add_argument("--similarities", type=Path, help="TSV of cosine similarities to write")
    arguments.add_argument("--summary", type=Path, help="JSON file to write")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
