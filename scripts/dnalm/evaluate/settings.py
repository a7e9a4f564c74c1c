"""Settings of evaluate and compare: how predictions on the test split are judged."""

from typing import Literal

from pydantic import Field

from dnalm.running.settings import Seed, Settings

# What is fitted on fewer validation sequences (a temperature, weights of predictors) is hardly settled.
FEW_SEQUENCES = 100


class StrandSettings(Settings):
    """Which strands of a sequence are read, in evaluation and in prediction. A column of the task sheet."""

    strands: Literal["both", "forward"] = Field(
        "both",
        description="`both`: the mean of what is said of a sequence and of its reverse complement, which are "
        "two views of one molecule. `forward`: the sequence as it is given, where the strand decides the "
        "label.",
    )


class IntervalSettings(Settings):
    """How uncertain a measured number is."""

    bootstrap_samples: int = Field(
        1000,
        ge=100,
        le=10**6,
        description="Number of bootstrap samples behind every confidence interval.",
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="Coverage of the confidence intervals.")


class EvaluateSettings(IntervalSettings):
    """How predictions on the test split are judged."""

    seed: Seed = Field(42, description="Seed of the bootstrap.")
