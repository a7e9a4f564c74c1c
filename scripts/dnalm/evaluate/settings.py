"""Settings of evaluate and compare: how predictions on the test split are judged."""

from pydantic import Field

from dnalm.running.settings import Seed, Settings

# What is fitted on fewer validation sequences (a temperature, weights of predictors) is hardly settled.
FEW_SEQUENCES = 100


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
