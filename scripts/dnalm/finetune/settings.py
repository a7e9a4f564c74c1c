"""Settings of finetune: how classifiers are trained on a pretrained model."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dnalm.running.settings import Number, OptimizerSettings, Seed, Settings, each_once

Backbone = Literal["frozen", "full"]


class LearningSettings(OptimizerSettings):
    """What all ways of training a classifier have."""

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


class FullSettings(LearningSettings):
    """Training of all weights."""

    epochs: int = Field(5, ge=1, le=10**6, description="Passes over the training sequences.")
    learning_rate: Number = Field(0.00005, gt=0, description="Peak learning rate of AdamW.")
    reverse_complement: bool = Field(
        False,
        description="Every training sequence is read on a strand that is drawn anew in each epoch. Leave it "
        "off where the strand decides the label.",
    )


BACKBONE_SETTINGS: dict[str, type[FrozenSettings] | type[FullSettings]] = {
    "frozen": FrozenSettings,
    "full": FullSettings,
}


class SequenceSettings(Settings):
    """How much of a labelled sequence the model reads."""

    max_tokens: int | None = Field(
        None,
        ge=4,
        le=10**6,
        description="Longer sequences are cut to this many tokens, [CLS] and [SEP] included. Empty: as many "
        "as the model can read, 8192 for most. 200 bp give about 42 tokens with DNABERT-2's vocabulary.",
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
        description="`frozen` trains the classification head only, `full` trains every weight. List both to "
        "compare them. The first one leads the report.",
    )
    frozen: FrozenSettings = Field(
        default_factory=FrozenSettings, description="Training of the head on a frozen backbone."
    )
    full: FullSettings = Field(default_factory=FullSettings, description="Training of all weights.")
