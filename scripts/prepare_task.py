"""Check the labelled sequences of a task and write its splits.

In:  TSV, CSV (plain or gzip) or Parquet tables with the columns `seq` and `label`, optionally `id`: one for
     training, one for testing, optionally one for validation; with --folds one for all. --problem says what a
     label is: the name of a class, several names (`a;b`, or nothing), or a number.
Out: one TSV per split with the columns `id`, `seq` (upper case) and `label`, and checks.json:

     task, problem, labels (in class order), settings, inputs (file name and sha256 of each),
     rows:       per input: rows read, rows dropped by reason, rows kept; how many are related to those of
                 another split; of test also how many are related to other test sequences,
     leakage:    test sequences that also occur in training: exact, reverse_complement, count, share,
                 the first of them as pairs of ids, whether they were dropped from training; the same for the
                 validation sequences; and how many test sequences overlap training sequences in part,
     composition: how well length, G and C, lower case and N alone tell the labels apart (AUROC), or the
                  values (rank correlation),
     sequences, label_counts or values, lengths (bp), soft_masked (share of lower-case bases by label) per
                  split,
     folds:       with --folds alone: sequences tested in each, clusters of related sequences, and the number
                  in the largest of these,
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

With --folds the sequences are parted into so many folds, with every label in about the same share, and
related ones in one fold. The test split is then all of them, and its columns `fold_1`, `fold_2`, … say what a
sequence is in each fold: `train`, `validation` or `test`. It is `test` in one. The training and validation
splits are all of them, too: for the predictor that is put to use.
"""

import logging
import re
from collections.abc import Iterator
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
    content_keys,
    drop_duplicates,
    find_leakage,
    length_distribution,
    overlap_fractions,
    soft_masked_fractions,
    value_distribution,
)
from dnalm.prepare_task.composition import telling_areas, telling_correlations
from dnalm.prepare_task.folds import COLUMN, TEST, check_enough, check_roles, roles_in_folds
from dnalm.prepare_task.homology import choose_clusters, find_clusters
from dnalm.prepare_task.settings import FoldSettings, PrepareTaskSettings
from dnalm.problems.flags import add_problem_flag
from dnalm.problems.kinds import KINDS, Problem
from dnalm.problems.names import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import check_sha256, sha256_of_file, write_json
from dnalm.sequences.tables import read_rows, write_labelled_table

logger = logging.getLogger("dnalm")

# Lower case differing by more than this between labels tells them apart.
CASE_DIFFERENCE = 0.05
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
    for split, _, checksum in (item.partition("=") for item in sha256 or ()):
        check_sha256(inputs[split], checksum)
    kind = KINDS[problem]
    names = {column: name for column, _, name in (item.partition("=") for item in columns or ())}
    tables = {
        name: add_molecules(read_rows(path, id_prefix=f"{name}_", problem=kind, names=names))
        for name, path in inputs.items()
    }
    labels = check_labels(kind, tables, inputs)

    fold_report = None
    if folds:
        splits, rows, leakage, fold_report = make_folds(
            kind, labels, tables["train"], settings, task, same, folds
        )
    else:
        splits, rows, leakage = make_splits(kind, labels, tables, settings, task, same)
    check_splits(kind, splits, labels, task)
    groups = {name: carried(kind, split, labels) for name, split in splits.items()}
    test_overlap = np.concatenate([overlap_fractions(*of) for of in learned_and_tested(splits)])
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
            **{
                name: describe_leakage(found, len(tables.get(name, splits[name])))
                for name, found in leakage.items()
            },
            "dropped_from_training": settings.drop_leaked,
            "partial_overlap": {
                "word_bp": OVERLAP_BP,
                "test_sequences_sharing_any": int((test_overlap > 0).sum()),
                "test_sequences_sharing_half": int((test_overlap >= 0.5).sum()),
            },
        },
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
    if problem == REGRESSION:
        values = {name: kind.targets(split["label"], labels, name)[:, 0] for name, split in splits.items()}
        report["values"] = {name: value_distribution(of) for name, of in values.items()}
        report["composition"] = telling_correlations(splits["train"]["seq"], values["train"])
    else:
        report["label_counts"] = {
            name: {label: int(of.sum()) for label, of in found.items()} for name, found in groups.items()
        }
        report["composition"] = telling_areas(splits["train"]["seq"], groups["train"])
    if fold_report:
        report["folds"] = fold_report
    report["warnings"] = warnings_for_people(report)
    for warning in report["warnings"]:
        logger.warning("%s: %s", task, warning)
    for name, output in (
        ("train", output_train),
        ("validation", output_validation),
        ("test", output_test),
    ):
        table = splits[name].assign(seq=splits[name]["forward"])
        write_labelled_table(output, table, fold_columns(table) if name == "test" else ())
    write_json(checks, report)
    sizes = ", ".join(f"{len(splits[name]):,} {name}" for name in ("train", "validation", "test"))
    logger.info("%s: %s sequences, labels %s", task, sizes, ", ".join(labels))


