"""Predict the classes of new sequences with a trained classifier (scripts/finetune.py, scripts/stack.py).

The input may be, told apart by content, plain or compressed (gzip, bzip2, xz):

  FASTA    records longer than --window are scanned by windows of that length, every --stride bases; the last
           window ends where the record ends. Memory does not grow with the length of a record. GenBank, EMBL
           and 2bit are read likewise; a GenBank or EMBL record stands in memory as a whole.
  BED      regions of --genome (FASTA, GenBank, EMBL or 2bit); a `-` in column 6 reads the other strand.
           Regions longer than --window are scanned like records. Memory holds the bases of the regions.
  VCF      variants of --genome: a window of the reference around each, and the same with the alternative
           allele put in, so that an insertion's is longer; both of the forward strand. Genotypes and filters
           are not looked at. Alleles without bases of their own (<DEL>, *, breakends), longer than half a
           window, or on sequences that the genome does not have are counted and have no row. How well a
           classifier of whole sequences knows the effect of a single base, its test accuracy does not say.
  table    TSV, CSV or Parquet with the column seq (and id); every row is read whole.

Writes a TSV with one row per window, sequence or alternative allele, in the order of the input:

  sequence, start, end    FASTA record, chromosome or row; 0-based, end not included
  id                      name of the record, region, variant or row
  predicted               the most probable class, the labels above 0.5 joined by ';', or the value
  probability_<label>     of every class or label; none of a value

of an allele those of the reference, and beside them:

  position, reference, alternative   as in the VCF file: position counted from 1
  alternative_predicted, alternative_probability_<label>   with the alternative allele
  log_odds_change_<label>   what the alternative allele adds to ln(p / (1 - p)), above 0 where the label is
                            more probable with it; where a classifier is sure, its probability hardly moves.
                            0.69, ln 2, doubles the odds: 0.50 becomes 0.67, and 0.90 becomes 0.95
  change_value              of a value: alternative less reference

and with --bedgraph the probability of one class (by default the positive one, which scripts/evaluate.py
explains; of more than two the last, --bedgraph-label another one), or the value, along FASTA records or
chromosomes: the mean over the windows that cover a base. Of variants it is this change, along the bases of
the reference allele; where alleles share a base, their mean. The rows of a table give an empty track.

With --strands both, as without the flag, probabilities and values are the mean of a sequence and its reverse
complement, two truly different readings, since tokens of one strand are not those of the other. Evaluate and
predict with the same strands: then the test accuracy is that of these predictions.
"""

import csv
import logging
from argparse import ArgumentParser
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from dnalm.evaluate.settings import StrandSettings
from dnalm.evaluate.strands import predict_strands
from dnalm.predict.rows import rows_of
from dnalm.predict.settings import ScanSettings
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.devices import add_inference_flags, check_batch_tokens, choose_device, choose_precision
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file, read_json
from dnalm.running.progress import Progress
from dnalm.sequences.inputs import OF_A_GENOME, add_input_flags
from dnalm.sequences.labels import positive_class
from dnalm.sequences.windows import SEQUENCES_PER_CHUNK, checked_kind
from dnalm.stack.predictor import DESCRIPTION, classifier_of

logger = logging.getLogger("dnalm")


