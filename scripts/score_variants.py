"""Say how probable a DNA language model finds the alternative alleles of variants, beside the reference.

In:  a model directory, a VCF file (plain or compressed) and the genome that its variants belong to. No labels
     and no classifier are needed. Genotypes and filters are not looked at.
Out: a TSV with one row per alternative allele, in the order of the file:

  sequence, start, end   chromosome, and the window of the genome around the variant (0-based, end excluded)
  id                     of the variant
  position, reference, alternative   as in the VCF file: position counted from 1
  log_likelihood_ratio   ln P(alternative) - ln P(reference), below 0 where the model finds the alternative
                         less probable; empty where it would have to tell letters that are not A, C, G or T
  reference_tokens, alternative_tokens   how many tokens were hidden for it, of both strands together

The tokens in which the two sequences differ are hidden, so that the model sees the same around either. P is
the product of what it gives to each of the true tokens: the masked marginal of Meier et al. 2021
(doi:10.1101/2021.07.09.450648), there of proteins. Of overlapping k-mers, k of which hold a base, the k-th
root is taken. Both strands are read, since tokens of one are not those of the other; the mean is written.

Where tokens are longer than a base, a rare allele is often cut into more of them than a frequent one, which
makes it less probable. The two columns of tokens tell where that is so.

Alleles shorter or longer than the reference have no row, since how probable sequences of different lengths
are cannot be compared like this; nor have those without bases of their own (<DEL>, *, breakends) or on
sequences that the genome does not have. How many there are is logged.

What is improbable need not do harm: no training has seen which variants do.
"""

import csv
import logging
from argparse import ArgumentParser
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from dnalm.predict.rows import PLACE, VARIANT, place_of, variant_of
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.devices import add_device_flags, choose_device
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file
from dnalm.running.progress import Progress
from dnalm.score_variants.settings import VariantContextSettings
from dnalm.sequences.inputs import require_variants
from dnalm.sequences.variants import AllelesLeftOut, allele_windows, read_vcf
from dnalm.sequences.windows import SEQUENCES_PER_CHUNK

logger = logging.getLogger("dnalm")

# Of an allele: reference and alternative, on both strands.
READINGS = 4
ALLELES_PER_CHUNK = SEQUENCES_PER_CHUNK // READINGS


def main(
    model: Path,
    input: Path,
    genome: Path,
    settings: VariantContextSettings,
    max_tokens: int | None,
    gpus: int,
    allow_cpu: bool,
    output: Path,
) -> None:
    """Score every allele in `input` that is as long as its reference and write the table."""
    if max_tokens is not None and max_tokens < 3:
        raise InputError(f"--max-tokens is {max_tokens}; [CLS], one token and [SEP] need at least 3.")
    require_variants(input)
    left_out = AllelesLeftOut(settings.window, settings.max_unknown_fraction, only_as_long=True)
    total = sum(1 for _ in read_vcf(input, replace(left_out)))
    device = choose_device(gpus, allow_cpu=allow_cpu)

    # PyTorch takes seconds to import; whatever can be wrong with the request has shown by now.
    from dnalm.score_variants.likelihood import AlleleLikelihoods

    likelihoods = AlleleLikelihoods(model, max_tokens, device)
    alleles = allele_windows(input, genome, left_out)
    progress, done = Progress("scoring variants", total, "alleles"), 0
    with (
        atomic_file(output) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        # Only names with quotation marks are written otherwise than they are.
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow([*PLACE, *VARIANT, "log_likelihood_ratio", "reference_tokens", "alternative_tokens"])
        while chunk := list(islice(alleles, ALLELES_PER_CHUNK)):
            progress.total = total - left_out.in_passing
            pairs = [(reference.bases, alternative.bases) for _, reference, alternative in chunk]
            ratios, hidden = likelihoods.compare(pairs, lambda read: progress.advance(read / READINGS))
            for (allele, window, _), ratio, tokens in zip(chunk, ratios, hidden.tolist(), strict=True):
                said = "" if np.isnan(ratio) else f"{ratio:.6f}"
                table.writerow([*place_of(window), *variant_of(allele), said, *tokens])
            done += len(chunk)
        unread = left_out.say(input)
        if not done:
            raise InputError(f"{unread or input}. There is nothing to score.")
    logger.info("%s: %s alleles scored", output, f"{done:,}")
    if likelihoods.cut:
        logger.info(
            "%s of %s readings have more than the %s tokens that the model reads at once: only those "
            "nearest to the variant were read",
            f"{likelihoods.cut:,}",
            f"{READINGS * done:,}",
            f"{likelihoods.max_tokens:,}",
        )
    if unread:
        logger.warning(unread)


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--model", type=Path, required=True, help="model directory of the language model")
    add("--input", type=Path, required=True, help="VCF file")
    add("--genome", type=Path, required=True, help="file of sequences that the variants belong to")
    add_settings_flags(arguments, VariantContextSettings)
    add(
        "--max-tokens",
        type=int,
        help="tokens the model reads at once (default: as many as it has positions for)",
    )
    add_device_flags(arguments)
    add("--output", type=Path, required=True, help="TSV to write")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
