"""Random lines for the vocabulary of the fixture `tiny_model`, in memory."""

import numpy as np

from dnalm.pretrain.batches import Vocabulary

VOCABULARY = Vocabulary(size=17, special_ids=(0, 1, 2, 3, 4), mask_id=4, pad_id=3, cls_id=1, sep_id=2)


class Lines:
    """Stands in for a token cache."""

    def __init__(self, lengths, seed=0):
        numbers = np.random.default_rng(seed)
        self.lengths = np.array(lengths, dtype=np.int32)
        self.lines = [np.concatenate([[1], numbers.integers(5, 17, n - 2), [2]]) for n in lengths]

    def line(self, index):
        return self.lines[index]
