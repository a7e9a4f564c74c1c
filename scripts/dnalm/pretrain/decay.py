"""For how long the schedule `warmup_stable_decay` lets the learning rate fall unless told otherwise.

Light, since the settings say it too, and every cluster job reads these. Apart from them, since it decides
numbers: settings are no part of the code's digest.
"""

# As in Hägele et al. 2024.
USUAL_DECAY_FRACTION = 0.1
