"""Check the labelled sequences of a task and write its splits.

In:  TSV, CSV (plain or gzip) or Parquet tables with the columns `seq` and `label`, optionally `id`: one for
     training, one for testing, optionally one for validation; with --folds one for all. --problem says what a
     label is: the name of a class, several names (`a;b`, or nothing), or a number.
Out: one TSV per split with the columns `id`, `seq` (upper case) and `label`; of test also
     `cluster`, the same number for related sequences; with a column for groups that,
     called `group`; and checks.json:

     task, problem, labels (in class order), settings, inputs (file name and sha256 of each),
     rows:       per input: rows read, rows dropped by reason, rows kept; how many are related to those of
                 another split; of test also how many are related to other test sequences, and how
                 many clusters of related ones there are,
     leakage:    test sequences that also occur in training: exact, reverse_complement, count, share,
                 the first of them as pairs of ids, whether they were dropped from training; the same for the
                 validation sequences; and how many test sequences overlap training sequences in part,
     composition: how well length, G and C, lower case and N alone tell the labels apart (AUROC), or the
                  values (rank correlation),
     sequences, label_counts or values, lengths (bp), soft_masked (share of lower-case bases by label) per
                  split,
     folds:       with --folds alone: sequences tested in each, clusters of related sequences, and the number
                  in the largest of these,
     groups:     with a column for them alone: what the tables call it, and how many groups there are,
     warnings:   sentences for people.

What happens to the rows:
  1. A sequence and its reverse complement count as the same molecule. With --strands forward, where the
     strand decides the label, they do so only in the search for leaks and relatives.
  2. Molecules that carry several labels in training are dropped from it, repeated ones are kept once.
     Of numbers that a molecule was measured to have the mean is kept. The same for validation. The test
     split is never changed.
  3. Training and validation sequences that are also in the test split are dropped, and training sequences
     that are in a given validation table (--no-drop-leaked keeps both kinds and only counts them).
  4. Related sequences are found by the words that they share; training and validation sequences that are
     related to test sequences are counted, dropped (--homologs drop) or refused (--homologs error).
  5. Without a validation table, a share of the training sequences is taken, by content, of every label, or
     of every tenth of the values; related sequences stay together.

Where --columns names one for groups (group=chromosome), sequences of one group are never parted: no group is
in two folds, nor in training and in a validation split that is made here, and given tables that share one are
refused. Groups take the place of related sequences there. These may be parted then; they are counted, and
--homologs drop leaves them out of folds that test their relatives (`dropped`).

With --folds the sequences are parted into so many folds, with every label in about the same share, and
related ones in one fold. The test split is then all of them, and its columns `fold_1`, `fold_2`, … say what a
sequence is in each fold: `train`, `validation` or `test`. It is `test` in one. The training and validation
splits are all of them, too: for the predictor that is put to use.
"""

import logging
from argparse import ArgumentParser
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnalm.evaluate.settings import StrandSettings
from dnalm.prepare_task.checks import (
    FORWARD,
    MOLECULE,
    OVERLAP_BP,
    Leakage,
    add_molecules,
    length_distribution,
    overlap_fractions,
    soft_masked_fractions,
    value_distribution,
)
from dnalm.prepare_task.composition import telling_areas, telling_correlations
from dnalm.prepare_task.labels import carried, check_labels
from dnalm.prepare_task.settings import FoldSettings, PrepareTaskSettings
from dnalm.prepare_task.splits import (
    check_groups,
    check_splits,
    fold_columns,
    learned_and_tested,
    make_folds,
    make_splits,
)
from dnalm.prepare_task.warnings import warnings_for_people
from dnalm.problems.flags import add_problem_flag
from dnalm.problems.kinds import KINDS, Problem
from dnalm.problems.names import REGRESSION, SINGLE_LABEL
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import all_or_none, check_sha256, sha256_of_file, write_json
from dnalm.running.hints import either
from dnalm.sequences.columns import GROUP, task_columns
from dnalm.sequences.tables import CLUSTER, read_rows, write_labelled_table

