"""Corpora that are no genomes: lines of sequence from elsewhere."""
