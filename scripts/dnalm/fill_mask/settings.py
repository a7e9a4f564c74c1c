"""Settings of fill_mask: sequences with gaps, for a language model to fill."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from dnalm.running.errors import InputError
from dnalm.running.settings import Settings
from dnalm.sequences.strands import check_dna

# How tokenizers of masked language models write a hidden token.
MASK = re.compile(r"\[MASK\]|<mask>")


def check_interval(text: str) -> str:
    """A position or an interval of a sequence in bp, `17` or `17-24`. Raises ValueError."""
    found = re.fullmatch(r"([1-9][0-9]{0,11})(?:-([1-9][0-9]{0,11}))?", text)
    if not found or int(found[2] or found[1]) < int(found[1]):
        raise ValueError("is no interval. Give a position or its first and last one, such as 17 or 17-24.")
    return text


class GapSettings(Settings):
    """What is asked: sequences, where their gaps are, how many answers."""

    sequences: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        description="DNA with one or several [MASK], each for one token; or, together with `hide`, without.",
    )
    hide: tuple[Annotated[str, AfterValidator(check_interval)], ...] = Field(
        (),
        description="What to hide of each sequence: positions and intervals in bp, counted from 1, such as "
        "`17` and `30-41`. Every token with a base in them becomes [MASK], and the truth is compared.",
    )
    top: int = Field(5, ge=1, le=1000, description="Number of answers per [MASK].")


class FillMaskSettings(GapSettings):
    """Sequences with gaps, and the model that fills them."""

    model: str = Field(description="Name of an entry under `models`.")


def check_gaps(settings: GapSettings, place: str = "") -> None:
    """Raise InputError for what nobody can answer. `place`, such as `my.yaml: fill_mask.x: `, begins it."""
    if not settings.sequences:
        raise InputError(f"{place}no sequences. Give at least one sequence.")
    for number, sequence in enumerate(settings.sequences, start=1):
        here = f"{place}sequence {number}"
        written = MASK.findall(sequence)
        if near := re.search(r"(?i)\[mask\]|<mask>|_", MASK.sub("N", sequence)):
            raise InputError(f"{here}: {near[0]} is no gap. Write it as [MASK].")
        check_dna(here, MASK.sub("N", sequence))
        if settings.hide and written:
            raise InputError(f"{here}: it has a {written[0]} and something to hide. Give one of them.")
        if not settings.hide and not written:
            raise InputError(f"{here}: no [MASK] in it. Put one where you ask, or say which bases to hide.")
        for interval in settings.hide:
            if int(interval.rpartition("-")[2]) > len(sequence):
                raise InputError(f"{here}: {interval} is to be hidden, but it has {len(sequence)} bases.")


def check_words(settings: GapSettings, kmer_length: int | None, place: str = "") -> None:
    """Raise InputError for written masks that hide no base, and for stretches in which no k-mer fits.

    `kmer_length`: that of overlapping k-mers; None for tokens that share no bases. A run of n masks between
    two stretches of DNA hides n - k + 1 bases, at an end n.
    """
    for number, sequence in enumerate(settings.sequences, start=1):
        here = f"{place}sequence {number}"
        if kmer_length is None or not MASK.search(sequence):
            continue
        short = next((part for part in MASK.split(sequence) if 0 < len(part) < kmer_length), None)
        if short is not None:
            raise InputError(
                f"{here}: {short} is shorter than the {kmer_length}-mers that this tokenizer reads. Give at "
                f"least {kmer_length} bases beside a gap."
            )
        for run in re.finditer(rf"(?<=[^\]>])(?:{MASK.pattern})+(?=[^\[<])", sequence):
            masks = MASK.findall(run[0])
            if len(masks) < kmer_length:
                raise InputError(
                    f"{here}: {len(masks)} {masks[0]} between two stretches of DNA hide no base, since the "
                    f"{kmer_length}-mers of this tokenizer overlap. Write {masks[0]} {kmer_length} times for "
                    "one base and once more for each further one, or give the whole sequence and say which "
                    "bases to hide."
                )
