"""Library shared by the scripts of dna-modernbert. It knows nothing of Snakemake."""
