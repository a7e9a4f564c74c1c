"""Judge a masked language model on held-out DNA, beside predictors that only count tokens.

In: a model directory, token caches of held-out lines, and token caches of training lines for the counting.
Out:
- metrics (JSON): loss (nats per hidden token), perplexity, bits per base, accuracy and top-5 accuracy, each
  with a bootstrap interval over lines, of the model and of three floors on the same hidden tokens: uniform,
  unigram (frequency in training lines), bigram (given the token on the left);
- sequence loss (TSV): tokens, hidden tokens, loss and perplexity of each line;
- fill-mask examples (TSV): a hidden token in its context, and the five tokens held for likeliest.

The share of hidden tokens is the same for all models (15%), whatever they were trained with, so that they
can be compared. Bits per base can also be compared between vocabularies, perplexities cannot.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from dnalm.evaluate_language_model.scoring import (
    Answers,
    Floors,
    MaskedLine,
    Scores,
    bases_per_id,
    check_vocabulary,
    choose_lines,
    hide_one_token,
    hide_tokens,
    model_answers,
    model_log_probabilities,
)
from dnalm.evaluate_language_model.settings import EvaluateLanguageModelSettings
from dnalm.models.architecture import load_model
from dnalm.models.families import tokens_read
from dnalm.pretrain.settings import ContextSettings
from dnalm.running import commandline
from dnalm.running.devices import add_device_flags, choose_device
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file, write_json
from dnalm.tokenize_windows.cache import TokenLines, load_tokens
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
    """Ask the model and the floors the same questions; write metrics, losses per line and examples."""
    device = choose_device(gpus, allow_cpu=allow_cpu)
    tokenizer = load_tokenizer(model)
    held_out, training = load_tokens(*tokens), load_tokens(*training_tokens)
    for lines, paths in ((held_out, tokens), (training, training_tokens)):
        if len(lines) == 0:
            raise InputError(f"{paths[0]}: no lines.")
        check_vocabulary(lines, len(tokenizer))
    chosen = choose_lines(len(held_out), settings.max_lines)
    questions = hide_tokens(
        held_out, chosen, tokenizer, context.max_tokens, settings.masking_probability, settings.seed
    )
    if not questions:
        raise InputError(
            f"{tokens[0]}: no token was hidden in {len(chosen)} lines. Raise the masking probability."
        )
    # Its bar for loading weights is noise in a log.
    transformers.utils.logging.disable_progress_bar()
    network = load_model(model, tokenizer).to(device).eval()
    tokens_read(network.config.to_dict(), context.max_tokens, "--max-tokens")

    ours = model_answers(network, questions, tokenizer.pad_token_id, device)
    floors = Floors(training, tokenizer.all_special_ids, len(tokenizer))
    theirs = floors.answers(questions, tokenizer.mask_token_id)
    scores = Scores(
        questions,
        bases_per_id(tokenizer),
        settings.bootstrap_samples,
        settings.confidence,
        settings.seed,
    )
    before = None
    if published is not None:
        before_network = load_model(published, tokenizer).to(device).eval()
        before = model_answers(before_network, questions, tokenizer.pad_token_id, device)
    write_sequence_loss(sequence_loss, questions, ours, scores, held_out)
    write_examples(
        fill_mask, questions, settings.examples, settings.seed, network, tokenizer, device, held_out
    )
    write_json(
        metrics,
        {
            "model": name,
            "held_out": [path.name for path in tokens],
            "training": [path.name for path in training_tokens],
            "lines": len(questions),
            "lines_available": len(held_out),
            "hidden_tokens": len(ours.loss),
            "hidden_bases": int(scores.bases.sum()),
            "settings": context.model_dump() | settings.model_dump(exclude={"examples"}),
            "metrics": scores.of(ours),
            "floors": {
                floor: scores.of(answers, int(floors.ordinary.sum()) if floor == "uniform" else None)
                for floor, answers in theirs.items()
            },
            # Nats per hidden token by which the model's loss is lower; an interval above 0 says that the
            # model has learnt more than the floor knows.
            "advantage": {floor: scores.advantage(ours, answers) for floor, answers in theirs.items()},
            # The same tokens before the model was trained further, and by how much it is better now.
            "published": before
            and {"metrics": scores.of(before), "improvement": scores.advantage(ours, before)},
            "bigram": {"tokens": floors.bigram_tokens, "prior_strength": floors.prior_strength},
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        },
    )


def write_sequence_loss(
    path: Path, questions: list[MaskedLine], answers: Answers, scores: Scores, held_out: TokenLines
) -> None:
    """One row per line: where it comes from, how long it is, how well it was predicted."""
    means = scores.per_line(answers.loss) / scores.hidden
    rows: list[list[Any]] = [["source", "line", "tokens", "masked", "loss", "perplexity"]]
    for question, mean in zip(questions, means, strict=True):
        cache, line = held_out.source(question.index)
        source = held_out.directories[cache].name
        numbers = [len(question.ids), len(question.positions), f"{mean:.6f}", f"{np.exp(mean):.3f}"]
        rows.append([source, line + 1, *numbers])
    write_table(path, rows)


def write_examples(
    path: Path,
    questions: list[MaskedLine],
    examples: int,
    seed: int,
    network: Any,
    tokenizer: Any,
    device: torch.device,
    held_out: TokenLines,
) -> None:
    """One row per example: a line with a single hidden token, and what the model puts there."""
    header = ["source", "line", "position_bp", "left", "token", "right", "rank", "probability"]
    header += [f"{column}_{place}" for place in range(1, TOP + 1) for column in ("predicted", "probability")]
    singles = []
    if examples > 0:
        picked = choose_lines(len(questions), examples)
        singles = [hide_one_token(questions[int(number)], tokenizer, seed) for number in picked]
    rows: dict[int, list[Any]] = {}
    for number, log_probabilities in model_log_probabilities(
        network, singles, tokenizer.pad_token_id, device
    ):
        single = singles[number]
        position, target = int(single.positions[0]), int(single.targets[0])
        # [CLS] and [SEP] are no sequence; the rest spells it.
        pieces = tokenizer.convert_ids_to_tokens(single.ids.tolist())
        left, right = "".join(pieces[1:position]), "".join(pieces[position + 1 : -1])
        found = log_probabilities[0]
        best = torch.topk(found, TOP)
        cache, line = held_out.source(single.index)
        rows[number] = [
            held_out.directories[cache].name,
            line + 1,
            len(left) + 1,
            left[-CONTEXT_BP:],
            pieces[position],
            right[:CONTEXT_BP],
            int((found > found[target]).sum()) + 1,
            f"{found[target].exp().item():.6f}",
        ]
        for token, value in zip(best.indices.tolist(), best.values.tolist(), strict=True):
            rows[number] += [tokenizer.convert_ids_to_tokens(token), f"{np.exp(value):.6f}"]
    write_table(path, [header, *(rows[number] for number in sorted(rows))])


def write_table(path: Path, rows: list[list[Any]]) -> None:
    """Tab-separated text, the first row being the header."""
    with atomic_file(path) as temporary, open(temporary, "w", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    parser = commandline.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model directory with its tokenizer")
    parser.add_argument(
        "--tokens", type=Path, nargs="+", required=True, help="token caches of held-out lines"
    )
    parser.add_argument(
        "--training-tokens",
        type=Path,
        nargs="+",
        required=True,
        help="token caches of training lines, which the floors count",
    )
    parser.add_argument(
        "--published", type=Path, help="the model before it was trained further; answers the same questions"
    )
    parser.add_argument("--name", default="model", help="what reports call this model")
    commandline.add_settings_flags(parser, ContextSettings, "context")
    commandline.add_settings_flags(parser, EvaluateLanguageModelSettings)
    add_device_flags(parser)
    parser.add_argument("--metrics", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--sequence-loss", type=Path, required=True, help="TSV file to write: loss per line")
    parser.add_argument("--fill-mask", type=Path, required=True, help="TSV file to write: examples")
    commandline.run(main, parser.parse_args())
