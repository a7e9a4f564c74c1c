"""The variants of a study: which there are, what they are called, and what they share.

Only light packages are imported, because every cluster job reads the Snakefile again.
"""

import re
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from dnalm.baseline.settings import UNTRAINED
from dnalm.finetune.settings import ClassifierSettings
from dnalm.pretrain.settings import ModelSettings
from dnalm.running.errors import InputError
from dnalm.running.hints import nearest
from dnalm.running.settings import Names, Settings, section_at, section_fields, validated

FINETUNE = "finetune."
FINETUNE_KEYS = ("pooling", "seed")
SEEDS = ("training.seed", "finetune.seed")
STEPS = "training.steps"
# What decides the weights of a network that was never trained.
UNTRAINED_KEYS = ("tokenizer", "architecture", "max_tokens", "training.seed")
MOST_VARIANTS = 500


class VariedNames(Names):
    """Settings named by their key under `study.vary`."""

    def __init__(self, source: str, *sections: str):
        super().__init__(source)
        self.sections = ("study", "vary", *sections)

    def place(self, keys: tuple[str | int, ...]) -> str:
        return super().place((*self.sections, *keys))


@dataclass(frozen=True)
class Variant:
    """One combination of values."""

    name: str  # of its classifiers, in file names
    language_model: str  # of the network that they read
    changed: dict[str, Any]  # dotted key -> value
    classifier: dict[str, Any] = field(default_factory=dict)  # settings of `finetune` that differ


@dataclass(frozen=True)
class Study:
    """All variants by name, and the settings of the models that exist for them alone, by name."""

    variants: dict[str, Variant]
    models: dict[str, dict[str, Any]]


def expand(config: Mapping[str, Any], source: str = "") -> Study:
    """The variants of a configuration with all defaults filled in; none without a section `study`.

    Variants that need the same network share it, and one that is a configured model takes that model's name.
    Raises InputError, with `source` as the file's name, for a key or value that no model has.
    """
    settings = config["study"]
    if settings is None:
        return Study({}, {})
    base, vary = settings["model"], settings["vary"]
    n_variants = 1
    for values in vary.values():
        n_variants *= len(values)
    if n_variants > MOST_VARIANTS:
        raise InputError(
            f"{source}: study.vary makes {n_variants:,} variants, but {MOST_VARIANTS} at most are run. Leave "
            "out some values."
        )
    short = _short_names(list(vary))
    variants: dict[str, Variant] = {}
    models: dict[str, dict[str, Any]] = {}
    for values in product(*vary.values()):
        changed = dict(zip(vary, values, strict=True))
        classifier = {
            key.removeprefix(FINETUNE): value for key, value in changed.items() if key.startswith(FINETUNE)
        }
        of_model = {key: value for key, value in changed.items() if not key.startswith(FINETUNE)}
        untrained = of_model.get(STEPS) == 0
        if untrained:
            of_model = {key: value for key, value in of_model.items() if key in UNTRAINED_KEYS}
        model = _with(config["models"][base], of_model, source)
        language_model = next(
            (name for name, known in config["models"].items() if known == model),
            ",".join([base, *_named(of_model, short)]),
        )
        known_here = config["models"] if language_model in config["models"] else models
        if known_here.setdefault(language_model, model) != model:
            raise InputError(f"{source}: study.vary: two variants would be called {language_model}.")
        if untrained:
            language_model += UNTRAINED
        different = {k: v for k, v in classifier.items() if v != config["finetune"][k]}
        name = ",".join([language_model, *_named({FINETUNE + k: v for k, v in different.items()}, short)])
        known = {k: v for k, v in changed.items() if not untrained or k in (*UNTRAINED_KEYS, STEPS)}
        known |= {k: v for k, v in changed.items() if k.startswith(FINETUNE)}
        variants.setdefault(name, Variant(name, language_model, known, different))
    return Study(variants, models)


def check_keys(settings: Mapping[str, Any], source: str) -> None:
    """Raise InputError for a key of `study.vary` that cannot be varied."""
    for key in settings["vary"]:
        place = f"{source}: study.vary.{key}"
        if key.startswith(FINETUNE):
            if key.removeprefix(FINETUNE) not in FINETUNE_KEYS:
                known = [FINETUNE + name for name in FINETUNE_KEYS]
                raise InputError(
                    f"{place} cannot be varied.{nearest(key, known)} Of fine-tuning only "
                    f"{' and '.join(known)} can."
                )
            continue
        section: type[Settings] = ModelSettings
        parts = key.split(".")
        for number, part in enumerate(parts, 1):
            if part not in section.model_fields:
                raise InputError(
                    f"{place}: a model has no such key.{nearest(part, section.model_fields)} "
                    f"Known here: {', '.join(section.model_fields)}."
                )
            if number < len(parts):
                inner = section_at(section, (part,))
                if not section_fields(section, (part,)):
                    raise InputError(f"{place}: {part} has no keys. Leave out what follows it.")
                section = inner
        if key in ("checkpoint", "revision"):
            raise InputError(f"{place} cannot be varied. Name each checkpoint under 'models'.")


def seedless(variant: Variant) -> dict[str, Any]:
    """What makes a variant, its seeds aside."""
    return {key: value for key, value in variant.changed.items() if key not in SEEDS}


def _with(model: Mapping[str, Any], changed: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A copy of a model's settings, checked, with other values at dotted keys."""
    copy = deepcopy(dict(model))
    for key, value in changed.items():
        *sections, last = key.split(".")
        holder = copy
        for section in sections:
            holder[section] = dict(holder[section] or {})
            holder = holder[section]
        holder[last] = value
    return validated(ModelSettings, copy, VariedNames(source)).model_dump(mode="json")


def check_classifiers(study: Study, source: str) -> None:
    """Raise InputError for a value of fine-tuning that is none."""
    for variant in study.variants.values():
        validated(ClassifierSettings, variant.classifier, VariedNames(source, "finetune"))


def _short_names(keys: list[str]) -> dict[str, str]:
    """The last part of each key, or the whole where that would name two."""
    last = {key: key.rpartition(".")[2] for key in keys}
    counts = Counter(last.values())
    return {key: name if counts[name] == 1 else key for key, name in last.items()}


def _named(values: Mapping[str, Any], short: Mapping[str, str]) -> list[str]:
    return [f"{short[key]}={_word(key, value)}" for key, value in values.items()]


def _word(key: str, value: Any) -> str:
    """A value as a part of a file's name."""
    text = Path(value).stem if key == "architecture" else str(value)
    return re.sub(r"[^A-Za-z0-9._+-]", "_", text)
