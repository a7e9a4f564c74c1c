"""Settings of a corpus that is no genome."""

from typing import Self

from pydantic import Field, model_validator

from dnalm.running.settings import Settings


class LinesSettings(Settings):
    """How the sequences of a file of lines are split."""

    # No more than a half: a corpus is for learning.
    validation_fraction: float = Field(
        0.05,
        gt=0,
        le=0.5,
        description="Share of the different sequences of `lines` that is held out, at least one. Both "
        "strands of a sequence, and copies of it, are on the same side.",
    )


class CorpusSettings(LinesSettings):
    """Sequences without labels to learn from, beside or instead of genomes: of a `task`, or of `lines`."""

    task: str | None = Field(
        None,
        description="Name of a task: its training sequences, without their labels. Held out are those of "
        "its validation split. Its test split is never read.",
    )
    lines: str | None = Field(
        None, min_length=1, description="Text file, plain or gzip, with one sequence per line."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.task is None) == (self.lines is None):
            both = "not both" if self.task else "what it is made of"
            raise ValueError(f"needs {{task}} or {{lines}}, {both}.")
        # The default may stand there: configurations are kept with all defaults, to be run again.
        if self.task is not None and self.validation_fraction != LinesSettings().validation_fraction:
            raise ValueError("has {validation_fraction}, but a {task} has a validation split. Remove it.")
        return self
