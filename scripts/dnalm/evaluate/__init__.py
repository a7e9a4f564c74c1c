"""Predictions on the test split, and how well their probabilities are calibrated."""
