"""What the checks of a task should make a reader careful about, in sentences."""

from dnalm.prepare_task.checks import OVERLAP_BP
from dnalm.problems.names import REGRESSION, SINGLE_LABEL

# Lower case differing by more than this between labels tells them apart.
CASE_DIFFERENCE = 0.05
FEATURES = {
    "length": "the length",
    "gc": "the share of G and C",
    "lower_case": "the share of lower case",
    "n": "the share of N",
}


def warnings_for_people(report: dict) -> list[str]:
    """Sentences about everything in the checks that should make a reader careful."""
    return [
        *leak_warnings(report),
        *relative_warnings(report),
        *composition_warnings(report),
        *table_warnings(report),
        *case_warnings(report),
        *(balance_warnings(report) if "label_counts" in report else []),
    ]


def leak_warnings(report: dict) -> list[str]:
    """Sentences about sequences that are held out and occur in training, whole or in part."""
    leakage = report["leakage"]
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
            f"{half:,} of {report['rows']['test']['kept']:,} test sequences share at least half of their "
            f"{OVERLAP_BP}-bp words with the training sequences (overlapping windows or repeats)."
        )
    return warnings


def relative_warnings(report: dict) -> list[str]:
    """Sentences about related sequences, between splits and in the test split."""
    rows, warnings = report["rows"], []
    for name, held_out in (("train", "test"), ("validation", "test"), ("train", "validation")):
        count = rows.get(name, {}).get(f"homologs_of_{held_out}", 0)
        if count:
            are, were = ("sequence is", "it was") if count == 1 else ("sequences are", "they were")
            done = "dropped" if report["settings"]["homologs"] == "drop" else "KEPT"
            warnings.append(
                f"{count:,} {name} {are} related to {held_out} sequences (shared words of "
                f"{report['settings']['homolog_word_bp']} bp); {were} {done}."
            )
    if count := report.get("folds", {}).get("related_in_other_folds", 0):
        done = "left out of folds that test these" if report["settings"]["homologs"] == "drop" else "KEPT"
        are, were = ("sequence is", "it was") if count == 1 else ("sequences are", "they were")
        warnings.append(
            f"{count:,} {are} related to sequences of another {report['groups']['column']} (shared words of "
            f"{report['settings']['homolog_word_bp']} bp); {were} {done}."
        )
    if related := rows["test"]["homologs_of_test"]:
        warnings.append(
            f"{related:,} of {rows['test']['kept']:,} test sequences are related to other test sequences "
            f"(shared words of {report['settings']['homolog_word_bp']} bp). Intervals and p values take "
            f"relatives together, as {rows['test']['clusters']:,} independent groups."
        )
    if short := rows["test"]["too_short_for_homologs"]:
        warnings.append(
            f"{short:,} of {rows['test']['kept']:,} test sequences are shorter than the words of "
            f"{report['settings']['homolog_word_bp']} bp by which related sequences are found "
            "(prepare_task.homolog_word_bp), so nothing is known of theirs."
        )
    return warnings


def table_warnings(report: dict) -> list[str]:
    """Sentences about rows that repeat a sequence, with the same label or another."""
    rows, warnings = report["rows"], []
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
    return warnings


def case_warnings(report: dict) -> list[str]:
    """A sentence about the first table whose labels lower case tells apart."""
    for name, shares in report["soft_masked"].items():
        if max(shares.values()) - min(shares.values()) > CASE_DIFFERENCE:
            words = ", ".join(f"{share:.0%} of label {label}" for label, share in shares.items())
            return [
                f"lower case tells the labels apart in the {name} table ({words} is lower case); all "
                "sequences were made upper case."
            ]
    return []


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
