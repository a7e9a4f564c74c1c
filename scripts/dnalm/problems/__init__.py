"""Kinds of tasks: what a label is, how it is learned, and how predictions of it are judged."""
