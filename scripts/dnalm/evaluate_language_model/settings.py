"""Settings of evaluate_language_model: how a pretrained model is judged on held-out lines."""

from pydantic import Field

from dnalm.evaluate.settings import ConfidenceSettings
from dnalm.running.settings import Seed, Whole


class EvaluateLanguageModelSettings(ConfidenceSettings):
    """How the pretrained model is judged on held-out lines."""

    masking_probability: float = Field(
        0.15,
        gt=0,
        le=1,
        description="Share of the tokens that are hidden, all of them as [MASK]. The same for every model, "
        "so that models trained with other masks can be compared.",
    )
    max_lines: Whole = Field(2000, ge=1, description="At most this many held-out lines are used.")
    examples: int = Field(20, ge=0, le=10_000, description="Number of fill-mask examples in the report.")
    seed: Seed = Field(42, description="Seed of the masks.")
