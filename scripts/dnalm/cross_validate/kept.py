"""What is kept of folds, so that an interrupted cross-validation goes on.

    <checkpoints>/<fingerprint>/
        settings.json        what the fingerprint stands for
        lock                 who trains here (dnalm.running.runlock)
        fold_1.json          a fold that is done: what is needed of it, and the SHA-256 of that
        fold_2/              the fold in work: its tables, and the predictors that are trained already
            costs.json       what its trainings took so far
            checkpoints/     those of fine-tuning through the model (dnalm.running.checkpoints)

Folds that are done stay when all of them are.
"""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnalm.evaluate.calibration import Fitted
from dnalm.running.checkpoints import fingerprint
from dnalm.running.files import write_json
from dnalm.running.runlock import check_held

logger = logging.getLogger("dnalm")


@dataclass(frozen=True)
class Fold:
    """What a cross-validation needs of a fold when its predictors are gone.

    outputs:  float64[n_tested, n_labels], of the sequences that the fold left out, in the table's order
    labels:   of the columns of `outputs`
    versions: of the packages that predicted
    fitted:   on the validation sequences; None but of classes
    trained:  what is said of the training; None of baselines and of k-mers beside embeddings
    cut:      of all sequences, how many are cut; None but of the last fold
    costs:    `seconds` and `cpu_seconds` of its trainings
    """

    outputs: np.ndarray
    labels: list[str]
    versions: dict[str, str]
    fitted: Fitted | None
    trained: dict[str, Any] | None
    cut: dict[str, Any] | None
    costs: dict[str, float]


def keep(path: Path, fold: Fold) -> None:
    """Write a fold that is done. Nothing is lost: JSON has every digit of a float64."""
    content = asdict(fold) | {"outputs": fold.outputs.astype(np.float64).tolist()}
    check_held()
    write_json(path, {"fold": content, "sha256": fingerprint(content)})


def read_kept(path: Path) -> Fold | None:
    """What :func:`keep` wrote; None where there is nothing, or something that is damaged."""
    try:
        kept = json.loads(path.read_bytes())
        content = kept["fold"]
        whole = kept["sha256"] == fingerprint(content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        logger.info("%s is damaged; this fold is trained again", path)
        return None
    fitted = Fitted(**content["fitted"]) if content["fitted"] else None
    return Fold(**content | {"outputs": np.array(content["outputs"]), "fitted": fitted})
