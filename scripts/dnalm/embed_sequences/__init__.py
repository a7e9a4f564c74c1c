"""Embeddings of sequences without labels."""