logger = logging.getLogger("dnalm")

LISTED_LEAKS = 20


def main(
    task: str,
    train: Path,
    test: Path | None,
    validation: Path | None,
    settings: PrepareTaskSettings,
    output_train: Path,
    output_validation: Path,
    output_test: Path,
    checks: Path,
    sha256: list[str] | None = None,
    columns: list[str] | None = None,
    problem: str = SINGLE_LABEL,
    folding: FoldSettings | None = None,
    strands: StrandSettings | None = None,
) -> None:
    """Write the three splits and the checks of one task. Raises InputError if the task cannot be used."""
    folds = folding.folds if folding else None
    read = (strands or StrandSettings()).strands
    same = FORWARD if read == "forward" else MOLECULE
    given = {"train": train, "test": test, "validation": validation}
    inputs = {name: path for name, path in given.items() if path}
    check_given(inputs, folds)
    for split, checksum in read_pairs(sha256, "--sha256", "SPLIT=SUM", inputs).items():
        check_sha256(inputs[split], checksum)
    kind = KINDS[problem]
    names = read_pairs(columns, "--columns", "COLUMN=NAME", ("id", *task_columns({GROUP: ""})))
    tables = {
        name: add_molecules(read_rows(path, task_columns(names), f"{name}_", kind, names))
        for name, path in inputs.items()
    }
    labels = check_labels(kind, tables, inputs)
    check_groups(tables, inputs, task)

    fold_report = None
    if folds:
        splits, rows, leakage, fold_report = make_folds(
            kind, labels, tables["train"], settings, task, same, folds
        )
    else:
        splits, rows, leakage = make_splits(kind, labels, tables, settings, task, same)
    check_splits(kind, splits, labels, task, rows)
    report = {
        "task": task,
        "problem": problem,
        "labels": labels,
        "settings": settings.model_dump()
        | ({"validation_fraction": None} if validation else {})
        | {"strands": read},
        "inputs": {
            name: {"file": path.name, "sha256": sha256_of_file(path)} for name, path in inputs.items()
        },
        "rows": rows,
        "leakage": {
            name: describe_leakage(found, len(tables.get(name, splits[name])))
            for name, found in leakage.items()
        }
        | {"dropped_from_training": settings.drop_leaked, "partial_overlap": describe_overlap(splits)},
        **describe_splits(kind, splits, labels),
    }
    if fold_report:
        report["folds"] = fold_report
    if GROUP in names:
        n = pd.concat(split[GROUP] for split in splits.values()).nunique()
        report["groups"] = {"column": names[GROUP], "count": n}
    report["warnings"] = warnings_for_people(report)
    for warning in report["warnings"]:
        logger.warning("%s: %s", task, warning)
    outputs = {"train": output_train, "validation": output_validation, "test": output_test}
    with all_or_none(*outputs.values(), checks):
        for name, output in outputs.items():
            table = splits[name].assign(seq=splits[name]["forward"])
            group = [GROUP] if GROUP in table else []
            write_labelled_table(
                output, table, [*fold_columns(table), CLUSTER, *group] if name == "test" else group
            )
        write_json(checks, report)
    sizes = ", ".join(f"{len(splits[name]):,} {name}" for name in ("train", "validation", "test"))
    logger.info("%s: %s sequences, labels %s", task, sizes, ", ".join(labels))


def read_pairs(texts: list[str] | None, flag: str, form: str, known: Collection[str]) -> dict[str, str]:
    """The `NAME=VALUE` of a flag, by name, which must be one of `known`."""
    pairs = {}
    for text in texts or ():
        name, _, value = text.partition("=")
        if name not in known or not value:
            raise InputError(f"{flag} {text!r}: give {form}, beginning with {either([*known])}.")
        pairs[name] = value
    return pairs


