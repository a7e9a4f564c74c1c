"""The alphabet of DNA and its two strands."""

import re

from dnalm.running.errors import InputError

# IUPAC nucleotide codes. U is absent on purpose: a U says that the file holds RNA.
IUPAC = "ACGTRYSWKMBDHVN"
_COMPLEMENT = str.maketrans(IUPAC + IUPAC.lower(), "TGCAYRSWMKVHDBN" + "tgcayrswmkvhdbn")

_NOT_DNA = re.compile(f"[^{IUPAC}{IUPAC.lower()}]")


def check_dna(place: str, sequence: str) -> None:
    """Raise InputError for a letter that is none of DNA. `place` begins the message."""
    letter = _NOT_DNA.search(sequence)
    if letter:
        hint = "Write T instead of U." if letter[0] in "Uu" else "Only A C G T and IUPAC codes such as N."
        raise InputError(
            f"{place}: {letter[0]!r} at position {letter.start() + 1} of the sequence is no "
            f"DNA letter. {hint}"
        )


def reverse_complement(sequence: str) -> str:
    """The opposite strand, read in its own direction. Keeps the case; knows all IUPAC codes."""
    return sequence.translate(_COMPLEMENT)[::-1]


def canonical(sequence: str) -> str:
    """The same string for both strands of a molecule: the smaller of the upper-case strands."""
    forward = sequence.upper()
    return min(forward, reverse_complement(forward))
