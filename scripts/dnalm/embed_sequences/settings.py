"""Settings of embed_sequences: any sequences, and what is read of a language model for them."""

from pydantic import Field

from dnalm.predict.settings import ScanSettings
from dnalm.running.settings import Whole
from dnalm.sequences.formats import ANY_FORMAT


class VectorSettings(ScanSettings):
    """What becomes a vector: pieces of sequences, seen by a layer."""

    window: Whole = Field(
        1000,
        ge=10,
        description="Longer FASTA records and BED regions are cut into windows of this many bp, each with a "
        "vector of its own. Rows of a table are read whole.",
    )
    layer: Whole | None = Field(
        None,
        ge=0,
        description="Which hidden states are pooled: 1 those after the first layer, 2 after the second, 0 "
        "those of the token embeddings. Empty: after the last layer, as classifiers read them.",
    )
    compared: Whole = Field(
        10,
        ge=1,
        le=100,
        description="Cosine similarities are told among the first so many vectors.",
    )


class EmbedSequencesSettings(VectorSettings):
    """Sequences without labels, and the language model that embeds them."""

    input: str = Field(
        min_length=1,
        description=f"{ANY_FORMAT}, TSV, CSV or Parquet with a column `seq`, or BED.",
    )
    genome: str | None = Field(
        None, min_length=1, description="File of sequences that a BED input refers to."
    )
    model: str = Field(description="Name of an entry under `models`.")
