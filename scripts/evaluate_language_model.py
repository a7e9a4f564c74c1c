"""Judge a masked language model on held-out DNA, beside predictors that only count tokens.

In: a model directory, token caches of held-out lines, and token caches of training lines for the counting.
Out:
- metrics (JSON): loss (nats per hidden token), perplexity, bits per base, accuracy and top-5 accuracy, each
  with an interval that takes neighbouring lines together, of the model and of three baselines on the same
  hidden tokens: uniform, unigram (frequency in training lines), bigram (given the token on the left);
- sequence loss (TSV): tokens, hidden tokens, loss and perplexity of each line, or piece of a line that is
  longer than the model reads at once (start_bp: bases of the line before it);
- fill-mask examples (TSV): a hidden token in its context, and the five tokens held for likeliest.

The share of hidden tokens is the same for all models, whatever they were trained with, so that they can be
compared. Bits per base can also be compared between vocabularies, though not to the last tenth of a bit (the
length of a token has to be guessed, too); perplexities cannot.

Of overlapping k-mers runs of at least k are hidden, for fewer would be spelled by their neighbours. Such a
token has bases that visible neighbours show; bits per base are the sum of all losses over the number of
bases that nothing shows, each counted in every hidden token that holds it (hidden_bases). The baselines
choose among the k-mers that agree with what is visible. In an example all tokens that share a base with the
one asked for are hidden.
"""

import csv
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from dnalm.evaluate_language_model.means import HeldOutMeans, line_losses
from dnalm.evaluate_language_model.scoring import (
    FrequencyBaselines,
    MaskedLine,
    TokenScores,
    check_vocabulary,
    choose_lines,
    hide_one_token,
    hide_tokens,
    model_log_probabilities,
    model_scores,
)
from dnalm.evaluate_language_model.settings import EvaluateLanguageModelSettings
from dnalm.models.architecture import load_model
from dnalm.models.families import check_max_tokens
from dnalm.pretrain.settings import ContextSettings
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.devices import add_device_flags, choose_device
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file, write_json
from dnalm.running.progress import Progress
from dnalm.tokenize_windows.cache import TokenLines, load_tokens
from dnalm.tokenize_windows.context import ContextLines
from dnalm.tokenizers.bases import OverlappingWords, Pieces, bases_of
from dnalm.tokenizers.encoding import load_tokenizer

CONTEXT_BP = 30
TOP = 5


def main(
    model: Path,
    tokens: list[Path],
    training_tokens: list[Path],
    published: Path | None,
    name: str,
    context: ContextSettings,
    settings: EvaluateLanguageModelSettings,
    gpus: int,
    allow_cpu: bool,
    metrics: Path,
    sequence_loss: Path,
    fill_mask: Path,
) -> None:
    """Let model and baselines predict the same hidden tokens; write metrics, losses per line and examples."""
    device = choose_device(gpus, allow_cpu=allow_cpu)
    tokenizer = load_tokenizer(model)
    all_held_out, training = load_tokens(*tokens), load_tokens(*training_tokens)
    for lines, paths in ((all_held_out, tokens), (training, training_tokens)):
        if len(lines) == 0:
            raise InputError(f"{paths[0]}: no lines.")
        check_vocabulary(lines, len(tokenizer))
    held_out = ContextLines(all_held_out, context.max_tokens, truncated=context.truncate)
    chosen = choose_lines(len(held_out), settings.max_lines)
    masked_lines = hide_tokens(held_out, chosen, tokenizer, settings.masking_probability, settings.seed)
    if (hidden := sum(len(line.positions) for line in masked_lines)) < 2:
        number = "one" if hidden else "no"
        raise InputError(
            f"{tokens[0]}: {number} token was hidden; held-out lines read: {len(chosen)}. Raise the masking "
            "probability, or hold out more."
        )
    # Its bar for loading weights is noise in a log.
    transformers.utils.logging.disable_progress_bar()
    network = load_model(model, tokenizer).to(device).eval()
    check_max_tokens(network.config.to_dict(), context.max_tokens, "--max-tokens")

    readings = len(masked_lines) * (1 if published is None else 2)
    progress = Progress("evaluating the language model", readings, "lines")
    asked = (masked_lines, tokenizer.pad_token_id, device)
    ours = model_scores(network, *asked, on_read=progress.advance)
    baselines = FrequencyBaselines(training, tokenizer.all_special_ids, len(tokenizer))
    bases = bases_of(tokenizer)
    words = bases if isinstance(bases, OverlappingWords) else None
    theirs = baselines.scores(masked_lines, tokenizer.mask_token_id, words)
    places = [place(held_out, all_held_out, line.index, bases) for line in masked_lines]
    means = HeldOutMeans(
        np.repeat([at.cache for at in places], [len(line.positions) for line in masked_lines]),
        np.concatenate([bases.hidden(line.ids, line.positions) for line in masked_lines]),
        settings.confidence,
    )
    before = None
    if published is not None:
        before_network = load_model(published, tokenizer).to(device).eval()
        before = model_scores(before_network, *asked, on_read=progress.advance)
    write_sequence_loss(sequence_loss, masked_lines, ours, places)
    write_examples(
        fill_mask, masked_lines, settings.examples, settings.seed, network, tokenizer, device, places, bases
    )
    write_json(
        metrics,
        {
            "model": name,
            "held_out": [path.name for path in tokens],
            "training": [path.name for path in training_tokens],
            "lines": len(masked_lines),
            "lines_available": len(held_out),
            "cut": held_out.counts(),
            "hidden_tokens": len(ours.loss),
            "runs": len(means.starts),
            "hidden_bases": int(means.bases.sum()),
            **({} if words is None else {"overlapping_kmers": words.length}),
            "settings": context.model_dump() | settings.model_dump(exclude={"examples"}),
            "metrics": means.of(ours),
            "baselines": {baseline: means.of(scores) for baseline, scores in theirs.items()},
            # Nats per hidden token by which the model's loss is lower; an interval above 0 says that the
            # model has learnt more than the baseline knows.
            "advantage": {baseline: means.advantage(ours, scores) for baseline, scores in theirs.items()},
            # The same tokens before the model was trained further, and by how much it is better now.
            "published": before
            and {"metrics": means.of(before), "improvement": means.advantage(ours, before)},
            "bigram": {"tokens": baselines.bigram_tokens, "prior_strength": baselines.prior_strength},
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        },
    )


