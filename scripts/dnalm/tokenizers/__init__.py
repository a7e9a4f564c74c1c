"""Tokenizers: vocabularies of DNA, and encoding with them."""
