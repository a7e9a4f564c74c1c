"""Make the demo's inputs: a small genome and a labelled set of enhancers and other sequences, from a seed.

Everything here is simulated: a stand-in for a genome, small enough to be learnt in minutes. It shows how the
workflow runs, and how a language model looks that has learnt its language. It says nothing about real
enhancers.

What is drawn
  - Motifs stand for binding sites of transcription factors. They are few (10 per lexicon), as long
    as the longer ones of real genomes (16 bp), and stand on either strand.
  - There are two lexicons of motifs: enhancers are written in the first, all other regions in the second.
    Both occur all over the genome, unlabelled. A region of some thousand base pairs keeps to one lexicon,
    except for one motif in ten.
  - Between motifs stands background, letters drawn one by one with 20% GC (as in the malaria parasite);
    between regions stand repeats, soft-masked, and assembly gaps of N.

What can be learnt, and where it shows
  - A token hidden inside a motif follows from the rest of the motif, as a missing syllable follows from the
    rest of its word. Hidden background follows from nothing. So the report's fill-mask examples are right
    inside motifs and vague outside, and the held-out loss is far below that of counting pairs of tokens.
  - A network that knows the motifs only has to be told which lexicon each belongs to. Labels are few (50
    sequences), and an untrained network must learn the motifs from them as well.
  - No shortcut tells the classes apart: every motif of the second lexicon is an anagram of one of the first,
    and both classes have equally many motifs on the same background, so base composition, motif density and
    length say nothing. k-mers do say it: their baseline is as good as the pretrained model, or better.
  - Sequences that share motifs are not related by that: a motif has no more than one of the words of 16 bp by
    which `prepare_task.homologs` judges.

What makes it easier than a real genome: motifs are dense (three quarters of a region), few, and always spelt
the same, while real binding sites vary from copy to copy.

Out come
  --genome       FASTA, gzip: contigs with runs of N (at contig ends and as gaps) and soft-masked repeats
  --train        TSV with id, seq, label (1 enhancer, 0 other)
  --test         the same; none of its sequences stands in the genome
  --description  JSON: settings, motifs, counts, the leaked test sequences, and the accuracy of a reader who
                 knows the motifs
Some test sequences are leaked into the training file on purpose, half as they are and half as reverse
complement, so that the check for leaks has something to find.
"""

import gzip
import io
import math
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file, write_json
from dnalm.sequences import strands
from dnalm.simulate_demo.settings import SimulateDemoSettings

# Bases are uint8 0..3 in the order of LETTERS until they are written: the complement of b is 3 - b.
LETTERS = np.frombuffer(b"ACGT", dtype=np.uint8)
BACKGROUND_GC = 0.2
MOTIF_GC = 0.5
MOTIF_SPACING_BP = 20
# Regions are longer than a window, so that most windows read one lexicon only.
REGION_MEAN_BP = 4000
INTERGENIC_MEAN_BP = 200
REPEAT_FAMILIES = 4
REPEAT_LENGTH_BP = 400
REPEAT_DIVERGENCE = 0.1
# Chance that a gap between two regions holds a copy of a repeat; makes about 6% of the genome soft-masked.
REPEAT_SHARE = 0.9
# About one assembly gap per this many bases.
GAP_SPACING_BP = 150_000
FASTA_WIDTH = 60


@dataclass(frozen=True)
class Grammar:
    """How regions are written. `lexicons`: uint8[2, n_motifs, motif_length], 0 other, 1 enhancer."""

    lexicons: np.ndarray
    wrong_motif_fraction: float


def reverse_complement(bases: np.ndarray) -> np.ndarray:
    """Reverse complement of uint8 bases 0..3."""
    return (3 - bases)[::-1]


def letters(bases: np.ndarray) -> str:
    """Bases 0..3 as upper-case text."""
    return LETTERS[bases].tobytes().decode("ascii")


