"""What a pretraining does unless told otherwise.

Light, since the settings say it too, and every cluster job reads these. Apart from them, since it decides
numbers: settings are no part of the code's digest.
"""

# Share of the steps in which `warmup_stable_decay` lets the learning rate fall; as in Hägele et al. 2024.
USUAL_DECAY_FRACTION = 0.1

# A micro-batch holds at most this many tokens: on a GPU about 2 GB of activations for the 44M network, on a
# CPU fewer, which its cache rewards with a tenth of the time. Constants and not measurements, since they
# decide the rounding of sums.
TOKENS_PER_MICRO_BATCH = {"cpu": 4096, "cuda": 32768}


def usual_micro_batch_size(max_tokens: int, device: str) -> int:
    """Lines that a process holds at once on a `device` of this type (cpu or cuda)."""
    return max(1, TOKENS_PER_MICRO_BATCH[device] // max_tokens)