def check_given(inputs: dict[str, Path], folds: int | None) -> None:
    """Raise InputError if there are neither folds nor a test table, or tables beside folds."""
    if folds is None and "test" not in inputs:
        raise InputError("--test is missing. Give the test table, or --folds to cross-validate.")
    beside = next((name for name in ("test", "validation") if folds and name in inputs), None)
    if beside:
        raise InputError(
            f"--folds parts all sequences anew, but there is a --{beside} table. Leave one of the two out."
        )


def fold_columns(table: pd.DataFrame) -> list[str]:
    """Names of the columns that say what a sequence is in each fold; none without folds."""
    return [name for name in table.columns if name.startswith(COLUMN)]


def learned_and_tested(splits: dict[str, pd.DataFrame]) -> Iterator[tuple[list[str], list[str]]]:
    """The sequences that are trained on and those that are tested on, together or in each fold."""
    test = splits["test"]
    if not fold_columns(test):
        yield splits["train"]["forward"].tolist(), test["forward"].tolist()
    for fold in fold_columns(test):
        tested = test[fold] == TEST
        yield test["forward"][~tested].tolist(), test["forward"][tested].tolist()


def carried(kind: Problem, rows: pd.DataFrame, labels: list[str]) -> dict[str, np.ndarray]:
    """Which rows carry each label: bool[n]; of values all rows under one name."""
    if kind.name == REGRESSION:
        return {"all": np.ones(len(rows), dtype=bool)}
    return dict(zip(labels, kind.membership(rows["label"], labels).T, strict=False))


def check_labels(kind: Problem, tables: dict[str, pd.DataFrame], inputs: dict[str, Path]) -> list[str]:
    """The labels of the task in class order. Raises InputError if the tables do not agree on them."""
    labels = kind.labels_of(tables["train"]["label"])
    if kind.name == REGRESSION:
        for name, table in tables.items():
            if np.ptp(kind.targets(table["label"], labels, inputs[name])) == 0:
                raise InputError(
                    f"{inputs[name]}: every sequence has the value {table['label'].iloc[0]}; nothing could "
                    "be learned or measured. Give sequences of different values."
                )
        return labels
    check_written_alike(kind, labels, tables["train"], inputs["train"])
    if kind.name == MULTI_LABEL:
        check_several_labels(kind, labels, tables, inputs)
        return labels
    if len(labels) < 2:
        raise InputError(
            f"{inputs['train']}: every sequence has the label {labels[0]!r}. Give sequences of two or more "
            "labels."
        )
    for name in ("test", "validation"):
        if name not in tables:
            continue
        table = tables[name]
        unknown = table[~table["label"].isin(labels)]
        if len(unknown):
            row = unknown.iloc[0]
            known = ", ".join(map(repr, labels[:10])) + (", …" if len(labels) > 10 else "")
            raise InputError(
                f"{inputs[name]} line {row['line']}: label {row['label']!r} does not occur in training "
                f"({known}). Correct the label or add training sequences for it."
            )
        if table["label"].nunique() < 2:
            raise InputError(
                f"{inputs[name]}: every sequence has the label {table['label'].iloc[0]!r}; nothing could be "
                "measured on it. Give sequences of two or more labels."
            )
    return labels


