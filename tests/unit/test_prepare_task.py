"""Laws of the task splits: nothing in two splits, nothing twice, nothing lost without being counted."""

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steps import prepare_into

import prepare_task
from dnalm.evaluate.settings import StrandSettings
from dnalm.prepare_task.checks import OVERLAP_BP, length_distribution, overlap_fractions
from dnalm.prepare_task.settings import FoldSettings, PrepareTaskSettings
from dnalm.running.errors import InputError
from dnalm.sequences.strands import canonical, reverse_complement
from dnalm.sequences.tables import read_clusters, read_labelled_table

SPLITS = ("train", "validation", "test")


@st.composite
def tables(draw) -> list[tuple[str, str]]:
    """Few and short sequences: duplicates, reverse complements, palindromes and conflicts are frequent."""
    size = draw(st.integers(6, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = []
    for _ in range(size):
        seq = "".join(generator.choice(list("ACGTacgt"), generator.integers(2, 5)))
        # The label follows from the molecule, but for some mistakes.
        label = sum(canonical(seq).encode()) // 7 % 2
        rows.append((seq, str(label if generator.random() < 0.9 else 1 - label)))
    return rows


def write(path: Path, rows) -> Path:
    path.write_text("seq\tlabel\n" + "".join(f"{seq}\t{label}\n" for seq, label in rows))
    return path


def prepare(folder: Path, train, test, validation=None, **options) -> tuple[dict, dict]:
    """Run the script's main; return the splits as lists of (seq, label), and the checks."""
    outputs = {f"output_{name}": folder / f"out.{name}.tsv" for name in SPLITS}
    checks = prepare_into(
        folder,
        write(folder / "train.tsv", train),
        write(folder / "test.tsv", test) if test else None,
        validation=write(folder / "validation.tsv", validation) if validation else None,
        settings=PrepareTaskSettings(
            validation_fraction=options.get("fraction", 0.3),
            seed=options.get("seed", 42),
            drop_leaked=options.get("drop_leaked", True),
            homologs=options.get("homologs", "report"),
        ),
        strands=StrandSettings(strands=options.get("strands", "both")),
        folding=FoldSettings(folds=options.get("folds")),
        **outputs,
    )
    splits = {
        name: list(read_labelled_table(path)[["seq", "label"]].itertuples(index=False, name=None))
        for name, path in zip(SPLITS, outputs.values(), strict=True)
    }
    return splits, checks


def molecules(rows) -> set[str]:
    return {canonical(seq) for seq, _ in rows}


@settings(max_examples=150, deadline=None)
@given(train=tables(), test=tables(), validation=st.none() | tables(), seed=st.integers(0, 3))
def test_laws_of_the_splits(tmp_path_factory, train, test, validation, seed):
    folder = tmp_path_factory.mktemp("task")
    try:
        splits, checks = prepare(folder, train, test, validation, seed=seed)
    except InputError:
        # Too little is left of these tables; nothing may be left of the outputs either.
        assert not list(folder.glob("out.*")) and not (folder / "checks.json").exists()
        return
    # The test split is the test table, in upper case.
    assert splits["test"] == [(seq.upper(), label) for seq, label in test]
    # No molecule stands in two splits, or twice in a split that is trained on, or carries two labels.
    kinds = {name: molecules(rows) for name, rows in splits.items()}
    assert not kinds["train"] & kinds["test"]
    assert not kinds["validation"] & kinds["test"]
    assert not kinds["train"] & kinds["validation"]
    given_labels = {}
    for seq, label in train:
        given_labels.setdefault(canonical(seq), set()).add(label)
    for name in ("train", "validation"):
        assert len(kinds[name]) == len(splits[name])
    assert all(len(given_labels[molecule]) == 1 for molecule in kinds["train"])
    # Every row that was read is accounted for.
    for name, counts in checks["rows"].items():
        if name == "test":
            continue
        gone = sum(n for key, n in counts.items() if key.startswith(("dropped_", "moved_")))
        assert counts["read"] == counts["kept"] + gone
        assert counts["kept"] == len(splits[name])
    # Leaks are those of the tables as they came.
    strands = {seq.upper() for seq, _ in train}
    leaked = [seq for seq, _ in test if canonical(seq) in molecules(train)]
    assert checks["leakage"]["test"]["count"] == len(leaked)
    assert checks["leakage"]["test"]["exact"] == sum(seq.upper() in strands for seq in leaked)


@settings(max_examples=50, deadline=None)
@given(train=tables(), seed=st.integers(0, 3), turning=st.integers(0, 2**32))
def test_the_choice_depends_on_content_only(tmp_path_factory, train, seed, turning):
    """Other order of rows, other strands, other case: the same molecules for validation."""
    folder = tmp_path_factory.mktemp("task")
    test = [("AAAAAA", "0"), ("CCCCCC", "1")]
    try:
        splits, _ = prepare(folder, train, test, seed=seed)
    except InputError:
        return
    generator = np.random.default_rng(turning)
    views = (str, str.lower, reverse_complement)
    turned = [
        (views[generator.integers(3)](train[i][0]), train[i][1]) for i in generator.permutation(len(train))
    ]
    again, _ = prepare(folder, turned, test, seed=seed)
    for name in SPLITS:
        assert molecules(again[name]) == molecules(splits[name])


def random_rows(n: int, seed: int, length: int = 40) -> list[tuple[str, str]]:
    generator = np.random.default_rng(seed)
    return [("".join(generator.choice(list("ACGT"), length)), str(i % 3 // 2)) for i in range(n)]


def test_validation_is_stratified(tmp_path):
    splits, checks = prepare(tmp_path, random_rows(300, 1), random_rows(60, 2), fraction=0.2)
    assert checks["label_counts"] == {
        "train": {"0": 160, "1": 80},
        "validation": {"0": 40, "1": 20},
        "test": {"0": 40, "1": 20},
    }
    other, _ = prepare(tmp_path, random_rows(300, 1), random_rows(60, 2), fraction=0.2, seed=7)
    assert molecules(other["validation"]) != molecules(splits["validation"])


def test_a_validation_table_need_not_have_every_label(tmp_path):
    train = [(seq, str(i % 3)) for i, (seq, _) in enumerate(random_rows(12, 1))]
    given = random_rows(6, 3)
    splits, _ = prepare(tmp_path, train, random_rows(6, 2), given)
    assert splits == {"train": train, "validation": given, "test": random_rows(6, 2)}


def test_a_disk_that_fills_up_leaves_no_part_of_a_task(tmp_path, monkeypatch):
    def no_room(path, value):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(prepare_task, "write_json", no_room)
    with pytest.raises(OSError, match="No space left"):
        prepare(tmp_path, random_rows(30, 1), random_rows(20, 2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.tsv", "train.tsv"]


def test_planted_leaks_are_found_dropped_and_told(tmp_path):
    train, test = random_rows(100, 1), random_rows(40, 2)
    test[3] = train[10]
    test[5] = (reverse_complement(train[20][0]).lower(), "1")
    splits, checks = prepare(tmp_path, train, test)
    assert checks["leakage"]["test"]["first"] == [
        {"id": "test_4", "training_id": "train_11", "strand": "same"},
        {"id": "test_6", "training_id": "train_21", "strand": "opposite"},
    ]
    assert checks["rows"]["train"]["dropped_in_test"] == 2
    assert len(splits["train"]) + len(splits["validation"]) == 98
    assert checks["leakage"]["partial_overlap"]["test_sequences_sharing_half"] == 0
    assert any("2 of 40 test sequences also occur in training" in line for line in checks["warnings"])

    kept, checks = prepare(tmp_path, train, test, drop_leaked=False)
    assert len(kept["train"]) + len(kept["validation"]) == 100
    assert checks["leakage"]["test"]["count"] == 2
    assert any("KEPT" in line for line in checks["warnings"])


def test_shifted_windows_are_reported(tmp_path):
    """A test window that is shifted by ten base pairs against a training window, on the other strand."""
    locus = random_rows(1, 3, length=110)[0][0]
    train = [*random_rows(50, 1, length=100), (locus[:100], "1")]
    test = [*random_rows(20, 2, length=100), (reverse_complement(locus[10:]), "1")]
    _, checks = prepare(tmp_path, train, test, fraction=0.02)
    assert checks["leakage"]["test"]["count"] == 0
    assert checks["leakage"]["partial_overlap"] == {
        "word_bp": 32,
        "test_sequences_sharing_any": 1,
        "test_sequences_sharing_half": 1,
    }


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_overlap_shares_against_the_plain_way(data):
    locus = st.text("ACGTN", min_size=0, max_size=30).map(lambda s: (s + "ACGGTCATTG") * 4)
    cut = st.tuples(locus, st.integers(0, 50)).map(lambda pair: pair[0][pair[1] :] + "A")
    training, held_out = data.draw(st.lists(cut, max_size=4)), data.draw(st.lists(cut, max_size=4))

    def words(sequence):
        found = [sequence[i : i + OVERLAP_BP] for i in range(len(sequence) - OVERLAP_BP + 1)]
        return [canonical(word) for word in found if not set(word) - set("ACGT")]

    known = {word for sequence in training for word in words(sequence)}
    expected = [np.mean([w in known for w in words(s)]) if words(s) else 0 for s in held_out]
    if held_out:
        assert np.allclose(overlap_fractions(training, held_out, batch=2), expected)


def test_sequences_too_short_for_relatives_to_be_found_are_counted(tmp_path):
    """Related sequences are found by words of 16 bp: one of 15 has none, one of 16 has one."""
    short = [
        (seq[:length], label)
        for (seq, label), length in zip(random_rows(6, 2), [15, 15, 16] * 2, strict=True)
    ]
    _, checks = prepare(tmp_path, random_rows(60, 1), random_rows(30, 3) + short)
    assert checks["rows"]["test"]["too_short_for_homologs"] == 4
    assert any("4 of 36 test sequences are shorter than the words" in line for line in checks["warnings"])


@pytest.mark.parametrize("length", [10, 60])
def test_sense_and_antisense_can_be_told_apart_and_share_a_split(tmp_path, length):
    """Also where they are too short for the words by which relatives are found."""
    sense = [seq for seq, _ in random_rows(60, 1, length)]
    rows = [(seq, "sense") for seq in sense] + [(reverse_complement(seq), "antisense") for seq in sense]
    splits, checks = prepare(tmp_path, rows, rows[:5] + rows[60:65], strands="forward")
    assert checks["label_counts"]["test"] == {"antisense": 5, "sense": 5}
    assert len(splits["train"]) + len(splits["validation"]) == 110
    assert not molecules(splits["train"]) & molecules(splits["validation"])
    assert not molecules(splits["train"]) & molecules(splits["test"])
    prepare(tmp_path, rows, None, strands="forward", folds=4)
    table = pd.read_csv(tmp_path / "out.test.tsv", sep="\t")
    assert len(table) == 120
    for fold in ("fold_1", "fold_2", "fold_3", "fold_4"):
        assert (table.groupby(table["seq"].map(canonical))[fold].nunique() == 1).all()
    with pytest.raises(InputError, match="no train sequence of label 'antisense' is left"):
        prepare(tmp_path, rows, rows[:5] + rows[60:65])


def relative(row: tuple[str, str]) -> tuple[str, str]:
    """The same but for its first base."""
    return ("A" if row[0][0] != "A" else "C") + row[0][1:], row[1]


@pytest.mark.parametrize("homologs", ["report", "drop"])
def test_relatives_of_what_is_held_out_are_counted_or_left_out(tmp_path, homologs):
    train, validation, test = (random_rows(20, seed, 80) for seed in (1, 2, 3))
    test += [relative(train[0]), relative(validation[0])]
    validation += [relative(train[1])]
    splits, checks = prepare(tmp_path, train, test, validation, homologs=homologs)
    drop = homologs == "drop"
    assert splits == {"train": train[2 * drop :], "validation": validation[drop:], "test": test}
    counts = checks["rows"]
    assert counts["train"]["homologs_of_test"] == counts["train"]["homologs_of_validation"] == 1
    assert counts["validation"]["homologs_of_test"] == 1
    assert counts["test"]["homologs_of_train"] == (0 if drop else 1)
    assert (counts["train"]["kept"], counts["validation"]["kept"]) == (20 - 2 * drop, 21 - drop)


def test_relatives_of_what_is_held_out_are_refused_if_wished(tmp_path):
    train, test = random_rows(20, 1, 80), random_rows(20, 3, 80)
    prepare(tmp_path, train, test, homologs="error")
    (tmp_path / "out.train.tsv").unlink()
    with pytest.raises(
        InputError, match=r"1 train sequences are related to test sequences, the first in lin"
    ):
        prepare(tmp_path, train, [*test, relative(train[2])], homologs="error")
    assert not (tmp_path / "out.train.tsv").exists()
    with pytest.raises(InputError, match=r"in line 4 of the train table \(id "):
        prepare(tmp_path, train, [*test, relative(train[2]), relative(train[5])], homologs="error")


def test_relatives_within_and_across_the_splits_are_told(tmp_path):
    """Two test sequences differ in one base, a third is a training sequence with one base changed."""
    train, test = random_rows(30, 1, 80), random_rows(20, 2, 80)
    changed = [("A" + seq[1:], label) if seq[0] != "A" else ("C" + seq[1:], label) for seq, label in test[:1]]
    known = [("G" + seq[1:], label) if seq[0] != "G" else ("T" + seq[1:], label) for seq, label in train[:1]]
    _, checks = prepare(tmp_path, train, test + changed + known)
    counts = checks["rows"]["test"]
    assert (counts["homologs_of_test"], counts["homologs_of_train"]) == (2, 1)
    assert counts["clusters"] == 21
    # Whoever evaluates is told which.
    assert read_clusters(tmp_path / "out.test.tsv", 22).tolist() == [*range(20), 0, 20]
    (warning,) = (w for w in checks["warnings"] if "2 of 22 test sequences are related to other" in w)
    assert warning.endswith("as 21 independent groups.")
    _, checks = prepare(tmp_path, train, test)
    assert checks["rows"]["test"]["homologs_of_test"] == 0
    assert not any("related" in warning for warning in checks["warnings"])


def test_lower_case_that_leaks_the_label_is_reported(tmp_path):
    train = [(seq.lower() if label == "0" else seq, label) for seq, label in random_rows(90, 1)]
    splits, checks = prepare(tmp_path, train, random_rows(30, 2))
    assert checks["soft_masked"]["train"] == {"0": 1.0, "1": 0.0}
    assert any("lower case tells the labels apart" in line for line in checks["warnings"])
    assert all(seq.isupper() for seq, _ in splits["train"])


def test_length_distribution_counts_everything():
    lengths = [5, 5, 6, 40, 300]
    found = length_distribution(pd.Series(["A" * n for n in lengths]))
    assert (found["min"], found["median"], found["max"]) == (5, 6.0, 300)
    assert sum(found["counts"]) == 5 and len(found["edges"]) == len(found["counts"]) + 1 <= 22


def test_real_tasks(real_data, tmp_path):
    """Two public tasks, with what is known about their duplicates and leaks."""
    known = {"tf_4": ("dropped_duplicates", 3789), "prom_300_tata": ("dropped_in_test", 3)}
    for task, (key, least) in known.items():
        folder = real_data / "tasks" / task
        train, test, validation = (folder / f"{name}.tsv" for name in ("train", "test", "dev"))
        settings = PrepareTaskSettings(seed=1)
        checks = prepare_into(tmp_path, train, test, task=task, validation=validation, settings=settings)
        assert checks["rows"]["train"][key] >= least
        assert checks["label_counts"]["test"] == {
            label: int(n)
            for label, n in read_labelled_table(folder / "test.tsv")["label"].value_counts().items()
        }


def test_tables_may_call_their_columns_otherwise(tmp_path):
    """A column `class` beside that of the labels is left alone when the label column is named."""
    rows = [("".join(np.random.default_rng(i).choice(list("ACGT"), 20)), i % 2) for i in range(40)]
    table = "locus,dna,class,kind\n" + "".join(f"l{i},{s},x,{label}\n" for i, (s, label) in enumerate(rows))
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text(table)
    columns, settings = ["seq=dna", "label=kind", "id=locus"], PrepareTaskSettings(drop_leaked=False)
    prepare_into(tmp_path, tmp_path / "train.csv", tmp_path / "test.csv", columns=columns, settings=settings)
    test = read_labelled_table(tmp_path / "test.tsv")
    assert list(test.itertuples(index=False, name=None)) == [
        (f"l{i}", seq, str(label)) for i, (seq, label) in enumerate(rows)
    ]
