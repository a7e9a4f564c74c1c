"""A small convolutional network on one-hot DNA that pools both strands.

The design of DeepBind (Alipanahi et al. 2015, doi:10.1038/nbt.3300): motif detectors slide over a sequence
and over its reverse complement (unless the strand matters), the stronger of the two answers at each place
counts, the answers are rectified and pooled over the sequence by maximum and mean, and a dense layer reads
the pooled values. Batch normalisation and AdamW, both younger, make it learn within few epochs.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

DENSE_UNITS = 64
DROPOUT = 0.3
PADDING = 5


class MotifNetwork(nn.Module):
    """Maps bases int64[n, length] (0 to 3; 4: any other letter; 5: padding) to logits float32[n, classes].

    With `both_strands` a sequence and its reverse complement have the same logits.
    """

    one_hot: torch.Tensor

    def __init__(self, filters: int, width: int, classes: int, both_strands: bool = True):
        super().__init__()
        self.both_strands = both_strands
        self.motifs = nn.Conv1d(4, filters, width)
        self.norm = nn.BatchNorm1d(filters)
        self.drop = nn.Dropout(DROPOUT)
        self.dense = nn.Linear(2 * filters, DENSE_UNITS)
        self.output = nn.Linear(DENSE_UNITS, classes)
        # Other letters and padding are zeros.
        self.register_buffer("one_hot", torch.eye(6, 4), persistent=False)

    def forward(self, bases: torch.Tensor) -> torch.Tensor:
        width = self.motifs.kernel_size[0]
        # Motifs may lie across the ends, as far on the left as on the right.
        columns = nn.functional.pad(self.one_hot[bases].transpose(1, 2), (width - 1, width - 1))
        answers = self.motifs(columns)
        if self.both_strands:
            # A motif on the other strand is the motif read backwards with complementary bases.
            turned = nn.functional.conv1d(columns, self.motifs.weight.flip(1, 2), self.motifs.bias)
            answers = torch.maximum(answers, turned)
        answers = nn.functional.relu(self.norm(answers))
        # The places of padding, which are no places of the sequence, count for nothing.
        reach = (bases != PADDING).sum(dim=1, keepdim=True) + width - 1
        inside = torch.arange(answers.shape[2], device=bases.device)[None] < reach
        answers = answers * inside[:, None]
        pooled = torch.cat([answers.amax(dim=2), answers.sum(dim=2) / reach], dim=1)
        return self.output(self.drop(nn.functional.relu(self.dense(self.drop(pooled)))))


def encode_bases(sequences: Sequence[str]) -> list[np.ndarray]:
    """int64[length] each: 0 to 3 for A, C, G, T, 4 for any other letter."""
    digits = np.full(256, 4)
    digits[np.frombuffer(b"ACGT", np.uint8)] = range(4)
    return [digits[np.frombuffer(sequence.encode("ascii"), np.uint8)] for sequence in sequences]


def pad_bases(bases: Sequence[np.ndarray]) -> torch.Tensor:
    """int64[n, longest], padded on the right."""
    padded = np.full((len(bases), max(map(len, bases))), PADDING)
    for row, of_sequence in zip(padded, bases, strict=True):
        row[: len(of_sequence)] = of_sequence
    return torch.from_numpy(padded)


def predict_logits(network: MotifNetwork, bases: Sequence[np.ndarray], batch: int = 256) -> torch.Tensor:
    """float32[n, classes]; leaves the network in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        parts = [network(pad_bases(bases[i : i + batch])) for i in range(0, len(bases), batch)]
    return torch.cat(parts)
