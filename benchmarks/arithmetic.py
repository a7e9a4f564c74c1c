"""How long this processor needs for the multiplications of a network, and nothing else."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from measuring import ONE_THREAD, Limit

# A matrix of the shape of the course network's feed-forward part, in a process with one thread.
# In float32 PyTorch's own choice of a library is not the fastest on every CPU.
MULTIPLY = """
import sys, time, torch
kind = getattr(torch, sys.argv[1])
a, b = torch.randn(2048, 768, dtype=kind), torch.randn(2304, 768, dtype=kind)
onednn = torch.ops.mkldnn._linear_pointwise
best = 1e9
for multiply in (torch.nn.functional.linear, lambda a, b: onednn(a, b, None, "none", [], "")):
    for _ in range(20):
        start = time.process_time()
        multiply(a, b)
        best = min(best, time.process_time() - start)
print(2 * 2048 * 768 * 2304 / best)
"""


@cache
def flops_per_second(kind: str = "float32") -> float:
    """Floating-point operations per second of a large matrix product of numbers of a kind, one thread."""
    words = [sys.executable, "-c", MULTIPLY, kind]
    done = subprocess.run(words, env=os.environ | ONE_THREAD, capture_output=True, check=True)
    return float(done.stdout)


def layer_parameters(model: Path) -> int:
    """Weights of the layers of ModernBERT, each of which multiplies every token once."""
    config = json.loads((model / "config.json").read_text())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    return config["num_hidden_layers"] * (4 * hidden * hidden + 3 * hidden * inner)


def forward(model: Path, tokens: int, kind: str = "float32") -> Limit:
    """One forward pass of all tokens: 2 operations per weight and token."""
    speed = flops_per_second(kind)
    seconds = 2 * layer_parameters(model) * tokens / speed
    return Limit(seconds, f"matrix products of one pass at {speed / 1e9:.0f} GFLOP/s")
