"""The base of all settings: a class per step says which there are, their bounds, defaults and meaning.

A configuration section, the flags of a script, the JSON schema and the table in config/README.md are all
made from these classes. Only light packages are imported, because every cluster job reads them.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dnalm.running.errors import InputError
from dnalm.running.hints import either, nearest, show

# What pydantic calls the types of which a value may be one.
SCALARS = ("str", "bool", "int", "float")
# Nothing that is counted here comes near to it; beyond 2**63, numpy and torch fail.
LARGEST = 10**12

Whole = Annotated[int, Field(le=LARGEST)]
Number = Annotated[float, Field(le=LARGEST)]
Fraction = Annotated[float, Field(ge=0, le=1)]
# numpy takes seeds of 32 bits.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def each_once(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """For lists whose items differ."""
    if len(set(items)) < len(items):
        raise ValueError(f"names an item twice: {show(items)}. Remove one of them.")
    return items


class Settings(BaseModel):
    """A section of the configuration. Unknown keys are errors; numbers may be written as 5e-4 or 1e4.

    A validator that concerns several fields raises ValueError with their names in braces: `{steps}` becomes
    the key or the flag.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, values: Any) -> Any:
        """A section whose lines are all commented out has its defaults; numbers as text become numbers."""
        if values is None:
            return {}
        if not isinstance(values, Mapping):
            return values
        kinds = {name: kinds_of(field.annotation) for name, field in cls.model_fields.items()}
        return {name: _as_meant(value, kinds.get(name, ())) for name, value in values.items()}


def section(settings: type[Settings]) -> Any:
    """A field that is a section with defaults for all that is in it; it is described as its class is."""
    return Field(default_factory=settings, description=settings.__doc__)


def _as_meant(value: Any, kinds: Sequence[Any]) -> Any:
    """What a person wrote as the value that it means.

    YAML 1.1 reads 5e-4 as text, all flags are text, and Snakemake makes text of the `config` of a profile.
    """
    if isinstance(value, Mapping) and kinds and get_origin(kinds[0]) is dict:
        inner = kinds_of(get_args(kinds[0])[1])
        return {name: _as_meant(item, inner) for name, item in value.items()}
    if isinstance(value, list) and kinds and get_origin(kinds[0]) is tuple:
        return tuple(_as_meant(item, kinds_of(get_args(kinds[0])[0])) for item in value)
    if isinstance(value, str) and (int in kinds or float in kinds) and str not in kinds:
        for number in (int, float):
            try:
                value = number(value)
                break
            except ValueError:
                pass
    if bool in kinds and str not in kinds and value in ("True", "False"):
        value = value == "True"
    if int in kinds and isinstance(value, float) and value.is_integer():
        value = int(value)
    return value


def kinds_of(annotation: Any) -> tuple[Any, ...]:
    """The types that a setting may have, without None and without bounds: of `Whole | None`, int."""
    if get_origin(annotation) in (tuple, dict, Literal) or not get_args(annotation):
        return () if annotation is NoneType else (annotation,)
    inner = get_args(annotation)
    if get_origin(annotation) is Annotated:
        inner = inner[:1]
    return tuple(kind for part in inner for kind in kinds_of(part))


class OptimizerSettings(Settings):
    """How weights are changed, in pretraining and in fine-tuning."""

    batch_size: int = Field(32, ge=1, le=10**6, description="Sequences per optimizer step.")
    learning_rate: Number = Field(gt=0, description="Peak learning rate of AdamW.")
    warmup_fraction: Fraction = Field(
        0.05, description="Share of the steps in which the learning rate rises to its peak."
    )
    weight_decay: float = Field(0.0, ge=0, le=10, description="Weight decay of AdamW.")
    max_gradient_norm: Number = Field(
        1.0, ge=0, description="Longer gradients are scaled down to this norm. 0: never."
    )


class MemorySettings(Settings):
    """How training through a network saves memory. Nothing of it is part of the result."""

    gradient_checkpointing: bool = Field(
        False,
        description="Keep less of each layer in memory and compute the rest twice: a third more computing. "
        "The result is the same.",
    )


class ArithmeticSettings(Settings):
    """What a model computes in, wherever it learns, embeds or predicts."""

    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="Arithmetic in which the model learns, embeds and classifies new sequences: `auto` is "
        "bf16 on GPUs that have it; fp32 elsewhere, so that results do not depend on the CPU, and for "
        "variants, whose alleles differ by little. On CPUs with `amx_bf16` or `avx512_bf16` in "
        "/proc/cpuinfo, `bf16` takes half to two thirds of the time for ten million parameters and more; "
        "small networks gain little or lose. Perplexity on held-out lines and the metrics of test splits are "
        "computed in fp32 afterwards, whatever this says.",
    )


def validated(settings: type[Settings], values: Mapping[str, Any], names: "Names") -> Any:
    """An object of the class. Raises InputError for the first value that is wrong, in one line."""
    try:
        return settings.model_validate(values)
    except ValidationError as error:
        raise InputError(explain(error, settings, names)) from None


