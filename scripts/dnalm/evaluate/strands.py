"""On which strands a predictor reads a sequence: the same in evaluation and in prediction."""

from collections.abc import Callable, Sequence

import numpy as np

from dnalm.sequences.strands import reverse_complement


def predict_strands(
    outputs: Callable[[list[str]], np.ndarray], sequences: Sequence[str], strands: str
) -> np.ndarray:
    """What a predictor says of sequences, float64[n, labels].

    `outputs` asks the predictor. `strands` is `forward`, or `both`: the mean of what is said of a sequence
    and of its reverse complement.
    """
    if strands == "forward":
        return outputs(list(sequences))
    asked = [*sequences, *map(reverse_complement, sequences)]
    # All are asked at once, so that batches are as full as they can be.
    forward, reverse = np.split(outputs(asked), 2)
    return (forward + reverse) / 2