def check_written_alike(kind: Problem, labels: list[str], train: pd.DataFrame, path: Path) -> None:
    """Raise InputError if two labels are one to a person: `Yes` and `yes`, `1` and `01`."""
    seen: dict[str, str] = {}
    for label, of in carried(kind, train, labels).items():
        same = str(int(label)) if re.fullmatch(r"[-+]?[0-9]+", label) else label.casefold()
        if same in seen:
            line = train["line"].to_numpy()[of][0]
            raise InputError(
                f"{path} line {line}: the label is {label!r}, but others are {seen[same]!r}: two classes? "
                "Write both alike, or name one otherwise."
            )
        seen[same] = label


def check_several_labels(
    kind: Problem, labels: list[str], tables: dict[str, pd.DataFrame], inputs: dict[str, Path]
) -> None:
    """Raise InputError unless some training sequences carry each label, some do not, and all are known.

    Also if some other table has no label that some of its sequences carry and some do not.
    """
    if len(labels) < 2:
        raise InputError(
            f"{inputs['train']}: a task of the problem {MULTI_LABEL} needs two or more labels, such as a;b; "
            f"here there is {labels[0] if labels else 'none'}."
        )
    targets = {name: kind.targets(table["label"], labels, inputs[name]) for name, table in tables.items()}
    everywhere = targets["train"].all(axis=0)
    if everywhere.any():
        raise InputError(
            f"{inputs['train']}: every sequence has the label {labels[int(everywhere.argmax())]!r}; nothing "
            "could be learned of it. Give sequences without it, or leave the label out."
        )
    for name, carrying in targets.items():
        if not np.ptp(carrying, axis=0).any():
            raise InputError(
                f"{inputs[name]}: every sequence has the same labels; nothing could be measured on it. Give "
                "sequences of different labels."
            )


def make_splits(
    kind: Problem,
    labels: list[str],
    tables: dict[str, pd.DataFrame],
    settings: PrepareTaskSettings,
    task: str,
    same: str,
) -> tuple[dict[str, pd.DataFrame], dict[str, dict], dict[str, Leakage]]:
    """Clean the tables by the column `same` (see `drop_duplicates`); cut them into train, validation, test.

    Returns the splits, for every table the counts of rows read, dropped by reason and kept, and the leakage
    of the test and (if given) the validation table, counted on the tables as they came.
    """
    train, test = tables["train"], tables["test"]
    leakage = {"test": find_leakage(train, test)}
    drop_leaked = settings.drop_leaked
    in_test = set(test["molecule"])
    counts: dict[str, dict] = {}
    values = kind.name == REGRESSION

    kept: dict[str, pd.DataFrame] = {}
    for name in ("train", "validation"):
        if name not in tables:
            continue
        cleaned = drop_duplicates(tables[name], values, same)
        leaked = cleaned.rows["molecule"].isin(in_test)
        kept[name] = cleaned.rows[~leaked] if drop_leaked else cleaned.rows
        counts[name] = {
            "read": len(tables[name]),
            "dropped_conflicting_labels": cleaned.conflicting,
            "dropped_duplicates": cleaned.duplicates,
            "of_which_reverse_complement": cleaned.of_which_reverse_complement,
            "dropped_in_test": int(leaked.sum()) if drop_leaked else 0,
        }
    if "validation" in tables:
        leakage["validation"] = find_leakage(train, tables["validation"])
        leaked = kept["train"]["molecule"].isin(set(tables["validation"]["molecule"]))
        counts["train"]["dropped_in_validation"] = int(leaked.sum()) if drop_leaked else 0
        if drop_leaked:
            kept["train"] = kept["train"][~leaked]
    related = drop_homologs(kept, test, counts, settings, task)
    if "validation" not in tables:
        keys = content_keys(kept["train"]["molecule"], settings.seed)
        groups = kind.membership(kept["train"]["label"], labels)
        chosen = choose_clusters(groups, related["train"], keys, settings.validation_fraction)
        counts["train"]["moved_to_validation"] = int(chosen.sum())
        kept["validation"], kept["train"] = kept["train"][chosen], kept["train"][~chosen]
    for name in counts:
        counts[name]["kept"] = len(kept[name])
    # Nothing is dropped from the test table; its duplicates make the interval look narrower than it is.
    repeated = drop_duplicates(test, values, same)
    counts["test"] = {
        "read": len(test),
        "homologs_of_train": int(np.isin(related["test"], related["train"]).sum()),
        "homologs_of_test": count_related(related["test"]),
        "too_short_for_homologs": int((test["forward"].str.len() < settings.homolog_word_bp).sum()),
        "conflicting_labels": repeated.conflicting,
        "duplicates": repeated.duplicates,
        "of_which_reverse_complement": repeated.of_which_reverse_complement,
        "kept": len(test),
    }
    return {"train": kept["train"], "validation": kept["validation"], "test": test}, counts, leakage


