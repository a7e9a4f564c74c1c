"""Settings of extract_windows: how genomes are cut into lines."""

from typing import Self

from pydantic import Field, model_validator

from dnalm.extract_windows.blocks import SHORTEST_WINDOW_BP, USUAL_BLOCK_BP
from dnalm.running.settings import Fraction, Settings, Whole


class ExtractWindowsSettings(Settings):
    """How genomes are cut into lines."""

    length: int = Field(
        1000,
        ge=SHORTEST_WINDOW_BP,
        le=10**7,
        description="Length of a window in bp. Every line has exactly this length; the incomplete window at "
        "the end of a sequence is dropped.",
    )
    stride: Whole = Field(
        1000,
        ge=1,
        description="Distance between the starts of neighbouring windows in bp. Equal to the length, windows "
        "touch; smaller, they overlap.",
    )
    max_non_acgt: Whole = Field(
        0,
        ge=0,
        description="A window with more bases than this other than A, C, G, T (N and IUPAC codes) is "
        "dropped.",
    )
    max_soft_masked: Fraction = Field(
        1.0,
        description="A window with a larger share of soft-masked (lower-case) bases is dropped. 1 keeps all.",
    )
    # Above one half, blocks at every p-th place cannot come near the fraction asked for.
    validation_fraction: float = Field(
        0.05,
        gt=0,
        le=0.5,
        description="Share of a genome that is held out in contiguous blocks, where the sheet names no "
        "validation sequences. Training is judged on it, so it is never 0.",
    )
    validation_block: Whole | None = Field(
        None,
        ge=10,
        description=f"Length of a held-out block in bp. Empty: {USUAL_BLOCK_BP:,} bp, or less where a "
        "genome is too small for blocks of that length.",
    )

    @model_validator(mode="after")
    def _blocks_hold_windows(self) -> Self:
        if self.validation_block is not None and self.validation_block < self.length:
            raise ValueError(
                f"has a {{validation_block}} of {self.validation_block}, shorter than a window "
                f"({{length}} {self.length}). Held-out blocks must hold windows."
            )
        return self
