"""Floating-point operations of training, and what a GPU could do at most: their ratio is the MFU.

Model FLOPs utilization as Chowdhery et al. 2022 (PaLM, arXiv:2204.02311, appendix B) define it: what the
mathematics of the model asks for, over the peak of the hardware. Padding, and what gradient checkpointing
computes a second time, do not count.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dnalm.models.families import FAMILIES

# bf16 with fp32 sums, dense, in TFLOP/s: NVIDIA's data sheets. The first that begins the name counts.
PEAK_TFLOPS = {
    "NVIDIA B200": 2250,
    "NVIDIA GH200": 989,
    "NVIDIA H200 NVL": 835,
    "NVIDIA H200": 989,
    "NVIDIA H100 NVL": 835,
    "NVIDIA H100 PCIe": 756,
    "NVIDIA H100": 989,
    "NVIDIA A100": 312,
    "NVIDIA A40": 149.7,
    "NVIDIA A30": 165,
    "NVIDIA A10": 125,
    "NVIDIA L40S": 362,
    "NVIDIA L40": 181,
    "NVIDIA L4": 121,
    "NVIDIA RTX A6000": 154.8,
    "NVIDIA GeForce RTX 4090": 165,
}


def peak_flops(device_name: str, precision: str) -> float | None:
    """The highest FLOP/s of a GPU in matrix products; None where no data sheet is at hand.

    Of a slice of a GPU ("NVIDIA A100-SXM4-40GB MIG 1g.5gb") there is none.
    """
    if precision != "bf16" or "MIG" in device_name.split():
        return None
    names = [name for name in PEAK_TFLOPS if f"{device_name} ".startswith((f"{name} ", f"{name}-"))]
    return PEAK_TFLOPS[names[0]] * 1e12 if names else None


def training_flops(
    config: Mapping[str, Any], vocabulary_size: int, lengths: np.ndarray, selected_fraction: float
) -> np.ndarray:
    """FLOP of forward and backward pass over lines of `lengths` tokens (int[n]): float64[n].

    `config`: the model's (Transformers). Each weight of a matrix product costs 6 per token: 2 forward, 4
    backward (Kaplan et al. 2020, arXiv:2001.08361). Attention costs 12 per hidden dimension and pair of
    tokens that see each other. Logits are computed for `selected_fraction` of the tokens.
    """
    family = FAMILIES[config["model_type"]]
    hidden, inner, layers, _ = (int(config[key]) for key in family.sizes.all())
    lengths = np.asarray(lengths, np.float64)
    weights = layers * (4 * hidden**2 + family.feed_forward_matrices * hidden * inner)
    head = hidden**2 + hidden * vocabulary_size
    kinds = config.get("layer_types") or ["full_attention"] * layers
    # Tokens on either side that a token of a local layer sees.
    side = float(config.get("local_attention") or 0) // 2
    near = np.minimum(lengths - 1, side)
    # Of 2 * near neighbours, those beyond the ends of the line are missing.
    local = lengths * (2 * near + 1) - near * (near + 1)
    pairs = sum(lengths**2 if kind == "full_attention" else local for kind in kinds)
    return 6 * lengths * (weights + selected_fraction * head) + 12 * hidden * pairs
