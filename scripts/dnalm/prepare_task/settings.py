"""Settings of prepare_task: how labelled sequences are checked and split."""

from typing import Literal

from pydantic import Field

from dnalm.running.settings import Seed, Settings


class FoldSettings(Settings):
    """Whether a task is cross-validated. A column of the task sheet."""

    folds: int | None = Field(
        None,
        ge=2,
        le=100,
        description="Number of folds, of a task without a test table: each sequence is tested once, by a "
        "predictor that has learned from the other folds. Related sequences share a fold.",
    )


class PrepareTaskSettings(Settings):
    """How tasks are checked and split."""

    validation_fraction: float = Field(
        0.1,
        gt=0,
        le=0.5,
        description="Share of the training sequences that is held out for validation, where the sheet gives "
        "no validation file.",
    )
    drop_leaked: bool = Field(
        True,
        description="Drop training and validation sequences that also occur in the test split, on either "
        "strand.",
    )
    homologs: Literal["report", "drop", "error"] = Field(
        "report",
        description="What happens to training and validation sequences that are related to test sequences, "
        "and to training sequences that are related to given validation sequences. `report`: they are "
        "counted. `drop`: they are dropped. `error`: the run stops. A validation split that is made here "
        "never parts related sequences.",
    )
    homolog_word_bp: int = Field(
        16, ge=8, le=32, description="Length in bp of the words by which related sequences are found."
    )
    homolog_fraction: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Sequences are related if they share this part of their words, on either strand. With "
        "words of 16 bp, 0.2 is about 90% of the bases.",
    )
    seed: Seed = Field(42, description="Seed of the validation split.")
