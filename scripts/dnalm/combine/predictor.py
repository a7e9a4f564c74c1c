"""Logistic regression on k-mers and embeddings together.

A directory holds `combined.json` (labels, k, strands, pooling, max_tokens, weight, penalty, what was tried),
`combined.safetensors` (`weights` float64[n_classes, n_kmers + hidden], `intercepts` float64[n_classes], and
`mean` and `scale` float64[hidden] of the embeddings) and `language_model/`, the model that embeds.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sparse
from safetensors.numpy import load_file

from dnalm.baseline.predictors import (
    PENALTIES,
    fit_logistic_regression,
    kmer_features,
    softmax,
)
from dnalm.evaluate.metrics import losses
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
    """A multinomial logistic regression and its features."""

    features: Features
    weights: np.ndarray
    intercepts: np.ndarray

    def probabilities(self, sequences: list[str], vectors: np.ndarray) -> np.ndarray:
        """Class probabilities float64[n, n_classes]."""
        return softmax(self.features.of(sequences, vectors) @ self.weights.T + self.intercepts)


def train_combined(
    train: tuple[list[str], np.ndarray, np.ndarray],
    validation: tuple[list[str], np.ndarray, np.ndarray],
    k: int,
    strands: str,
) -> tuple[CombinedRegression, list[dict[str, Any]]]:
    """Fit one regression per weight of the embeddings and penalty; keep that with the lowest validation loss.

    `train` and `validation` are (sequences, embeddings float32[n, hidden], class numbers int64[n]). Also
    returns what was tried: weight, penalty, validation loss (nats) and accuracy of each.
    """
    mean, deviation = train[1].mean(axis=0, dtype=float), train[1].std(axis=0, dtype=float)
    deviation[deviation == 0] = 1
    tried: list[dict[str, Any]] = []
    best: CombinedRegression | None = None
    for weight in WEIGHTS:
        features = Features(k, strands, mean, weight / (deviation * np.sqrt(len(mean))))
        learned, held_out = features.of(*train[:2]), features.of(*validation[:2])
        for penalty in PENALTIES:
            weights, intercepts = fit_logistic_regression(learned, train[2], penalty)
            probabilities = softmax(held_out @ weights.T + intercepts)
            loss = round(float(losses(validation[2], probabilities).mean()), 6)
            accuracy = float((probabilities.argmax(axis=1) == validation[2]).mean())
            if best is None or loss < min(result["loss"] for result in tried):
                best = CombinedRegression(features, weights, intercepts)
            tried.append({"weight": weight, "penalty": penalty, "loss": loss, "accuracy": accuracy})
        logger.info("weight %g: best loss so far %.4f", weight, min(result["loss"] for result in tried))
    assert best is not None
    return best, tried


def predict_probabilities(
    directory: Path,
    sequences: list[str],
    batch_tokens: int | None = None,
    device: "torch.device | str" = "cpu",
) -> tuple[np.ndarray, list[str]]:
    """Probabilities float64[n, n_classes] of a directory of `scripts/combine.py`, and the class names."""
    from dnalm.embed.embedding import embed_tokens, load_backbone, read_model_config
    from dnalm.tokenizers.encoding import encode, load_tokenizer

    about, model = read_json(directory / "combined.json"), directory / "language_model"
    try:
        tensors = load_file(directory / "combined.safetensors")
        features = Features(about["k"], about["strands"], tensors["mean"], tensors["scale"])
        regression = CombinedRegression(features, tensors["weights"], tensors["intercepts"])
        labels, pooling, max_tokens = about["labels"], about["pooling"], about["max_tokens"]
    except (KeyError, FileNotFoundError) as error:
        raise InputError(f"{directory}: not made by scripts/combine.py ({error}).") from None
    tokens = encode(load_tokenizer(model), sequences, max_tokens)
    vectors = embed_tokens(
        load_backbone(model, device),
        tokens,
        pad_id=read_model_config(model)["pad_token_id"],
        batch_tokens=batch_tokens,
    )
    return regression.probabilities(sequences, vectors[pooling]), labels
