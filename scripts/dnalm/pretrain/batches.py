"""What a pretraining run sees in which step: the order of the lines, batches and masks.

Nothing here keeps a random state. The order of the lines is a function of (seed, epoch), a mask of
(seed, epoch, line). A run that goes on at step s therefore sees what it would have seen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from dnalm.pretrain.masking import TRAINING, line_generator, mask_tokens
from dnalm.pretrain.settings import MaskingSettings
from dnalm.running.world import SINGLE, World
from dnalm.tokenize_windows.context import ContextLines
from dnalm.tokenizers.batches import IGNORED, pad
from dnalm.tokenizers.special_tokens import overlapping_kmer_length

# Lines that are sorted by length together. Batches of 32 drawn from 3,200 lines waste under 0.2% on
# padding and are still mixed well.
BATCHES_PER_POOL = 100

# Streams of random numbers for the order of lines; those of the masks are in dnalm.pretrain.masking.
_LINE_ORDER, _BATCH_ORDER = 2, 3


@dataclass(frozen=True)
class Vocabulary:
    """What the batches need of the tokenizer: its size, the ids of its special tokens, whether tokens share
    bases with their neighbours.
    """

    size: int
    special_ids: tuple[int, ...]
    mask_id: int
    pad_id: int
    cls_id: int
    sep_id: int
    overlapping: bool = False

    @classmethod
    def of(cls, tokenizer: Any) -> "Vocabulary":
        return cls(
            size=len(tokenizer),
            special_ids=tuple(sorted(tokenizer.all_special_ids)),
            mask_id=tokenizer.mask_token_id,
            pad_id=tokenizer.pad_token_id,
            cls_id=tokenizer.cls_token_id,
            sep_id=tokenizer.sep_token_id,
            overlapping=overlapping_kmer_length(tokenizer.get_vocab()) is not None,
        )


# ----------------------------------------------------------------------------- order


def batches_per_epoch(n_lines: int, batch_size: int) -> int:
    """Optimizer steps in one pass over the lines; the lines left over change from epoch to epoch."""
    return max(1, n_lines // batch_size)


def epoch_batches(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """The batches of one epoch in their order: int64[n_batches, batch_size] of line indices.

    Lines of similar length stand together; within that, the order of lines and of batches is random. A
    function of the arguments alone. With fewer lines than `batch_size` there is one, smaller batch.
    """
    n = len(lengths)
    batch_size = min(batch_size, n)
    count = batches_per_epoch(n, batch_size)
    # argsort of random numbers: unlike `permutation`, its result cannot change with numpy's version.
    order = np.argsort(line_generator(seed, epoch, 0, _LINE_ORDER).random(n), kind="stable")
    order = order[: count * batch_size]
    for start in range(0, len(order), BATCHES_PER_POOL * batch_size):
        pool = order[start : start + BATCHES_PER_POOL * batch_size]
        pool[:] = pool[np.argsort(lengths[pool], kind="stable")]
    batches = order.reshape(count, batch_size)
    return batches[np.argsort(line_generator(seed, epoch, 0, _BATCH_ORDER).random(count), kind="stable")]


def evaluation_lines(n_lines: int, limit: int) -> np.ndarray:
    """At most `limit` line indices, evenly spread over all `n_lines`: int64[m], ascending."""
    count = min(n_lines, limit)
    return np.arange(count, dtype=np.int64) * n_lines // max(count, 1)


# ----------------------------------------------------------------------------- batches


class Corpus:
    """Lines (or pieces) of tokens, as the model reads them, and how they become masked micro-batches."""

    def __init__(
        self,
        lines: ContextLines,
        vocabulary: Vocabulary,
        masking: MaskingSettings,
        *,
        seed: int,
        pad_to_multiple_of: int = 1,
    ):
        self.lines, self.vocabulary, self.masking = lines, vocabulary, masking
        self.seed, self.pad_to_multiple_of = seed, pad_to_multiple_of
        self.lengths = lines.lengths
        # Tokens that an evaluation can judge at once, after it has run out of memory with more.
        self.fitting_tokens: int | None = None

    def micro_batch(
        self, indices: Sequence[int] | np.ndarray, epoch: int, stream: int
    ) -> dict[str, torch.Tensor]:
        """The masked lines `indices` as `input_ids`, `labels` and, if padded, `attention_mask`: int64[n, T].

        `selected`: places of the tokens with a label in the flattened batch; `masked`: which of those are
        [MASK]; int64. A GPU that had to count them would make the CPU wait at every step.
        Each mask is a function of (seed, epoch, line). No lines at all (more processes than lines) give
        one empty sequence without labels, so that every process takes part in every step.
        """
        vocabulary, masking = self.vocabulary, self.masking
        masked = [
            mask_tokens(
                self.lines.line(int(index)),
                special_ids=vocabulary.special_ids,
                vocabulary_size=vocabulary.size,
                mask_id=vocabulary.mask_id,
                probability=masking.probability,
                mask_fraction=masking.mask_token,
                random_fraction=masking.random_token,
                span_tokens=masking.span_tokens,
                same_fate=vocabulary.overlapping,
                generator=line_generator(self.seed, epoch, int(index), stream),
            )
            for index in indices
        ]
        if not masked:
            masked = [(np.array([vocabulary.cls_id, vocabulary.sep_id]), np.full(2, IGNORED))]
        tokens, labels = zip(*masked, strict=True)
        batch = pad(tokens, vocabulary.pad_id, labels=labels, multiple_of=self.pad_to_multiple_of)
        selected = np.flatnonzero(batch["labels"].numpy() != IGNORED)
        hidden = np.flatnonzero(batch["input_ids"].numpy().ravel()[selected] == vocabulary.mask_id)
        return batch | {"selected": torch.from_numpy(selected), "masked": torch.from_numpy(hidden)}


def deal(batch: np.ndarray, world: World, micro_batches: int) -> list[np.ndarray]:
    """The lines of each of this process's micro-batches; may be none.

    A batch is dealt out like cards to all processes' micro-batches.
    """
    hands = world.size * micro_batches
    return [batch[number * world.size + world.rank :: hands] for number in range(micro_batches)]


class TrainingBatches(Dataset):
    """Item s: this process's micro-batches of the step that follows s steps. Made in any order by anybody.

    `micro_batch_size`: lines that a process holds at once; without it, all that it has.
    """

    def __init__(
        self,
        corpus: Corpus,
        steps: int,
        batch_size: int,
        micro_batch_size: int | None = None,
        world: World = SINGLE,
    ):
        self.corpus, self.steps, self.world = corpus, steps, world
        self.batch_size = min(batch_size, len(corpus.lengths))
        self.micro_batch_size = micro_batch_size or batch_size
        self.per_epoch = batches_per_epoch(len(corpus.lengths), self.batch_size)
        self._epoch, self._batches = -1, np.empty((0, 0), np.int64)

    def __len__(self) -> int:
        return self.steps

    @property
    def micro_batches(self) -> int:
        """In how many forward passes each of the processes works through its part of a batch."""
        return math.ceil(math.ceil(self.batch_size / self.world.size) / self.micro_batch_size)

    def batch(self, step: int) -> tuple[int, np.ndarray]:
        """(epoch, lines of the whole batch over all processes) of the step that follows `step` steps."""
        epoch = step // self.per_epoch
        if epoch != self._epoch:
            self._batches = epoch_batches(self.corpus.lengths, self.batch_size, self.corpus.seed, epoch)
            self._epoch = epoch
        return epoch, self._batches[step % self.per_epoch]

    def tokens(self, step: int) -> int:
        """Tokens in the whole batch of that step, [CLS] and [SEP] included, padding not."""
        return int(self.corpus.lengths[self.batch(step)[1]].sum())

    def __getitem__(self, step: int) -> list[dict[str, torch.Tensor]]:
        epoch, batch = self.batch(step)
        return [
            self.corpus.micro_batch(lines, epoch, TRAINING)
            for lines in deal(batch, self.world, self.micro_batches)
        ]


# ----------------------------------------------------------------------------- from process to process


class PackedBatches(Dataset):
    """:class:`TrainingBatches` for workers, whose items are :class:`Packed`."""

    def __init__(self, batches: TrainingBatches):
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> "Packed":
        return Packed.of(self.batches[step])


@dataclass(frozen=True)
class Packed:
    """The micro-batches of a step on their way to another process.

    No tensors: a worker hands over each of those as an open file in shared memory. A step of hundreds of
    micro-batches would need more than the 1,024 files that a process usually may have open, one of a million
    tokens more than the 64 MB that a container has. This goes through a pipe, at some 10 million tokens/s.

    numbers: int32[n] or int64[n], the tensors' one behind the other. shapes: of the tensors, by name.
    """

    numbers: np.ndarray | torch.Tensor
    shapes: list[dict[str, tuple[int, ...]]]

    @classmethod
    def of(cls, micro_batches: list[dict[str, torch.Tensor]]) -> "Packed":
        tensors = [tensor for batch in micro_batches for tensor in batch.values()]
        return cls(
            np.concatenate([tensor.numpy().ravel() for tensor in tensors], dtype=np.int32),
            [{name: tuple(tensor.shape) for name, tensor in batch.items()} for batch in micro_batches],
        )

    def pin_memory(self) -> "Packed":
        """The same in memory that a GPU copies from by itself, as int64. DataLoader calls this."""
        return replace(self, numbers=torch.as_tensor(self.numbers).long().pin_memory())

    def unpacked(self) -> list[dict[str, torch.Tensor]]:
        """The micro-batches: views of one tensor, int64."""
        sizes = [math.prod(shape) for batch in self.shapes for shape in batch.values()]
        parts = iter(torch.as_tensor(self.numbers).long().split(sizes))
        return [{name: next(parts).view(*shape) for name, shape in batch.items()} for batch in self.shapes]
