"""What can go wrong with a task, and the splits that come out of it.

Two sequences are *the same molecule* if they are equal or each other's reverse complement: both strands of
a double helix carry the same label. All comparisons below are made by molecule, but for repeats and
conflicting labels where the strand decides the label.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pandas as pd

from dnalm.sequences.strands import canonical

# Words of this length are too long to be shared by chance: 4**32 different ones, both strands as one.
OVERLAP_BP = 32
# So many cells that the words of a large test split fill a few of a hundred.
CELL_BITS = 24
# Columns of `add_molecules`.
FORWARD, MOLECULE = "forward", "molecule"


def add_molecules(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the columns `forward` (upper-case sequence) and `molecule` (equal for both strands)."""
    return rows.assign(
        forward=[sequence.upper() for sequence in rows["seq"]],
        molecule=[canonical(sequence) for sequence in rows["seq"]],
    )


@dataclass
class Cleaned:
    """Rows without duplicates, and what was dropped."""

    rows: pd.DataFrame
    conflicting: int  # rows of molecules that carry several labels: nobody knows which is right
    duplicates: int  # later rows of a molecule that is there already, with the same label
    of_which_reverse_complement: int


def drop_duplicates(rows: pd.DataFrame, values: bool, same: str = MOLECULE) -> Cleaned:
    """Keep the first row of every molecule; keep none of a molecule that carries several labels.

    Where the labels are `values`, a molecule that was measured several times keeps the mean of them. `same`:
    the column by which rows are of one molecule; FORWARD takes its strands for two.
    """
    if values:
        rows = with_mean_values(rows, same)
    conflicting = rows.groupby(same, sort=False)["label"].transform("nunique") > 1
    agreeing = rows[~conflicting]
    later = agreeing.duplicated(same)
    first_strand = agreeing.groupby(same, sort=False)["forward"].transform("first")
    turned = later & (first_strand != agreeing["forward"])
    return Cleaned(agreeing[~later], int(conflicting.sum()), int(later.sum()), int(turned.sum()))


def with_mean_values(rows: pd.DataFrame, same: str = MOLECULE) -> pd.DataFrame:
    """The rows, each with the mean value of its molecule as its label; values that agree stay as written."""
    groups = rows.groupby(same, sort=False)["label"]
    repeated = groups.transform("nunique") > 1
    means = rows["label"].astype(float).groupby(rows[same], sort=False).transform("mean")
    return rows.assign(label=rows["label"].where(~repeated, means.map("{:.9g}".format)))


