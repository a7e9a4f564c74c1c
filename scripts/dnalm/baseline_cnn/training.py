"""Training of the convolutional network."""

from typing import Any

import numpy as np
import torch

from dnalm.baseline_cnn.network import MotifNetwork, encode_bases, pad_bases, predict_logits
from dnalm.baseline_cnn.settings import CnnSettings
from dnalm.finetune.objectives import TargetScale, as_targets, evaluate, loss
from dnalm.models.optimization import adamw, learning_rate_factor, set_learning_rate
from dnalm.problems.names import REGRESSION
from dnalm.running.progress import Progress

WARMUP_FRACTION = 0.05
WEIGHT_DECAY = 0.01


def train_network(
    problem: str,
    train: tuple[list[str], np.ndarray],
    validation: tuple[list[str], np.ndarray],
    n_labels: int,
    settings: CnnSettings,
    both_strands: bool,
    deep: bool,
) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """The weights of the epoch with the lowest validation loss, and the log: one record per epoch.

    `train` and `validation` are (sequences, targets). A record holds epoch, loss (of training),
    validation_loss and validation_accuracy (or validation_r2). Values are learned standardised, so these
    losses are in units of their variance; the weights say them as they were given. Computes with one thread,
    so that sums come out the same on every machine.
    """
    torch.set_num_threads(1)
    torch.manual_seed(settings.cnn_seed)
    network = MotifNetwork(settings.cnn_filters, settings.cnn_width, n_labels, both_strands, deep)
    optimizer = adamw(network, settings.cnn_learning_rate, WEIGHT_DECAY)
    bases, held_out = encode_bases(train[0]), encode_bases(validation[0])
    targets, truth = as_targets(train[1]), as_targets(validation[1])
    values = TargetScale.of(targets) if problem == REGRESSION else None
    if values:
        targets, truth = values.applied(targets), values.applied(truth)
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
            mean_loss = loss(problem, logits, targets[batch])
            mean_loss.backward()
            optimizer.step()
            losses.append(mean_loss.item())
            step += 1
            progress.update(step, note=f"loss {losses[-1]:.4f}")
        measured = evaluate(problem, predict_logits(network, held_out), truth)
        record = {"epoch": epoch, "loss": float(np.mean(losses))}
        # Six digits: the choice must not hang on the last bit of another machine's arithmetic.
        record["validation_loss"] = round(measured.pop("loss"), 6)
        record |= {f"validation_{name}": value for name, value in measured.items()}
        if not log or record["validation_loss"] < min(r["validation_loss"] for r in log):
            best = {name: value.clone() for name, value in network.state_dict().items()}
        log.append(record)
    return values.folded("output", best) if values else best, log


def epoch_batches(n: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of an epoch: int64 indices in random order, at least `batch_size` in each, less than twice
    as many.

    What is left over is dealt out to all, so that no batch has a single sequence, which batch normalisation
    could not learn from. Fewer sequences than `batch_size` are one batch.
    """
    order = np.random.default_rng([seed, epoch]).permutation(n)
    return np.array_split(order, max(1, n // batch_size))
