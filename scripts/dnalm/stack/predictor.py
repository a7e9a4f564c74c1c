"""A stacked predictor as it lies in a directory, and the predictors that it is made of.

A directory holds `stacked.json` (labels, the members with their weights, intercepts, how they were chosen)
and `members/NAME/`, the directory of each member, so that it predicts from sequences.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dnalm.problems.kinds import KINDS
from dnalm.problems.names import SINGLE_LABEL
from dnalm.running.errors import InputError
from dnalm.running.files import read_json
from dnalm.stack.regression import StackedRegression

if TYPE_CHECKING:
    import torch

DESCRIPTION = "stacked.json"
MEMBERS = "members"

OnRead = Callable[[int], None] | None
# Class probabilities float64[n, n_classes] of sequences, so many tokens at a time; who is told how many more
# sequences were read.
Reader = Callable[[Sequence[str], int | None, OnRead], np.ndarray]


class StackedClassifier:
    """A directory of scripts/stack.py, loaded once, for any number of sequences.

    `labels`: the class names in the order of the probabilities' columns. `cut`: how many of the sequences so
    far had more tokens than the first of its classifiers reads.
    """

    # What is stacked are the probabilities of classes.
    problem = KINDS[SINGLE_LABEL]

    def __init__(self, directory: Path, device: "torch.device | str" = "cpu", bf16: bool = False):
        about = read_json(directory / DESCRIPTION)
        try:
            self.labels: list[str] = about["labels"]
            self.regression = StackedRegression(
                np.array([member["weight"] for member in about["members"]]), np.array(about["intercepts"])
            )
            names = [member["name"] for member in about["members"]]
        except (KeyError, TypeError) as error:
            raise InputError(f"{directory}: not made by scripts/stack.py ({error}).") from None
        self.members = [open_member(directory / MEMBERS / name, device, bf16) for name in names]

    @property
    def cut(self) -> Any:
        """A :class:`dnalm.tokenizers.cut.Cut`, or None where no member is a classifier."""
        return next((member.cut for member in self.members if member.cut is not None), None)

    @property
    def readers(self) -> int:
        """How many members read each sequence."""
        return len(self.members)

    def outputs(
        self, sequences: Sequence[str], batch_tokens: int | None = None, on_read: OnRead = None
    ) -> np.ndarray:
        """Probabilities float64[n, classes], rows sum to 1, in the given order.

        `on_read` is told how many more sequences a member has read; None: the log is.
        """
        read = [
            member.probabilities(sequences, batch_tokens, self.labels, on_read) for member in self.members
        ]
        return self.regression.probabilities(np.stack(read))


class Member:
    """One of the predictors that are stacked: `labels`, and probabilities in the order of any labels."""

    def __init__(self, labels: list[str], read: Reader, classifier: Any = None):
        self.labels, self.read, self.classifier = labels, read, classifier

    @property
    def cut(self) -> Any:
        """What a classifier did not read; None for other members."""
        return self.classifier and self.classifier.cut

    def probabilities(
        self, sequences: Sequence[str], batch_tokens: int | None, labels: list[str], on_read: OnRead = None
    ) -> np.ndarray:
        """float64[n, classes], columns in the order of `labels`."""
        return self.read(sequences, batch_tokens, on_read)[:, [self.labels.index(label) for label in labels]]


def classifier_of(stacked: Path) -> Path | None:
    """The directory of the first classifier among the members."""
    names = [member["name"] for member in read_json(stacked / DESCRIPTION)["members"]]
    return next((stacked / MEMBERS / name for name in names if is_classifier(stacked / MEMBERS / name)), None)


def is_classifier(directory: Path) -> bool:
    """Whether a member is a classifier of scripts/finetune.py, told by its files."""
    return not (directory / "baseline.json").is_file() and not (directory / "combined.json").is_file()


def open_member(directory: Path, device: "torch.device | str" = "cpu", bf16: bool = False) -> Member:
    """Load a baseline, a regression on k-mers and embeddings, or a classifier, told apart by its files."""
    if (directory / "baseline.json").is_file():
        from dnalm.baseline.stored import load_baseline

        baseline = load_baseline(directory)

        def read(sequences: Sequence[str], _: int | None, on_read: OnRead) -> np.ndarray:
            outputs = baseline.outputs(list(sequences))
            if on_read:
                on_read(len(sequences))
            return outputs

        return Member(baseline.labels, read)
    if (directory / "combined.json").is_file():
        from dnalm.combine.predictor import Combined

        combined = Combined(directory, device, bf16)
        return Member(combined.labels, lambda sequences, *how: combined.outputs(list(sequences), *how))
    from dnalm.finetune.classifier import Classifier

    classifier = Classifier(directory, device, bf16)
    return Member(classifier.labels, classifier.outputs, classifier)
