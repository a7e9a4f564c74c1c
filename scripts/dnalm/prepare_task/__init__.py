"""Classification tasks: duplicates, leaks, splits."""
