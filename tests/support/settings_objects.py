"""Settings for the mains of scripts, put together from single values."""

from typing import Any

from dnalm.running.settings import Settings


def grouped(options: dict[str, Any], **classes: type[Settings]) -> dict[str, Any]:
    """The options, with an object per class in place of the options that are its fields.

    Bounds are not checked: they are made for real data, and tests need less of it.
    """
    options = options.copy()
    for name, settings in classes.items():
        fields = {field: options.pop(field) for field in settings.model_fields if field in options}
        options[name] = settings.model_construct(**fields)
    return options
