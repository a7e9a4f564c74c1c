"""Training and testing in folds."""
