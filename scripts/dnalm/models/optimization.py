"""AdamW, its learning rate and its state: the same for pretraining and for fine-tuning."""

import math
from collections.abc import Mapping

import torch
from torch import nn

from dnalm.models.sharding import on_cpu, share


def adamw(
    module: nn.Module, learning_rate: float, weight_decay: float, beta2: float = 0.999
) -> torch.optim.AdamW:
    """AdamW over the parameters that learn; weight decay acts on matrices, not on norms and biases.

    beta2: how slowly the mean of squared gradients forgets. The default, PyTorch's, is that of classifiers
    and of the convolutional network; pretraining has a setting of its own.
    """
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, beta2), fused=True)


def learning_rate_factor(
    schedule: str, step: int, steps: int, warmup_fraction: float, decay_fraction: float = 0.0
) -> float:
    """The share of the highest learning rate that step 0 … steps - 1 is made with.

    It rises linearly from 0 over the first `warmup_fraction` of the steps, then follows half a cosine
    towards 0, a line towards 0, or stays; in `warmup_stable_decay` to the last `decay_fraction` of all steps,
    in which it falls to 0 as 1 - √x (Hägele et al. 2024). The same numbers as Transformers' schedulers of
    these names; a formula of the step, so that nothing of it has to be saved.
    """
    warmup = math.ceil(steps * warmup_fraction)
    if step < warmup:
        return step / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    if schedule == "linear":
        return 1.0 - progress
    if schedule == "constant_with_warmup":
        return 1.0
    if schedule == "warmup_stable_decay":
        decay = min(math.ceil(steps * decay_fraction), steps - warmup)
        return 1.0 - math.sqrt(max(0, step - (steps - decay)) / max(1, decay))
    raise ValueError(f"unknown schedule {schedule}")


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Make the next step with this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def optimizer_state(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimizer's tensors by `<kind>/<parameter>` (AdamW: exp_avg, exp_avg_sq, step), on the CPU."""
    return {
        f"{kind}/{name}": on_cpu(value)
        for name, parameter in module.named_parameters()
        for kind, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer_state(
    module: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Put back what :func:`optimizer_state` gave."""
    parameters = dict(module.named_parameters())
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        parameter = parameters[name]
        # The fused AdamW keeps its float32 step count on the device, like the other tensors.
        optimizer.state[parameter][kind] = share(value, parameter)