def draw_bases(generator: np.random.Generator, length: int, gc: float) -> np.ndarray:
    """uint8[length] independent bases with an expected GC share of `gc`."""
    at = (1 - gc) / 2
    return generator.choice(4, size=length, p=[at, gc / 2, gc / 2, at]).astype(np.uint8)


def make_lexicons(generator: np.random.Generator, motifs: int, length: int) -> np.ndarray:
    """Two lexicons of motifs, uint8[2, motifs, length]; motif i of one is an anagram of motif i of the other.

    All motifs and their reverse complements differ from each other in two bases or more.
    Raises InputError where so many different motifs of that length are not found.
    """
    taken: list[np.ndarray] = []
    lexicons: list[list[np.ndarray]] = [[], []]

    def is_new(word: np.ndarray) -> bool:
        known = np.array([*taken, reverse_complement(word)])
        return bool(((known != word).sum(axis=1) >= 2).all())

    for _ in range(200 * motifs):
        if len(lexicons[0]) == motifs:
            break
        word = draw_bases(generator, length, MOTIF_GC)
        anagram = generator.permutation(word)
        # At least three different letters: no motif looks like a homopolymer or a microsatellite.
        if len(set(word.tolist())) < 3 or not is_new(word):
            continue
        taken += [word, reverse_complement(word)]
        if not is_new(anagram):
            del taken[-2:]
            continue
        taken += [anagram, reverse_complement(anagram)]
        lexicons[1].append(word)
        lexicons[0].append(anagram)
    if len(lexicons[0]) < motifs:
        raise InputError(
            f"--motifs {motifs}: only {len(lexicons[0])} clearly different motifs of {length} bp were found. "
            "Ask for fewer or longer motifs."
        )
    return np.array(lexicons, dtype=np.uint8)


