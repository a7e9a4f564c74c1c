"""The sentences of the report: what the numbers of a run mean, and how far they can be believed.

Pure functions from numbers to plain text. A sentence never claims more than an interval allows: "helps"
only where the whole interval of the difference lies above zero, "cannot tell" where it includes zero.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dnalm.baseline.settings import UNTRAINED
from dnalm.evaluate.settings import FEW_SEQUENCES
from dnalm.pretrain.settings import PUBLISHED
from dnalm.problems.names import METRIC_NAMES, MULTI_LABEL, REGRESSION


@dataclass(frozen=True)
class Baseline:
    """A baseline in words: in tables, and in a sentence (see :func:`baseline_in_a_sentence`)."""

    name: str
    described: str


BASELINES = {
    "majority": Baseline("majority class", "always naming the {name}"),
    "kmer": Baseline("k-mer regression", "{regression} regression on k-mers"),
    "gapped_kmer": Baseline(
        "gapped or positional k-mers", "{regression} regression on gapped or positional k-mers"
    ),
    "cnn": Baseline("convolutional network", "a small convolutional network"),
    "deep_cnn": Baseline("deep convolutional network", "a convolutional network of two layers"),
}
# What the baseline without a sequence says, where it is no class.
CONSTANTS = {MULTI_LABEL: "shares of the labels", REGRESSION: "mean of training"}
# Predictors of hidden tokens.
TOKEN_BASELINES = {
    "uniform": "guessing at random",
    "unigram": "counting tokens",
    "bigram": "counting pairs of tokens",
}


@dataclass(frozen=True)
class Way:
    """A way of fine-tuning in words: after a name, in a sentence, what learned, and of a classifier."""

    name: str
    how: str
    taught: str
    classifier: str


WAYS = {
    "frozen": Way(
        name="frozen",
        how="with a frozen backbone",
        taught="Only its head learned from these; the backbone stayed as pretrained.",
        classifier="its head was trained on a frozen language model",
    ),
    "partial": Way(
        name="top layers fine-tuned",
        how="with only the top layers fine-tuned",
        taught="The classification head and the topmost layers learned from these; the others stayed as "
        "pretrained.",
        classifier="its head and its topmost layers were trained",
    ),
    "lora": Way(
        name="LoRA",
        how="fine-tuned with LoRA",
        taught="The classification head and low-rank changes of the weights (LoRA) learned from these.",
        classifier="its head and low-rank changes of its weights (LoRA) were trained",
    ),
    "full": Way(
        name="fine-tuned in full",
        how="fine-tuned in full",
        taught="Every weight of the model learned from these.",
        classifier="every weight was trained",
    ),
}

# How sequences were read to evaluate them, by the setting.
STRANDS_READ = {
    "both": " Evaluation and prediction read every sequence on both strands and take the mean of the two.",
    "forward": " Evaluation and prediction read every sequence as it is given, on one strand.",
}


# Of tables with a row or a box for each split.
ALL_TESTED = (
    "Test: all sequences, each tested once by a predictor that had not learned from it; train and "
    "validation: what the saved classifier learned from, the same sequences."
)


def predictor_name(metrics: dict[str, Any]) -> str:
    """What a reader calls a predictor: `demo pretrained, frozen`, `k-mer regression`."""
    name, kind, backbone = metrics["name"], metrics["kind"], metrics.get("backbone")
    how = f", {WAYS[backbone].name}" if backbone in WAYS else ""
    if kind in ("published", "untrained"):
        return f"{model_name(name)}{how}"
    if kind == "baseline":
        if name == "majority" and metrics.get("problem") in CONSTANTS:
            return CONSTANTS[metrics["problem"]]
        return baseline_name(name)
    if kind == "combined":
        return f"k-mers + {name} embeddings"
    if kind == "stacked":
        return f"stacked with {name}"
    return f"{name} pretrained{how}"


def model_name(name: str) -> str:
    """What a reader calls a language model: `demo`, `demo untrained`, `demo as published`."""
    if name.endswith(PUBLISHED):
        return f"{name.removesuffix(PUBLISHED)} as published"
    return f"{name.removesuffix(UNTRAINED)} untrained" if name.endswith(UNTRAINED) else name


def baseline_name(name: str) -> str:
    """What a reader calls a baseline; one that has no words here, by its name in the configuration."""
    return BASELINES[name].name if name in BASELINES else name


def baseline_in_a_sentence(metrics: dict[str, Any]) -> str:
    """`logistic regression on k-mers`, `always naming the majority class`."""
    name = predictor_name(metrics)
    if metrics["name"] not in BASELINES:
        return name
    regression = "ridge" if metrics["problem"] == REGRESSION else "logistic"
    return BASELINES[metrics["name"]].described.format(name=name, regression=regression)


# What is rounded to 1000 of one unit is 1 of the next.
BARELY = 0.9995
# More genomes or sequences are counted, not named.
MOST_NAMES = 10
# Metrics of which less is better.
ERRORS = ("mae", "rmse")
# Smaller differences from 0 and 1 are those of floating point.
NOISE = 1e-9


def number(value: float) -> str:
    """A measured number with three decimals, fewer where it is large: `0.873`, `−0.020`, `150.1`.

    More decimals where it would else be said to be 0 or 1, which it is not: `0.9996`, `0.0004`.
    """
    value = 0.0 if abs(value) < NOISE else value
    return f"{value:,.{_decimals(value, _usual_decimals(value))}f}".replace("-", "−")


def quantity(value: float) -> str:
    """A measured number in a unit, however small, with three digits that count: `150.1`, `0.000420`."""
    value, small = value + 0.0, 0 < abs(value) < 1
    text = f"{value:#.3g}" if small and abs(value) >= 1e-4 else f"{value:.2e}" if small else ""
    return (text or f"{value:,.{_usual_decimals(value)}f}").replace("-", "−")


def _usual_decimals(value: float) -> int:
    return 3 if abs(value) < 9.9995 else 2 if abs(value) < 99.995 else 1


def _decimals(value: float, digits: int, ends: tuple[float, ...] = (-1, 0, 1)) -> int:
    """How many decimals, `digits` at least, tell a value from the `ends` unless it is one of them."""
    near = round(value, digits)
    if near not in ends or abs(value - near) < NOISE:
        return digits
    while round(value, digits) == near:
        digits += 1
    return digits


def shown_as(metric: str) -> Callable[[float], str]:
    """How values of a metric are written: errors have the unit of what was measured, all others have none."""
    return quantity if metric in ERRORS else number


def share(value: float, digits: int = 0) -> str:
    """A share as a percentage: `97%`. Said to be 0% or 100% only if it is: `99.8%`, `0.03%`."""
    return f"{100 * value:.{_decimals(100 * value, digits, ends=(0, 100))}f}%"


def loss(value: float, digits: int = 4) -> str:
    """A loss with so many decimals, and said to be none only if it is: `0.5483`, `<0.0001`."""
    smallest = 10.0**-digits
    return f"<{smallest:.{digits}f}" if 0 < value < smallest / 2 else f"{value:.{digits}f}"


def guessed(probability: float) -> str:
    """A probability in whole percent, of a list of guesses: `69%`, `<1%`, `>99%`."""
    return "<1%" if probability < 0.005 else ">99%" if 0.995 < probability < 1 else f"{probability:.0%}"


def estimate(value: dict[str, float]) -> str:
    """`0.873 (0.841 to 0.903)`, from a value with the bounds of its interval."""
    return "{} ({} to {})".format(*(number(value[key]) for key in ("value", "low", "high")))


def percent(confidence: float) -> str:
    """`95%`, `97.5%`, `99.9%`: never rounded to a certainty that nobody has."""
    return f"{100 * confidence:g}%"


def mean_and_spread(value: dict[str, float] | None) -> str:
    """`0.873 ± 0.006 (0.866 to 0.880)`, from mean, sd, low and high; nothing where there is none."""
    if value is None:
        return ""
    return "{} ± {} ({} to {})".format(*(number(value[key]) for key in ("mean", "sd", "low", "high")))


def signed(value: float) -> str:
    """A difference with its sign: `+0.051`, `−0.020`; `0.000` only if there is none."""
    return f"+{number(value)}" if value > NOISE else number(value)


def count(number: float, singular: str, plural: str | None = None) -> str:
    """`1 sequence`, `1,234 sequences`."""
    return f"{number:,.0f} {singular if number == 1 else plural or singular + 's'}"


def significant(value: float, digits: int = 3) -> str:
    """So many digits that count, and of a large number all before the point: `0.462`, `14.1`, `14,100`."""
    text = f"{value:.{digits}g}"
    return f"{value:,.0f}" if "e+" in text else text


def rounded(number: float) -> str:
    """About how many, in words: `688,640`, `43.9 million`, `2.5 billion`."""
    for word, size in (("billion", 1e9), ("million", 1e6)):
        if number >= BARELY * size:
            return f"{significant(number / size)} {word}"
    return f"{number:,.0f}"


def listing(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""


def bases(number: float) -> str:
    """A length of DNA: `950 bp`, `12.1 kb`, `3.1 Gb`."""
    for unit, size in (("Gb", 1e9), ("Mb", 1e6), ("kb", 1e3)):
        if number >= BARELY * size:
            return f"{significant(number / size)} {unit}"
    return f"{number:,.0f} bp"


def held_out(genomes: Sequence[Mapping[str, Any]]) -> str:
    """What was kept from training, of the statistics of one genome at least: whole sequences, blocks."""
    by_name = [name for stats in genomes for name in stats["settings"]["validation_sequences"]]
    which = f"({listing(by_name)})" if len(by_name) <= MOST_NAMES else "by name"
    parts = [f"whole sequences {which}"] if by_name else []
    lengths = [
        stats["settings"]["validation_block"]
        for stats in genomes
        if not stats["settings"]["validation_sequences"]
    ]
    if lengths:
        ends = " to ".join(bases(length) for length in sorted({min(lengths), max(lengths)}))
        parts.append(f"evenly spaced blocks of {ends}")
    return " and ".join(parts)


def span(lengths: dict[str, Any]) -> str:
    """Lengths of sequences: `200 bp`, `80 to 1,200 bp`."""
    return f"{between(lengths['min'], lengths['max'])} bp"


def between(low: int, high: int) -> str:
    """A range of whole numbers: `80 to 1,200`, or `200` where all are the same."""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def tested(metrics: dict[str, Any]) -> str:
    """`60 test sequences`, or of a cross-validation `60 sequences`."""
    return count(metrics["n"], "sequence" if metrics.get("cross_validation") else "test sequence")


def accuracy_text(metrics: dict[str, Any], confidence: float) -> str:
    """What stands behind the large accuracy: its interval and how many sequences it is made of."""
    accuracy, n = metrics["metrics"]["accuracy"], metrics["n"]
    right = round(accuracy["value"] * n)
    return f"{interval_text(accuracy, confidence)}: {right:,} of {tested(metrics)} classified correctly"


def labels_text(metrics: dict[str, Any], leading: dict[str, float], confidence: float) -> str:
    """What stands behind the large number of a task of several labels."""
    exact, n = metrics["metrics"]["exact_match"]["value"], metrics["n"]
    # Of a label that all or none carry there is no area.
    defined, labels = sum(0 < of < n for of in metrics["label_counts"].values()), len(metrics["labels"])
    those = f"{labels}" if defined == labels else f"{defined} of {labels}"
    return (
        f"{interval_text(leading, confidence)}; mean over {those} labels, 0.5 is guessing; "
        f"all labels right for {round(exact * n):,} of {tested(metrics)}"
    )


def values_text(metrics: dict[str, Any], leading: dict[str, float], confidence: float) -> str:
    """What stands behind the large number of a regression."""
    values = {name: metrics["metrics"][name]["value"] for name in ("pearson", "spearman")}
    known = [f"{METRIC_NAMES[name]} {number(value)}" for name, value in values.items() if value is not None]
    return (
        f"{interval_text(leading, confidence)}; explained share of the variance of "
        f"{tested(metrics)}, 0 is guessing their mean" + "".join(f"; {text}" for text in known)
    )


def interval_text(value: dict[str, Any], confidence: float) -> str:
    """`95% interval 0.841 to 0.903`; empty where there is none."""
    if value["low"] is None:
        return "no interval"
    return f"{percent(confidence)} interval {number(value['low'])} to {number(value['high'])}"


def adaptation_verdicts(differences: dict[str, dict[str, float]]) -> list[dict[str, str]]:
    """Did training a published model further help? From the paired differences, after minus before."""
    heads = {
        "good": "Adaptation helped.",
        "bad": "Adaptation hurt.",
        "unsure": "No effect of adaptation could be shown.",
    }
    return _by_status(differences, heads, "against the model as published")


def held_out_change_verdict(metrics: dict[str, Any]) -> dict[str, str]:
    """Held-out loss of an adapted model before and after, on the same hidden tokens."""
    published = metrics["published"]
    change = published["improvement"]
    before, after = published["metrics"]["loss"]["value"], metrics["metrics"]["loss"]["value"]
    confidence = metrics["settings"]["confidence"]
    heads = {
        "good": "Adaptation lowered the held-out loss.",
        "bad": "Adaptation raised the held-out loss.",
        "unsure": "Adaptation did not change the held-out loss measurably.",
    }
    status = _status(change)
    way, bounds = "lower", [change[key] for key in ("value", "low", "high")]
    if change["value"] < 0:
        way, bounds = "higher", [-change[key] for key in ("value", "high", "low")]
    by, low, high = (f"{bound:.4f}".replace("-", "−") for bound in bounds)
    return verdict(
        status,
        heads[status],
        f"{before:.3f} nats per [MASK] as published, {after:.3f} after adaptation, on the same "
        f"{metrics['hidden_tokens']:,} tokens; {way} by {by} ({percent(confidence)} "
        f"interval {low} to {high}).",
    )


def new_head_verdict(model: str) -> dict[str, str]:
    """A model whose checkpoint had no prediction head."""
    return verdict(
        "unsure",
        f"The checkpoint of {model} had no prediction head.",
        "A new one was drawn at random. Until it is trained, what the model says of hidden tokens is chance, "
        "also in numbers “as published”. Embeddings and classifiers do not use it.",
    )


# Of a held-out loss in nats: it rises by less without a reason to speak of.
RISE_THAT_MATTERS = 0.05


def training_verdict(model: str, losses: dict[int, float], learning_rate: float) -> list[dict[str, str]]:
    """Did pretraining fail or go on for too long? Nothing where the held-out loss fell to the end.

    `losses`: of every evaluation by its step, the one before training first; always on the same tokens.
    """
    (first, before), (last, after) = next(iter(losses.items())), next(reversed(losses.items()))
    best = min(losses, key=lambda step: losses[step])
    if last > first and after >= before:
        return [
            verdict(
                "bad",
                f"Training made {model} worse.",
                f"Its held-out loss was {number(before)} before and is {number(after)} after {last:,} steps, "
                "so what is measured here says nothing for or against such a model. Most often the learning "
                f"rate is too high: it was {learning_rate:g}; try a tenth of it.",
            )
        ]
    if after - losses[best] > RISE_THAT_MATTERS:
        return [
            verdict(
                "warn",
                f"The held-out loss of {model} rose again.",
                f"It was lowest at step {best:,}, {number(losses[best])}, and is {number(after)} at the end. "
                "Where the training loss went on falling, the model learned its lines by heart: give it more "
                "DNA or fewer steps. Where that rose too, lower the learning rate "
                f"({learning_rate:g}).",
            )
        ]
    return []


def finetuning_verdict(name: str, losses: dict[int, float], summary: dict[str, Any]) -> list[dict[str, str]]:
    """Is a classifier no better on the validation split than before it learned? Nothing where it is.

    `losses`: on the validation split by epoch, 0 from before training; `summary`: that of the fine-tuning.
    """
    kept = summary["kept"]["epoch"]
    if kept not in losses or losses.get(0, math.inf) > losses[kept]:
        return []
    few, n_validation = "", summary["sequences"]["validation"]
    # About two standard errors of the mean of such losses.
    if losses[kept] - losses[0] < 2 * n_validation**-0.5:
        few = f" With {count(n_validation, 'validation sequence')} it may be chance."
    return [
        verdict(
            "warn",
            f"Fine-tuning did not lower the validation loss of {name}.",
            f"It was {number(losses[0])} before training and is {number(losses[kept])} in the best epoch, "
            f"{kept:,}. Either the classifier learned its sequences by heart, or its learning rate "
            f"({summary['settings']['learning_rate']:g}) is too high.{few}",
        )
    ]


def pretraining_verdicts(differences: dict[str, dict[str, float]]) -> list[dict[str, str]]:
    """Did pretraining help? From the paired differences in accuracy, pretrained minus untrained.

    `differences` are keyed by the way in which both were fine-tuned (`frozen`, …): value, low, high,
    confidence, and whether one of the two was still improving in its last epoch. Ways with the same answer
    share a sentence.
    """
    if not differences:
        return [
            verdict(
                "unsure",
                "Whether pretraining helped was not measured.",
                "The same model without pretraining was not evaluated on this task.",
            )
        ]
    heads = {
        "good": "Pretraining helped.",
        "bad": "Pretraining hurt.",
        "unsure": "No effect of pretraining could be shown.",
    }
    return _by_status(differences, heads, "against the same model untrained")


def _by_status(
    differences: dict[str, dict[str, float]], heads: dict[str, str], against: str
) -> list[dict[str, str]]:
    """One verdict per answer; ways of fine-tuning with the same answer share it."""
    by_status: dict[str, list[str]] = {}
    for backbone, difference in differences.items():
        how = WAYS[backbone].how
        if difference["still_improving"]:
            how += " (fine-tuning was still improving when it ended; with more epochs this may change)"
        by_status.setdefault(_status(difference), []).append(f"{_points(difference)} {how}")
    measure = _measure(next(iter(differences.values()), {}))
    return [
        verdict(status, heads[status], f"{measure} {against}: {listing(texts)}.")
        for status, texts in by_status.items()
    ]


def baseline_verdict(
    difference: dict[str, float] | None, baseline: str | None, still_improving: bool = False, of: int = 1
) -> dict[str, str]:
    """Is the model better than the strongest of the baselines, so many, that need no language model?"""
    if difference is None:
        return verdict(
            "unsure",
            "No simple baseline stands beside the model.",
            "Without one, nobody can tell whether this task needs a language model.",
        )
    status = _status(difference)
    heads = {
        "good": "The model beats the best simple baseline.",
        "bad": "A simple baseline is better than the model.",
        "unsure": "The model and the best simple baseline cannot be told apart.",
    }
    more = f" The best of {of} looks a little better than it is." if of > 1 and status == "bad" else ""
    more += " The model was still improving when fine-tuning ended." if still_improving else ""
    against = f"{_measure(difference)} against {baseline}"
    return verdict(status, heads[status], f"{against}: {_points(difference)}." + more)


# More classes than these are counted, not named.
CLASSES_NAMED = 3


def majority_verdict(metrics: dict[str, Any], difference: dict[str, float] | None) -> list[dict[str, str]]:
    """Does a classifier know more than which class is the most frequent one? Nothing where it does.

    `metrics`: metrics.json of a task of classes; `difference`: in accuracy, the classifier minus always
    naming the majority class, None where that was not evaluated.
    """
    counts, matrix = metrics["label_counts"], metrics["confusion_matrix"]
    missed = [
        f"{n:,} of class {label}"
        for place, (label, n) in enumerate(counts.items())
        if n and not matrix[place][place]
    ]
    some = missed if len(missed) <= CLASSES_NAMED else [*missed[:CLASSES_NAMED], "others"]
    found = f"It recognises none of the {listing(some)}. " if missed else ""
    balanced, chance = metrics["metrics"]["balanced_accuracy"]["value"], 1 / len(metrics["labels"])
    found += (
        f"Balanced accuracy, in which all classes count alike: {number(balanced)}; guessing gives "
        f"{number(chance)}."
    )
    largest = max(counts.values()) / metrics["n"]
    known = (metrics["metrics"]["accuracy"]["low"] or 0) > largest
    if not known if difference is None else _status(difference) != "good":
        head = "Not shown to be better than always naming the most frequent class."
        against = (
            f"Accuracy against that: {_points(difference)}."
            if difference
            else (f"Of the tested sequences {share(largest, 1)} are of that class.")
        )
        return [verdict("warn", head, f"{against} {found}")]
    return [verdict("warn", "Not every class is recognised.", found)] if missed else []


# Of training sequences: with fewer, chance in training is larger than what intervals tell.
FEW_TO_LEARN_FROM = 30


def few_sequences_verdict(counts: dict[str, int]) -> list[dict[str, str]]:
    """Did classifiers learn from so few sequences that chance decides? `counts` by split; nothing if not."""
    if counts["train"] >= FEW_TO_LEARN_FROM:
        return []
    return [
        verdict(
            "warn",
            "Few sequences to learn from.",
            f"The classifiers learned from {counts['train']:,} and chose their epoch with "
            f"{counts['validation']:,}. With so few, chance in training moves results by more than the "
            "intervals say, which cover the choice of test sequences alone. Learning with several seeds "
            "(finetune.repetitions) shows by how much; a number of folds in the task sheet lets every "
            "sequence be learned from and tested.",
        )
    ]


# Of the areas under the ROC curve that length and letters alone reach: worth the first screen.
TELLING_MUCH = 0.75


def composition_verdict(
    composition: dict[str, dict[str, Any]], traits: Mapping[str, str]
) -> list[dict[str, str]]:
    """Do length, G and C or N alone tell the classes apart? Nothing where they hardly do.

    `composition` as in checks.json, `traits`: what its features are called. Lower case is gone from what is
    learned, and values have no classes.
    """
    areas = {
        feature: found
        for feature, found in composition.items()
        if feature != "lower_case" and found.get("tells") and found.get("auroc", 0) >= TELLING_MUCH
    }
    if not areas:
        return []
    most = max(areas, key=lambda feature: areas[feature]["auroc"])
    trait, found = traits[most], areas[most]
    return [
        verdict(
            "warn",
            f"{trait[0].upper()}{trait[1:]} alone tells the classes apart.",
            f"In training it tells label {found['label']} from the others with an AUROC of "
            f"{number(found['auroc'])}; 0.5 is guessing. A high accuracy may be no more than that.",
        )
    ]


def combination_verdict(difference: dict[str, float], model: str) -> dict[str, str]:
    """Does the language model know anything that k-mers do not?

    From the paired difference: k-mers and embeddings in one linear model, minus k-mers alone.
    """
    heads = {
        "good": f"{model} knows something that k-mers do not.",
        "bad": f"Beside k-mers, the embeddings of {model} do harm.",
        "unsure": f"Nothing could be shown that {model} knows and k-mers do not.",
    }
    status = _status(difference)
    return verdict(
        status,
        heads[status],
        f"{_measure(difference)} of k-mers and embeddings together, in one linear model, against k-mers "
        f"alone: {_points(difference)}.",
    )


def stacking_verdict(
    differences: dict[str, dict[str, float]], members: list[str], n_validation: int, folds: int | None = None
) -> dict[str, str]:
    """Is a regression on the probabilities of several predictors better than each that it is compared with?

    `differences` in accuracy, stacked minus single, are keyed by the name of the single predictor; the first
    is the best one on the validation split. In a cross-validation there are such a regression and a
    validation split, of `n_validation` sequences at least, in each of the `folds`.
    """
    heads = {
        "good": "Stacked, the predictors are better than the best single one and the baselines.",
        "bad": "Stacked, the predictors are worse than one of them alone.",
        "unsure": "Stacking was not shown to be better than the best single one and the baselines.",
    }
    found = {_status(difference) for difference in differences.values()}
    status = "bad" if "bad" in found else "good" if found == {"good"} else "unsure"
    against = [f"{_points(difference)} against {name}" for name, difference in differences.items()]
    against[0] += f", the best one on the validation {'sequences' if folds else 'split'}"
    fitted = f"the {count(n_validation, 'validation sequence')}"
    if folds:
        fitted = f"validation sequences of each of {folds} folds, {n_validation:,} at least"
    if n_validation < FEW_SEQUENCES:
        fitted += ", so few that the weights stay close to equal ones"
    more = ""
    if status == "bad" and len(against) > 1:
        more += f" In {len(against)} comparisons chance alone gives this answer more often than in one."
    return verdict(
        status,
        heads[status],
        f"One logistic regression on the probabilities of {count(len(members), 'predictor')} "
        f"({'; '.join(members)}), fitted on {fitted}. "
        f"Accuracy: {'; '.join(against)}.{more}",
    )


def cut_verdict(cuts: dict[str, dict[str, Any] | None], folds: int | None = None) -> list[dict[str, str]]:
    """What the leading model did not read of the sequences of each split; nothing where it read everything.

    In a cross-validation of so many `folds` all sequences are tested, and there is no test split.
    """
    names = {"train": "training", "test": "tested" if folds else "test"}
    found = {split: cut for split, cut in cuts.items() if cut and cut["cut"]}
    if not found:
        return []
    limit = next(iter(found.values()))["max_tokens"]
    shares = listing(
        [
            f"{share(cut['cut_fraction'], 1)} of the {names.get(split, split)} sequences "
            f"({share(cut['unread_fraction'], 1)} of all their bases)"
            for split, cut in found.items()
        ]
    )
    return [
        verdict(
            "warn",
            "Not everything was read.",
            f"The model takes {limit:,} tokens, and what is longer is cut at its end. So were {shares}. The "
            "baselines read everything. Raise finetune.max_tokens or leave it empty.",
        )
    ]


# Of the test sequences: fewer cannot change the accuracy by more than this.
RELATIVES_THAT_MATTER = 0.01


def leak_verdict(
    checks: dict[str, Any] | None, simulated_task: dict[str, Any] | None = None
) -> dict[str, str]:
    """Did test sequences occur in training, and what was done about it?

    `simulated_task` is what the simulator says about the task it made, the leaks it planted included.
    """
    if checks is None:
        return verdict("unsure", "Leaks were not checked.", "The checks of this task are missing.")
    leakage = checks["leakage"]
    test, dropped = leakage["test"], leakage["dropped_from_training"]
    folds = checks.get("folds")
    n = count(test["sequences"], "test sequence")
    overlap = leakage.get("partial_overlap", {})
    half = overlap.get("test_sequences_sharing_half", 0) - (0 if dropped else test["count"])
    planted = sum(map(len, simulated_task["leaked"].values())) if simulated_task else 0
    # Those of leaks that were kept are no news.
    relatives = checks.get("rows", {}).get("test", {}).get("homologs_of_train", 0) if dropped else 0
    on_purpose = f" The simulator had planted {planted:,}." if planted else ""
    partly = (
        f" {count(half, 'shares at least half of its', 'share at least half of their')} "
        f"{overlap['word_bp']}-bp words with training sequences (overlapping windows or repeats)."
        if half > 0
        else ""
    )
    if relatives:
        partly += (
            f" {count(relatives, 'test sequence is', 'test sequences are')} related to training sequences, "
            "and these were kept (prepare_task.homologs: drop leaves them out)."
        )
    warned = half > 0 or relatives >= RELATIVES_THAT_MATTER * test["sequences"]
    status = "warn" if warned else "good"
    if folds:
        if groups := checks.get("groups"):
            kin = f"no {groups['column']} was parted"
        elif folds["largest_cluster"] == 1:
            kin = "none is related to another"
        else:
            kin = f"related ones shared one of {len(folds['sequences'])}"
        return verdict(
            status,
            "Nothing was tested by a predictor that knew it.",
            f"Of the {count(test['sequences'], 'sequence')} none stood in two folds, and {kin}." + partly,
        )
    if not test["count"]:
        head = "No test sequence leaked"
        rest = " whole, but some in part." if half > 0 else ", but some have relatives in training."
        return verdict(
            status,
            head + (rest if warned else "."),
            f"None of the {n} occurs in training, on either strand." + partly,
        )
    found = (
        f"{test['count']:,} of {n} also stood in the training file ({test['exact']:,} on the same strand, "
        f"{test['reverse_complement']:,} as reverse complement)"
    )
    if dropped:
        return verdict(
            status,
            "Leaks were found and removed.",
            f"{found}; they were dropped from training before it began." + on_purpose + partly,
        )
    return verdict(
        "bad",
        "The test set leaked into training.",
        f"{found}; they were kept, as configured, so the result is too good to be true." + partly,
    )


def overlap_sentence(overlap: dict[str, Any] | None, checkpoint: bool = False) -> str:
    """Which test sequences the model knows from pretraining, without labels; empty where nobody looked.

    `checkpoint`: the model had learned elsewhere before, nobody knows from what.
    """
    before = " What its checkpoint had read before is not known." if checkpoint else ""
    return _overlap_here(overlap) + before


def _overlap_here(overlap: dict[str, Any] | None) -> str:
    if overlap is None:
        return ""
    unknown = overlap.get("without_words", 0)
    words = f"words of {overlap['word_bp']} bp by which they would be found in the pretraining lines"
    if unknown == overlap["n"]:
        return f" They have none of the {words}."
    rest = f" {count(unknown, 'has', 'have')} none of the {words}." if unknown else ""
    if not overlap["half"]:
        return " None of them stood in the pretraining lines, whole or by half." + rest
    return (
        f" {overlap['half']:,} of them ({share(overlap['half'] / overlap['n'], 1)}) stood in the pretraining "
        f"lines by half or more, {overlap['whole']:,} whole; without labels." + rest
    )


def counting_verdict(language_model: dict[str, Any]) -> dict[str, str]:
    """Does the language model predict hidden tokens better than the best way of counting tokens does?"""
    baselines = language_model["baselines"]
    best = min(baselines, key=lambda name: baselines[name]["loss"]["value"])
    advantage = language_model["advantage"][best]
    own, guessing = (found["loss"]["value"] for found in (language_model["metrics"], baselines["uniform"]))
    text = (
        f"Its loss on [MASK] positions is {own:.3f} nats; "
        f"{TOKEN_BASELINES[best]} reaches {baselines[best]['loss']['value']:.3f}. Lower is better; "
        f"the difference is {estimate(advantage)}."
    )
    if own >= guessing:
        text += f" It is not even better than guessing at random ({guessing:.3f})."
    if advantage["low"] > 0:
        return verdict("good", "It predicts hidden DNA better than counting tokens does.", text)
    if advantage["high"] < 0:
        return verdict("bad", "Counting tokens predicts hidden DNA better than the model.", text)
    return verdict("unsure", "Model and token counts cannot be told apart.", text)


def rounded_up(value: float, step: float) -> int:
    """`value` rounded up to a multiple of `step`."""
    return int(math.ceil(value / step - 1e-9) * step)


def suggested_memory_mb(peak_mb: float) -> int:
    """Memory to ask for: twice the measured peak, in steps of 500 MB, at least 2000 MB."""
    return max(2000, rounded_up(2 * peak_mb, 500))


def suggested_runtime_min(seconds: float) -> int:
    """Run time to ask for, in minutes: twice the longest run, at least 10, rounded as people write it."""
    minutes = max(10.0, 2 * seconds / 60)
    return rounded_up(minutes, 5 if minutes <= 60 else 30)


def _status(difference: Mapping[str, Any]) -> str:
    if difference["low"] is None or difference["high"] is None:
        return "unsure"
    if difference["low"] > 0:
        return "good"
    return "bad" if difference["high"] < 0 else "unsure"


# How an interval of fewer sequences will shrink cannot be said.
FEWEST_TO_SETTLE = 50


def _points(difference: dict[str, Any]) -> str:
    """`+5.1 percentage points (95% interval +1.9 to +8.2)`, from a difference in accuracy.

    Of another metric without a unit: `+0.051 (95% interval +0.019 to +0.082)`.
    Of a difference that cannot be told from zero also about how many test sequences could.
    """
    bounds, unit = [difference[key] for key in ("value", "low", "high")], ""
    if None in bounds:
        return "not defined on this test split"
    if difference.get("metric", "accuracy") == "accuracy":
        (value, low, high), unit = (_signed(100 * bound) for bound in bounds), " percentage points"
    else:
        value, low, high = (signed(bound) for bound in bounds)
    if not low_and_high_differ(difference):
        return f"{value}{unit} (no interval: the same whichever sequences are drawn)"
    needed = difference.get("sequences_to_settle") or 0
    settle = (
        f"; about {needed:,} tested sequences would settle it, if it stays so"
        if needed >= FEWEST_TO_SETTLE
        else ""
    )
    return f"{value}{unit} ({percent(difference['confidence'])} interval {low} to {high}{settle})"


def low_and_high_differ(difference: Mapping[str, Any]) -> bool:
    """Whether a difference has an interval: two predictors that are right on the same sequences show none."""
    return difference["low"] != difference["high"]


def _measure(difference: dict[str, Any]) -> str:
    """The metric of a difference, as a sentence begins."""
    name = METRIC_NAMES[difference.get("metric", "accuracy")]
    return name[0].upper() + name[1:]


def _signed(points: float) -> str:
    """Percentage points with their sign: `+5.1`; `0.0` only if there are none."""
    if abs(points) < NOISE:
        return "0.0"
    return f"{points:+.{_decimals(points, 1, ends=(0,))}f}".replace("-", "−")


def verdict(status: str, head: str, text: str) -> dict[str, str]:
    """A judgement: `good`, `bad`, `unsure` or `warn`, the answer in bold, and what it rests on."""
    return {"status": status, "head": head, "text": text}
