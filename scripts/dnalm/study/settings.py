"""Settings of study: what is varied, and against what the variants are measured."""

from typing import Annotated

from pydantic import AfterValidator, Field

from dnalm.running.settings import Settings, Whole, each_once

Value = Annotated[str | bool | int | float, Field(union_mode="left_to_right")]


class StudySettings(Settings):
    """A grid of variants of one model, each fine-tuned and tested on every task."""

    model: str = Field(description="Name of an entry under `models`: the one that is varied.")
    vary: dict[str, Annotated[tuple[Value, ...], Field(min_length=1), AfterValidator(each_once)]] = Field(
        min_length=1,
        description="Keys and the values that each takes; every combination is a variant. Keys are those of "
        "a model (`tokenizer`, `architecture`, `masking.probability`, `training.steps`, `training.seed`, "
        "…), and `finetune.pooling` and `finetune.seed`. `training.steps: 0` is the untrained network. "
        "Variants that differ in seeds only count as one, with mean and spread.",
    )
    train_sequences: Annotated[tuple[Annotated[Whole, Field(ge=2)], ...], AfterValidator(each_once)] = Field(
        (),
        description="Numbers of labelled training sequences. The model, its untrained network and the "
        "baselines learn from each of these subsets too: a learning curve of data.",
    )
    reference: str = Field(
        "kmer", description="The baseline that every variant is compared with, pair by pair."
    )
