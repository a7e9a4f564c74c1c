"""The model card: what a published model is, what it learned from, how good it is, and where it fails.

Everything is taken from the files of the run, so that a card cannot say more than was measured.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCardData

from dnalm.models.families import token_limit
from dnalm.problems.names import METRIC_NAMES, MULTI_LABEL, REGRESSION, SINGLE_LABEL
from dnalm.publish.settings import CardSettings
from dnalm.report import words
from dnalm.report.references import FAMILY_NAMES, cited

# Beside this file, so that it counts as code.
TEMPLATE = "model_card.md.j2"
WORKFLOW = "dna-modernbert"
MOST_METRICS = 4
# What the Hub calls metrics that it knows by another name.
HUB_METRICS = {
    "mcc": "matthews_correlation",
    "auroc": "roc_auc",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "r2": "r_squared",
}
# What a model is for, by whether it is a classifier.
USES = {
    False: "It is for filling gaps in DNA, for embedding sequences, and as a start for fine-tuning.",
    True: "It is for sequences like those that it learned from, which the tables below tell.",
}
# What each kind of predictor cannot know.
LIMITS = {
    SINGLE_LABEL: "It always chooses one of its classes, also for sequences that belong to none of them. Its "
    "probabilities hold for the mix of classes in its training data, not for a genome at large.",
    MULTI_LABEL: "It knows no labels but its own. Its probabilities hold for the mix of labels in its "
    "training data, not for a genome at large.",
    REGRESSION: "It gives every sequence a value, also to such as were never measured. Its values are in the "
    "unit and the range of its training data.",
}


@dataclass(frozen=True)
class Facts:
    """What the run knows of a model. The last four are of a classifier and empty for a language model.

    `workflow`: name, version and commit of what made it.
    """

    name: str
    architecture: dict[str, Any]  # config.json of the model directory
    pretraining: dict[str, Any]
    tokenizer: dict[str, Any]
    genomes: list[dict[str, Any]]
    language_model: dict[str, Any]
    simulated: bool = False
    workflow: str = WORKFLOW
    base_model: str | None = None  # the repository of the Hub that the language model started from
    finetuning: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    comparison: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, Any] = field(default_factory=dict)


def model_card(facts: Facts, settings: CardSettings) -> str:
    """The card as Markdown, its YAML head included."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    packages = facts.finetuning.get("versions") or facts.pretraining.get("versions", {})
    page = {
        "card_data": metadata(facts, settings).to_yaml(),
        "name": facts.name,
        "what": what_it_is(facts),
        "use": USES[bool(facts.finetuning)],
        "origin": origin_sentence(facts),
        "simulated": facts.simulated,
        "usage": usage(facts, settings.repository or f"path/to/{facts.name}"),
        "reading": "Lower case counts as upper case. N policy "
        f"{facts.tokenizer['n_policy']}: {facts.tokenizer['n_policy_meaning']}."
        + (words.STRANDS_READ[facts.evaluation["strands"]] if facts.evaluation else ""),
        "genomes": [genome_row(stats) for stats in facts.genomes],
        "files": file_rows(facts),
        "windows": windows_sentence(facts.genomes),
        "labels": [cell(label) for label in facts.checks.get("labels", [])],
        "labelled": labelled_rows(facts.checks),
        "crossed": words.ALL_TESTED if "folds" in facts.checks else "",
        "tokenizer": tokenizer_sentence(facts.tokenizer),
        "settings": indented(training_settings(facts)),
        "tested": tested_sentence(facts),
        "metric_names": [METRIC_NAMES[name] for name in metric_names(facts)],
        "predictors": predictor_rows(facts),
        "answers": [question["words"] for question in own_questions(facts)],
        "language_model": language_model_rows(facts.language_model),
        "hidden": f"{facts.language_model['hidden_tokens']:,} hidden tokens of "
        f"{facts.language_model['lines']:,} held-out lines",
        "leaks": leaks_sentence(facts.checks),
        "limits": limits(facts),
        "licence": f"`{cell(settings.licence)}`"
        if settings.licence
        else "No licence is given: ask the authors before you use it.",
        "workflow": facts.workflow,
        "cited": citations(facts),
        "packages": ", ".join(f"{name} {version}" for name, version in sorted(packages.items())),
    }
    return re.sub(r"\n{3,}", "\n\n", environment.get_template(TEMPLATE).render(page))


# ----------------------------------------------------------------------------- head


