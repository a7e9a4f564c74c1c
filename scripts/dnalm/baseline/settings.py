"""Settings of the baselines: what the classifier is compared with."""

from typing import Annotated

from pydantic import AfterValidator, Field

from dnalm.running.settings import Settings, each_once

# Appended to the name of a model for the same model without pretraining.
UNTRAINED = "-untrained"


class KmerSettings(Settings):
    """The k-mer baseline."""

    kmer_lengths: Annotated[
        # 4**8 = 65,536 features
        tuple[Annotated[int, Field(ge=1, le=8)], ...],
        AfterValidator(each_once),
    ] = Field((3, 4, 5, 6), min_length=1, description="Lengths k to choose from, by the validation split.")


class BaselineSettings(KmerSettings):
    """What the classifier is compared with, on the same splits and by the same metrics."""

    majority: bool = Field(True, description="Always the most frequent class.")
    kmer: bool = Field(True, description="Logistic regression on k-mer frequencies.")
    untrained: bool = Field(
        True,
        description="The same backbone with its initial random weights, fine-tuned in the same way.",
    )
