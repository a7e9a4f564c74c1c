"""What the mains of scripts take, put together from single values."""

from types import ModuleType
from typing import Any

from dnalm.running.commandline import flag_words, parsed_options
from dnalm.running.settings import Settings, flag


def grouped(options: dict[str, Any], **classes: type[Settings]) -> dict[str, Any]:
    """The options, with an object per class in place of the options that are its fields.

    Bounds are not checked: they are made for real data, and tests need less of it.
    """
    options = options.copy()
    for name, settings in classes.items():
        fields = {field: options.pop(field) for field in settings.model_fields if field in options}
        options[name] = settings.model_construct(**fields)
    return options


def by_flags(script: ModuleType, **flags: Any) -> dict[str, Any]:
    """What the script's `main` takes when these flags are given, and the others left out."""
    words = [word for name, value in flags.items() for word in flag_words(flag(name), value)]
    return parsed_options(script.command_line(), words)
