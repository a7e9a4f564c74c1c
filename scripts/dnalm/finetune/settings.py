"""Settings of finetune: how classifiers are trained on a pretrained model."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from dnalm.models.families import FAMILIES
from dnalm.models.keys import DEFAULTS
from dnalm.running.settings import (
    MemorySettings,
    Number,
    OptimizerSettings,
    Seed,
    Settings,
    each_once,
    section,
)

Backbone = Literal["frozen", "partial", "lora", "full"]
# Between the backbone and the seed in the name of a classifier that repeats another with its own seed.
REPETITION = "-seed"


class LearningSettings(OptimizerSettings):
    """What all ways of training a classifier have."""

    epochs: int = Field(ge=1, le=10**6, description="Passes over the training sequences.")
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of each label's probability that is spread over all classes while learning.",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        description="`balanced` weights each sequence by the inverse frequency of its class, in training and "
        "in the validation loss, so that rare classes count as much as frequent ones.",
    )
    patience: int | None = Field(
        None,
        ge=1,
        le=10**6,
        description="Training ends after so many epochs without a lower validation loss (early stopping). "
        "Empty: it never ends early.",
    )


class FrozenSettings(LearningSettings):
    """Training of the head on a frozen backbone."""

    epochs: int = Field(30, ge=1, le=10**6, description="Passes over the training sequences.")
    learning_rate: Number = Field(0.001, gt=0, description="Peak learning rate of AdamW.")
    standardise: bool = Field(
        True,
        description="The head learns from features of mean 0 and standard deviation 1 over the training "
        "sequences. Both become part of its dense layer, so the saved classifier reads the model's own.",
    )


class ThroughBackboneSettings(LearningSettings, MemorySettings):
    """Training that goes through the backbone, from the sequences."""

    epochs: int = Field(5, ge=1, le=10**6, description="Passes over the training sequences.")
    reverse_complement: bool = Field(
        False,
        description="Every training sequence is read on a strand that is drawn anew in each epoch. Not of "
        "tasks whose `strands` are `forward`.",
    )


class PartialSettings(ThroughBackboneSettings):
    """Training of the head and of the topmost layers."""

    layers: int = Field(
        2,
        ge=1,
        le=10**4,
        description="How many of the topmost layers learn. The layers below and the token embeddings stay as "
        "they are.",
    )
    learning_rate: Number = Field(0.0001, gt=0, description="Peak learning rate of AdamW.")


class LoraSettings(ThroughBackboneSettings):
    """Training of low-rank matrices beside the backbone's own (Hu et al. 2021), and of the head."""

    learning_rate: Number = Field(0.0005, gt=0, description="Peak learning rate of AdamW.")
    rank: int = Field(8, ge=1, le=10**4, description="Rank of the matrices: how much can be learned.")
    alpha: Number = Field(
        16.0, gt=0, description="What is learned counts `alpha / rank` times, so that ranks can be compared."
    )
    dropout: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Share of the inputs of the matrices that training leaves out by chance.",
    )
    target_modules: Literal["attention", "all-linear"] = Field(
        "attention",
        description="Where the matrices stand: beside those of the attention (queries, keys, values, "
        "output), or of the feed-forward parts too.",
    )


class FullSettings(ThroughBackboneSettings):
    """Training of all weights."""

    learning_rate: Number = Field(0.00005, gt=0, description="Peak learning rate of AdamW.")


TrainingSettings = FrozenSettings | PartialSettings | LoraSettings | FullSettings

BACKBONE_SETTINGS: dict[str, type[TrainingSettings]] = {
    "frozen": FrozenSettings,
    "partial": PartialSettings,
    "lora": LoraSettings,
    "full": FullSettings,
}


class SequenceSettings(Settings):
    """How much of a labelled sequence the model reads."""

    max_tokens: int | None = Field(
        None,
        ge=4,
        le=10**6,
        description="Longer sequences are cut to this many tokens, [CLS] and [SEP] included. Empty: as many "
        f"as the model can read, {DEFAULTS['modernbert']['max_position_embeddings']:,} for a ModernBERT and "
        f"{FAMILIES['bert'].default_positions} for a BERT unless their configurations say otherwise. 200 bp "
        "give about 42 tokens with DNABERT-2's vocabulary.",
    )


class ClassifierSettings(SequenceSettings):
    """What all classifiers share, however they are trained."""

    pooling: Literal["cls", "mean"] = Field(
        "mean",
        description="How the token vectors of a sequence become one vector: that of [CLS], or the mean of "
        "all. Pretraining teaches [CLS] nothing by itself, so the mean does better with a frozen backbone.",
    )
    seed: Seed = Field(
        42, description="Seed of the head's initial weights, of dropout and of the order of sequences."
    )


class FinetuneSettings(ClassifierSettings):
    """How classifiers are trained on a pretrained model."""

    backbones: Annotated[tuple[Backbone, ...], AfterValidator(each_once)] = Field(
        ("frozen",),
        min_length=1,
        description="`frozen` trains the classification head only, `partial` the topmost layers too, `lora` "
        "low-rank matrices beside the weights (LoRA), `full` every weight. List several to compare them. The "
        "first one leads the report.",
    )
    repetitions: int = Field(
        1,
        ge=1,
        le=1000,
        description="How many classifiers of each kind are trained, with `seed`, `seed` + 1 and so on. The "
        "first one is compared, put to use and published; the report tells mean and standard deviation of "
        "all.",
    )
    frozen: FrozenSettings = section(FrozenSettings)
    partial: PartialSettings = section(PartialSettings)
    lora: LoraSettings = Field(
        default_factory=LoraSettings,
        description="Training of the head and of low-rank matrices (LoRA), which are merged into the saved "
        "weights and kept beside them in `adapter/`.",
    )
    full: FullSettings = section(FullSettings)

    @model_validator(mode="after")
    def _seeds_are_seeds(self) -> "FinetuneSettings":
        if self.seed + self.repetitions > 2**32:
            raise ValueError("has a {seed} too large for so many {repetitions}. Lower one of them.")
        return self
