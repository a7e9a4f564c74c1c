"""Labelled sequences of a task: duplicates, leaks, relatives, splits."""
