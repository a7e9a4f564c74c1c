"""Chapter on the language model: learning curves, held-out DNA, examples, parameters."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pandas as pd

from dnalm.report import words
from dnalm.report.charts import Estimate, Series, histogram, interval_chart, line_chart
from dnalm.report.learning import pretraining_table
from dnalm.report.parts import bar, figure, heading, marked_text, table, text, with_interval
from dnalm.report.run import LanguageModel, Run
from dnalm.sequences.strands import reverse_complement

EXTREME_LINES = 5
MARKERS_UP_TO = 40


def language_model_section(run: Run) -> dict[str, Any]:
    """Learning curves, held-out metrics beside the baselines, examples, parameters."""
    parts: list[dict[str, Any]] = []
    figures = learning_curves(run)
    figures += [
        figure(
            f"Held-out loss: {model.metrics['model']}",
            loss_chart(model.metrics),
            "Mean loss on the same [MASK] positions of held-out DNA, in nats; lower is better. “Counting” "
            f"predictors know token frequencies {'and the visible bases' if overlap(model) else 'only'}.",
            f"{model.metrics['model']}.held_out_loss",
        )
        for model in run.language_models
    ]
    if figures:
        parts.append({"kind": "figures", "rows": figures})
    else:
        parts.append(text("No training log is at hand."))
    for training in run.trainings:
        if training.summary.get("new_head"):
            parts.append({"kind": "verdicts", "rows": [words.new_head_verdict(training.summary["model"])]})
        if verdicts := training_verdicts(run, training.summary["model"]):
            parts.append({"kind": "verdicts", "rows": verdicts})
        if found := pretraining_table(training):
            parts.append(found)
    lexicons = run.simulation["motifs"].values() if run.simulation else []
    motifs = [motif for lexicon in lexicons for motif in lexicon]
    for model in run.language_models:
        parts += language_model_parts(model, motifs)
    parts += [filled_gaps_table(run, name) for name in run.filled_gaps]
    parts += parameter_tables(run)
    return {
        "id": "language-model",
        "title": "Language model",
        "intro": "The model learned by guessing hidden tokens of DNA from the tokens around them. The loss "
        "is the surprise, in nats, at the true token. Loss, accuracy and perplexity are those of [MASK] "
        "positions, in DNA that was held out. A loss of “all selected tokens” also "
        "counts those that training leaves visible or replaces, as published runs do. It is usually lower "
        "and must not be compared with counting.",
        "parts": parts,
    }


def training_verdicts(run: Run, model: str) -> list[dict[str, str]]:
    """Whether the pretraining of a model failed or went on for too long; nothing where it did neither."""
    verdicts = []
    for training in run.trainings:
        losses, summary = training.losses("step", "masked_loss"), training.summary
        if summary.get("model") == model and len(losses) > 1:
            rate = summary["settings"]["training"]["learning_rate"]
            verdicts += words.training_verdict(model, losses, rate)
    return verdicts


def overlap(model: LanguageModel) -> bool:
    """Whether its tokens share bases with their neighbours."""
    return "overlapping_kmers" in model.metrics


def learning_curves(run: Run) -> list[dict[str, str]]:
    """Loss and accuracy on [MASK] positions of held-out lines during pretraining, and the training loss."""
    figures = []
    for training in run.trainings:
        name = training.summary["model"]
        evaluations = [r for r in training.log if r["event"] == "evaluation"]
        steps = [r for r in training.log if r["event"] == "train"]
        if not evaluations:
            continue
        x = [r["step"] for r in evaluations]
        markers = len(x) <= MARKERS_UP_TO
        series = [Series("held-out loss", x, [r["masked_loss"] for r in evaluations], 0, markers)]
        trained = [(r["step"], r["masked_loss"]) for r in steps if "masked_loss" in r]
        if trained:
            series.append(Series("training loss", [a for a, _ in trained], [b for _, b in trained], 1))
        evaluation = next((m for m in run.language_models if m.metrics["model"] == name), None)
        # These two do not look at the context, so they hold for any share of hidden tokens. Of overlapping
        # k-mers they do: the longer the runs of hidden ones, the less is visible.
        baselines = (
            [
                (words.TOKEN_BASELINES[f], evaluation.metrics["baselines"][f]["loss"]["value"])
                for f in ("uniform", "unigram")
            ]
            if evaluation and not overlap(evaluation)
            else []
        )
        svg = line_chart(
            series, f"Learning curve of {name}", "training step", "loss (nats per [MASK])", baselines
        )
        first, last = evaluations[0], evaluations[-1]
        selected = training.summary["settings"]["masking"]["probability"]
        caption = (
            f"On [MASK] positions, {words.percent(selected)} of the tokens being selected: held-out loss "
            f"{first['masked_loss']:.3f} before training and "
            f"{last['masked_loss']:.3f} at the end. Of all selected tokens, to compare with published runs: "
            f"{first['selected_loss']:.3f} and {last['selected_loss']:.3f}."
        )
        figures.append(figure(f"Learning curve: {name}", svg, caption, f"{name}.learning_curve"))
        curve = Series("", x, [r["masked_accuracy"] for r in evaluations], 0, markers)
        svg = line_chart(
            [curve], f"Masked accuracy of {name}", "training step", "share of [MASK] right", largest=1
        )
        caption = (
            f"[MASK] positions of held-out lines guessed exactly: {words.share(last['masked_accuracy'], 1)} "
            f"of {last['masked_tokens']:,} at the end."
        )
        figures.append(figure(f"Masked accuracy: {name}", svg, caption, f"{name}.masked_accuracy"))
    return figures


def loss_chart(metrics: dict[str, Any]) -> str:
    """Held-out loss of the model and of what needs no model, with intervals."""
    rows = [Estimate(f"{metrics['model']} pretrained", **metrics["metrics"]["loss"], strong=True)]
    if metrics.get("published"):
        rows.append(Estimate("as published", **metrics["published"]["metrics"]["loss"], shape="ring"))
    losses = {name: baseline["loss"] for name, baseline in metrics["baselines"].items()}
    for name, loss in sorted(losses.items(), key=lambda item: item[1]["value"]):
        rows.append(Estimate(words.TOKEN_BASELINES[name], **loss, colour=1, shape="square"))
    return interval_chart(
        rows, f"Held-out loss of {metrics['model']}", "loss (nats per [MASK])", (0, math.inf)
    )


def language_model_parts(model: LanguageModel, motifs: list[str]) -> list[dict[str, Any]]:
    """Numbers, fill-mask examples, hardest lines of one model. `motifs`: those of a simulated genome."""
    metrics = model.metrics
    parts: list[dict[str, Any]] = [heading(f"Held-out DNA: {metrics['model']}")]
    names = {
        "loss": "Loss (nats)",
        "bits_per_base": "Bits per base",
        "perplexity": "Perplexity",
        "masked_accuracy": "[MASK] right",
        "top5_accuracy": "Right within the first five",
    }
    sources = {f"{metrics['model']} pretrained": metrics["metrics"]}
    if metrics.get("published"):
        sources["as published"] = metrics["published"]["metrics"]
        parts.append({"kind": "verdicts", "rows": [words.held_out_change_verdict(metrics)]})
    sources |= {words.TOKEN_BASELINES[name]: baseline for name, baseline in metrics["baselines"].items()}
    rows = [[name, *[with_interval(source[key]) for key in names]] for name, source in sources.items()]
    parts.append({"kind": "verdicts", "rows": [words.counting_verdict(metrics)]})
    shared = (
        f" Its tokens share bases: the hidden ones stand in runs of {metrics.get('overlapping_kmers')} or "
        "more, only bases that no visible token shows are asked for, and bits per base divide by their "
        "number. Those that only count know the visible bases too."
    )
    parts.append(
        table(
            f"Predicting {metrics['hidden_tokens']:,} hidden tokens of {metrics['lines']:,} held-out lines",
            ["Predictor", *names.values()],
            rows,
            strong=[0],
            note=f"{words.percent(metrics['settings']['masking_probability'])} of the tokens are hidden, "
            "all of them as [MASK], the same for all. Guessing single bases costs two bits per base. Between "
            "vocabularies bits per base can be compared but for about a tenth of a bit: where tokens differ "
            f"in length, it has to be guessed, too.{shared if overlap(model) else ''} Intervals compare runs "
            "of neighbouring lines, since neighbours in a genome are alike.",
        )
    )
    if model.fill_mask is not None and len(model.fill_mask):
        parts.append(fill_mask_table(model.fill_mask, metrics["model"], motifs))
    if model.sequence_loss is not None and len(model.sequence_loss):
        parts += sequence_loss_parts(model.sequence_loss, metrics["model"])
    return parts


def place_among_motifs(left: str, token: str, right: str, motifs: list[str]) -> str:
    """Where a token stands: `inside` a motif of either strand, partly (`edge`), or `between` motifs."""
    around = left + token + right
    start, end = len(left), len(left) + len(token)
    place = "between"
    for motif in {*motifs, *map(reverse_complement, motifs)}:
        found = around.find(motif)
        while found >= 0:
            if found <= start and end <= found + len(motif):
                return "inside"
            if found < end and start < found + len(motif):
                place = "edge"
            found = around.find(motif, found + 1)
    return place


def fill_mask_table(examples: pd.DataFrame, model: str, motifs: list[str]) -> dict[str, Any]:
    """Held-out DNA with one hidden token, what the model puts there, and where it stands among `motifs`."""
    rows: list[list[Any]] = []
    ranks: dict[str, list[int]] = {"inside": [], "edge": [], "between": []}
    for example in examples.to_dict("records"):
        truth = example["token"]
        answers = [(example[f"predicted_{n}"], example[f"probability_{n}"]) for n in range(1, 6)]
        rows.append(
            [
                gap_cell(f"…{example['left']}", truth, f"{example['right']}…"),
                f"{example['rank']:,}",
                words.share(float(example["probability"]), 1),
                answers_cell(answers, truth),
            ]
        )
        if motifs:
            among = place_among_motifs(example["left"], truth, example["right"], motifs)
            ranks[among].append(int(example["rank"]))
            rows[-1].append(among)
    note = "Rank 1: the model's first guess is right. The examples are drawn evenly, not chosen."
    if motifs:
        right = {
            among: f"{sum(rank == 1 for rank in found)} of {len(found)}" for among, found in ranks.items()
        }
        note += (
            f" The simulated genome is written in motifs. Of the tokens inside a motif {right['inside']} are "
            f"guessed first, of those at an edge {right['edge']}, between motifs {right['between']}. Inside, "
            "the rest of the motif tells what is hidden. Between motifs stand mostly random letters, which "
            "nobody can guess; a token at an edge has a part of both."
        )
    return table(
        f"Fill in the gap: {model}",
        [
            "Held-out DNA, the hidden token underlined",
            "Rank of the truth",
            "Its probability",
            "First five guesses",
            *(["Motif"] if motifs else []),
        ],
        rows,
        numeric=[1, 2],
        sequence=[0, 3],
        note=note,
    )


def gap_cell(left: str, hidden: str, right: str) -> dict[str, Any]:
    """A cell with DNA around a token, which stands out."""
    return marked_text((left, False), (hidden, True), (right, False))


def answers_cell(answers: Iterable[tuple[Any, Any]], truth: str) -> dict[str, Any]:
    """A cell with tokens and their probabilities; the true one stands out."""
    texts = []
    for token, probability in answers:
        texts += [(str(token), token == truth), (f" {words.guessed(float(probability))}, ", False)]
    texts[-1] = (texts[-1][0].removesuffix(", "), False)
    return marked_text(*texts)


def filled_gaps_table(run: Run, name: str) -> dict[str, Any]:
    """Gaps in sequences of the user's own, and what the model puts there."""
    model = run.settings.get("fill_mask", {}).get(name, {}).get("model", "the model")
    rows, first_right, known = [], 0, 0
    for (sequence, mask), answers in run.filled_gaps[name].groupby(["sequence", "mask"]):
        first = answers.iloc[0]
        hidden = str(first["hidden"])
        known += bool(hidden)
        first_right += bool(hidden) and hidden == first["token"]
        rows.append(
            [
                f"{sequence}.{mask}",
                gap_cell(str(first["left"]), hidden or "[MASK]", str(first["right"])),
                f"{int(first['hidden_rank']):,}" if hidden else "",
                words.share(float(first["hidden_probability"]), 1) if hidden else "",
                answers_cell(zip(answers["token"], answers["probability"], strict=True), hidden),
            ]
        )
    note = "Each gap is one token; every [MASK] is filled by itself, while the others stay hidden."
    if known:
        note += f" The first answer is right in {first_right:,} of {known:,} gaps with a known truth."
    return table(
        f"Gaps of {name}, filled by {model}",
        ["Sequence.gap", "The gap underlined", "Rank of the truth", "Its probability", "Answers"],
        rows,
        numeric=[2, 3],
        sequence=[1, 4],
        note=note,
    )


