"""Training of the convolutional network."""

import logging
from typing import Any

import numpy as np
import torch
from torch import nn

from dnalm.baseline_cnn.network import MotifNetwork, encode_bases, pad_bases, predict_logits
from dnalm.baseline_cnn.settings import CnnSettings
from dnalm.models.optimization import adamw, learning_rate_factor, set_learning_rate
from dnalm.running.progress import Progress

logger = logging.getLogger("dnalm")

WARMUP_FRACTION = 0.05
WEIGHT_DECAY = 0.01


def train_network(
    train: tuple[list[str], np.ndarray],
    validation: tuple[list[str], np.ndarray],
    n_classes: int,
    settings: CnnSettings,
) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """The weights of the epoch with the lowest validation loss, and the log: one record per epoch.

    `train` and `validation` are (sequences, class numbers int64[n]). A record holds epoch, loss (of
    training), validation_loss (both nats) and validation_accuracy. Computes with one thread, so that sums
    come out the same on every machine.
    """
    torch.set_num_threads(1)
    torch.manual_seed(settings.cnn_seed)
    network = MotifNetwork(settings.cnn_filters, settings.cnn_width, n_classes)
    optimizer = adamw(network, settings.cnn_learning_rate, WEIGHT_DECAY)
    bases, held_out = encode_bases(train[0]), encode_bases(validation[0])
    classes, truth = torch.tensor(train[1]), torch.tensor(validation[1])
    steps = settings.cnn_epochs * max(1, len(bases) // settings.cnn_batch_size)
    progress = Progress("training the network", total=steps, unit="steps")
    log: list[dict[str, Any]] = []
    best: dict[str, torch.Tensor] = {}
    step = 0
    for epoch in range(1, settings.cnn_epochs + 1):
        losses = []
        network.train()
        for batch in epoch_batches(len(bases), settings.cnn_batch_size, settings.cnn_seed, epoch):
            factor = learning_rate_factor("linear", step, steps, WARMUP_FRACTION)
            set_learning_rate(optimizer, settings.cnn_learning_rate * factor)
            optimizer.zero_grad(set_to_none=True)
            logits = network(pad_bases([bases[i] for i in batch]))
            loss = nn.functional.cross_entropy(logits, classes[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            step += 1
            progress.update(step, note=f"loss {losses[-1]:.4f}")
        logits = predict_logits(network, held_out)
        record = {
            "epoch": epoch,
            "loss": float(np.mean(losses)),
            # Six digits: the choice must not hang on the last bit of another machine's arithmetic.
            "validation_loss": round(nn.functional.cross_entropy(logits.double(), truth).item(), 6),
            "validation_accuracy": (logits.argmax(dim=1) == truth).double().mean().item(),
        }
        if not log or record["validation_loss"] < min(r["validation_loss"] for r in log):
            best = {name: value.clone() for name, value in network.state_dict().items()}
        log.append(record)
    return best, log


def epoch_batches(n: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of an epoch: int64 indices in random order, each of `batch_size` or a few more.

    So none has a single sequence, which batch normalisation could not learn from.
    """
    order = np.random.default_rng([seed, epoch]).permutation(n)
    return np.array_split(order, max(1, n // batch_size))