def make_folds(
    kind: Problem,
    labels: list[str],
    table: pd.DataFrame,
    settings: PrepareTaskSettings,
    task: str,
    same: str,
    folds: int,
) -> tuple[dict[str, pd.DataFrame], dict[str, dict], dict[str, Leakage], dict[str, Any]]:
    """Clean the table, deal it to folds, and cut it into train and validation for what is put to use.

    Returns what `make_splits` does, of which the test split is all rows with what they are in each fold, and
    what is to be said of the folds.
    """
    cleaned = drop_duplicates(table, kind.name == REGRESSION, same)
    rows = cleaned.rows
    clusters = find_relatives(rows, settings)
    of_labels = carried(kind, rows, labels)
    check_enough(of_labels, clusters, folds, task)
    groups = kind.membership(rows["label"], labels)
    keys = content_keys(rows["molecule"], settings.seed)
    roles = roles_in_folds(groups, clusters, keys, folds, settings.validation_fraction)
    check_roles(of_labels, roles, task)
    chosen = choose_clusters(groups, clusters, keys, settings.validation_fraction)
    counts = {
        "train": {
            "read": len(table),
            "dropped_conflicting_labels": cleaned.conflicting,
            "dropped_duplicates": cleaned.duplicates,
            "of_which_reverse_complement": cleaned.of_which_reverse_complement,
            "dropped_in_test": 0,
            "homologs_of_test": 0,
            "moved_to_validation": int(chosen.sum()),
            "kept": int((~chosen).sum()),
        },
        "test": {
            "read": len(rows),
            "homologs_of_train": 0,
            "homologs_of_test": count_related(clusters),
            "too_short_for_homologs": int((rows["forward"].str.len() < settings.homolog_word_bp).sum()),
            "conflicting_labels": 0,
            "duplicates": 0,
            "of_which_reverse_complement": 0,
            "kept": len(rows),
        },
    }
    sizes = np.bincount(np.unique(clusters, return_inverse=True)[1])
    fold_report = {
        "sequences": [int((role == TEST).sum()) for role in roles.values()],
        "clusters": len(sizes),
        "largest_cluster": int(sizes.max()),
    }
    splits = {"train": rows[~chosen], "validation": rows[chosen], "test": rows.assign(**roles)}
    return splits, counts, {"test": Leakage()}, fold_report


