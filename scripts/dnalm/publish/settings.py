"""Settings of publish: what is shared, under which licence, and where."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from dnalm.finetune.settings import Backbone
from dnalm.running.settings import Settings


def check_repository(name: str) -> str:
    """A repository of the Hub, `owner/name`. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name):
        raise ValueError("is no repository of the Hub. It looks like owner/name.")
    return name


def check_licence(name: str) -> str:
    """A licence as the Hub writes it, which refuses a card with another one. Raises ValueError."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        raise ValueError(
            "is no licence as the Hub calls it: lower case, no blanks, such as mit or cc-by-4.0, or other."
        )
    return name


class CardSettings(Settings):
    """What the card says that no file of the run knows."""

    licence: Annotated[str, AfterValidator(check_licence)] | None = Field(
        None,
        description="Licence of the published files, as the Hub calls it, such as `mit` or `cc-by-4.0`. "
        "Empty: the card says that none is given.",
    )
    repository: Annotated[str, AfterValidator(check_repository)] | None = Field(
        None,
        description="Repository on the Hugging Face Hub, `owner/name`. With it the folder is pushed there at "
        "the end; the environment variable HF_TOKEN must hold a token that may write. Empty: nothing leaves "
        "this machine.",
    )


class PublishSettings(CardSettings):
    """A model to share, as a folder with a model card."""

    model: str = Field(description="Name of an entry under `models`.")
    task: str | None = Field(
        None,
        description="Name of a row of the task sheet, whose classifier is shared. Empty: the language model.",
    )
    backbone: Backbone = Field("frozen", description="Which classifier.")
    private: bool = Field(True, description="Whether the repository is private, where it has to be made.")