def sequence_loss_parts(losses: pd.DataFrame, model: str) -> list[dict[str, Any]]:
    """How the loss differs between held-out lines, and the lines that are hardest and easiest to predict."""
    hundredths = Counter((losses["loss"] * 100).round().astype(int).tolist())
    svg = histogram(
        [("", hundredths)], f"Loss per line, {model}", "loss per line (nats)", bins=40, divide_by=100
    )
    ordered = losses.sort_values(["loss", "source", "line", "start_bp"], ascending=[False, True, True, True])
    # Of few lines none is both.
    easiest = min(EXTREME_LINES, len(ordered) // 2)
    hardest = min(EXTREME_LINES, len(ordered) - easiest)
    chosen = [("hardest", row) for row in ordered.head(hardest).to_dict("records")]
    chosen += [("easiest", row) for row in ordered.tail(easiest).iloc[::-1].to_dict("records")]
    rows = [
        [
            kind,
            row["source"],
            f"{row['line']:,}",
            f"{row['start_bp']:,}",
            row["tokens"],
            row["masked"],
            f"{row['loss']:.3f}",
            f"{row['perplexity']:,.1f}",
        ]
        for kind, row in chosen
    ]
    return [
        {
            "kind": "figures",
            "rows": [
                figure(
                    f"Loss per held-out line: {model}",
                    svg,
                    "Left: lines that are easy to predict, often repeats. Right: hard ones.",
                    f"{model}.loss_per_line",
                )
            ],
        },
        table(
            f"Hardest and easiest held-out lines of {model}",
            ["", "Cache", "Line", "From base", "Tokens", "Hidden", "Loss (nats)", "Perplexity"],
            rows,
            numeric=[2, 3, 4, 5, 6, 7],
            fold="The hardest and the easiest held-out lines",
        ),
    ]


def parameter_tables(run: Run) -> list[dict[str, Any]]:
    """Parameters by part of every pretrained model."""
    parts: list[dict[str, Any]] = []
    for training in run.trainings:
        parameters = training.summary["parameters"]
        total = parameters["total"]
        rows = [
            [
                name[:1].upper() + name[1:],
                f"{part['total']:,}",
                words.share(part["total"] / total, 1),
                bar(part["total"] / total),
            ]
            for name, part in parameters["parts"].items()
        ]
        rows.append(["All", f"{total:,}", "100%", bar(1)])
        parts.append(
            table(
                f"Parameters of {training.summary['model']} by part",
                ["Part", "Parameters", "Share", ""],
                rows,
                numeric=[1, 2],
                strong=[len(rows) - 1],
            )
        )
    return parts
