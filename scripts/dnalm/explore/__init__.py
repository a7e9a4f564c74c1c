"""What one looks at before and beside the numbers: batches, labelled sequences, maps of embeddings."""
