"""How probable a language model finds the alleles of variants."""