def metadata(facts: Facts, settings: CardSettings) -> ModelCardData:
    """What the Hub reads: licence, library, task, tags, and the test metrics."""
    results = []
    crossed = facts.evaluation.get("cross_validation")
    split = f"{len(crossed['sequences'])}-fold cross-validation" if crossed else "test"
    for name in metric_names(facts) if facts.evaluation else []:
        results.append(
            EvalResult(
                task_type="text-classification",
                dataset_type=facts.evaluation["task"],
                dataset_name=facts.evaluation["task"],
                dataset_split=split,
                metric_type=name,
                metric_name=METRIC_NAMES[name],
                metric_value=round(facts.evaluation["metrics"][name]["value"], 4),
            )
        )
    return ModelCardData(
        license=settings.licence,
        library_name="transformers",
        base_model=facts.base_model,
        pipeline_tag="text-classification" if facts.finetuning else "fill-mask",
        tags=["biology", "genomics", "dna", facts.architecture["model_type"]],
        metrics=[HUB_METRICS.get(result.metric_type, result.metric_type) for result in results] or None,
        model_name=facts.name,
        eval_results=results or None,
    )


# ----------------------------------------------------------------------------- sentences


def what_it_is(facts: Facts) -> str:
    """One sentence: family, size, purpose."""
    size = (facts.finetuning or facts.pretraining)["parameters"]["total"]
    kind = f"{facts.architecture['model_type']} model of DNA with {size:,} parameters"
    if not facts.finetuning:
        return f"A masked language model ({kind}): it names hidden tokens of a DNA sequence."
    labels = ", ".join(f"`{cell(label)}`" for label in facts.finetuning["labels"])
    way = words.WAYS[facts.finetuning["backbone"]].classifier
    task = facts.finetuning["task"]
    problem = facts.finetuning.get("problem", SINGLE_LABEL)
    if problem == REGRESSION:
        return f"A regression of DNA sequences ({kind}) for the values of the task {task}; {way}."
    noun = "classes" if problem == SINGLE_LABEL else "labels, of which a sequence can have any number,"
    return f"A classifier of DNA sequences ({kind}) for the task {task} with the {noun} {labels}; {way}."


def origin_sentence(facts: Facts) -> str:
    """Which model the language model started from, if it did not start from nothing."""
    digest = facts.pretraining["settings"].get("checkpoint")
    if not digest:
        return ""
    start = f"`{facts.base_model}`" if facts.base_model else f"a given model (SHA-256 of its files {digest})"
    if facts.pretraining["steps"]:
        return f"Its language model went on learning from {start}, whose licence has to be kept too."
    return f"Its language model is {start} as it was published, whose licence has to be kept too."


def usage(facts: Facts, source: str) -> str:
    """Code that loads it with Transformers alone."""
    if facts.finetuning:
        # Not its own reverse complement.
        sequence = f'"ACGTT" * {max(1, facts.finetuning["median_length"] // 5)}'
        load = (
            f'from transformers import pipeline\n\nclassifier = pipeline("text-classification", "{source}")\n'
        )
        if facts.evaluation["strands"] != "both":
            return f"{load}classifier({sequence}, top_k=None, truncation=True)"
        return (
            f"{load}sequence = {sequence}\n"
            'opposite = sequence.translate(str.maketrans("ACGTacgt", "TGCAtgca"))[::-1]\n'
            "strands = classifier([sequence, opposite], top_k=None, truncation=True)\n"
            'forward, reverse = ({one["label"]: one["score"] for one in said} for said in strands)\n'
            "{label: (forward[label] + reverse[label]) / 2 for label in forward}"
        )
    # One unknown base hides every token that holds it.
    mask = facts.tokenizer["special_tokens"]["mask"]["token"] * (1 + _shared_bp(facts.tokenizer))
    return (
        "from transformers import pipeline\n\n"
        f'fill = pipeline("fill-mask", "{source}")\n'
        f'fill("ACGTACGTTGCA{mask}ACGTTGCA", top_k=5)'
    )


def genome_row(stats: Mapping[str, Any]) -> list[str]:
    """Name and size of a genome and what was made of it."""
    return [
        cell(stats["genome"]),
        f"{stats['bases']:,}",
        f"{stats['sequences']:,}",
        f"{stats['gc_content']:.1%}",
        f"{stats['windows']['train']:,}",
        f"{stats['windows']['validation']:,}",
    ]


def file_rows(facts: Facts) -> list[str]:
    """The files behind the data, with their checksums, as far as they are known."""
    inputs = {
        f"{'corpus' if 'source' in stats else 'genome'} {stats['genome']}": stats.get("input")
        for stats in facts.genomes
    }
    inputs |= {f"labelled, {split}": file for split, file in facts.checks.get("inputs", {}).items()}
    return [
        f"{cell(name)}: {cell(file['file'])}, SHA-256 `{file['sha256']}`"
        for name, file in inputs.items()
        if file
    ]


