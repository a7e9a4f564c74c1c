"""Settings of prepare_task: how labelled sequences are checked and split."""

from pydantic import Field

from dnalm.running.settings import Seed, Settings


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
    seed: Seed = Field(42, description="Seed of the validation split.")
