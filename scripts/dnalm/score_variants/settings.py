"""Settings of score_variants: variants, and the language model that is asked about them."""

from pydantic import Field

from dnalm.running.settings import Fraction, Settings, Whole
from dnalm.sequences.formats import ANY_FORMAT


class VariantContextSettings(Settings):
    """What a language model sees of the genome around a variant."""

    window: Whole = Field(
        1000,
        ge=10,
        description="Length in bp of the sequence around a variant. Where it has more tokens than the model "
        "reads, those nearest to the variant are read.",
    )
    max_unknown_fraction: Fraction = Field(
        0.5,
        description="Variants with a larger share of such a window not A, C, G or T are left out.",
    )


class ScoreVariantsSettings(VariantContextSettings):
    """Variants of a genome, and the language model that says how probable their alleles are."""

    input: str = Field(min_length=1, description="VCF.")
    genome: str = Field(min_length=1, description=f"The genome that the variants belong to: {ANY_FORMAT}.")
    model: str = Field(description="Name of an entry under `models`.")
