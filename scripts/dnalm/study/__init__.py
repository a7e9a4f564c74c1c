"""Variants of a model side by side: which there are, and their leaderboards."""
