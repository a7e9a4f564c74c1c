"""Steps with plain settings where a test asks for nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import embed
import evaluate
import prepare_task
from dnalm.evaluate.settings import EvaluateSettings, StrandSettings
from dnalm.finetune.settings import SequenceSettings
from dnalm.running.files import read_json

PLAIN = {"name": "tiny", "task": "toy", "gpus": 0, "allow_cpu": False}


def prepare_into(folder: Path, train: Path, test: Path | None, **others: Any) -> dict[str, Any]:
    """Write the splits and checks.json into `folder`, and return the checks."""
    files = {f"output_{split}": folder / f"{split}.tsv" for split in ("train", "validation", "test")}
    options = {"task": "toy", "validation": None, "checks": folder / "checks.json"} | files | others
    prepare_task.main(train=train, test=test, **options)
    return read_json(options["checks"])


def embed_into(folder: Path, model: Path, tables: Mapping[str, Path], **others: Any) -> dict[str, Path]:
    """Write the embeddings of each split's table into `folder`, and return their paths by split."""
    vectors = {split: folder / f"{split}.npz" for split in tables}
    files = {"sequences": list(tables.values()), "split": list(tables), "output": list(vectors.values())}
    settings = {"settings": SequenceSettings(), "batch_tokens": None, "precision": "fp32"}
    embed.main(model=model, **files, **PLAIN | settings | others)
    return vectors


def evaluate_into(folder: Path, predictor: Path, test: Path, **others: Any) -> Path:
    """Write metrics.json, predictions.tsv and curves.json into `folder`, and return it."""
    files = {
        "metrics": folder / "metrics.json",
        "predictions": folder / "predictions.tsv",
        "curves": folder / "curves.json",
    }
    settings = {
        "kind": "model",
        "backbone": "frozen",
        "validation": None,
        "positive": None,
        "settings": EvaluateSettings(bootstrap_samples=100),
        "strands": StrandSettings(),
        "batch_tokens": 1000,
    }
    evaluate.main(predictor=predictor, test=test, **files, **PLAIN | settings | others)
    return folder
