"""What a classifier learns from and is judged on: embeddings of sequences, or their tokens."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from dnalm.running.devices import usual_batch_tokens
from dnalm.running.memory import batches_that_fit, halved
from dnalm.running.progress import Progress
from dnalm.tokenizers.batches import length_batches, pad

# Batches whose sequences are sorted together by length. Batches of similar lengths waste little padding;
# a pool this large keeps them mixed enough to learn from.
BATCHES_PER_POOL = 32


@dataclass
class Vectors:
    """Examples for a `classifier.Head`: `vectors` float32[n, hidden], `labels` as `objectives` takes them."""

    vectors: torch.Tensor
    labels: torch.Tensor

    def drawn(self, seed: int, epoch: int) -> "Vectors":
        """The examples of an epoch: always these."""
        return self

    def batches(self, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
        """The batches of an epoch: int64 indices, a function of the arguments alone."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self.labels))
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    def parts(self, batch: np.ndarray) -> Iterator[np.ndarray]:
        """What of a batch goes through the model at once: here all of it."""
        yield batch

    def logits(self, module: nn.Module, indices: np.ndarray) -> torch.Tensor:
        """float32[n, classes]"""
        return module(self.vectors[indices])


@dataclass
class Tokens:
    """Examples for the whole model: `tokens`, an id array per sequence, `labels` as `objectives` takes them.

    No more than `batch_tokens` tokens go through the model at once; larger batches are split and their
    gradients added. `opposite`: the tokens of the reverse complements, where either strand may be read.
    """

    tokens: Sequence[np.ndarray]
    labels: torch.Tensor
    pad_id: int
    device: torch.device | str = "cpu"
    bf16: bool = False
    batch_tokens: int | None = None
    opposite: Sequence[np.ndarray] | None = None

    def __post_init__(self) -> None:
        self.lengths = np.array([len(ids) for ids in self.tokens])

    def drawn(self, seed: int, epoch: int) -> "Tokens":
        """The examples of an epoch: of each one strand, a function of the arguments alone."""
        if self.opposite is None:
            return self
        turned = np.random.default_rng([seed, epoch, 1]).random(len(self.tokens)) < 0.5
        strands = zip(self.tokens, self.opposite, turned, strict=True)
        return replace(self, tokens=[b if turn else a for a, b, turn in strands], opposite=None)

    def batches(self, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
        """The batches of an epoch, each of sequences of similar length, in random order."""
        generator = np.random.default_rng([seed, epoch])
        order = generator.permutation(len(self.labels))
        pool = batch_size * BATCHES_PER_POOL
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        order = np.concatenate([p[np.argsort(self.lengths[p], kind="stable")] for p in pools])
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        return [batches[i] for i in generator.permutation(len(batches))]

    def limit(self) -> int:
        """Tokens that go through the model at once."""
        return self.batch_tokens or usual_batch_tokens(self.device)

    def halve_parts(self) -> "Tokens":
        """Let half as many tokens through at once from now on."""
        self.batch_tokens = halved(self.limit(), "tokens")
        return self

    def parts(self, batch: np.ndarray) -> Iterator[np.ndarray]:
        """Split a batch so that no part holds more than `batch_tokens` tokens with padding."""
        limit = self.limit()
        for part in length_batches(self.lengths[batch], limit):
            yield batch[part]

    def logits(self, module: nn.Module, indices: np.ndarray) -> torch.Tensor:
        """float32[n, classes]"""
        inputs = pad([self.tokens[i] for i in indices], self.pad_id)
        inputs = {name: value.to(self.device, non_blocking=True) for name, value in inputs.items()}
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.bf16):
            return module(**inputs).logits.float()


Examples = Vectors | Tokens


@torch.inference_mode()
def predict_logits(
    module: nn.Module, examples: Examples, on_read: Callable[[int], None] | None = None
) -> torch.Tensor:
    """float32[n, classes], rows as in the examples, on the CPU; leaves the module in evaluation mode.

    `on_read` is told how many more sequences the module has read; None: the log is.
    """
    module.eval()
    if isinstance(examples, Vectors):
        return examples.logits(module, np.arange(len(examples.labels))).cpu()

    def read(part: np.ndarray) -> torch.Tensor:
        return examples.logits(module, part).cpu()

    on_read = on_read or Progress("predicting", total=len(examples.labels), unit="sequences").advance
    order, result = [], []
    for part, logits in batches_that_fit(module, read, examples.lengths, examples.limit()):
        order.append(part)
        result.append(logits)
        on_read(len(part))
    together = torch.cat(result)
    ordered = torch.empty_like(together)
    ordered[np.concatenate(order)] = together
    return ordered
