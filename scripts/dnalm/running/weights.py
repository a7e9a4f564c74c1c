"""Weights in safetensors files, which are read back once they are written.

Some file servers say only when a file is closed that it was not written, and safetensors does not listen: a
model of zeros would be left.
"""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def save_weights(
    weights: Mapping[str, "torch.Tensor"], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write weights by name, of any device. Raises OSError as :func:`check_saved` does."""
    from safetensors.torch import save_file

    save_file(dict(weights), path, metadata)
    check_saved(weights, path)


def check_saved(weights: Mapping[str, "torch.Tensor"], path: Path) -> None:
    """Raise OSError where the file is damaged, or holds other weights under one of these names.

    Transformers calls some of ESM otherwise in its files.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    def bytes_of(weight: "torch.Tensor") -> "torch.Tensor":
        # Numbers that are none are equal to nothing.
        return weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8)

    try:
        with safe_open(path, "pt") as file:
            names = weights.keys() & file.keys()
            kept = all(torch.equal(bytes_of(file.get_tensor(n)), bytes_of(weights[n])) for n in names)
    except SafetensorError:
        kept = False
    if not kept:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