def check_given(inputs: dict[str, Path], folds: int | None) -> None:
    """Raise InputError if there are neither folds nor a test table, or tables beside folds."""
    if folds is None and "test" not in inputs:
        raise InputError("--test is missing. Give the test table, or --folds to cross-validate.")
    beside = next((name for name in ("test", "validation") if folds and name in inputs), None)
    if beside:
        raise InputError(
            f"--folds parts all sequences anew, but there is a --{beside} table. Leave one of the two out."
        )


def describe_leakage(leakage: Leakage, n_held_out: int) -> dict:
    """The leakage of one table as numbers and the first pairs of ids."""
    pairs = [
        {"id": held_out, "training_id": training, "strand": strand}
        for strand, found in (("same", leakage.exact), ("opposite", leakage.reverse_complement))
        for held_out, training in found
    ]
    return {
        "sequences": n_held_out,
        "exact": len(leakage.exact),
        "reverse_complement": len(leakage.reverse_complement),
        "count": leakage.count,
        "share": round(leakage.count / n_held_out, 6),
        "first": pairs[:LISTED_LEAKS],
    }


def describe_overlap(splits: dict[str, pd.DataFrame]) -> dict[str, int]:
    """How many test sequences have words in common with training sequences, and at least half of theirs."""
    shared = np.concatenate([overlap_fractions(*of) for of in learned_and_tested(splits)])
    return {
        "word_bp": OVERLAP_BP,
        "test_sequences_sharing_any": int((shared > 0).sum()),
        "test_sequences_sharing_half": int((shared >= 0.5).sum()),
    }


def describe_splits(kind: Problem, splits: dict[str, pd.DataFrame], labels: list[str]) -> dict[str, Any]:
    """What is in the splits: numbers, lengths and labels of sequences, and what tells the labels unread."""
    groups = {name: carried(kind, split, labels) for name, split in splits.items()}
    report: dict[str, Any] = {
        "sequences": {name: len(split) for name, split in splits.items()},
        "lengths": {name: length_distribution(split["seq"]) for name, split in splits.items()},
        "soft_masked": {
            name: {
                label: round(share, 6)
                for label, share in soft_masked_fractions(split["seq"], groups[name]).items()
            }
            for name, split in splits.items()
        },
    }
    if kind.name == REGRESSION:
        values = {name: kind.targets(split["label"], labels, name)[:, 0] for name, split in splits.items()}
        report["values"] = {name: value_distribution(of) for name, of in values.items()}
        report["composition"] = telling_correlations(splits["train"]["seq"], values["train"])
    else:
        report["label_counts"] = {
            name: {label: int(of.sum()) for label, of in found.items()} for name, found in groups.items()
        }
        report["composition"] = telling_areas(splits["train"]["seq"], groups["train"])
    return report


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--task", required=True, help="name of the task")
    arguments.add_argument("--train", type=Path, required=True, help="table of training sequences")
    arguments.add_argument("--test", type=Path, help="table of test sequences, if not --folds")
    arguments.add_argument("--validation", type=Path, help="table of validation sequences, if there is one")
    add_problem_flag(arguments)
    add_settings_flags(arguments, PrepareTaskSettings)
    add_settings_flags(arguments, FoldSettings, "folding")
    add_settings_flags(arguments, StrandSettings, "strands")
    arguments.add_argument(
        "--sha256", nargs="+", metavar="SPLIT=SUM", help="checksums that the tables must have: train=…"
    )
    arguments.add_argument(
        "--columns",
        nargs="+",
        metavar="COLUMN=NAME",
        help="what the tables call the columns seq, label and id: seq=…; group=…: the column of what is "
        "never parted, such as the chromosome",
    )
    arguments.add_argument("--output-train", type=Path, required=True, help="TSV of the training split")
    arguments.add_argument("--output-validation", type=Path, required=True, help="TSV of validation")
    arguments.add_argument("--output-test", type=Path, required=True, help="TSV of the test split")
    arguments.add_argument("--checks", type=Path, required=True, help="JSON of everything counted")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