def main(
    classifier: Path,
    input: Path,
    genome: Path | None,
    settings: ScanSettings,
    strands: StrandSettings,
    batch_tokens: int | None,
    bedgraph_label: str | None,
    precision: str,
    gpus: int,
    allow_cpu: bool,
    output: Path,
    bedgraph: Path | None,
) -> None:
    """Classify everything in `input` and write the table and, if wished, the track."""
    check_batch_tokens(batch_tokens)
    kind = checked_kind(input, genome)
    if kind == "table" and bedgraph is not None:
        logger.info("%s: the rows of a table have no place in a genome; %s stays empty", input, bedgraph)
    if bedgraph_label is not None and bedgraph is None:
        raise InputError("--bedgraph-label says which class --bedgraph shows. Give both or neither.")
    if kind == "table" and (settings.window is not None or settings.stride is not None):
        logger.info("%s: the rows of a table are read whole; windows and stride do not apply", input)
    if kind == "vcf" and settings.stride is not None:
        logger.info("%s: one window is read around each variant; the stride does not apply", input)
    window = settings.window or (0 if kind == "table" else usual_length(classifier))
    asked = rows_of(input, kind, genome, window, settings)

    # PyTorch takes seconds to import; whatever can be wrong with the request has shown by now.
    from dnalm.finetune.classifier import Classifier
    from dnalm.stack.predictor import StackedClassifier

    device = choose_device(gpus, allow_cpu=allow_cpu)
    if kind == "vcf" and precision == "auto":
        # What an allele changes is the small difference of two readings, of which bf16 leaves two digits.
        precision = "fp32"
    load = StackedClassifier if (classifier / DESCRIPTION).is_file() else Classifier
    model = load(classifier, device, choose_precision(precision, device) == "bf16")
    positive = bedgraph_label or positive_class(model.labels)[0] or model.labels[-1]
    if positive not in model.labels:
        raise InputError(f"--bedgraph-label is {positive!r}; the classifier knows {', '.join(model.labels)}.")
    shown = model.labels.index(positive)

    progress = Progress("predicting", asked.total(), asked.unit)
    readings = model.readers * asked.sequences_each * (2 if strands.strands == "both" else 1)

    def ask(sequences: list[str]) -> np.ndarray:
        # All alleles of a window are compared with one reference, and genomes repeat themselves.
        different = {sequence: row for row, sequence in enumerate(dict.fromkeys(sequences))}
        each = len(sequences) / len(different) / readings
        outputs = model.outputs(list(different), batch_tokens, lambda read: progress.advance(read * each))
        return outputs[[different[sequence] for sequence in sequences]]

    done = 0
    covered: dict[str, list[tuple[int, int, float]]] = {}
    with ExitStack() as files:
        table, track = _written(files, output), bedgraph and _written(files, bedgraph)
        # Only names with quotation marks are written otherwise than they are.
        rows = csv.writer(table, delimiter="\t", lineterminator="\n")
        rows.writerow(asked.header(model.problem, model.labels))
        while chunk := list(islice(asked.items, SEQUENCES_PER_CHUNK)):
            progress.total = asked.total()
            outputs = predict_strands(ask, asked.sequences(chunk), strands.strands)
            rows.writerows(asked.rows(chunk, outputs, model.problem, model.labels))
            if track and kind != "table":
                for name, start, end, value in asked.track(chunk, outputs, model.problem, shown):
                    covered.setdefault(name, []).append((start, end, value))
                # FASTA records come one after the other: all but the last one are complete.
                for name in [] if kind in OF_A_GENOME else list(covered)[:-1]:
                    write_track(track, name, covered.pop(name))
            done += len(chunk)
        unread = asked.left_out()
        if not done:
            raise InputError(f"{unread or input}. There is nothing to classify.")
        if track:
            for name, values in covered.items():
                write_track(track, name, values)
    logger.info("%s: %s %s classified", output, f"{done:,}", asked.unit)
    if track and kind != "table":
        logger.info("%s: a track of %s", bedgraph, positive)
    if unread:
        logger.warning(unread)
    what = "readings of windows (both strands)" if strands.strands == "both" else "windows"
    remedy = "Give a smaller window, or a classifier that reads more tokens."
    if kind == "vcf":
        remedy = f"An allele that stands where nothing was read has a change of 0. {remedy}"
    if model.cut and (cut := model.cut.warning(what, remedy)):
        logger.warning(cut)


# ----------------------------------------------------------------------------- input


def usual_length(classifier: Path) -> int:
    """The median length in bp of the sequences that the classifier learned from."""
    if (classifier / DESCRIPTION).is_file():
        classifier = classifier_of(classifier) or classifier
    path = classifier / "finetuning_summary.json"
    if not path.is_file():
        raise InputError(
            f"{classifier}: no finetuning_summary.json, which says how long windows are. Give --window."
        )
    about = read_json(path)
    length = about.get("median_length") if isinstance(about, dict) else None
    if not isinstance(length, int) or length < 1:
        raise InputError(f"{path}: no median_length, which says how long windows are. Give --window.")
    return length


# ----------------------------------------------------------------------------- track


def mean_by_position(
    starts: np.ndarray, ends: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Disjoint segments and the mean value of the windows that cover each.

    `starts`, `ends`: int64[n] windows, which may overlap; `values`: float64[n]. Returns starts, ends and
    means of the covered segments, in order of position.
    """
    borders = np.unique(np.concatenate([starts, ends]))
    first, last = np.searchsorted(borders, starts), np.searchsorted(borders, ends)
    cover, total = np.zeros(len(borders), np.int64), np.zeros(len(borders))
    for change, weight in ((first, 1), (last, -1)):
        np.add.at(cover, change, weight)
        np.add.at(total, change, weight * values)
    cover, total = np.cumsum(cover), np.cumsum(total)
    covered = np.flatnonzero(cover[:-1])
    return borders[covered], borders[covered + 1], total[covered] / cover[covered]


def _written(files: ExitStack, path: Path) -> TextIO:
    """A file of text that is there when `files` are closed without an error."""
    temporary = files.enter_context(atomic_file(path))
    return files.enter_context(open(temporary, "w", encoding="utf-8", newline=""))


def write_track(file: TextIO, name: str, windows: list[tuple[int, int, float]]) -> None:
    """Write one sequence as bedGraph lines."""
    starts, ends, values = (np.array(column) for column in zip(*windows, strict=True))
    for start, end, value in zip(*mean_by_position(starts, ends, values), strict=True):
        # Cumulative sums leave 1e-16 where 0 or 1 was meant, below zero too.
        file.write(f"{name}\t{start}\t{end}\t{value:.4f}\n".replace("\t-0.0000\n", "\t0.0000\n"))


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument(
        "--classifier", type=Path, required=True, help="directory made by scripts/finetune.py or stack.py"
    )
    add_input_flags(arguments)
    add_settings_flags(arguments, ScanSettings)
    add_settings_flags(arguments, StrandSettings, "strands")
    arguments.add_argument(
        "--bedgraph-label", help="class whose probability the track shows (default: the positive one)"
    )
    add_inference_flags(arguments)
    arguments.add_argument("--output", type=Path, required=True, help="TSV to write")
    arguments.add_argument(
        "--bedgraph", type=Path, help="bedGraph file to write; for FASTA, BED and VCF input"
    )
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
