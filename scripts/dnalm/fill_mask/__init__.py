"""What a language model puts into gaps in sequences."""
