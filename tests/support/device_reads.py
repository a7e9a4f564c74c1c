"""What a GPU would make the CPU wait for, seen on a CPU."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Reading(TorchDispatchMode):
    """Refuses whatever makes the CPU wait for a GPU: reading its numbers, and copies that it waits for."""

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        keywords = keywords or {}
        assert operation not in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.masked_select.default,
        )
        if operation == torch.ops.aten._to_copy.default and arguments[0].is_cpu:
            elsewhere = torch.device(keywords.get("device") or "cpu").type != "cpu"
            assert keywords.get("non_blocking") or not elsewhere
        return operation(*arguments, **keywords)
