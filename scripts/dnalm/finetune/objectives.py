"""The loss that each kind of task is trained by: what Transformers takes for the same `problem_type`."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from dnalm.problems.kinds import KINDS
from dnalm.problems.names import MULTI_LABEL, REGRESSION, SINGLE_LABEL


@dataclass
class TargetScale:
    """Mean and standard deviation of the values that a regression learned from."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: torch.Tensor) -> "TargetScale":
        """That of float32[n, 1]; values that are all the same have the deviation 1."""
        deviation, mean = torch.std_mean(values.double(), correction=0)
        return cls(mean.item(), deviation.item() or 1.0)

    def applied(self, values: torch.Tensor) -> torch.Tensor:
        """float32[n, 1] of mean 0 and standard deviation 1."""
        return ((values.double() - self.mean) / self.deviation).float()

    def folded(self, output: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weights whose last layer, called `output`, says values as they were measured."""
        matrix, bias = weights[f"{output}.weight"].double(), weights[f"{output}.bias"].double()
        scaled = {"weight": matrix * self.deviation, "bias": bias * self.deviation + self.mean}
        return weights | {f"{output}.{name}": value.float() for name, value in scaled.items()}


def as_targets(targets: np.ndarray) -> torch.Tensor:
    """Targets of `dnalm.problems` as what the loss takes: int64[n] or float32[n, n_labels]."""
    return torch.from_numpy(targets if targets.dtype == np.int64 else targets.astype(np.float32))


def weigh_labels(problem: str, targets: torch.Tensor, how: str) -> torch.Tensor | None:
    """Weights that make rare labels count as much as frequent ones; None: all count alike.

    float32[classes] of mean 1 over `targets` (all classes among them), with several labels float32[n_labels],
    the weight of carrying each. Values have none.
    """
    if how == "none" or problem == REGRESSION:
        return None
    if problem == MULTI_LABEL:
        carrying = targets.sum(dim=0)
        return (len(targets) - carrying) / carrying.clamp(min=1)
    counts = torch.bincount(targets)
    return len(targets) / (len(counts) * counts.float())


def loss(
    problem: str,
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
    summed: bool = False,
) -> torch.Tensor:
    """Mean loss, or `summed` over the sequences, of logits [n, n_labels].

    Cross-entropy of one class, mean binary cross-entropy of several labels (both nats, weighted), squared
    error of a value. `label_smoothing` concerns the first two.
    """
    if problem == SINGLE_LABEL:
        reduction = "sum" if summed else "mean"
        return nn.functional.cross_entropy(
            logits, targets, weights, reduction=reduction, label_smoothing=label_smoothing
        )
    if problem == REGRESSION:
        of_sequence = (logits - targets).square()[:, 0]
    else:
        smoothed = targets * (1 - label_smoothing) + label_smoothing / 2
        of_sequence = nn.functional.binary_cross_entropy_with_logits(
            logits, smoothed.to(logits.dtype), pos_weight=weights, reduction="none"
        ).mean(dim=1)
    return of_sequence.sum() if summed else of_sequence.mean()


def evaluate(
    problem: str, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> dict[str, float]:
    """Mean `loss`, and `accuracy` (of classes, or of single labels) or `r2` of values."""
    logits = logits.double()
    weights = None if weights is None else weights.double()
    measured = loss(problem, logits, targets, weights).item()
    kind = KINDS[problem]
    return {"loss": measured} | kind.accuracy(targets.numpy(), kind.outputs(logits.numpy()))