@dataclass(frozen=True)
class Place:
    """Where a piece of a held-out line stands: the cache's number and name, the line, the bases before it."""

    cache: int
    source: str
    line: int
    start_bp: int


def place(pieces: ContextLines, held_out: TokenLines, index: int, bases: Pieces) -> Place:
    """The place of piece `index`."""
    line, start = pieces.source(index)
    cache, of_cache = held_out.source(line)
    before = bases.starts(held_out.line(line))[start + 1]
    return Place(cache, held_out.directories[cache].name, of_cache + 1, int(before))


def write_sequence_loss(
    path: Path,
    masked_lines: list[MaskedLine],
    scores: TokenScores,
    places: list[Place],
) -> None:
    """One row per line or piece: where it comes from, how long it is, how well it was predicted."""
    rows: list[list[Any]] = [["source", "line", "start_bp", "tokens", "masked", "loss", "perplexity"]]
    losses = line_losses(masked_lines, scores)
    for masked_line, at, mean in zip(masked_lines, places, losses, strict=True):
        numbers = [len(masked_line.ids), len(masked_line.positions), f"{mean:.6f}", f"{np.exp(mean):.3f}"]
        rows.append([at.source, at.line, at.start_bp, *numbers])
    write_table(path, rows)


def write_examples(
    path: Path,
    masked_lines: list[MaskedLine],
    examples: int,
    seed: int,
    network: Any,
    tokenizer: Any,
    device: torch.device,
    places: list[Place],
    bases: Pieces,
) -> None:
    """One row per example: a line with a single hidden token, and what the model puts there."""
    header = ["source", "line", "position_bp", "left", "token", "right", "rank", "probability"]
    header += [f"{column}_{place}" for place in range(1, TOP + 1) for column in ("predicted", "probability")]
    singles, picked = [], choose_lines(len(masked_lines), examples)
    if examples > 0:
        singles = [hide_one_token(masked_lines[int(number)], tokenizer, seed) for number in picked]
    rows: dict[int, list[Any]] = {}
    for number, log_probabilities in model_log_probabilities(
        network, singles, tokenizer.pad_token_id, device
    ):
        single = singles[number]
        position, target = int(single.positions[0]), int(single.targets[0])
        left, right = bases.around(single.ids, position)
        found = log_probabilities[0]
        best = torch.topk(found, TOP)
        at = places[int(picked[number])]
        rows[number] = [
            at.source,
            at.line,
            at.start_bp + len(left) + 1,
            left[-CONTEXT_BP:],
            tokenizer.convert_ids_to_tokens(target),
            right[:CONTEXT_BP],
            int((found > found[target]).sum()) + 1,
            f"{found[target].exp().item():.6f}",
        ]
        for token, value in zip(best.indices.tolist(), best.values.tolist(), strict=True):
            rows[number] += [tokenizer.convert_ids_to_tokens(token), f"{np.exp(value):.6f}"]
    write_table(path, [header, *(rows[number] for number in sorted(rows))])


def write_table(path: Path, rows: list[list[Any]]) -> None:
    """Tab-separated text, the first row being the header."""
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--model", type=Path, required=True, help="model directory with its tokenizer")
    arguments.add_argument(
        "--tokens", type=Path, nargs="+", required=True, help="token caches of held-out lines"
    )
    arguments.add_argument(
        "--training-tokens",
        type=Path,
        nargs="+",
        required=True,
        help="token caches of training lines, which the baselines count",
    )
    arguments.add_argument(
        "--published", type=Path, help="the model before it was trained further; scored on the same tokens"
    )
    arguments.add_argument("--name", default="model", help="what reports call this model")
    add_settings_flags(arguments, ContextSettings, "context")
    add_settings_flags(arguments, EvaluateLanguageModelSettings)
    add_device_flags(arguments)
    arguments.add_argument("--metrics", type=Path, required=True, help="JSON file to write")
    arguments.add_argument(
        "--sequence-loss", type=Path, required=True, help="TSV file to write: loss per line"
    )
    arguments.add_argument("--fill-mask", type=Path, required=True, help="TSV file to write: examples")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
