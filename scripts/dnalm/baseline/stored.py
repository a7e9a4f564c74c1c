"""Baselines as they were written: the majority class, the k-mer regressions, the convolutional network.

Apart from the training of each, so that training k-mers needs no torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from dnalm.baseline.gapped import GappedKmerRegression
from dnalm.baseline.predictors import KmerRegression, Majority
from dnalm.baseline.settings import baselines_of
from dnalm.problems.kinds import KINDS
from dnalm.running.errors import InputError
from dnalm.running.files import read_json


@dataclass
class ConvolutionalNetwork:
    """The network of `scripts/baseline_cnn.py`."""

    problem: str
    labels: list[str]
    network: Any  # MotifNetwork

    def outputs(self, sequences: list[str]) -> np.ndarray:
        """Probabilities or values float64[n_sequences, n_labels]."""
        from dnalm.baseline_cnn.network import encode_bases, predict_logits

        logits = predict_logits(self.network, encode_bases(sequences)).double().numpy()
        return KINDS[self.problem].outputs(logits)


def load_network(description: dict[str, Any], weights: Path) -> ConvolutionalNetwork:
    """The network that `baseline.json` describes, with its weights."""
    import safetensors.torch

    from dnalm.baseline_cnn.network import MotifNetwork

    settings = description["settings"]
    network = MotifNetwork(
        settings["cnn_filters"],
        settings["cnn_width"],
        len(description["labels"]),
        settings["strands"] == "both",
        deep=description["baseline"] == "deep_cnn",
    )
    network.load_state_dict(safetensors.torch.load_file(weights))
    return ConvolutionalNetwork(description["problem"], description["labels"], network)


Baseline = Majority | KmerRegression | GappedKmerRegression | ConvolutionalNetwork


def load_baseline(directory: str | Path) -> Baseline:
    """Load what `scripts/baseline.py` or `scripts/baseline_cnn.py` wrote.

    Raises InputError if the directory is no baseline.
    """
    directory = Path(directory)
    description = read_json(directory / "baseline.json")
    try:
        if description["baseline"] == "majority":
            frequencies = [description["frequencies"][label] for label in description["labels"]]
            return Majority(description["problem"], description["labels"], np.array(frequencies))
        if description["baseline"] in baselines_of("baseline_cnn"):
            return load_network(description, directory / "model.safetensors")
        tensors = load_file(directory / "model.safetensors")
        if description["baseline"] == "gapped_kmer":
            return GappedKmerRegression(
                description["problem"],
                description["labels"],
                description["chosen"]["features"],
                description["chosen"]["strands"],
                description["length"],
                tensors["weights"],
                tensors["intercepts"],
            )
        return KmerRegression(
            description["problem"],
            description["labels"],
            description["chosen"]["k"],
            description["chosen"]["strands"],
            tensors["weights"],
            tensors["intercepts"],
        )
    except (KeyError, FileNotFoundError, SafetensorError) as error:
        raise InputError(
            f"{directory}: not a complete baseline directory ({error}). Remove it and make it again."
        ) from None
