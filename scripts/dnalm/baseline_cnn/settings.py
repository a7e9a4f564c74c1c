"""Settings of baseline_cnn: a small convolutional network to compare with."""

from pydantic import Field

from dnalm.running.settings import Seed, Settings


class CnnSettings(Settings):
    """The convolutional network."""

    cnn_filters: int = Field(128, ge=1, le=4096, description="Motif detectors of the convolutional network.")
    cnn_width: int = Field(12, ge=1, le=100, description="Length of a motif detector in bp.")
    cnn_epochs: int = Field(
        20,
        ge=1,
        le=10**6,
        description="Passes over the training sequences. The one with the lowest validation loss is kept.",
    )
    cnn_learning_rate: float = Field(1e-3, gt=0, le=1, description="Peak learning rate of AdamW.")
    cnn_batch_size: int = Field(64, ge=2, le=10**6, description="Sequences per optimizer step.")
    cnn_seed: Seed = Field(42, description="Seed of its initial weights, of dropout and of the order.")
