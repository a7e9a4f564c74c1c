"""DNA sequences: FASTA, labelled tables, strands."""
