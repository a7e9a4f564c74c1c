"""Cut a genome into windows of equal length: FASTA in, lines of bases out, apart for training and validation.

In:  a FASTA file, plain, gzip or bgzip (told apart by content). LF or CRLF, any line width, lower case
     (soft-masked repeats), N runs, IUPAC codes, empty records, any number of contigs.
Out: --train and --validation, text with one upper-case window of exactly --length bases per line, in the
     order of the genome; --stats, JSON with counts of everything kept and dropped.

Windows begin at 0, stride, 2*stride, ... of each sequence. A window counts once, for the first that holds:
  incomplete    it reaches beyond the end of its sequence. Dropped, not padded: every line has one length,
                and at most (length - 1) bases per sequence are lost where the stride is not above the length.
  non_acgt      more than --max-non-acgt bases are N or another IUPAC code. Dropped.
  soft_masked   more than this share of its bases is lower case. Dropped.
  split_border  it lies partly in training, partly in validation. Dropped, so that the splits share no base.
  train, validation  kept.

Validation never is drawn line by line: neighbouring windows share repeats and genes (and bases, where the
stride is below the length), and a model could recite what it has seen. Either whole sequences are held
out by name, or, without names, blocks of consecutive bases: the sequences are laid end to end, cut into
blocks of --validation-block bases, and block b is held out if b mod p = p // 2, p = round(1 / fraction).
Where no block length is given and the usual one leaves nothing to hold out, the genome is read once more,
with two shorter blocks held out of it.

Memory is a few megabytes whatever the length of a chromosome.
"""

import contextlib
import logging
import math
import os
from argparse import ArgumentParser
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from dnalm.extract_windows.blocks import SHORTEST_WINDOW_BP, USUAL_BLOCK_BP, usual_block_bp
from dnalm.extract_windows.settings import ExtractWindowsSettings
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file, check_output, check_sha256, sha256_of_file, write_json
from dnalm.running.progress import Progress
from dnalm.sequences.fasta import COMPOSITION, Batch, is_acgt
from dnalm.sequences.names import name_hint
from dnalm.sequences.records import stream_batches

logger = logging.getLogger("dnalm")

KEPT = ("train", "validation")
DROPPED = ("incomplete", "non_acgt", "soft_masked", "split_border")
# What may become of a window; in arrays, its index in this list.
FATES = KEPT + DROPPED
TRAIN, VALIDATION, INCOMPLETE, NON_ACGT, SOFT_MASKED, SPLIT_BORDER = range(len(FATES))

# Lines that are written together: small enough for a processor's second-level cache.
BUFFER_BYTES = 256 * 1024

# A draft assembly may have a million contigs; the report shows the first ones.
SEQUENCES_LISTED = 1000


