"""Metrics and predictions on the test split."""
