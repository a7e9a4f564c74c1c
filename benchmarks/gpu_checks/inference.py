"""Embeddings, predictions and the evaluation of a language model."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from dnalm.embed.embedding import embed_tokens, load_backbone, read_model_config
from dnalm.evaluate_language_model.scoring import choose_lines, hide_tokens, model_scores
from dnalm.evaluate_language_model.settings import EvaluateLanguageModelSettings
from dnalm.finetune import classifier
from dnalm.models.architecture import load_model
from dnalm.models.directory import quieten
from dnalm.tokenizers.encoding import encode
from gpu_checks.findings import Finding, agreement
from gpu_checks.place import CPU, LABELS, Place


def initial_weights(place: Place) -> dict[str, torch.Tensor]:
    """Of the classifier from which all start."""
    return classifier.initial_weights(place.model, len(LABELS), seed=1)


def save(place: Place, name: str, weights: dict[str, torch.Tensor]) -> Path:
    """A classifier directory."""
    directory = place.folder / name
    directory.mkdir()
    classifier.save_classifier(directory, place.model, weights, LABELS, "mean", 512)
    return directory


def check_inference(place: Place) -> Iterator[Finding]:
    """Embeddings and predictions of the GPU are the CPU's."""
    quieten()
    config = read_model_config(place.model)
    tokens = encode(place.vocabulary, place.sequences, 512)

    def embedded(device: torch.device, bf16: bool) -> np.ndarray:
        backbone = load_backbone(place.model, device)
        return embed_tokens(backbone, tokens, pad_id=config["pad_token_id"], bf16=bf16)["mean"]

    directory = save(place, "classifier", initial_weights(place))

    def predicted(device: torch.device, bf16: bool) -> np.ndarray:
        return classifier.Classifier(directory, device, bf16).outputs(place.sequences)

    ways: list[tuple[str, Callable[[torch.device, bool], np.ndarray], float, float]] = [
        ("embeddings", embedded, 1e-3, 0.05),
        ("probabilities", predicted, 1e-3, 0.02),
    ]
    for name, compute, exact, rough in ways:
        reference = compute(CPU, False)
        scale = max(1.0, float(np.abs(reference).max()))
        precisions = {"fp32": exact} | ({"bf16": rough} if place.bf16 else {})
        for precision, tolerance in precisions.items():
            apart = float(np.abs(compute(place.device, precision == "bf16") - reference).max()) / scale
            yield agreement(f"{name} in {precision} beside the CPU's", apart, tolerance)


def check_language_model(place: Place) -> Iterator[Finding]:
    """The language model's loss on held-out lines is the CPU's."""
    quieten()
    asked = EvaluateLanguageModelSettings(max_lines=place.sizes.lines_judged)
    lines = place.corpus("held_out").lines
    chosen = choose_lines(len(lines), asked.max_lines)
    hidden = hide_tokens(lines, chosen, place.vocabulary, asked.masking_probability, asked.seed)
    losses = []
    for device in (CPU, place.device):
        network = load_model(place.model, place.vocabulary).to(device).eval()
        losses.append(model_scores(network, hidden, place.vocabulary.pad_token_id, device).loss.mean())
    apart = abs(losses[1] - losses[0])
    yield Finding(
        "language model's evaluation beside the CPU's",
        f"loss {losses[1]:.4f}, perplexity {np.exp(losses[1]):.2f}; {apart:.1e} nats apart",
        "≤ 0.001 nats",
        bool(apart <= 0.001),
    )
