"""Classifiers on top of a language model."""
