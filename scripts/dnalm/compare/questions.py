"""The questions that a comparison answers, in the words by which reports find them in its JSON."""

PRETRAINING = "does pretraining help"
ADAPTATION = "does adaptation help"
COMBINATION = "does the language model know what k-mers do not"
STACKING = "does stacking help"
BASELINE = "does the model beat the baseline"