def write_region(generator: np.random.Generator, length: int, lexicon: int, grammar: Grammar) -> np.ndarray:
    """uint8[length]: background with motifs that do not overlap, on either strand, mostly from `lexicon`."""
    bases = draw_bases(generator, length, BACKGROUND_GC)
    width = grammar.lexicons.shape[2]
    # At most 90% of a region is motif, so that short regions keep room for background.
    number = min(generator.poisson(length / MOTIF_SPACING_BP), int(0.9 * length) // width)
    starts = np.sort(generator.integers(0, length - number * width + 1, number)) + np.arange(number) * width
    from_lexicon = np.where(generator.random(number) < grammar.wrong_motif_fraction, 1 - lexicon, lexicon)
    motif = generator.integers(0, grammar.lexicons.shape[1], number)
    reverse = generator.random(number) < 0.5
    for start, source, index, is_reverse in zip(starts, from_lexicon, motif, reverse, strict=True):
        word = grammar.lexicons[source, index]
        bases[start : start + width] = reverse_complement(word) if is_reverse else word
    return bases


def write_contig(
    generator: np.random.Generator, length: int, grammar: Grammar, repeats: np.ndarray, counts: dict[str, int]
) -> str:
    """One contig of about `length` bases as text: N runs, lower-case repeats, regions; adds to `counts`."""
    # Both ends are unknown, as telomeres are.
    parts = ["N" * int(generator.integers(200, 2000))]
    written = 0
    next_gap = GAP_SPACING_BP * generator.exponential()
    while written < length:
        part = letters(draw_bases(generator, int(generator.geometric(1 / INTERGENIC_MEAN_BP)), BACKGROUND_GC))
        if generator.random() < REPEAT_SHARE:
            # Copies are cut at the 5' end and mutated, as those of LINEs and SINEs are.
            family = repeats[generator.integers(REPEAT_FAMILIES)]
            copy = family[generator.integers(0, REPEAT_LENGTH_BP // 2) :]
            mutated = generator.random(copy.size) < REPEAT_DIVERGENCE
            copy = np.where(mutated, generator.integers(0, 4, copy.size), copy)
            if generator.random() < 0.5:
                copy = reverse_complement(copy)
            part += letters(copy).lower()
            counts["repeats"] += 1
        lexicon = int(generator.integers(2))
        region_length = max(100, int(generator.geometric(1 / REGION_MEAN_BP)))
        part += letters(write_region(generator, region_length, lexicon, grammar))
        counts["enhancer_regions" if lexicon else "other_regions"] += 1
        if written + len(part) > next_gap and written + len(part) < length:
            part += "N" * int(generator.integers(50, 1000))
            counts["gaps"] += 1
            next_gap += GAP_SPACING_BP * (0.5 + generator.exponential())
        parts.append(part)
        written += len(part)
    parts.append("N" * int(generator.integers(200, 2000)))
    return "".join(parts)


def contig_lengths(genome_length: int, contigs: int) -> list[int]:
    """Lengths in bp that fall from the first contig to the last, as the chromosomes of a genome do."""
    weights = np.linspace(1.0, 0.25, contigs)
    return [math.ceil(genome_length * weight / weights.sum()) for weight in weights]


def write_genome(
    generator: np.random.Generator, genome_length: int, contigs: int, grammar: Grammar
) -> tuple[dict[str, str], dict[str, int]]:
    """The genome, name -> text, and how many regions, repeats and gaps it has."""
    repeats = draw_bases(generator, REPEAT_FAMILIES * REPEAT_LENGTH_BP, 0.4).reshape(REPEAT_FAMILIES, -1)
    counts = {"enhancer_regions": 0, "other_regions": 0, "repeats": 0, "gaps": 0}
    genome = {
        f"chr{number}": write_contig(generator, length, grammar, repeats, counts)
        for number, length in enumerate(contig_lengths(genome_length, contigs), start=1)
    }
    return genome, counts


def write_sequences(
    generator: np.random.Generator, number: int, length: int, grammar: Grammar
) -> tuple[list[str], list[int]]:
    """`number` sequences of `length` bp, and their labels: 0 and 1 in random order, half of each."""
    labels = generator.permutation(np.arange(number) % 2).tolist()
    return [letters(write_region(generator, length, label, grammar)) for label in labels], labels


def count_motifs(sequence: str, grammar: Grammar) -> tuple[int, int]:
    """How many motifs of the other and of the enhancer lexicon stand in the sequence, on either strand."""
    width = grammar.lexicons.shape[2]
    lexicon_of = {
        letters(form): lexicon
        for lexicon in (0, 1)
        for word in grammar.lexicons[lexicon]
        for form in (word, reverse_complement(word))
    }
    counts = [0, 0]
    for start in range(len(sequence) - width + 1):
        lexicon = lexicon_of.get(sequence[start : start + width])
        if lexicon is not None:
            counts[lexicon] += 1
    return counts[0], counts[1]


def accuracy_of_informed_reader(sequences: list[str], labels: list[int], grammar: Grammar) -> float:
    """Accuracy of choosing the lexicon with more motifs, ties counted half: about the best possible."""
    right = 0.0
    for sequence, label in zip(sequences, labels, strict=True):
        other, enhancer = count_motifs(sequence, grammar)
        right += 0.5 if other == enhancer else float((enhancer > other) == bool(label))
    return right / len(sequences)


def leak(
    generator: np.random.Generator, sequences: list[str], labels: list[int], number: int
) -> list[tuple[int, str, int, str]]:
    """Choose `number` test sequences to leak: (row, sequence to add to training, label, kind).

    The first half is copied, the second half is copied as reverse complement.
    """
    rows = generator.choice(len(sequences), size=number, replace=False).tolist()
    return [
        (row, sequences[row], labels[row], "exact")
        if rank < (number + 1) // 2
        else (row, strands.reverse_complement(sequences[row]), labels[row], "reverse_complement")
        for rank, row in enumerate(rows)
    ]


def write_fasta(path: Path, genome: dict[str, str]) -> None:
    """Gzipped FASTA without time stamp or name in its header: the same genome gives the same bytes."""
    with (
        atomic_file(path) as temporary,
        open(temporary, "wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="ascii", newline="\n") as file,
    ):
        for name, sequence in genome.items():
            file.write(f">{name} simulated\n")
            for start in range(0, len(sequence), FASTA_WIDTH):
                file.write(sequence[start : start + FASTA_WIDTH] + "\n")


def write_table(path: Path, rows: list[tuple[str, str, int]]) -> None:
    """TSV with the columns id, seq, label."""
    with atomic_file(path) as temporary:
        lines = ["id\tseq\tlabel", *(f"{name}\t{sequence}\t{label}" for name, sequence, label in rows)]
        temporary.write_text("\n".join(lines) + "\n")


def main(
    *,
    settings: SimulateDemoSettings,
    genome: Path,
    train: Path,
    test: Path,
    description: Path,
) -> None:
    """Simulate genome and task and write the four files."""
    # One stream per part: another genome length changes neither the motifs nor the task.
    for_motifs, for_genome, for_train, for_test, for_leaks = (
        np.random.default_rng(child) for child in np.random.SeedSequence(settings.seed).spawn(5)
    )
    grammar = Grammar(
        make_lexicons(for_motifs, settings.motifs, settings.motif_length), settings.wrong_motif_fraction
    )
    contig_text, counts = write_genome(for_genome, settings.genome_length, settings.contigs, grammar)
    test_texts, test_labels = write_sequences(
        for_test, settings.test_sequences, settings.sequence_length, grammar
    )
    train_texts, train_labels = write_sequences(
        for_train, settings.train_sequences, settings.sequence_length, grammar
    )
    leaked = leak(for_leaks, test_texts, test_labels, settings.leaked_sequences)

    train_rows = [
        *zip(train_texts, train_labels, strict=True),
        *((text, label) for _, text, label, _ in leaked),
    ]
    order = for_leaks.permutation(len(train_rows))
    write_fasta(genome, contig_text)
    write_table(train, [(f"train_{n:04d}", *train_rows[row]) for n, row in enumerate(order, start=1)])
    write_table(
        test,
        [
            (f"test_{n:04d}", text, label)
            for n, (text, label) in enumerate(zip(test_texts, test_labels, strict=True), start=1)
        ],
    )
    bases = sum(map(len, contig_text.values()))
    write_json(
        description,
        {
            "simulated": True,
            "seed": settings.seed,
            "settings": settings.model_dump(exclude={"seed"}),
            "genome": {
                "sequences": {name: len(text) for name, text in contig_text.items()},
                "bases": bases,
                "n_bases": sum(text.count("N") for text in contig_text.values()),
                "soft_masked_bases": sum(
                    text.count(letter) for text in contig_text.values() for letter in "acgt"
                ),
                **counts,
            },
            "task": {
                "labels": {"0": "written with the other motifs", "1": "enhancer"},
                "train_rows": len(train_rows),
                "test_rows": len(test_texts),
                "leaked": {
                    kind: sorted(f"test_{row + 1:04d}" for row, _, _, its_kind in leaked if its_kind == kind)
                    for kind in ("exact", "reverse_complement")
                },
                "accuracy_of_informed_reader": accuracy_of_informed_reader(test_texts, test_labels, grammar),
            },
            "motifs": {
                "enhancer": [letters(word) for word in grammar.lexicons[1]],
                "other": [letters(word) for word in grammar.lexicons[0]],
            },
        },
    )


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add_settings_flags(arguments, SimulateDemoSettings)
    add("--genome", type=Path, required=True, help="genome to write (FASTA, gzip)")
    add("--train", type=Path, required=True, help="labelled training sequences to write (TSV)")
    add("--test", type=Path, required=True, help="labelled test sequences to write (TSV)")
    add("--description", type=Path, required=True, help="what was simulated (JSON)")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
