"""k-mers and embeddings together in one linear model."""
