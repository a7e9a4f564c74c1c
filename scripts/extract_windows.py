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
import hashlib
import logging
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dnalm.extract_windows.settings import ExtractWindowsSettings
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file, check_sha256, write_json
from dnalm.running.progress import Progress
from dnalm.sequences.fasta import COMPOSITION, Record, Segment
from dnalm.sequences.names import name_hint
from dnalm.sequences.records import stream_sequences

logger = logging.getLogger("dnalm")

KEPT = ("train", "validation")
DROPPED = ("incomplete", "non_acgt", "soft_masked", "split_border")

# Long enough that neighbours in the genome, which resemble each other, lie in one split.
USUAL_BLOCK_BP = 100_000

# Lines that are written together: small enough for a processor's second-level cache.
BUFFER_BYTES = 256 * 1024

# A draft assembly may have a million contigs; the report shows the first ones.
SEQUENCES_LISTED = 1000

_IS_ACGT = np.zeros(256, bool)
_IS_ACGT[list(b"ACGTacgt")] = True


@dataclass(frozen=True)
class Split:
    """Which bases are held out for validation: whole sequences by name, or blocks of the whole genome."""

    sequences: frozenset[str] = frozenset()
    block_bp: int = 100_000
    period: int | None = None

    @property
    def by_name(self) -> bool:
        return bool(self.sequences)

    def of_sequence(self, name: str) -> str | None:
        """The split of a whole sequence; None if its blocks decide."""
        if self.by_name:
            return "validation" if name in self.sequences else "train"
        return "train" if self.period is None else None

    def is_validation(self, positions: Any) -> Any:
        """Is the block held out? bool[n] for int64[n], counted from the start of the first sequence."""
        assert self.period is not None, "only asked where blocks decide"
        return (positions // self.block_bp) % self.period == self.period // 2


@dataclass
class SequenceCounts:
    """What became of one sequence."""

    name: str
    bases: int = 0
    windows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KEPT + DROPPED, 0))


class LineWriter:
    """Writes windows as lines and keeps the SHA-256 of what it wrote. `flush` ends the file."""

    def __init__(self, file: BinaryIO, length: int):
        self.file = file
        self.digest = hashlib.sha256()
        # Windows of short contigs come one by one.
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
        lines = self.waiting[: self.n_waiting].data
        self.file.write(lines)
        self.digest.update(lines)
        self.n_waiting = 0


