"""How long held-out blocks of a genome are unless told otherwise.

Light, since the settings say it too, and every cluster job reads these.
"""

# Long enough that neighbours in the genome, which resemble each other, lie in one split.
USUAL_BLOCK_BP = 100_000
SHORTEST_WINDOW_BP = 10


def usual_block_bp(window_length_bp: int) -> int:
    """The length of a block, which holds one window at least."""
    return max(USUAL_BLOCK_BP, window_length_bp)
