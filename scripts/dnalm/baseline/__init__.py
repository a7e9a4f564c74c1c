"""Simple predictors to compare with."""