def citations(facts: Facts) -> list[str]:
    """What to cite beside the workflow."""
    family = FAMILY_NAMES[facts.architecture["model_type"]]
    return [
        f"{name}. {place}"
        for name, place in cited([family, "Devlin et al. 2019, Mölder et al. 2021, Wolf et al. 2020"])
    ]


def windows_sentence(corpora: list[dict[str, Any]]) -> str:
    """How genomes were cut and what was held out; where the sequences of other corpora come from."""
    found = [f"{cell(stats['genome'])}: {cell(stats['source'])}." for stats in corpora if "source" in stats]
    genomes = [stats for stats in corpora if "source" not in stats]
    return " ".join(([cutting_sentence(genomes)] if genomes else []) + found)


def cutting_sentence(genomes: list[dict[str, Any]]) -> str:
    """How genomes were cut and what was held out."""
    settings = genomes[0]["settings"]
    return (
        f"Windows of {settings['length']:,} bp every {settings['stride']:,} bp, at most "
        f"{settings['max_non_acgt']:,} letters other than A, C, G, T. Held out: "
        f"{cell(words.held_out(genomes))}."
    )


def labelled_rows(checks: Mapping[str, Any]) -> list[list[str]]:
    """Sequences per class in each split; of values their range."""
    if "values" in checks:
        return [
            [split, " to ".join(words.quantity(values[end]) for end in ("min", "max"))]
            for split, values in checks["values"].items()
        ]
    return [
        [split, *[f"{counts.get(label, 0):,}" for label in checks["labels"]]]
        for split, counts in checks.get("label_counts", {}).items()
    ]


def tokenizer_sentence(tokenizer: Mapping[str, Any]) -> str:
    """Where the vocabulary comes from and how large it is."""
    origin = "learnt from these genomes" if tokenizer.get("source") == "trained" else "given"
    longest, shared = tokenizer["longest_token_bp"], _shared_bp(tokenizer)
    overlap = f", each sharing {shared} bp with the next" if shared else ""
    return f"{tokenizer['vocabulary_size']:,} tokens, the longest of {longest} bp{overlap}, {origin}."


def _shared_bp(tokenizer: Mapping[str, Any]) -> int:
    """How many bases a token shares with the next: of overlapping k-mers k - 1."""
    return tokenizer.get("bases_shared_with_the_next", 0)


def tested_sentence(facts: Facts) -> str:
    """On which sequences the predictors were measured."""
    if not facts.comparison:
        return ""
    n, confidence = facts.comparison["n"], facts.comparison["bootstrap"]["confidence"]
    intervals = f"with {words.percent(confidence)} intervals"
    if crossed := facts.evaluation.get("cross_validation"):
        return (
            f"In a {len(crossed['sequences'])}-fold cross-validation of {n:,} sequences, {intervals}: each "
            "was predicted once, by a model that had learned in the same way from other folds, and from none "
            "of its relatives. This model learned from all of them and was not tested itself. Models of two "
            "folds share training sequences, so the intervals are approximations."
        )
    return f"On {n:,} test sequences, used for nothing but the search for leaks and this test, {intervals}."


def training_settings(facts: Facts) -> dict[str, Any]:
    """The settings of pretraining and fine-tuning, without checksums."""
    known = facts.pretraining["settings"]
    wanted = ("architecture", "max_tokens", "masking", "training")
    settings: dict[str, Any] = {
        "pretraining": {key: known[key] for key in wanted if key in known} or "none here: used as published"
    }
    if facts.finetuning:
        keys = ("backbone", "pooling", "max_tokens", "settings")
        settings["fine-tuning"] = {key: facts.finetuning[key] for key in keys}
        settings["fine-tuning"]["epoch kept"] = facts.finetuning["kept"]["epoch"]
    return settings


def metric_names(facts: Facts) -> list[str]:
    """The first of the metrics, in the order of the report."""
    known = facts.evaluation.get("metrics", {})
    return [name for name in METRIC_NAMES if known.get(name, {}).get("value") is not None][:MOST_METRICS]


def predictor_rows(facts: Facts) -> list[list[str]]:
    """This model first, then everything it is compared with."""
    own = f"{facts.evaluation.get('name')}/{facts.evaluation.get('backbone')}"
    rows = sorted(facts.comparison.get("predictors", []), key=lambda row: row["predictor"] != own)
    return [
        [
            f"**{words.predictor_name(row)}**" if row["predictor"] == own else words.predictor_name(row),
            *[with_interval(row["metrics"].get(name), words.shown_as(name)) for name in metric_names(facts)],
        ]
        for row in rows
    ]


def own_questions(facts: Facts) -> list[dict[str, Any]]:
    """The answers of the comparison that are about this model."""
    own = f"{facts.evaluation.get('name')}/{facts.evaluation.get('backbone')}"
    return [question for question in facts.comparison.get("questions", []) if question["predictor"] == own]