class WindowCutter:
    """Cuts a stream of segments into windows, each for its split. Holds one segment and one window."""

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
        self.totals = SequenceCounts("")
        self.sequences = self.empty_sequences = 0
        self.listed: list[SequenceCounts] = []
        self.unseen_names = set(split.sequences)
        self.names_for_hints: list[str] = []
        self.record: Record | None = None
        # Of the current sequence: bases not cut yet, where they begin, how many to pass over first.
        self.buffer = np.empty(0, np.uint8)
        self.buffer_start = self.skip = 0
        self.has_non_acgt = False

    def add(self, segment: Segment) -> None:
        """Take the next segment of the stream."""
        if segment.record is not self.record:
            self.finish()
            self._begin(segment.record)
        self.composition += segment.composition
        self.counts.bases += segment.bases.size
        bases = segment.bases
        self.has_non_acgt |= not segment.all_acgt
        if self.skip:
            # A stride above the length leaves bases between windows.
            skipped = min(self.skip, bases.size)
            self.skip -= skipped
            bases = bases[skipped:]
        self.buffer = np.concatenate([self.buffer, bases]) if self.buffer.size else bases
        if self.buffer.size < self.length:
            return
        n = (self.buffer.size - self.length) // self.stride + 1
        self._sort_out(n)
        used = n * self.stride
        self.skip = max(0, used - self.buffer.size)
        self.buffer = self.buffer[used:]
        self.buffer_start += used
        if self.has_non_acgt:
            self.has_non_acgt = not _IS_ACGT[self.buffer].all()

    def finish(self) -> None:
        """End the current sequence: count the windows that reach beyond it, add up."""
        if self.record is None:
            return
        counts = self.counts
        starts = -(-counts.bases // self.stride)
        counts.windows["incomplete"] = starts - sum(counts.windows.values())
        self.sequences += 1
        self.empty_sequences += counts.bases == 0
        self.totals.bases += counts.bases
        for name, number in counts.windows.items():
            self.totals.windows[name] += number
        if len(self.listed) < SEQUENCES_LISTED:
            self.listed.append(counts)
        self.record = None

    def _begin(self, record: Record) -> None:
        self.record = record
        self.counts = SequenceCounts(record.name)
        self.buffer = np.empty(0, np.uint8)
        self.buffer_start = 0
        self.skip = 0
        self.has_non_acgt = False
        self.whole_sequence_in = self.split.of_sequence(record.name)
        self.unseen_names.discard(record.name)
        if self.unseen_names:
            self.names_for_hints.append(record.name)

    def _sort_out(self, n: int) -> None:
        """Judge the first `n` windows of the buffer and write those that are kept."""
        if self.stride == self.length:
            windows = self.buffer[: n * self.length].reshape(n, self.length)
        else:
            windows = np.lib.stride_tricks.sliding_window_view(self.buffer, self.length)[:: self.stride][:n]
        if not self.has_non_acgt and self.max_soft_masked >= self.length and (name := self._one_split(n)):
            self.writers[name].write(windows)
            self.counts.windows[name] += n
            return
        undecided = np.ones(n, bool)

        def drop(reason: str, condition: np.ndarray) -> None:
            nonlocal undecided
            self.counts.windows[reason] += int(np.count_nonzero(undecided & condition))
            undecided &= ~condition

        if self.has_non_acgt:
            drop("non_acgt", self._sums(~_IS_ACGT[self.buffer], n) > self.max_non_acgt)
        if self.max_soft_masked < self.length:
            drop("soft_masked", self._sums(self.buffer >= ord("a"), n) > self.max_soft_masked)
        if self.whole_sequence_in is not None:
            self._keep(self.whole_sequence_in, windows, undecided)
            return
        # The sequences finished so far stand before this one on the genome's coordinate.
        starts = self.totals.bases + self.buffer_start + np.arange(n, dtype=np.int64) * self.stride
        # A window is not longer than a block: its ends say whether all of it is on one side.
        first = self.split.is_validation(starts)
        last = self.split.is_validation(starts + self.length - 1)
        drop("split_border", first != last)
        self._keep("train", windows, undecided & ~first)
        self._keep("validation", windows, undecided & first)

    def _one_split(self, n: int) -> str | None:
        """The split that all of the first `n` windows lie in, where one sequence or one block decides."""
        if self.whole_sequence_in is not None:
            return self.whole_sequence_in
        start = self.totals.bases + self.buffer_start
        block_bp, last = self.split.block_bp, start + (n - 1) * self.stride + self.length - 1
        if start // block_bp != last // block_bp:
            return None
        return "validation" if self.split.is_validation(start) else "train"

    def _keep(self, name: str, windows: np.ndarray, condition: np.ndarray) -> None:
        number = int(np.count_nonzero(condition))
        if number:
            self.writers[name].write(windows if number == len(windows) else windows[condition])
            self.counts.windows[name] += number

    def _sums(self, marked: np.ndarray, n: int) -> np.ndarray:
        """int64[n]: how many bases of each of the first `n` windows are marked, from bool[bases]."""
        before = np.concatenate([[0], np.cumsum(marked, dtype=np.int64)])
        starts = np.arange(n) * self.stride
        return before[starts + self.length] - before[starts]


def make_split(settings: ExtractWindowsSettings, validation_sequences: list[str]) -> Split:
    """Which bases are held out: the sequences that are named or, if none is, blocks."""
    if validation_sequences:
        return Split(sequences=frozenset(validation_sequences))
    if settings.validation_fraction == 0:
        return Split()
    block_bp = settings.validation_block or max(USUAL_BLOCK_BP, settings.length)
    return Split(block_bp=block_bp, period=round(1 / settings.validation_fraction))


def smaller_block(cutter: "WindowCutter") -> int:
    """The longest block of whole windows of which two are held out; 0 if there is none."""
    assert cutter.split.period is not None
    return cutter.totals.bases // (2 * cutter.split.period) // cutter.length * cutter.length


def unknown_sequence_message(fasta: Path, unknown: set[str], known: list[str]) -> str:
    """One line that names the validation sequence the genome lacks, and the name that was perhaps meant."""
    name = sorted(unknown)[0]
    hint = name_hint(name, known)
    return f"{fasta}: no sequence is named {name}, which is to be held out for validation. {hint}"


def check_not_empty(fasta: Path, cutter: WindowCutter) -> None:
    """Raise InputError if a split that was asked for got no window, with the likeliest remedy."""
    windows, bases = cutter.totals.windows, cutter.totals.bases
    if bases == 0:
        raise InputError(f"{fasta}: {cutter.sequences} sequences, all empty. Give a FASTA file with bases.")
    if not any(windows[name] for name in (*KEPT, "split_border")):
        reason = max(("incomplete", "non_acgt", "soft_masked"), key=lambda name: windows[name])
        remedy = {
            "incomplete": f"Every sequence is shorter than {cutter.length} bp; choose a shorter window",
            "non_acgt": "Raise the limit on non-ACGT bases, or use another assembly",
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
        else:
            remedy = f"The genome of {bases} bases is small for validation blocks of {split.block_bp} bp; "
            if smaller := smaller_block(cutter):
                remedy += f"try {smaller} bp"
            else:
                remedy += "give a larger fraction, or hold out sequences by name"
        raise InputError(f"{fasta}: no window is left for validation. {remedy}.")


def statistics(cutter: WindowCutter, *, genome: str, settings: dict) -> dict:
    """The content of the --stats file."""
    windows = cutter.totals.windows
    composition = {name: int(number) for name, number in zip(COMPOSITION, cutter.composition, strict=True)}
    soft_masked = composition.pop("soft_masked")
    bases = cutter.totals.bases
    acgt = sum(composition[base] for base in "ACGT")
    return {
        "genome": genome,
        "sequences": cutter.sequences,
        "empty_sequences": cutter.empty_sequences,
        "bases": bases,
        "windows": {name: windows[name] for name in KEPT},
        "dropped": {name: windows[name] for name in DROPPED},
        "composition": composition,
        "gc_content": (composition["G"] + composition["C"]) / acgt if acgt else 0.0,
        "soft_masked_bases": soft_masked,
        "soft_masked_fraction": soft_masked / bases if bases else 0.0,
        "sha256": {name: cutter.writers[name].digest.hexdigest() for name in KEPT},
        "settings": settings,
        "sequences_not_listed": cutter.sequences - len(cutter.listed),
        "by_sequence": [{"name": s.name, "bases": s.bases, **s.windows} for s in cutter.listed],
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
        for segment in stream_sequences(fasta, on_read=progress.update):
            cutter.add(segment)
        cutter.finish()
        for writer in cutter.writers.values():
            writer.flush()
        if cutter.unseen_names:
            raise InputError(unknown_sequence_message(fasta, cutter.unseen_names, cutter.names_for_hints))
        nothing_held_out = split.period is not None and not cutter.totals.windows["validation"]
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
    check_sha256(fasta, sha256)
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
    write_json(stats, statistics(cutter, genome=genome, settings=used))
    windows = cutter.totals.windows
    logger.info(
        "%s: %s sequences, %s bases: %s windows for training, %s for validation, dropped %s",
        genome,
        f"{cutter.sequences:,}",
        f"{cutter.totals.bases:,}",
        f"{windows['train']:,}",
        f"{windows['validation']:,}",
        ", ".join(f"{windows[name]:,} {name}" for name in DROPPED),
    )


if __name__ == "__main__":
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
    run(main, arguments.parse_args())