def drop_homologs(
    kept: dict[str, pd.DataFrame],
    test: pd.DataFrame,
    counts: dict[str, dict],
    settings: PrepareTaskSettings,
    task: str,
) -> dict[str, np.ndarray]:
    """Count, and if wished drop from `kept`, what is related to sequences of a split that is held out.

    Adds `homologs_of_test` and `homologs_of_validation` to `counts`, equal molecules included where these
    were kept. Returns the cluster of each row that is left. Raises InputError if there must be none.
    """
    parts = {**kept, "test": test}
    clusters = find_relatives(pd.concat(parts.values()), settings)
    ends = np.cumsum([len(part) for part in parts.values()])
    of = dict(zip(parts, np.split(clusters, ends[:-1]), strict=True))
    for name, held_out in (("train", "test"), ("validation", "test"), ("train", "validation")):
        if name not in kept or held_out not in of:
            continue
        related = np.isin(of[name], of[held_out])
        counts[name][f"homologs_of_{held_out}"] = int(related.sum())
        if related.any() and settings.homologs == "error":
            first = kept[name].iloc[int(np.flatnonzero(related)[0])]
            raise InputError(
                f"task {task}: {related.sum():,} {name} sequences are related to {held_out} sequences, the "
                f"first in line {first['line']} of the {name} table (id {first['id']}). Remove them, or set "
                "prepare_task.homologs to drop or report."
            )
        if settings.homologs == "drop":
            kept[name], of[name] = kept[name][~related], of[name][~related]
    return of


def find_relatives(rows: pd.DataFrame, settings: PrepareTaskSettings) -> np.ndarray:
    """The cluster of each row: int64[n]. Rows of one molecule share it, also those too short for words."""
    clusters = find_clusters(rows[FORWARD].tolist(), settings.homolog_word_bp, settings.homolog_fraction)
    molecule, first = pd.factorize(rows[MOLECULE])[0], ~rows.duplicated(MOLECULE).to_numpy()
    return clusters[first][molecule]


def count_related(clusters: np.ndarray) -> int:
    """How many share their cluster with another one; `clusters` int64[n]."""
    sizes = np.bincount(clusters)
    return int(sizes[sizes > 1].sum())


