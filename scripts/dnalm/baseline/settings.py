"""Settings of the baselines: what the classifier is compared with."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from dnalm.baseline_cnn.settings import CnnSettings
from dnalm.running.settings import Settings, each_once

# Appended to the name of a model for the same model without pretraining.
UNTRAINED = "-untrained"
# The baselines in the order of tables, and the script that trains each. No model may have such a name.
BASELINES = {
    "majority": "baseline",
    "kmer": "baseline",
    "gapped_kmer": "baseline",
    "cnn": "baseline_cnn",
    "deep_cnn": "baseline_cnn",
}
# Stands in place of the backbone where k-mers and embeddings are read together.
COMBINED = "combined"
# Stands in place of the backbone where the predictors of a task are stacked.
STACKED = "stacked"


def baselines_of(script: str) -> list[str]:
    """The baselines that a script trains."""
    return [name for name, trainer in BASELINES.items() if trainer == script]


class KmerSettings(Settings):
    """The k-mer baseline."""

    kmer_lengths: Annotated[
        # 4**8 = 65,536 features
        tuple[Annotated[int, Field(ge=1, le=8)], ...],
        AfterValidator(each_once),
    ] = Field((3, 4, 5, 6), min_length=1, description="Lengths k to choose from, by the validation split.")


class BaselineSettings(KmerSettings, CnnSettings):
    """What the classifier is compared with, on the same splits and by the same metrics."""

    majority: bool = Field(True, description="Always the most frequent class.")
    kmer: bool = Field(True, description="Logistic regression on k-mer frequencies.")
    gapped_kmer: bool = Field(
        False,
        description="Linear model on k-mers with gaps, or on k-mers by where they stand in a sequence, "
        "whichever is better on the validation split.",
    )
    cnn: bool = Field(True, description="A small convolutional network (the design of DeepBind).")
    deep_cnn: bool = Field(
        False,
        description="The same with a second convolution, which sees how motifs stand to each other (as in "
        "Basset).",
    )
    combined: bool = Field(
        True,
        description="k-mers and the embeddings of a model together in one logistic regression: its "
        "difference to k-mers alone says whether the language model knows anything that k-mers do not.",
    )
    stacked: bool = Field(
        True,
        description="A logistic regression on the probabilities of a model's classifiers, the baselines "
        "but the majority class, and `combined`, as far as there are any, fitted on the validation split. "
        "Of tasks with classes.",
    )
    untrained: bool = Field(
        True,
        description="The same backbone with its initial random weights, fine-tuned in the same way.",
    )


def stacks(baseline: Mapping[str, Any], backbones: Sequence[str]) -> bool:
    """Whether the predictors of a task are stacked, by the section `baseline` and the backbones.

    One predictor alone is not, and the majority class says nothing of a sequence.
    """
    others = [name for name in (*BASELINES, COMBINED) if name != "majority" and baseline[name]]
    return bool(baseline[STACKED]) and len(backbones) + len(others) > 1
