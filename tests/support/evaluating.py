"""Evaluation with plain settings where a test asks for nothing else."""

from pathlib import Path
from typing import Any

import evaluate
from dnalm.evaluate.settings import EvaluateSettings, StrandSettings


def evaluate_into(folder: Path, predictor: Path, test: Path, **others: Any) -> Path:
    """Write metrics.json, predictions.tsv and curves.json into `folder`, and return it."""
    options = {
        "kind": "model",
        "name": "tiny",
        "backbone": "frozen",
        "task": "toy",
        "validation": None,
        "positive": None,
        "settings": EvaluateSettings(bootstrap_samples=100),
        "strands": StrandSettings(),
        "batch_tokens": 1000,
        "gpus": 0,
        "allow_cpu": False,
        "metrics": folder / "metrics.json",
        "predictions": folder / "predictions.tsv",
        "curves": folder / "curves.json",
    }
    evaluate.main(predictor=predictor, test=test, **options | others)
    return folder
