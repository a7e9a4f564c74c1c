"""A small convolutional network on one-hot DNA that pools both strands.

The design of DeepBind (Alipanahi et al. 2015, doi:10.1038/nbt.3300): motif detectors slide over a sequence
and over its reverse complement (unless the strand matters), the stronger of the two answers at each place
counts, the answers are rectified and pooled over the sequence by maximum and mean, and a dense layer reads
the pooled values. Batch normalisation and AdamW, both younger, make it learn within few epochs.

Deep, it has a second convolution between the rectified answers and the pooling, which sees how motifs stand
to each other (as in Basset, Kelley et al. 2016, doi:10.1101/gr.200535.115). Of neighbouring answers it reads
the strongest, and what it finds is added to them.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

DENSE_UNITS = 64
DROPOUT = 0.3
PADDING = 5
# Answers of the motifs that a second convolution reads as one, and how many of these it sees at once.
NEIGHBOURS = 4
SECOND_WIDTH = 5


class MotifNetwork(nn.Module):
    """Maps bases int64[n, length] (0 to 3; 4: any other letter; 5: padding) to logits float32[n, classes].

    With `both_strands` a sequence and its reverse complement have the same logits, of a `deep` network in
    evaluation mode: it reads one strand of each batch in training and both strands in evaluation.
    """

    one_hot: torch.Tensor

    def __init__(self, filters: int, width: int, classes: int, both_strands: bool = True, deep: bool = False):
        super().__init__()
        self.both_strands, self.deep = both_strands, deep
        self.motifs = nn.Conv1d(4, filters, width)
        self.norm = nn.BatchNorm1d(filters)
        self.drop = nn.Dropout(DROPOUT)
        if deep:
            self.second = nn.Conv1d(filters, filters, SECOND_WIDTH, padding="same")
            self.second_norm = nn.BatchNorm1d(filters)
        self.dense = nn.Linear(2 * filters, DENSE_UNITS)
        self.output = nn.Linear(DENSE_UNITS, classes)
        # Other letters and padding are zeros.
        self.register_buffer("one_hot", torch.eye(6, 4), persistent=False)

    def forward(self, bases: torch.Tensor) -> torch.Tensor:
        if not (self.deep and self.both_strands):
            return self.read(bases)
        if not self.training:
            return (self.read(bases) + self.read(turn(bases))) / 2
        return self.read(turn(bases) if torch.rand(()) < 0.5 else bases)

    def read(self, bases: torch.Tensor) -> torch.Tensor:
        """The logits of these bases, read as they stand."""
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
        answers = answers * places_before(reach, answers.shape[2])
        if self.deep:
            answers = nn.functional.max_pool1d(answers, NEIGHBOURS, ceil_mode=True)
            reach = -(-reach // NEIGHBOURS)
            found = nn.functional.relu(self.second_norm(self.second(self.drop(answers))))
            answers = answers + found * places_before(reach, found.shape[2])
        pooled = torch.cat([answers.amax(dim=2), answers.sum(dim=2) / reach], dim=1)
        return self.output(self.drop(nn.functional.relu(self.dense(self.drop(pooled)))))


def places_before(reach: torch.Tensor, places: int) -> torch.Tensor:
    """bool[n, 1, places]: whether a place is before the end, int64[n, 1]."""
    return (torch.arange(places, device=reach.device)[None] < reach)[:, None]


def turn(bases: torch.Tensor) -> torch.Tensor:
    """The reverse complements of bases int64[n, length], padded on the right as they are."""
    lengths = (bases != PADDING).sum(dim=1, keepdim=True)
    place = lengths - 1 - torch.arange(bases.shape[1], device=bases.device)
    opposite = torch.tensor([3, 2, 1, 0, 4], device=bases.device)
    turned = opposite[bases.gather(1, place.clamp(min=0)).clamp(max=4)]
    return torch.where(place >= 0, turned, PADDING)


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