def language_model_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """The language model beside what needs no model."""
    sources = {f"**{metrics['model']}**": metrics["metrics"]}
    if metrics.get("published"):
        sources["the same before its adaptation"] = metrics["published"]["metrics"]
    sources |= {words.TOKEN_BASELINES[name]: baseline for name, baseline in metrics["baselines"].items()}
    keys = ("loss", "perplexity", "masked_accuracy")
    return [[name, *[with_interval(source[key]) for key in keys]] for name, source in sources.items()]


def leaks_sentence(checks: Mapping[str, Any]) -> str:
    """What was found of test sequences in training, and what was done about it."""
    if not checks:
        return ""
    found = checks["leakage"]["test"]
    if "folds" in checks:
        return "In the cross-validation no sequence, and no relative of one, stood in two folds."
    if not found["count"]:
        return "No test sequence stood in the training data, on either strand."
    done = (
        "They were dropped from training."
        if checks["leakage"]["dropped_from_training"]
        else "**They were left in training, so the test metrics are too good.**"
    )
    return (
        f"{found['count']:,} of {found['sequences']:,} test sequences also stood in the training data, "
        f"{found['exact']:,} on the same and {found['reverse_complement']:,} on the opposite strand. {done}"
    )


def tokens_read(facts: Facts) -> int:
    """How many tokens of a sequence the model reads at most, [CLS] and [SEP] included."""
    if facts.finetuning:
        return int(facts.finetuning["max_tokens"])
    return token_limit(facts.architecture)


def limits(facts: Facts) -> list[str]:
    """Where the model must not be trusted, as far as the run knows it."""
    found = []
    if facts.finetuning:
        lengths = [facts.checks["lengths"]["train"][key] for key in ("min", "max")]
        span = f"{lengths[0]:,} to {lengths[1]:,} bp" if lengths[0] != lengths[1] else f"{lengths[0]:,} bp"
        found.append(
            f"It learned from sequences of {span} and reads at most {tokens_read(facts):,} "
            "tokens; what is longer is cut with `truncation=True`."
        )
        found.append(LIMITS[facts.finetuning.get("problem", SINGLE_LABEL)])
        if facts.finetuning["settings"].get("standardise"):
            found.append(
                "Load it in float32, as it is saved: its head tells features apart that differ by little, "
                "which half precision rounds to the same."
            )
        beaten = [q for q in own_questions(facts) if "baseline" in q["question"] and q["answer"] != "yes"]
        known = {
            row["predictor"]: words.predictor_name(row) for row in facts.comparison.get("predictors", [])
        }
        found += [f"It was not shown to be better than {known[q['compared_with']]}." for q in beaten]
        if facts.finetuning["kept"]["still_improving"]:
            found.append("Its training ended while the validation loss was still falling.")
        if facts.checks["warnings"]:
            found += [cell(f"{text[:1].upper()}{text[1:]}") for text in facts.checks["warnings"]]
    else:
        learned = facts.pretraining["settings"].get("max_tokens")
        here = f", and learned here from {learned:,} at once" if learned else ""
        found.append(f"It reads at most {tokens_read(facts):,} tokens{here}; shorten what is longer.")
    names = ", ".join(cell(stats["genome"]) for stats in facts.genomes)
    if facts.pretraining["steps"]:
        found.append(f"The language model was trained here on {names}; other species may be read less well.")
    found.append("It is meant for research, not for decisions about patients.")
    return found


# ----------------------------------------------------------------------------- text


def with_interval(
    value: Mapping[str, float | None] | None, shown: Callable[[float], str] = words.number
) -> str:
    """`0.873 (0.841 to 0.903)`; a dash where it is not defined."""
    if not value or value.get("value") is None:
        return "–"
    known = {key: shown(number) for key, number in value.items() if number is not None}
    if len(set(known.values())) == 1:
        return known["value"]
    return f"{known['value']} ({known['low']} to {known['high']})"


def cell(text: str) -> str:
    """Text of a user's file that cannot leave its cell, nor become markup."""
    plain = " ".join(str(text).split())
    return "".join(f"\\{letter}" if letter in "\\|`*_<>[]" else letter for letter in plain)


def indented(value: Any, depth: int = 0) -> str:
    """Nested settings as YAML. Only what JSON can hold."""
    pad = "  " * depth
    lines = []
    for key, item in value.items():
        if isinstance(item, dict) and item:
            lines.append(f"{pad}{key}:\n{indented(item, depth + 1)}")
        else:
            lines.append(f"{pad}{key}: {json.dumps(item, ensure_ascii=False)}")
    return "\n".join(lines)
