"""Language models: architectures and model directories."""