@dataclass
class Leakage:
    """Held-out sequences that also occur among the training sequences."""

    exact: list[tuple[str, str]] = field(default_factory=list)  # (id held out, first id in training)
    reverse_complement: list[tuple[str, str]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Number of leaked held-out sequences."""
        return len(self.exact) + len(self.reverse_complement)


def find_leakage(training: pd.DataFrame, held_out: pd.DataFrame) -> Leakage:
    """Which rows of `held_out` are also in `training`: on the same strand, else on the other one."""
    # From the last row to the first, so that the first row of each sequence stays.
    backwards = training.iloc[::-1]
    first_of_strand = dict(zip(backwards["forward"], backwards["id"], strict=True))
    first_of_molecule = dict(zip(backwards["molecule"], backwards["id"], strict=True))
    leakage = Leakage()
    for name, forward, molecule in zip(
        held_out["id"], held_out["forward"], held_out["molecule"], strict=True
    ):
        if forward in first_of_strand:
            leakage.exact.append((name, first_of_strand[forward]))
        elif molecule in first_of_molecule:
            leakage.reverse_complement.append((name, first_of_molecule[molecule]))
    return leakage


def content_keys(molecules: pd.Series, seed: int) -> np.ndarray:
    """A keyed hash of every molecule, as bytes: object[n].

    Whoever orders by them depends on nothing but the molecules and the seed: not on the order of the rows,
    nor on the strand.
    """
    return np.array([_hash(molecule, seed) for molecule in molecules], dtype=object)


def _hash(molecule: str, seed: int) -> bytes:
    return hashlib.blake2b(molecule.encode(), digest_size=16, key=str(seed).encode()).digest()


def overlap_fractions(training: Iterable[str], held_out: list[str], batch: int = 5000) -> np.ndarray:
    """Share of each held-out sequence's words of 32 bp that also occur in training, on either strand.

    Windows of one locus that are shifted by some base pairs are not the same molecule, yet a model that saw
    one has seen most of the other. Returns float64[n_held_out]; sequences shorter than 32 bp, and such
    without 32 bp of ACGT in a row, have 0. Memory is bounded by the different held-out sequences and one
    batch.
    """
    place_of, different = pd.factorize(np.array(held_out, dtype=object))
    held_out = different.tolist()
    parts = [(start, words_of(held_out[start : start + batch])) for start in range(0, len(held_out), batch)]
    words = np.concatenate([words for _, (words, _) in parts])
    rows = np.concatenate([start + rows for start, (_, rows) in parts])
    distinct, places = np.unique(words, return_inverse=True)
    seen = np.zeros(len(distinct), dtype=bool)
    # Nearly all words of a genome are in no held-out sequence; a table of cells says so without a search.
    present = np.zeros(2**CELL_BITS, dtype=bool)
    present[_cells(distinct)] = True
    if len(distinct):
        rest = iter(training)
        while some := list(islice(rest, batch)):
            found = words_of(some)[0]
            found = found[present[_cells(found)]]
            # The place in `distinct` where each word would stand; a word beyond the end stands nowhere.
            at = np.minimum(np.searchsorted(distinct, found), len(distinct) - 1)
            seen[at[distinct[at] == found]] = True
    total = np.bincount(rows, minlength=len(held_out))
    shared = np.bincount(rows, weights=seen[places], minlength=len(held_out))
    return np.divide(shared, total, out=np.zeros(len(held_out)), where=total > 0)[place_of]


def _cells(words: np.ndarray) -> np.ndarray:
    """A cell of 2 ** `CELL_BITS` for each word: multiplicative hashing (Knuth, TAOCP volume 3, 6.4)."""
    return words * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(64 - CELL_BITS)


def words_of(sequences: list[str], word_bp: int = OVERLAP_BP) -> tuple[np.ndarray, np.ndarray]:
    """All words of `word_bp` bp of ACGT: uint64[n_words], the smaller of both strands; rows int64[..]."""
    text = np.frombuffer("N".join([*sequences, ""]).encode("ascii"), dtype=np.uint8)
    row = np.repeat(np.arange(len(sequences)), [len(sequence) + 1 for sequence in sequences])
    codes = np.full(256, 4, dtype=np.uint8)
    codes[np.frombuffer(b"ACGT", dtype=np.uint8)] = range(4)
    base = codes[text]
    n_words = len(base) - word_bp + 1
    if n_words <= 0:
        return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
    other = np.concatenate([[0], np.cumsum(base == 4)])
    whole = other[word_bp:] == other[:-word_bp]
    forward = np.where(base == 4, 0, base).astype(np.uint64)
    backward = 3 - forward
    length = 1
    while length < word_bp:
        step = min(length, word_bp - length)
        # The last `step` bases of the word that begins `step` bases later stand behind this one.
        behind = forward[step:] & np.uint64(4**step - 1)
        forward = forward[:-step] << np.uint64(2 * step) | behind
        before = backward[step:] >> np.uint64(2 * (length - step))
        backward = backward[:-step] | before << np.uint64(2 * length)
        length += step
    return np.minimum(forward, backward)[whole], row[:n_words][whole]


def soft_masked_fractions(sequences: pd.Series, groups: dict[str, np.ndarray]) -> dict[str, float]:
    """Share of lower-case bases in the sequences of each group (bool[n]) that has any."""
    bases = sequences.str.len().to_numpy()
    lower = np.array([sum(map(sequence.count, "acgtryswkmbdhvn")) for sequence in sequences])
    return {name: float(lower[of].sum() / bases[of].sum()) for name, of in groups.items() if of.any()}


def value_distribution(values: np.ndarray) -> dict[str, float]:
    """Mean, standard deviation and quartiles of float64[n]."""
    low, q1, median, q3, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    numbers = {"mean": values.mean(), "sd": values.std(), "min": low, "q1": q1, "median": median}
    return {name: float(f"{number:.6g}") for name, number in {**numbers, "q3": q3, "max": high}.items()}


def length_distribution(sequences: pd.Series, bins: int = 20) -> dict:
    """Smallest, median and largest length in bp, and a histogram: `edges` [n + 1], `counts` [n]."""
    lengths = sequences.str.len().to_numpy()
    low, high = int(lengths.min()), int(lengths.max())
    # Whole numbers of bp as edges, so that no bin is empty by rounding.
    width = -(-(high - low + 1) // bins)
    edges = np.arange(low, high + width + 1, width)
    counts, _ = np.histogram(lengths, edges)
    return {
        "min": low,
        "median": float(np.median(lengths)),
        "max": high,
        "edges": edges.tolist(),
        "counts": counts.tolist(),
    }
