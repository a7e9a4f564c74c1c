"""Settings of a tokenizer: given, or learned from the genomes."""

from typing import Literal, Self

from pydantic import Field, model_validator

from dnalm.running.settings import Seed, Settings, Whole


class UnknownBaseSettings(Settings):
    """What becomes of letters that are no base."""

    n_policy: Literal["unk", "drop", "token"] = Field(
        "unk",
        description="What an N (and any other letter that is not A, C, G or T) becomes: `unk`, one [UNK] "
        "each; `drop`, nothing; `token`, a token of its own for N.",
    )


class TrainTokenizerSettings(Settings):
    """How a byte-pair encoding is learned."""

    vocabulary_size: int = Field(
        4096,
        ge=10,
        le=65536,
        description="Number of tokens, the five special ones ([UNK] [CLS] [SEP] [PAD] [MASK], ids 0 to 4) "
        "included.",
    )
    sample_lines: Whole = Field(
        20_000,
        ge=1,
        description="Number of lines to learn from, drawn evenly from all training windows. Memory grows "
        "with it, about 53 MB for 1000 lines of 1000 bp.",
    )
    min_frequency: Whole = Field(2, ge=1, description="A pair of tokens seen less often is not merged.")
    seed: Seed = Field(42, description="Seed of the sample of lines.")


class ImportTokenizerSettings(UnknownBaseSettings):
    """How a tokenizer that needs no learning is made."""

    kmer_length: int | None = Field(
        None,
        ge=1,
        le=7,
        description="Every token is a k-mer of this many bases, one beside the other, as in the Nucleotide "
        "Transformer (6); what is left over before an N or the end becomes single bases. 1: single "
        "nucleotides.",
    )
    overlapping: bool = Field(
        False,
        description="With `kmer_length`: a k-mer begins at every base, as in the first DNABERT (Ji et al. "
        "2021), so that each shares all bases but one with the next. A model needs "
        "`masking.span_tokens` of at least k.",
    )

    @model_validator(mode="after")
    def _words_overlap(self) -> Self:
        if self.overlapping and (self.kmer_length or 1) < 2:
            raise ValueError("has {overlapping}, which needs a {kmer_length} of at least 2.")
        return self


class TokenizerSettings(ImportTokenizerSettings):
    """A tokenizer: `source`, `train` or `kmer_length`."""

    source: str | None = Field(
        None,
        description="A `tokenizer.json`, a model directory, or a Hugging Face Hub id such as "
        "`zhihan1996/DNABERT-2-117M`.",
    )
    revision: str | None = Field(
        None, description="Commit, tag or branch on the Hub. A commit makes the run repeatable."
    )
    train: TrainTokenizerSettings | None = Field(
        None, description="Learn a byte-pair encoding from the training lines of all genomes and corpora."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if [self.source, self.train, self.kmer_length].count(None) != 2:
            raise ValueError("needs one of {source}, {train} and {kmer_length}, not several.")
        return self
