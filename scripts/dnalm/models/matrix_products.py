"""Products of float32 matrices at full speed on CPUs that are not Intel's.

On x86, PyTorch has Intel's MKL multiply matrices of float32. On CPUs of others MKL leaves AVX-512 unused, and
with it half of what an AMD Zen 5 can do (benchmarks/README.md; a Zen 4, whose units are half as wide, was not
measured). oneDNN, which PyTorch brings along for bf16, uses it on all.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

CPUINFO = Path("/proc/cpuinfo")


def is_slow_by_default() -> bool:
    """Whether PyTorch multiplies float32 matrices without the AVX-512 that this CPU has.

    That is MKL on a CPU that is not Intel's. With AVX2 alone it is as fast as oneDNN.
    """
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    about = CPUINFO.read_text() if CPUINFO.is_file() else "GenuineIntel"
    return "avx512f" in about and "GenuineIntel" not in about


def multiply_faster(model: nn.Module) -> None:
    """Have the linear layers of `model` multiply by oneDNN where :func:`is_slow_by_default`."""
    if is_slow_by_default():
        for module in model.modules():
            # Layers of a class of their own may compute something else.
            if type(module) is nn.Linear:
                module.__class__ = OneDNNLinear


class OneDNNLinear(nn.Linear):
    """`nn.Linear`, which multiplies matrices of float32 on a CPU by oneDNN. Results differ in rounding."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        by_onednn = (
            input.device.type == "cpu"
            and input.dtype == self.weight.dtype == torch.float32
            and input.numel() > 0
            # Products in bf16 are oneDNN's in any case.
            and not torch.is_autocast_enabled("cpu")
        )
        return linear(input, self.weight, self.bias) if by_onednn else super().forward(input)


# An operator of its own, so that torch.compile takes it as it is: for the one that it calls, PyTorch's
# compiler wants weights that do not change.
@torch.library.custom_op("dnalm::linear", mutates_args=())
def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """x [..., n], weight [m, n], bias [m] -> x W^T + b, [..., m]; all float32, on the CPU, not empty."""
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


@linear.register_fake
def _shape(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


def _keep(ctx: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _gradients(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    outputs, inputs = weight.shape
    rows, needed = gradient.reshape(-1, outputs), ctx.needs_input_grad
    return (
        linear(gradient, weight.t(), None) if needed[0] else None,
        linear(rows.t(), x.reshape(-1, inputs).t(), None) if needed[1] else None,
        rows.sum(dim=0) if needed[2] else None,
    )


linear.register_autograd(_gradients, setup_context=_keep)
