"""The alphabet of DNA and its two strands."""

# IUPAC nucleotide codes. U is absent on purpose: a U says that the file holds RNA.
IUPAC = "ACGTRYSWKMBDHVN"
_COMPLEMENT = str.maketrans(IUPAC + IUPAC.lower(), "TGCAYRSWMKVHDBN" + "tgcayrswmkvhdbn")


def reverse_complement(sequence: str) -> str:
    """The opposite strand, read in its own direction. Keeps the case; knows all IUPAC codes."""
    return sequence.translate(_COMPLEMENT)[::-1]


def canonical(sequence: str) -> str:
    """The same string for both strands of a molecule: the smaller of the upper-case strands."""
    forward = sequence.upper()
    return min(forward, reverse_complement(forward))