@dataclass(frozen=True)
class Split:
    """Which bases are held out for validation: whole sequences by name, or blocks of the whole genome.

    Without names one of `period` blocks of `block_bp` bases is held out, its middle one; without a period
    nothing is.
    """

    sequences: frozenset[str] = frozenset()
    block_bp: int = USUAL_BLOCK_BP
    period: int | None = None

    @property
    def by_name(self) -> bool:
        return bool(self.sequences)

    def holds_out(self, names: list[str], sequence: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Is each of n bases held out? bool[n]. `names[sequence]` are those of their sequences, int64[n].

        positions: int64[n], counted from the start of the first sequence of the genome.
        """
        if self.by_name:
            return np.array([name in self.sequences for name in names])[sequence]
        if self.period is None:
            return np.zeros(positions.size, bool)
        return (positions // self.block_bp) % self.period == self.period // 2


class SequenceCounts(NamedTuple):
    """What became of k sequences.

    bases: int64[k], how many there are. windows: int64[k, 6], how many had each of FATES.
    """

    names: list[str]
    bases: np.ndarray
    windows: np.ndarray


class LineWriter:
    """Writes windows as lines. `flush` ends the file."""

    def __init__(self, file: BinaryIO, length: int):
        self.file = file
        self.waiting = np.full((max(1, BUFFER_BYTES // (length + 1)), length + 1), ord("\n"), np.uint8)
        self.n_waiting = 0

    def write(self, windows: np.ndarray) -> None:
        """windows: uint8[n, length], letters of any case; written in upper case."""
        while len(windows):
            begin = self.n_waiting
            end = min(begin + len(windows), len(self.waiting))
            # Clearing bit 0x20 turns every ASCII letter into upper case.
            np.bitwise_and(windows[: end - begin], 0xDF, out=self.waiting[begin:end, :-1])
            windows, self.n_waiting = windows[end - begin :], end
            if end == len(self.waiting):
                self.flush()

    def flush(self) -> None:
        """Write what waits."""
        self.file.write(self.waiting[: self.n_waiting].data)
        self.n_waiting = 0


class WindowCutter:
    """Cuts a stream of batches into windows, each for its split. Holds one batch and one window."""

    def __init__(
        self,
        *,
        length: int,
        stride: int,
        max_non_acgt: int,
        max_soft_masked: float,
        split: Split,
        writers: dict[str, LineWriter],
    ):
        self.length, self.stride = length, stride
        self.max_non_acgt = max_non_acgt
        # In bases. The tiny addend keeps a limit of 0.29 at 29 of 100 bases, whatever floats make of it.
        self.max_soft_masked = int(max_soft_masked * length + 1e-9)
        self.split, self.writers = split, writers
        self.composition = np.zeros(len(COMPOSITION), np.int64)
        self.windows = dict.fromkeys(FATES, 0)
        self.bases = self.sequences = self.empty_sequences = 0
        self.listed: list[dict[str, Any]] = []
        self.unseen_names = set(split.sequences)
        self.names_for_hints: list[str] = []
        # Of the sequence that may go on: its counts, its bases that are not cut yet, whether they are all
        # A, C, G or T, and how many bases to pass over first.
        self.last: SequenceCounts | None = None
        self.rest = np.empty(0, np.uint8)
        self.rest_all_acgt = True
        self.skip = 0

    def add(self, batch: Batch) -> None:
        """Take the next batch of the stream."""
        goes_on = batch.start > 0
        if not goes_on:
            self.finish()
        if self.unseen_names:
            self.unseen_names.difference_update(batch.names)
            self.names_for_hints += batch.names[1:] if goes_on else batch.names
        self.composition += batch.composition
        ends, bases, all_acgt = np.array(batch.ends), batch.bases, batch.all_acgt
        sizes = ends.copy()
        sizes[1:] -= ends[:-1]
        if self.rest.size:
            bases = np.concatenate([self.rest, bases])
            ends += self.rest.size
            all_acgt = all_acgt and self.rest_all_acgt
        position = self.bases - self.rest.size
        self.bases += batch.bases.size

        # Where the windows of each sequence begin, how many are complete, then the same for each window.
        begins = np.concatenate([[self.skip], ends[:-1]])
        n = np.maximum((ends - begins - self.length) // self.stride + 1, 0)
        sequence = np.repeat(np.arange(n.size), n)
        number = np.arange(sequence.size) - (np.cumsum(n) - n)[sequence]
        starts = begins[sequence] + number * self.stride
        fates = self._fates(bases, all_acgt, starts, position, batch.names, sequence)
        if starts.size:
            self._write(bases, starts, fates)
        counts = np.bincount(sequence * len(FATES) + fates, minlength=n.size * len(FATES))
        counts = counts.reshape(n.size, len(FATES))
        if self.last is not None:
            sizes[0] += self.last.bases[0]
            counts[0] += self.last.windows[0]
        self._add_up(SequenceCounts(batch.names[:-1], sizes[:-1], counts[:-1]))
        self.last = SequenceCounts(batch.names[-1:], sizes[-1:], counts[-1:])
        next_start = int(begins[-1] + n[-1] * self.stride)
        self.rest, self.skip = bases[next_start:], max(0, next_start - bases.size)
        self.rest_all_acgt = all_acgt or bool(is_acgt(self.rest).all())

    def _write(self, bases: np.ndarray, starts: np.ndarray, fates: np.ndarray) -> None:
        """Write the windows of uint8[n] that begin at `starts`, int64[k], and whose fate is to be kept."""
        # One window per base, as sliding_window_view makes them, which takes longer than all else here.
        windows = np.ndarray((bases.size - self.length + 1, self.length), np.uint8, bases, strides=(1, 1))
        # Not all at once: windows that overlap hold many times the bases.
        at_once = max(1, BUFFER_BYTES // self.length)
        for fate in (TRAIN, VALIDATION):
            chosen = starts[fates == fate]
            for i in range(0, chosen.size, at_once):
                self.writers[FATES[fate]].write(windows[chosen[i : i + at_once]])

    def finish(self) -> None:
        """End the sequence that might have gone on."""
        if self.last is not None:
            self._add_up(self.last)
        self.last = None
        self.rest, self.skip = self.rest[:0], 0

    def _add_up(self, complete: SequenceCounts) -> None:
        """Count the windows that reach beyond the end of their sequence, and add all to the totals."""
        names, bases, windows = complete
        if not names:
            return
        windows[:, INCOMPLETE] = -(-bases // self.stride) - windows.sum(1)
        self.sequences += len(names)
        self.empty_sequences += int(np.count_nonzero(bases == 0))
        for name, total in zip(FATES, windows.sum(0).tolist(), strict=True):
            self.windows[name] += total
        room = SEQUENCES_LISTED - len(self.listed)
        for name, size, row in zip(names[:room], bases[:room].tolist(), windows[:room].tolist(), strict=True):
            self.listed.append({"name": name, "bases": size, **dict(zip(FATES, row, strict=True))})

    def _fates(
        self,
        bases: np.ndarray,
        all_acgt: bool,
        starts: np.ndarray,
        position: int,
        names: list[str],
        sequence: np.ndarray,
    ) -> np.ndarray:
        """int64[n]: what becomes of the windows that begin at `starts`, of sequences `names[sequence]`.

        position: of bases[0], counted from the start of the first sequence of the genome.
        """
        # A window is not longer than a block: its ends say whether all of it is on one side.
        first = self.split.holds_out(names, sequence, position + starts)
        last = self.split.holds_out(names, sequence, position + starts + self.length - 1)
        # The first reason that holds counts, so it is written last.
        fates = np.where(first, VALIDATION, TRAIN)
        fates[first != last] = SPLIT_BORDER
        if self.max_soft_masked < self.length:
            fates[self._sums(bases >= ord("a"), starts) > self.max_soft_masked] = SOFT_MASKED
        if not all_acgt:
            fates[self._sums(~is_acgt(bases), starts) > self.max_non_acgt] = NON_ACGT
        return fates

    def _sums(self, marked: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """int64[n]: how many bases of each window are marked, from bool[bases]."""
        places = np.flatnonzero(marked)
        return np.searchsorted(places, starts + self.length) - np.searchsorted(places, starts)


def make_split(settings: ExtractWindowsSettings, validation_sequences: list[str]) -> Split:
    """Which bases are held out: the sequences that are named or, if none is, blocks."""
    if validation_sequences:
        return Split(sequences=frozenset(validation_sequences))
    if settings.validation_fraction == 0:
        return Split()
    block_bp = settings.validation_block or usual_block_bp(settings.length)
    return Split(block_bp=block_bp, period=round(1 / settings.validation_fraction))


def smaller_block(cutter: "WindowCutter") -> int:
    """The longest block of whole windows of which two are held out; 0 if there is none."""
    assert cutter.split.period is not None
    return cutter.bases // (2 * cutter.split.period) // cutter.length * cutter.length


def fitting_split(cutter: "WindowCutter") -> str:
    """How a genome that is too small for windows of this length could be parted, in words."""
    assert cutter.split.period is not None
    length, ways = cutter.bases // (2 * cutter.split.period), []
    if length >= SHORTEST_WINDOW_BP:
        ways.append(f"shorten the windows to {length} bp")
    if (period := cutter.bases // (2 * cutter.length)) >= 2:
        ways.append(f"hold out a fraction of {math.ceil(100 / period) / 100:g}")
    return ", or ".join([*ways, "leave this genome out"])


def unknown_sequence_message(fasta: Path, unknown: set[str], known: list[str]) -> str:
    """One line that names the validation sequence the genome lacks, and the name that was perhaps meant."""
    name = sorted(unknown)[0]
    hint = name_hint(name, known)
    return f"{fasta}: no sequence is named {name}, which is to be held out for validation. {hint}"


def check_not_empty(fasta: Path, cutter: WindowCutter) -> None:
    """Raise InputError if a split that was asked for got no window, with the likeliest remedy."""
    windows, bases = cutter.windows, cutter.bases
    if bases == 0:
        raise InputError(f"{fasta}: {cutter.sequences} sequences, all empty. Give a FASTA file with bases.")
    if not any(windows[name] for name in (*KEPT, "split_border")):
        reason = max(("incomplete", "non_acgt", "soft_masked"), key=lambda name: windows[name])
        remedy = {
            "incomplete": f"Every sequence is shorter than {cutter.length} bp; choose a shorter window",
            "non_acgt": "Raise the limit on non-ACGT bases, or use another assembly"
            if any(cutter.composition[COMPOSITION.index(base)] for base in "ACGT")
            else "It has no A, C, G or T; use another assembly",
            "soft_masked": "Raise the limit on the soft-masked share",
        }[reason]
        raise InputError(f"{fasta}: no window is left of {bases} bases. {remedy}.")
    split = cutter.split
    if not windows["train"]:
        blocks = "Give a smaller validation block or a smaller fraction"
        remedy = "Hold out fewer sequences" if split.by_name else blocks
        raise InputError(f"{fasta}: no window is left for training. {remedy}.")
    if not windows["validation"] and (split.by_name or split.period is not None):
        if split.period is None:
            remedy = "The held-out sequences have no usable window; hold out others"
        elif smaller := smaller_block(cutter):
            remedy = f"The genome of {bases} bases is small for validation blocks of {split.block_bp} bp; "
            remedy += f"try {smaller} bp"
        else:
            remedy = f"The genome of {bases} bases is small for windows of {cutter.length} bp of which a "
            remedy += f"share is held out; {fitting_split(cutter)}"
        raise InputError(f"{fasta}: no window is left for validation. {remedy}.")


def statistics(cutter: WindowCutter, *, genome: str, file: dict | None, settings: dict) -> dict:
    """The content of the --stats file."""
    windows = cutter.windows
    composition = {name: int(number) for name, number in zip(COMPOSITION, cutter.composition, strict=True)}
    soft_masked = composition.pop("soft_masked")
    bases = cutter.bases
    acgt = sum(composition[base] for base in "ACGT")
    return {
        "genome": genome,
        "input": file,
        "sequences": cutter.sequences,
        "empty_sequences": cutter.empty_sequences,
        "bases": bases,
        "windows": {name: windows[name] for name in KEPT},
        "dropped": {name: windows[name] for name in DROPPED},
        "composition": composition,
        "gc_content": (composition["G"] + composition["C"]) / acgt if acgt else 0.0,
        "soft_masked_bases": soft_masked,
        "soft_masked_fraction": soft_masked / bases if bases else 0.0,
        "settings": settings,
        "sequences_not_listed": cutter.sequences - len(cutter.listed),
        "by_sequence": cutter.listed,
    }


class SmallGenome(Exception):
    """Nothing was held out; blocks of `block_bp` would be."""

    def __init__(self, block_bp: int):
        super().__init__(block_bp)
        self.block_bp = block_bp


def cut_genome(
    fasta: Path,
    genome: str,
    settings: ExtractWindowsSettings,
    split: Split,
    train: Path,
    validation: Path,
    *,
    look_again: bool,
) -> WindowCutter:
    """Write the windows of both splits; what was counted is in the result.

    Raises InputError for a genome that cannot be used. With `look_again`, SmallGenome where blocks of the
    usual length leave nothing for validation and shorter ones would not. Then nothing is written.
    """
    size = os.path.getsize(fasta) if fasta.is_file() else None
    progress = Progress(f"{genome}: reading", total=size, unit="bytes")
    with contextlib.ExitStack() as stack:
        # The temporary files get their final names when the stack closes without an error.
        files = {
            name: stack.enter_context(open(stack.enter_context(atomic_file(path)), "wb"))
            for name, path in (("train", train), ("validation", validation))
        }
        cutter = WindowCutter(
            length=settings.length,
            stride=settings.stride,
            max_non_acgt=settings.max_non_acgt,
            max_soft_masked=settings.max_soft_masked,
            split=split,
            writers={name: LineWriter(file, settings.length) for name, file in files.items()},
        )
        for batch in stream_batches(fasta, on_read=progress.update):
            cutter.add(batch)
        cutter.finish()
        for writer in cutter.writers.values():
            writer.flush()
        if cutter.unseen_names:
            raise InputError(unknown_sequence_message(fasta, cutter.unseen_names, cutter.names_for_hints))
        nothing_held_out = split.period is not None and not cutter.windows["validation"]
        if look_again and settings.validation_block is None and nothing_held_out:
            block_bp = smaller_block(cutter)
            if 0 < block_bp < split.block_bp:
                raise SmallGenome(block_bp)
        check_not_empty(fasta, cutter)
    return cutter


def main(
    *,
    fasta: Path,
    genome: str,
    settings: ExtractWindowsSettings,
    validation_sequences: list[str],
    sha256: str | None = None,
    train: Path,
    validation: Path,
    stats: Path,
) -> None:
    """Cut `fasta` into windows. See the top of this file for what comes out."""
    for path in (train, validation, stats):
        check_output(path)
    check_sha256(fasta, sha256)
    # A pipe can be read only once.
    digest = sha256.lower() if sha256 else sha256_of_file(fasta) if fasta.is_file() else None
    file = {"file": fasta.name, "sha256": digest} if digest else None
    split = make_split(settings, validation_sequences)
    try:
        cutter = cut_genome(fasta, genome, settings, split, train, validation, look_again=True)
    except SmallGenome as small:
        logger.info(
            "%s: too small for held-out blocks of %d bp; they have %d bp",
            genome,
            split.block_bp,
            small.block_bp,
        )
        split = replace(split, block_bp=small.block_bp)
        cutter = cut_genome(fasta, genome, settings, split, train, validation, look_again=False)
    used = settings.model_dump() | {
        "validation_sequences": sorted(split.sequences),
        "validation_block": split.block_bp,
    }
    if split.by_name:
        used |= {"validation_fraction": None, "validation_block": None}
    write_json(stats, statistics(cutter, genome=genome, file=file, settings=used))
    windows = cutter.windows
    logger.info(
        "%s: %s, %s bases: %s windows for training, %s for validation, dropped %s",
        genome,
        f"{cutter.sequences:,} sequence{'' if cutter.sequences == 1 else 's'}",
        f"{cutter.bases:,}",
        f"{windows['train']:,}",
        f"{windows['validation']:,}",
        ", ".join(f"{windows[name]:,} {name}" for name in DROPPED),
    )


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add(
        "--fasta",
        type=Path,
        required=True,
        help="genome: FASTA, GenBank or EMBL, plain or compressed (gzip, bgzip, bzip2, xz), or 2bit",
    )
    add("--genome", required=True, help="name of the genome, kept in the statistics")
    add_settings_flags(arguments, ExtractWindowsSettings)
    add(
        "--validation-sequences",
        nargs="*",
        default=[],
        metavar="NAME",
        help="sequences held out for validation; without names, blocks are held out",
    )
    add("--sha256", help="checksum that the genome must have")
    add("--train", type=Path, required=True, help="output: windows for training, one per line")
    add("--validation", type=Path, required=True, help="output: windows for validation, one per line")
    add("--stats", type=Path, required=True, help="output: counts, JSON")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
