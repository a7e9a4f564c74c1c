"""New sequences and variants, classified."""
