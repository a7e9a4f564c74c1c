"""Genomes as lines of sequence of one length."""
