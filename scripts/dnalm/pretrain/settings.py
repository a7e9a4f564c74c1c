"""Settings of a language model: its tokenizer, its start, its masks, its training."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from dnalm.models.families import FAMILIES
from dnalm.pretrain.defaults import TOKENS_PER_MICRO_BATCH, USUAL_DECAY_FRACTION
from dnalm.running.errors import InputError
from dnalm.running.settings import (
    ArithmeticSettings,
    Fraction,
    MemorySettings,
    Number,
    OptimizerSettings,
    Seed,
    Settings,
    Whole,
    section,
)

# Ends the name of a model as it was published, before it was trained further here.
PUBLISHED = "-published"


class MaskingSettings(Settings):
    """Which tokens the model must guess."""

    probability: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of the tokens of a line that are selected. Special tokens never are.",
    )
    mask_token: float = Field(0.8, gt=0, le=1, description="Share of the selected tokens that become [MASK].")
    random_token: Fraction = Field(
        0.1,
        description="Share of the selected tokens that become a random token. The rest stay as they are.",
    )
    span_tokens: int = Field(
        1,
        ge=1,
        le=10**6,
        description="Selected tokens come in runs of this many neighbours (span masking). 1 selects tokens "
        "independently. Of overlapping k-mers at least k: fewer are spelled by their neighbours.",
    )

    @model_validator(mode="after")
    def _fractions_of_one_whole(self) -> Self:
        total = self.mask_token + self.random_token
        if total > 1 + 1e-9:
            raise ValueError(
                f"has {{mask_token}} and {{random_token}} that add up to {total:g}, but are shares of "
                "one whole. Lower one of them."
            )
        return self


def check_runs(masking: MaskingSettings, kmer_length: int | None, place: str) -> None:
    """Raise InputError where the neighbours of hidden tokens spell them; `place` is that of `span_tokens`.

    `kmer_length`: that of overlapping k-mers; None for tokens that share no bases.
    """
    if kmer_length is not None and masking.span_tokens < kmer_length:
        raise InputError(
            f"{place} is {masking.span_tokens}, but the {kmer_length}-mers of this tokenizer overlap, and "
            f"fewer than {kmer_length} hidden in a row are spelled by their neighbours. Set it to "
            f"{kmer_length} or more."
        )


class TrainingSettings(OptimizerSettings, MemorySettings):
    """How the model is trained."""

    steps: Whole | None = Field(
        None, ge=1, description="Number of optimizer steps. Give `steps` or `epochs`."
    )
    epochs: Number | None = Field(None, gt=0, description="Number of passes over the training lines.")
    batch_size: int = Field(
        32, ge=1, le=10**6, description="Lines per optimizer step, over all GPUs together."
    )
    micro_batch_size: int | None = Field(
        None,
        ge=1,
        le=10**6,
        description="Lines that one GPU holds at once. The rest of the batch is accumulated. Where memory "
        "runs out it is halved; the result stays the same up to rounding and dropout. Empty: those that hold "
        f"{TOKENS_PER_MICRO_BATCH['cuda']:,} tokens at most, on a CPU {TOKENS_PER_MICRO_BATCH['cpu']:,}.",
    )
    learning_rate: Number = Field(0.0001, gt=0, description="Peak learning rate of AdamW.")
    schedule: Literal["cosine", "linear", "constant_with_warmup", "warmup_stable_decay"] = Field(
        "cosine",
        description="How the learning rate falls after the warm-up: all the way, never, or "
        "(`warmup_stable_decay`, as ModernBERT was trained) at the end only.",
    )
    decay_fraction: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the steps in which `warmup_stable_decay` lets the learning rate fall to 0. "
        f"Empty: {USUAL_DECAY_FRACTION:g}.",
    )
    adam_beta2: float = Field(
        0.999,
        gt=0,
        lt=1,
        description="How slowly AdamW's mean of squared gradients forgets. RoBERTa and ModernBERT learned "
        "with 0.98.",
    )
    # Beside 2,000 held-out lines and batches of 32, a tenth of the time.
    evaluate_every: Whole = Field(
        200,
        ge=1,
        description="Steps between evaluations on held-out lines. There is one before the first and one "
        "after the last step too.",
    )
    evaluate_lines: Whole = Field(
        2000,
        ge=1,
        description="At most this many held-out lines are evaluated during training, the same ones every "
        "time.",
    )
    checkpoint_every_steps: Whole = Field(
        0, ge=0, description="A checkpoint is written after this many steps too. 0: by time only."
    )
    checkpoint_every_minutes: Number = Field(
        15.0,
        ge=0,
        description="A checkpoint is written after this many minutes at the latest. 0: by steps only.",
    )
    compile: bool = Field(
        False,
        description="Translate the layers with `torch.compile` when training starts, which takes a "
        "while. For long trainings on GPUs. The result stays the same up to rounding and dropout.",
    )
    fsdp: bool = Field(
        False,
        description="Spread weights, gradients and optimizer over all GPUs (FSDP), for models "
        "that do not fit into one. The result stays the same up to rounding and dropout.",
    )
    seed: Seed = Field(42, description="Seed of the initial weights, the order of lines and the masks.")

    @field_validator("steps", "epochs", mode="before")
    @classmethod
    def _not_untrained(cls, length: Any) -> Any:
        # Who writes 0 wants to compare with the untrained network.
        if length == 0:
            raise ValueError(
                "is 0, which trains nothing. The untrained network is a baseline of every model already "
                "(baseline.untrained; by hand scripts/untrained_model.py). Train for 1 or more."
            )
        return length

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("needs either {steps} or {epochs}, not both.")
        return self

    @model_validator(mode="after")
    def _something_decays(self) -> Self:
        if self.decay_fraction is not None and self.schedule != "warmup_stable_decay":
            raise ValueError(
                "has a {decay_fraction}, but the {schedule} " + f"{self.schedule}, which has no decay of its "
                "own. Take warmup_stable_decay, or leave it out."
            )
        return self

    @model_validator(mode="after")
    def _something_is_kept(self) -> Self:
        if not self.checkpoint_every_steps and not self.checkpoint_every_minutes:
            raise ValueError(
                "has 0 for both {checkpoint_every_steps} and {checkpoint_every_minutes}, so that all is lost "
                "when the training stops. Set one of them."
            )
        return self


class ContextSettings(Settings):
    """How much of a line the model reads."""

    max_tokens: int = Field(
        250,
        ge=8,
        le=10**6,
        description="The model reads this many tokens at once, [CLS] and [SEP] included. Longer lines are "
        "cut into pieces, all of which are read.",
    )
    truncate: bool = Field(
        False,
        description="Read only the beginning of a line that is longer than `max_tokens`, as published runs "
        "do; the rest is counted.",
    )


class ModelSettings(ContextSettings, ArithmeticSettings):
    """A language model: where it starts, and how it is trained."""

    tokenizer: str = Field(description="Name of an entry under `tokenizers`.")
    architecture: str | None = Field(
        None,
        description="JSON file with the shape of a new network, such as those in `resources/architectures/`: "
        f"keys of its configuration in Transformers; `model_type` is one of {', '.join(FAMILIES)}.",
    )
    checkpoint: str | None = Field(
        None,
        description="Start from this model of these families, a Hugging Face directory or a Hub id. "
        "Only safetensors are read. Its tokenizer must be the one named under `tokenizer`.",
    )
    revision: str | None = Field(None, description="Commit, tag or branch of the checkpoint on the Hub.")
    masking: MaskingSettings = section(MaskingSettings)
    training: TrainingSettings | None = Field(
        None,
        description="How the model is trained. Without it a `checkpoint` is used as published. A checkpoint "
        "with it (domain adaptation) is compared with itself as published.",
    )

    @model_validator(mode="after")
    def _runs_fit_into_lines(self) -> Self:
        if self.masking.span_tokens >= self.max_tokens:
            raise ValueError(
                f"has a {{masking}} of runs of {self.masking.span_tokens} tokens (span_tokens), but "
                f"{{max_tokens}} is {self.max_tokens}. Shorten the runs."
            )
        return self

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if (self.architecture is None) == (self.checkpoint is None):
            raise ValueError("needs either {architecture} or {checkpoint}, not both.")
        if self.training is None and self.checkpoint is None:
            raise ValueError("needs {training}. Only a {checkpoint} can be used as it is.")
        return self
