"""When the memory of a GPU runs out: half as much at once, and the step again."""

import gc
import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from dnalm.running.errors import InputError, Interrupted
from dnalm.running.files import read_json, write_json
from dnalm.running.world import SINGLE, World
from dnalm.tokenizers.batches import length_batches

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

logger = logging.getLogger("dnalm")

Input = TypeVar("Input")
Result = TypeVar("Result")
# Beside the checkpoints of a training (dnalm.running.checkpoints).
FILE = "micro_batch.json"
# Tokens that a model reads at once since memory ran out with more.
_fitting: "WeakKeyDictionary[nn.Module, int]" = WeakKeyDictionary()


def until_it_fits(work: Callable[[Input], Result], given: Input, halve: Callable[[Input], Input]) -> Result:
    """What `work` returns of `given`, or of what `halve` makes of it as often as memory runs out."""
    import torch

    while True:
        try:
            return work(given)
        except torch.OutOfMemoryError:
            # The tensors in its frames are free only after this block.
            pass
        # What stands in cycles of references is freed by the collector alone, which comes by rarely here.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        given = halve(given)


def halved(size: int, unit: str) -> int:
    """Half of `size`, at least 1; the log says so. Raises InputError if it is 1 already."""
    if size <= 1:
        raise InputError(
            f"memory ran out with a single one of the {unit} at once. Set gradient_checkpointing to true, "
            "lower max_tokens, or take a smaller model or a larger GPU."
        )
    size = -(-size // 2)
    logger.warning("memory ran out: going on with at most %s %s at once", f"{size:,}", unit)
    return size


def batches_that_fit(
    model: "nn.Module", read: Callable[[np.ndarray], Result], lengths: np.ndarray, batch_tokens: int
) -> Iterator[tuple[np.ndarray, Result]]:
    """Read sequences in batches of similar length; where memory runs out, fewer at once from then on.

    `lengths`: int[n], tokens per sequence. `read` puts a batch, int64 indices, through `model`, at most
    `batch_tokens` tokens with padding (:func:`dnalm.tokenizers.batches.length_batches`). Yields each batch
    with what `read` returned of it, together every index once. Nothing is read twice but what did not fit,
    and later calls with this model begin with what did. Raises InputError if a single sequence does not fit.
    """

    def first(batch: np.ndarray, limit: int) -> tuple[np.ndarray, Result]:
        part = batch[next(length_batches(lengths[batch], limit))]
        return part, read(part)

    def fewer(longest: int, tried: int) -> int:
        if tried < 2 * longest:
            raise InputError(
                f"memory ran out with a single sequence of {longest:,} tokens. Give shorter sequences, or "
                "take a smaller model or a GPU with more memory."
            )
        _fitting[model] = halved(tried, "tokens")
        return _fitting[model]

    for batch in length_batches(lengths, min(batch_tokens, _fitting.get(model, batch_tokens))):
        # The longest sequences stand first, so that a smaller batch is the beginning of a larger one.
        while len(batch):
            limit = min(batch_tokens, _fitting.get(model, batch_tokens))
            part, result = until_it_fits(partial(first, batch), limit, partial(fewer, int(lengths[batch[0]])))
            yield part, result
            batch = batch[len(part) :]


class MicroBatch:
    """How many lines a process of a training holds at once, as far as memory allows.

    `training`: the directory of its checkpoints, where the number that was found is kept for those who go
    on; its name is a fingerprint of what decides the result, which this number changes by rounding only.
    """

    def __init__(self, lines: int, training: Path | None = None):
        self.training = training
        self.lines = min(lines, kept_lines(training) or lines)

    def halve(self, world: World = SINGLE) -> None:
        """Memory ran out with `lines`. One of several processes leaves: the others wait for it in vain.

        Raises Interrupted then, and InputError if it was one line.
        """
        self.lines = halved(self.lines, "lines")
        if self.training is not None:
            write_json(self.training / FILE, {"lines": self.lines})
        if world.size > 1:
            raise Interrupted(
                f"memory ran out on a GPU: start it again to go on with {self.lines:,} lines at once."
            )


def kept_lines(training: Path | None) -> int | None:
    """The number of lines that was found to fit; None: memory has never run out."""
    # Listed: a node may remember for half a minute that there was no such file on a network file system.
    if training is None or not training.is_dir() or FILE not in os.listdir(training):
        return None
    return int(read_json(training / FILE)["lines"])


def checkpoint_gradients(model: "PreTrainedModel") -> None:
    """Have the model keep no more than the input of each layer while it learns, and compute the rest twice.

    Chen et al. 2016 (arXiv:1604.06174). Random numbers are drawn the same again, so the gradients are those
    of a model that keeps everything.
    """
    model.activation_checkpointing_enable({"use_reentrant": False})
    # Which also has the token embeddings ask for a gradient, as only reentrant checkpoints need: a backbone
    # of which the topmost layers learn would be gone through, and computed twice, down to its first.
    model.disable_input_require_grads()