class Names:
    """How messages name settings: here by key, `file: dotted.key`."""

    empty = " or empty"

    def __init__(self, source: str = ""):
        self.source = source

    def place(self, keys: tuple[str | int, ...]) -> str:
        """The name of a setting, or of the whole file."""
        return ": ".join(part for part in (self.source, dotted(keys)) if part)

    def field(self, keys: tuple[str | int, ...]) -> str:
        """The name of a setting inside of a sentence whose subject is its section."""
        return f"'{keys[-1]}'"

    def required(self, keys: tuple[str | int, ...]) -> str:
        """The same for a setting that is not there."""
        return f"the key {self.field(keys)}"


class FlagNames(Names):
    """Settings named by flag."""

    empty = ""

    def __init__(self, prefix: str = ""):
        self.prefix = prefix

    def place(self, keys: tuple[str | int, ...]) -> str:
        return flag(str(keys[0]), self.prefix) if keys else "the command"

    def field(self, keys: tuple[str | int, ...]) -> str:
        return self.place(keys)

    def required(self, keys: tuple[str | int, ...]) -> str:
        return self.place(keys)


def flag(field: str, prefix: str = "") -> str:
    """The flag of a field: `--training-batch-size`."""
    return f"--{prefix}{field}".replace("_", "-")


def dotted(keys: tuple[str | int, ...]) -> str:
    """`models.small.max_tokens`, `backbones[0]`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def explain(error: ValidationError, settings: type[Settings], names: Names) -> str:
    """The most telling of the errors in one line: place, value, what it must be, what was probably meant."""
    # A misspelt key is also a missing one. It explains more, as do names.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden" and e["loc"][-1:] != ("[key]",))
    kind, keys, value = first["type"], first["loc"], first["input"]
    if keys and isinstance(keys[-1], str) and keys[-1] in SCALARS and isinstance(keys[-2], int):
        # An item of a list that may be of several types is of none.
        return f"{names.place(keys[:-1])} is {show(value)}, but must be text, a finite number, true or false."
    if keys[-1:] == ("[key]",):
        return f"{names.place(keys[:-1])} {first['ctx']['error']}"
    context = first.get("ctx", {})
    place = names.place(keys)
    if kind == "extra_forbidden":
        section = section_at(settings, keys[:-1])
        known = list(section.model_fields)
        prefix = dotted((*keys[:-1], ""))
        source = names.place(())
        return (
            f"{source}: unknown key {dotted(keys)}.{nearest(keys[-1], known, prefix)} "
            f"Known here: {', '.join(known)}."
        )
    if kind == "missing":
        description = section_at(settings, keys[:-1]).model_fields[str(keys[-1])].description
        return f"{names.place(keys[:-1])} lacks {names.required(keys)}: {description}"
    if kind == "value_error":
        fields = {}
        for name in section_fields(settings, keys):
            fields[name] = names.field((*keys, name))
        text = re.sub(r"\{(\w+)\}", lambda m: fields.get(m[1], m[0]), str(context["error"]))
        return f"{place} {text}"
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        return f"{place} is {show(value)}.{nearest(value, choices)} Use {either(choices)}."
    if kind == "string_too_short":
        return f"{place} is empty. Name something."
    if kind == "too_short":
        if isinstance(value, Mapping):
            return f"{place} is empty. Give at least one entry."
        return f"{place} is an empty list. Give at least one item."
    bounds = {
        "greater_than_equal": ("ge", "at least"),
        "less_than_equal": ("le", "at most"),
        "greater_than": ("gt", "greater than"),
        "less_than": ("lt", "less than"),
        "string_too_long": ("max_length", "text of at most {} letters"),
    }
    if kind in bounds:
        name, words = bounds[kind]
        bound = int(context[name]) if context[name] == int(context[name]) else context[name]
        words = words.format(bound) if "{}" in words else f"{words} {bound}"
        return f"{place} is {show(value)}, but must be {words}."
    required = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "string_type": "text",
        "string_unicode": "text in UTF-8",
        "bool_type": "true or false",
        "tuple_type": "a list",
        "dict_type": "a section with keys",
        "model_type": "a section with keys",
        "model_attributes_type": "a section with keys",
    }[kind]
    may_be_empty = names.empty if is_optional(settings, keys) else ""
    # YAML reads 2024, on and null as other things than text.
    remedy = (
        " Put it in quotes." if kind == "string_type" and isinstance(value, bool | int | float | date) else ""
    )
    return f"{place} is {show(value)}, but must be {required}{may_be_empty}.{remedy}"


def section_at(settings: type[Settings], keys: tuple[str | int, ...]) -> type[Settings]:
    """The class of the section at these keys."""
    found: Any = settings
    for key in keys:
        inner = found.model_fields[str(key)].annotation if _is_section(found) else get_args(found)[-1]
        found = kinds_of(inner)[0]
    return found


def section_fields(settings: type[Settings], keys: tuple[str | int, ...]) -> list[str]:
    """Names of the fields of the section at these keys; none where it is a single value."""
    section = section_at(settings, keys)
    return list(section.model_fields) if _is_section(section) else []


def is_optional(settings: type[Settings], keys: tuple[str | int, ...]) -> bool:
    """Whether the setting at these keys may be empty."""
    if not keys or not isinstance(keys[-1], str):
        return False
    section = section_at(settings, keys[:-1])
    return _is_section(section) and NoneType in get_args(section.model_fields[keys[-1]].annotation)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Settings)
