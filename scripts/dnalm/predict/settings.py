"""Settings of predict: new sequences, and how they are scanned."""

from typing import Literal

from pydantic import Field, model_validator

from dnalm.finetune.settings import Backbone
from dnalm.running.settings import Fraction, Settings, Whole
from dnalm.sequences.formats import ANY_FORMAT


class ScanSettings(Settings):
    """How long sequences are cut into windows."""

    window: Whole | None = Field(
        None,
        ge=10,
        description="Longer FASTA records and BED regions are scanned by windows of this many bp; an allele "
        "is put into one. Empty: the median length of the sequences that the classifier learned from.",
    )
    stride: Whole | None = Field(
        None,
        ge=1,
        description="Distance in bp between the starts of neighbouring windows. Empty: half a window.",
    )
    max_unknown_fraction: Fraction = Field(
        0.5, description="Windows in which a larger share is not A, C, G or T are left out."
    )

    @model_validator(mode="after")
    def _no_gaps(self) -> "ScanSettings":
        if self.window is not None and self.stride is not None and self.stride > self.window:
            raise ValueError(
                f"has a stride of {self.stride} bp and a window of {self.window} bp, so that bases between "
                "windows would not be read. Lower the stride."
            )
        return self


class PredictSettings(ScanSettings):
    """New sequences to classify, and the classifier."""

    input: str = Field(
        min_length=1,
        description=f"{ANY_FORMAT} (long records are scanned in windows), TSV, CSV or Parquet with a column "
        "`seq`, BED, or VCF (each alternative allele beside the reference).",
    )
    genome: str | None = Field(
        None, min_length=1, description="File of sequences that a BED or VCF input refers to."
    )
    model: str = Field(description="Name of an entry under `models`.")
    task: str = Field(description="Name of a row of the task sheet.")
    backbone: Backbone | Literal["stacked"] = Field(
        "frozen", description="Which classifier; `stacked` is all predictors of the task together."
    )
