"""Settings of simulate_demo: the seed and the sizes of what is simulated."""

from typing import Self

from pydantic import Field, model_validator

from dnalm.running.settings import Seed, Settings


class SimulateDemoSettings(Settings):
    """Makes the simulated genome and the simulated task of the demo."""

    seed: Seed = Field(
        1, description="Seed of the simulator. The same seed gives the same files, byte for byte."
    )
    genome_length: int = Field(4_000_000, ge=1000, le=10**9, description="Bases in all contigs.")
    contigs: int = Field(8, ge=1, le=10**6, description="Sequences of the genome.")
    train_sequences: int = Field(50, ge=2, le=10**7, description="Labelled sequences for training.")
    test_sequences: int = Field(1000, ge=2, le=10**7, description="Labelled sequences for testing.")
    leaked_sequences: int = Field(
        12,
        ge=0,
        le=10**7,
        description="Test sequences to put into training as well, half of them as reverse complement.",
    )
    sequence_length: int = Field(200, ge=50, le=10**6, description="Length of a labelled sequence in bp.")
    motifs: int = Field(10, ge=1, le=10_000, description="Motifs per lexicon.")
    motif_length: int = Field(16, ge=4, le=100, description="Length of a motif in bp.")
    wrong_motif_fraction: float = Field(
        0.1,
        ge=0,
        lt=0.5,
        description="Share of a region's motifs that come from the other lexicon. At 0.5 the classes are "
        "the same.",
    )

    @model_validator(mode="after")
    def _leaks_are_test_sequences(self) -> Self:
        if self.leaked_sequences > self.test_sequences:
            raise ValueError(
                f"has {{leaked_sequences}} {self.leaked_sequences}, but only {self.test_sequences} "
                "{test_sequences}. Give a smaller number."
            )
        return self
