"""One linear model on k-mers and embeddings together.

A directory holds `combined.json` (problem, labels, k, strands, pooling, max_tokens, weight, penalty, what
was tried), `combined.safetensors` (`weights` float64[n_labels, n_kmers + hidden], `intercepts`
float64[n_labels], and `mean` and `scale` float64[hidden] of the embeddings) and `language_model/`, the
model that embeds.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sparse
from safetensors import SafetensorError
from safetensors.numpy import load_file

from dnalm.baseline.predictors import (
    PENALTIES,
    fit_linear_model,
    kmer_features,
    tried_on,
)
from dnalm.problems.kinds import KINDS
from dnalm.running.errors import InputError
from dnalm.running.files import read_json

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("dnalm")

# Lengths of the standardised embedding beside the k-mer vector, whose length is 1.
WEIGHTS = (0.1, 0.3, 1.0, 3.0)


@dataclass
class Features:
    """What turns k-mers and embeddings of sequences into one vector each."""

    k: int
    strands: str
    mean: np.ndarray  # float64[hidden], of the training sequences
    scale: np.ndarray  # float64[hidden]: weight / (standard deviation · √hidden)

    def of(self, sequences: list[str], vectors: np.ndarray) -> sparse.csr_matrix:
        """float64[n, n_kmers + hidden]; `vectors` float32[n, hidden] are the embeddings."""
        embedded = (vectors - self.mean) * self.scale
        kmers = kmer_features(sequences, self.k, self.strands)
        return sparse.hstack([kmers, sparse.csr_matrix(embedded)], format="csr")


@dataclass
class CombinedRegression:
    """A linear model (see :func:`fit_linear_model`) and its features."""

    problem: str
    features: Features
    weights: np.ndarray  # float64[n_labels, n_kmers + hidden]
    intercepts: np.ndarray  # float64[n_labels]

    def outputs(self, sequences: list[str], vectors: np.ndarray) -> np.ndarray:
        """Probabilities or values float64[n, n_labels]."""
        return KINDS[self.problem].outputs(
            self.features.of(sequences, vectors) @ self.weights.T + self.intercepts
        )


def train_combined(
    problem: str,
    train: tuple[list[str], np.ndarray, np.ndarray],
    validation: tuple[list[str], np.ndarray, np.ndarray],
    k: int,
    strands: str,
) -> tuple[CombinedRegression, list[dict[str, Any]]]:
    """Fit one regression per weight of the embeddings and penalty; keep that with the lowest validation loss.

    `train` and `validation` are (sequences, embeddings float32[n, hidden], targets). Also returns what was
    tried: weight, penalty, validation loss and accuracy (or R²) of each.
    """
    mean, deviation = train[1].mean(axis=0, dtype=float), train[1].std(axis=0, dtype=float)
    deviation[deviation == 0] = 1
    tried: list[dict[str, Any]] = []
    best: CombinedRegression | None = None
    for weight in WEIGHTS:
        features = Features(k, strands, mean, weight / (deviation * np.sqrt(len(mean))))
        learned, held_out = features.of(*train[:2]), features.of(*validation[:2])
        for penalty in PENALTIES:
            model = CombinedRegression(
                problem, features, *fit_linear_model(problem, learned, train[2], penalty)
            )
            scores = held_out @ model.weights.T + model.intercepts
            found = tried_on(problem, validation[2], KINDS[problem].outputs(scores))
            if best is None or found["loss"] < min(result["loss"] for result in tried):
                best = model
            tried.append({"weight": weight, "penalty": penalty, **found})
        logger.info("weight %g: best loss so far %.4f", weight, min(result["loss"] for result in tried))
    assert best is not None
    return best, tried


class Combined:
    """A directory of `scripts/combine.py`, loaded once, for any number of sequences."""

    def __init__(self, directory: Path, device: "torch.device | str" = "cpu", bf16: bool = False):
        from dnalm.embed.embedding import load_backbone, read_model_config
        from dnalm.tokenizers.encoding import load_tokenizer

        about, model = read_json(directory / "combined.json"), directory / "language_model"
        try:
            tensors = load_file(directory / "combined.safetensors")
            features = Features(about["k"], about["strands"], tensors["mean"], tensors["scale"])
            self.problem, self.labels = about["problem"], about["labels"]
            self.regression = CombinedRegression(
                self.problem, features, tensors["weights"], tensors["intercepts"]
            )
            self.pooling, self.max_tokens = about["pooling"], about["max_tokens"]
        except (KeyError, FileNotFoundError, SafetensorError) as error:
            raise InputError(
                f"{directory}: not a complete directory of scripts/combine.py ({error}). Remove it and make "
                "it again."
            ) from None
        self.tokenizer, self.backbone = load_tokenizer(model), load_backbone(model, device)
        self.pad_id, self.bf16 = read_model_config(model)["pad_token_id"], bf16

    def outputs(
        self,
        sequences: list[str],
        batch_tokens: int | None = None,
        on_read: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Probabilities or values float64[n, n_labels].

        `on_read` is told how many more sequences the language model has read; None: the log is.
        """
        from dnalm.embed.embedding import embed_tokens
        from dnalm.tokenizers.encoding import encode

        tokens = encode(self.tokenizer, sequences, self.max_tokens)
        vectors = embed_tokens(
            self.backbone,
            tokens,
            pad_id=self.pad_id,
            batch_tokens=batch_tokens,
            bf16=self.bf16,
            on_read=on_read,
        )
        return self.regression.outputs(sequences, vectors[self.pooling])
