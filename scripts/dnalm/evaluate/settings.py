"""Settings of evaluate and compare: how predictions on the test split are judged."""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from dnalm.running.settings import Seed, Settings

# What is fitted on fewer validation sequences (a temperature, weights of predictors) is hardly settled.
FEW_SEQUENCES = 100


class StrandSettings(Settings):
    """Which strands of a sequence carry its label and are read. A column of the task sheet."""

    strands: Literal["both", "forward"] = Field(
        "both",
        description="`both`: the mean of what is said of a sequence and of its reverse complement, which are "
        "two views of one molecule. `forward`: the sequence as it is given, where the strand decides the "
        "label; the other strand is no repeat of it then.",
    )


class ConfidenceSettings(Settings):
    """How sure a confidence interval is."""

    confidence: float = Field(0.95, gt=0, lt=1, description="Coverage of the confidence intervals.")


class EvaluateSettings(ConfidenceSettings):
    """How predictions on the test split are judged."""

    bootstrap_samples: int = Field(
        1000,
        ge=100,
        le=10**6,
        description="Number of bootstrap samples behind every confidence interval.",
    )
    seed: Seed = Field(42, description="Seed of the bootstrap.")

    @model_validator(mode="after")
    def _samples_beyond_the_bounds(self) -> Self:
        # One beyond either bound; with fewer the bounds are those of the outermost samples.
        needed = math.ceil(2 / (1 - self.confidence) - 1e-6)
        if self.bootstrap_samples < needed:
            raise ValueError(
                f"has a {{confidence}} of {self.confidence:g}, for which {self.bootstrap_samples:,} "
                f"{{bootstrap_samples}} are too few. Take {needed:,} or more."
            )
        return self
