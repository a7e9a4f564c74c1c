"""One network spread over the GPUs of a training: each keeps its shares of all tensors (FSDP).

PyTorch's fully_shard (ZeRO-3, Rajbhandari et al. 2020, arXiv:1910.02054): a layer is put together where it
computes and let go afterwards. Checkpoints hold whole tensors, so a training can go on with another number of
processes, or without sharding.
"""

from typing import Any

import torch
from torch import nn

from dnalm.models.families import FAMILIES


def shard(model: Any, device: torch.device, processes: int) -> None:
    """Spread a `dnalm.pretrain.training.MaskedTokenLoss` on the CPU over the devices of all processes.

    Called by all of them, before there is an optimizer.
    """
    # They take seconds to import, which most trainings spare.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (processes,))
    family = FAMILIES[model.network.config.model_type]
    for layer in model.network.get_submodule(family.layers):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "selected_logits")


def is_sharded(model: nn.Module) -> bool:
    """Whether :func:`shard` was called."""
    return hasattr(model, "unshard")


def together(tensor: torch.Tensor) -> torch.Tensor:
    """The whole of a tensor that may be spread, in all processes, which all call this."""
    spread: Any = tensor
    return spread.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    """:func:`together` on the CPU; of what is spread only in the first process, which saves."""
    whole = together(tensor.detach())
    if hasattr(tensor, "full_tensor") and torch.distributed.get_rank() > 0:
        return torch.empty(0)
    return whole.cpu().contiguous()


def share(tensor: torch.Tensor, like: Any) -> torch.Tensor:
    """This process's share of a whole tensor, spread as the parameter `like` is, and on its device."""
    if not hasattr(like, "device_mesh") or tensor.ndim == 0:
        return tensor.to(like.device)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
