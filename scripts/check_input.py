"""Read sequences to classify, embed or score from beginning to end, long before a model is there for it.

In:  the file, as predict.py, embed_sequences.py and score_variants.py take it: FASTA, GenBank, EMBL, 2bit,
     BED or VCF with its --genome, or a table.
Out: --output, JSON: its `kind`, how many `sequences` (regions, alleles, rows) and `bases` it holds.

Whatever cannot be read is an error that names the line: letters that are no DNA, regions of a chromosome that
the genome does not have, variants of another genome, an id that occurs twice. The workflow runs this first,
so that nobody learns after a night of training that one line of the input was wrong.
"""

import logging
from argparse import ArgumentParser
from pathlib import Path

from dnalm.running.commandline import parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import write_json
from dnalm.sequences.inputs import KIND_NAMES, add_input_flags
from dnalm.sequences.records import sequence_lengths
from dnalm.sequences.regions import read_bed, read_regions
from dnalm.sequences.tables import read_sequence_table
from dnalm.sequences.variants import AllelesLeftOut, surroundings
from dnalm.sequences.windows import checked_kind

logger = logging.getLogger("dnalm")


def main(input: Path, genome: Path | None, output: Path) -> None:
    """Read everything and write the counts."""
    kind = checked_kind(input, genome)
    lengths = lengths_of(input, kind, genome)
    if not any(lengths):
        raise InputError(f"{input}: {len(lengths):,} sequences without any base. There is nothing to read.")
    logger.info(
        "%s: %s, %s sequences, %s bp", input, KIND_NAMES[kind], f"{len(lengths):,}", f"{sum(lengths):,}"
    )
    write_json(output, {"kind": kind, "sequences": len(lengths), "bases": sum(lengths)})


def lengths_of(path: Path, kind: str, genome: Path | None) -> list[int]:
    """The length in bp of each sequence, region, allele or row.

    Raises InputError for what cannot be classified.
    """
    if kind == "table":
        return [len(sequence) for sequence in read_sequence_table(path)["seq"]]
    if kind == "bed":
        assert genome is not None
        regions = read_bed(path)
        return [len(bases) for bases in read_regions(regions, path, genome)]
    if kind == "vcf":
        assert genome is not None
        left_out = AllelesLeftOut()
        alleles = surroundings(path, genome, left_out, 0)
        of_alleles = [len(allele.alternative) for allele, *_ in alleles]
        said = left_out.say(path)
        if not of_alleles:
            raise InputError(f"{said or f'{path}: no variants in this VCF file'}. There is nothing to read.")
        if said:
            logger.warning(said)
        return of_alleles
    return list(sequence_lengths(path).values())


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add_input_flags(arguments)
    arguments.add_argument("--output", type=Path, required=True, help="JSON file for the counts")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