def check_splits(kind: Problem, splits: dict[str, pd.DataFrame], labels: list[str], task: str) -> None:
    """Raise InputError if cleaning left a split without sequences of some label it needs."""
    for name, needed in (("train", True), ("validation", False)):
        present = carried(kind, splits[name], labels)
        missing = [label for label, of in present.items() if needed and not of.any()]
        if missing or not len(splits[name]):
            what = f"no {name} sequence"
            if missing and kind.name != REGRESSION:
                what += f" of label {missing[0]!r}"
            raise InputError(
                f"task {task}: after dropping duplicates, conflicting labels and leaked sequences {what} is "
                "left. Give more sequences or, if the leak is meant to be, switch dropping off."
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


def warnings_for_people(report: dict) -> list[str]:
    """Sentences about everything in the checks that should make a reader careful."""
    rows, leakage = report["rows"], report["leakage"]
    dropped = leakage["dropped_from_training"]
    warnings = []
    for name in ("test", "validation"):
        if name in leakage and leakage[name]["count"]:
            found = leakage[name]
            action = (
                "they were dropped from training"
                if dropped
                else "they were KEPT in training, so results are too good"
            )
            warnings.append(
                f"{found['count']:,} of {found['sequences']:,} {name} sequences also occur in training "
                f"({found['exact']:,} on the same strand, {found['reverse_complement']:,} as reverse "
                f"complement); {action}."
            )
    overlap = leakage["partial_overlap"]
    # Leaked sequences that were kept overlap fully and are reported above.
    half = overlap["test_sequences_sharing_half"] - (0 if dropped else leakage["test"]["count"])
    if half > 0:
        warnings.append(
            f"{half:,} of {rows['test']['kept']:,} test sequences share at least half of their "
            f"{OVERLAP_BP}-bp words with the training sequences (overlapping windows or repeats)."
        )
    for name, held_out in (("train", "test"), ("validation", "test"), ("train", "validation")):
        count = rows.get(name, {}).get(f"homologs_of_{held_out}", 0)
        if count:
            are, were = ("sequence is", "it was") if count == 1 else ("sequences are", "they were")
            done = "dropped" if report["settings"]["homologs"] == "drop" else "KEPT"
            warnings.append(
                f"{count:,} {name} {are} related to {held_out} sequences (shared words of "
                f"{report['settings']['homolog_word_bp']} bp); {were} {done}."
            )
    if related := rows["test"]["homologs_of_test"]:
        warnings.append(
            f"{related:,} of {rows['test']['kept']:,} test sequences are related to other test sequences "
            f"(shared words of {report['settings']['homolog_word_bp']} bp). Intervals and p values take them "
            "for independent, so they are too narrow and too low."
        )
    if short := rows["test"]["too_short_for_homologs"]:
        warnings.append(
            f"{short:,} of {rows['test']['kept']:,} test sequences are shorter than the words of "
            f"{report['settings']['homolog_word_bp']} bp by which related sequences are found "
            "(prepare_task.homolog_word_bp), so nothing is known of theirs."
        )
    warnings += composition_warnings(report)
    for name in ("train", "validation"):
        found = rows.get(name, {})
        if found.get("dropped_conflicting_labels"):
            warnings.append(
                f"{_rows(found['dropped_conflicting_labels'])} of the {name} table dropped because the same "
                "sequence carries different labels."
            )
        if found.get("dropped_duplicates"):
            mean = "; of several values the mean was kept" if report["problem"] == REGRESSION else ""
            warnings.append(
                f"{_rows(found['dropped_duplicates'])} of the {name} table dropped as duplicates "
                f"({found['of_which_reverse_complement']:,} as reverse complement){mean}."
            )
    if rows["test"]["duplicates"] or rows["test"]["conflicting_labels"]:
        warnings.append(
            f"in the test table {rows['test']['duplicates']:,} rows repeat a sequence and "
            f"{rows['test']['conflicting_labels']:,} belong to a sequence with different labels; it was left "
            "as it is."
        )
    for name, shares in report["soft_masked"].items():
        if max(shares.values()) - min(shares.values()) > CASE_DIFFERENCE:
            words = ", ".join(f"{share:.0%} of label {label}" for label, share in shares.items())
            warnings.append(
                f"lower case tells the labels apart in the {name} table ({words} is lower case); all "
                "sequences were made upper case."
            )
            break
    return warnings + (balance_warnings(report) if "label_counts" in report else [])


FEATURES = {
    "length": "the length",
    "gc": "the share of G and C",
    "lower_case": "the share of lower case",
    "n": "the share of N",
}


def composition_warnings(report: dict) -> list[str]:
    """Sentences about what tells the labels or values without being read."""
    warnings = []
    for feature, found in report["composition"].items():
        if not found["tells"]:
            continue
        if "spearman" in found:
            warnings.append(
                f"{FEATURES[feature]} alone tells the value with a rank correlation of "
                f"{found['spearman']:+.2f}; a model may have learnt no more than that."
            )
        # Lower case has a sentence of its own, by label, and is gone from the sequences.
        elif feature != "lower_case":
            warnings.append(
                f"{FEATURES[feature]} alone tells label {found['label']} from the others with an AUROC of "
                f"{found['auroc']:.2f}; a classifier may have learnt no more than that."
            )
    return warnings


def balance_warnings(report: dict) -> list[str]:
    """Sentences about labels that are missing or rare."""
    labels, counts, warnings = report["labels"], report["label_counts"], []
    for name in ("validation", "test"):
        missing = [label for label in labels if not counts[name][label]]
        if missing:
            warnings.append(f"no {name} sequence has the label {', '.join(missing)}.")
    rarest = min(counts["train"].values()) / report["sequences"]["train"]
    if rarest < 0.1 / len(labels):
        better = (
            "balanced accuracy, MCC and AUPRC rather than accuracy"
            if report["problem"] == SINGLE_LABEL
            else "AUPRC and F1 of each label"
        )
        warnings.append(
            f"the labels are unbalanced (the rarest has {rarest:.1%} of the training sequences); look at "
            f"{better}."
        )
    return warnings


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


if __name__ == "__main__":
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
        help="what the tables call the columns seq, label and id: seq=…",
    )
    arguments.add_argument("--output-train", type=Path, required=True, help="TSV of the training split")
    arguments.add_argument("--output-validation", type=Path, required=True, help="TSV of validation")
    arguments.add_argument("--output-test", type=Path, required=True, help="TSV of the test split")
    arguments.add_argument("--checks", type=Path, required=True, help="JSON of everything counted")
    run(main, arguments.parse_args())
