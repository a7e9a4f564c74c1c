"""Sharing a model: a folder with a card that says what it is, how good it is and where it fails."""
