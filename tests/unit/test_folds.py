"""Folds: each sequence is tested once, by who knows neither it nor a relative of it."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steps import prepare_into

from dnalm.prepare_task.folds import check_roles, deal_clusters, read_roles, roles_in_folds
from dnalm.prepare_task.settings import FoldSettings, PrepareTaskSettings
from dnalm.problems.names import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from dnalm.running.errors import InputError
from dnalm.sequences.strands import reverse_complement

SPLITS = ("train", "validation", "test")
BASES = np.array(list("ACGT"))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=8, max_size=80),
    st.integers(2, 6),
    st.integers(0, 9),
)
def test_clusters_never_straddle_and_each_sequence_is_tested_once(rows, folds, seed):
    labels, clusters = (np.array(column) for column in zip(*rows, strict=True))
    keys = np.random.default_rng(seed).permutation(len(rows))
    roles = roles_in_folds(labels[:, None] == np.unique(labels), clusters, keys, folds, 0.2)
    assert len(roles) == folds
    assert (np.sum([of == "test" for of in roles.values()], axis=0) == 1).all()
    for of in roles.values():
        assert set(of) <= set(SPLITS)
        for cluster in set(clusters):
            assert len(set(of[clusters == cluster])) == 1
    if len(set(clusters)) >= folds:
        assert all((of == "test").any() for of in roles.values())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=80), st.integers(2, 10), st.integers(0, 9))
def test_without_relatives_labels_are_spread_as_evenly_as_whole_numbers_allow(labels, folds, seed):
    keys = np.random.default_rng(seed).permutation(len(labels))
    membership = np.array(labels)[:, None] == np.unique(labels)
    dealt = deal_clusters(membership, np.arange(len(labels)), keys, folds)
    counts = [np.bincount(dealt[of], minlength=folds) for of in membership.T]
    assert max(np.ptp(of) for of in [*counts, np.bincount(dealt, minlength=folds)]) <= 1
    # The choice depends on the keys, not on the order of the rows.
    turned = np.random.default_rng(seed + 1).permutation(len(labels))
    again = deal_clusters(membership[turned], np.arange(len(labels)), keys[turned], folds)
    assert again.tolist() == dealt[turned].tolist()


def test_a_large_family_does_not_fill_a_fold_with_one_label():
    # 20 relatives of one label and 40 strangers of both: the strangers make up for the relatives.
    labels = np.array([0] * 20 + [0] * 10 + [1] * 30)
    clusters = np.array([0] * 20 + list(range(1, 41)))
    dealt = deal_clusters(labels[:, None] == np.unique(labels), clusters, np.arange(60), 3)
    assert sorted(np.bincount(dealt[labels == 0]).tolist()) == [5, 5, 20]
    assert np.bincount(dealt[labels == 1]).tolist() == [10, 10, 10]


def test_a_rare_label_weighs_more_than_a_frequent_one():
    """The last family goes where its rare label is not yet, though its frequent one is there more often."""
    families = [[0] * 20, [0] * 16 + [1] * 2, [0] * 10 + [1]]
    labels = np.concatenate(families)
    clusters = np.repeat(range(3), [len(family) for family in families])
    dealt = deal_clusters(labels[:, None] == np.arange(2), clusters, np.arange(len(labels)), 2)
    assert [set(dealt[clusters == family].tolist()) for family in range(3)] == [{0}, {1}, {0}]


def test_a_fold_of_which_all_others_are_relatives_is_refused():
    carried = {"a": np.array([True, False, False]), "b": np.array([False, True, True])}
    roles = {"fold_1": np.array(["test", "train", "dropped"])}
    with pytest.raises(InputError, match="in fold_1 no sequence is left for validation"):
        check_roles(carried, roles, "toy")


def random_sequence(generator: np.random.Generator, length: int = 60) -> str:
    return "".join(generator.choice(BASES, length))


def prepare(folder: Path, rows, folds=3, problem=SINGLE_LABEL, **given_tables) -> dict:
    """Run the script; the tables that it writes as rows of text by column, and the checks."""
    (folder / "all.tsv").write_text("id\tseq\tlabel\n" + "".join("\t".join(row) + "\n" for row in rows))
    options = {"settings": PrepareTaskSettings(validation_fraction=0.2), "folding": FoldSettings(folds=folds)}
    test, validation = given_tables.get("test"), given_tables.get("validation")
    checks = prepare_into(folder, folder / "all.tsv", test, validation=validation, problem=problem, **options)
    tables = {}
    for name in SPLITS:
        with open(folder / f"{name}.tsv") as file:
            tables[name] = list(csv.DictReader(file, delimiter="\t"))
    return tables | {"checks": checks}


def toy(n: int = 30) -> list[tuple[str, str, str]]:
    generator = np.random.default_rng(1)
    return [(f"s{i}", random_sequence(generator), "ab"[i % 2]) for i in range(n)]


def test_tables_and_checks_of_a_task_with_folds(tmp_path):
    rows = toy()
    family = rows[0][1]
    # Relatives, two repetitions, a sequence of two labels, and one too short to have relatives.
    rows += [("r1", family[5:] + "ACGTA", "a"), ("r2", family[:50] + "GATTACAGAT", "a")]
    rows += [("twice", rows[1][1], "b"), ("odd1", "ACGT" * 20, "a"), ("odd2", "ACGT" * 20, "b")]
    rows += [("turned", reverse_complement(rows[2][1]), "a"), ("short", "ACGGTTCAAGCT", "a")]
    found = prepare(tmp_path, rows)
    kept = [row[0] for row in rows if row[0] not in ("twice", "odd1", "odd2", "turned")]
    assert [row["id"] for row in found["test"]] == kept
    assert sorted(row["id"] for row in found["train"] + found["validation"]) == sorted(kept)
    assert list(found["train"][0]) == ["id", "seq", "label"]
    roles = read_roles(tmp_path / "test.tsv")
    assert list(roles) == ["fold_1", "fold_2", "fold_3"]
    related = [kept.index(name) for name in ("s0", "r1", "r2")]
    for of in roles.values():
        assert len(set(of[related])) == 1
        assert {"a", "b"} == {
            row["label"] for row, role in zip(found["test"], of, strict=True) if role == "train"
        }
    checks = found["checks"]
    assert sum(checks["folds"]["sequences"]) == len(kept) and checks["folds"]["largest_cluster"] == 3
    assert checks["folds"]["clusters"] == len(kept) - 2
    cleaned = {"dropped_conflicting_labels": 2, "dropped_duplicates": 2, "of_which_reverse_complement": 1}
    for_use = {"moved_to_validation": len(found["validation"]), "kept": len(found["train"])}
    of_test = {"dropped_in_test": 0, "homologs_of_test": 0}
    assert checks["rows"]["train"] == {"read": len(kept) + 4} | cleaned | of_test | for_use
    assert checks["rows"]["test"] == {
        "read": len(kept),
        "homologs_of_train": 0,
        "homologs_of_test": 3,
        "clusters": len(kept) - 2,
        "too_short_for_homologs": 1,
        "conflicting_labels": 0,
        "duplicates": 0,
        "of_which_reverse_complement": 0,
        "kept": len(kept),
    }
    assert checks["sequences"] == {name: len(found[name]) for name in SPLITS}
    assert checks["leakage"]["test"]["count"] == 0
    # No test sequence shares words with what its own fold has learned.
    assert checks["leakage"]["partial_overlap"]["test_sequences_sharing_any"] == 0


@pytest.mark.parametrize(
    ("problem", "label"),
    [(MULTI_LABEL, lambda i: ["", "a", "b", "a;b"][i % 4]), (REGRESSION, lambda i: str(i))],
)
def test_several_labels_and_values_have_folds_too(tmp_path, problem, label):
    rows = [(name, sequence, label(i)) for i, (name, sequence, _) in enumerate(toy(40))]
    found = prepare(tmp_path, rows, folds=4, problem=problem)
    assert found["checks"]["folds"]["sequences"] == [10, 10, 10, 10]


def test_folds_stand_alone_and_need_enough_of_every_label(tmp_path):
    rows = toy()
    with pytest.raises(InputError, match="--folds parts all sequences anew, but there is a --test table"):
        prepare(tmp_path, rows, test=tmp_path / "all.tsv")
    with pytest.raises(InputError, match="--test is missing"):
        prepare(tmp_path, rows, folds=None)
    with pytest.raises(InputError, match="too few sequences of label 'b' for 4 folds: 3"):
        prepare(tmp_path, [*rows[::2], *rows[1:6:2]], folds=4)
    relatives = [(f"r{i}", rows[1][1][i:] + "ACGTA"[:i], "b") for i in range(1, 6)]
    with pytest.raises(InputError, match="label 'b' for 3 folds: 7, 2 if those that stay together"):
        prepare(tmp_path, [*rows[::2], *rows[1:4:2], *relatives])
    # One of the two of label b is tested, and the other one is needed for validation.
    with pytest.raises(InputError, match="in fold_1 no training sequence of label 'b' is left"):
        prepare(tmp_path, [*rows[::2], *rows[1:4:2]], folds=2)
    # Only one sequence lacks label b.
    most = [(name, seq, "a;b" if i % 2 else "b") for i, (name, seq, _) in enumerate(rows)]
    with pytest.raises(InputError, match=r"in fold_\d every training sequence has the label 'b'"):
        prepare(tmp_path, [*most, ("x", "ACGT" * 20, "a")], problem=MULTI_LABEL)
    assert not (tmp_path / "checks.json").exists()


def test_a_table_without_folds_is_refused(tmp_path):
    (tmp_path / "plain.tsv").write_text("id\tseq\tlabel\na\tACGT\tx\n")
    with pytest.raises(InputError, match="no column fold_1"):
        read_roles(tmp_path / "plain.tsv")


def in_groups(folder: Path, homologs: str = "report", folds: int | None = 3) -> dict:
    """Twelve chromosomes of five sequences; chromosomes 1 and 2 have one repeat, one base apart."""
    generator = np.random.default_rng(6)
    repeat = random_sequence(generator)
    rows = [(f"s{i}", random_sequence(generator), "ab"[i % 2], f"chr{i % 12 + 1}") for i in range(60)]
    rows += [
        ("r1", repeat, "a", "chr1"),
        ("r2", repeat[:-1] + ("A" if repeat[-1] != "A" else "C"), "a", "chr2"),
    ]
    table = folder / "all.tsv"
    table.write_text("id\tseq\tlabel\tplace\n" + "".join("\t".join(row) + "\n" for row in rows))
    checks = prepare_into(
        folder,
        table,
        None if folds else table_of_another_chromosome(folder),
        settings=PrepareTaskSettings(validation_fraction=0.2, homologs=homologs),
        columns=["group=place"],
        folding=FoldSettings(folds=folds),
    )
    return {"checks": checks} | {name: pd.read_csv(folder / f"{name}.tsv", sep="\t") for name in SPLITS}


def table_of_another_chromosome(folder: Path) -> Path:
    generator = np.random.default_rng(7)
    rows = [(f"t{i}", random_sequence(generator), "ab"[i % 2], "chrX") for i in range(10)]
    path = folder / "test_table.tsv"
    path.write_text("id\tseq\tlabel\tplace\n" + "".join("\t".join(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("homologs", ["report", "drop"])
def test_no_group_is_parted_and_relatives_of_others_are_counted_or_left_out(tmp_path, homologs):
    found = in_groups(tmp_path, homologs)
    test = found["test"]
    folds = [name for name in test if name.startswith("fold_")]
    for fold in folds:
        roles = test[test[fold] != "dropped"].groupby("group")[fold].nunique()
        assert (roles == 1).all()
        # Both labels are learned, and about a third is tested.
        assert set(test["label"][test[fold] == "train"]) == {"a", "b"}
        assert 15 <= (test[fold] == "test").sum() <= 26
    assert ((test[folds] == "test").sum(axis=1) == 1).all()
    assert not set(found["train"]["group"]) & set(found["validation"]["group"])
    checks = found["checks"]
    assert checks["groups"] == {"column": "place", "count": 12}
    assert checks["folds"]["clusters"] == 12
    # Two relatives in one group or in two folds: the seed of the test has them in two.
    assert test["cluster"].nunique() == 61 and checks["folds"]["related_in_other_folds"] == 2
    assert (test[folds] == "dropped").sum().sum() == (2 if homologs == "drop" else 0)
    assert checks["rows"]["test"]["homologs_of_train"] == (0 if homologs == "drop" else 2)
    done = "left out of folds that test these" if homologs == "drop" else "KEPT"
    (warning,) = (w for w in checks["warnings"] if "another place" in w)
    assert warning.startswith("2 sequences are related") and warning.endswith(f"they were {done}.")


def test_relatives_in_two_groups_are_refused_if_wished(tmp_path):
    with pytest.raises(InputError, match=r"2 sequences are related to such of other groups, .* line 62"):
        in_groups(tmp_path, "error")


def test_a_validation_split_parts_no_group_either(tmp_path):
    found = in_groups(tmp_path, folds=None)
    assert set(found["test"]["group"]) == {"chrX"}
    assert len(found["validation"]) >= 5
    assert not set(found["train"]["group"]) & set(found["validation"]["group"])
