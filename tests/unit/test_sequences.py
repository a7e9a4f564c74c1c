"""Reading tables of labelled sequences: every form a table may have, and every way it may be wrong."""

import csv
import gzip

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnalm.problems.kinds import KINDS, sort_labels
from dnalm.problems.names import MULTI_LABEL
from dnalm.running.errors import InputError
from dnalm.sequences import columns, regions
from dnalm.sequences.strands import IUPAC, canonical, reverse_complement
from dnalm.sequences.tables import (
    read_clusters,
    read_labelled_table,
    read_sequence_table,
    write_labelled_table,
)


@given(st.text(IUPAC + IUPAC.lower()))
def test_a_molecule_has_two_strands(sequence):
    assert reverse_complement(reverse_complement(sequence)) == sequence
    assert canonical(reverse_complement(sequence)) == canonical(sequence) == canonical(sequence.lower())
    assert canonical(sequence) in (sequence.upper(), reverse_complement(sequence.upper()))


def test_reverse_complement_by_hand():
    assert reverse_complement("AACGTn") == "nACGTT"
    assert reverse_complement("RYKM") == "KMRY"


@pytest.mark.parametrize(
    "content",
    [
        b"seq\tlabel\nacgt\t1\nGGNN\t0\n",
        b"seq,label\nacgt,1\nGGNN,0",
        b"\xef\xbb\xbfSequence;Class\r\nacgt;1\r\nGGNN;0\r\n\r\n",
        b'label,comment,SEQ\n"1","a, b",acgt\n0,,GGNN\n',
        gzip.compress(b"seq\tlabel\nacgt\t1\nGGNN\t0\n", mtime=0),
    ],
    ids=["tsv", "csv without last newline", "Excel", "quotes and other columns", "gzip"],
)
def test_every_form_of_table(tmp_path, content):
    path = tmp_path / "table"
    path.write_bytes(content)
    table = read_labelled_table(path)
    assert table.to_dict("list") == {"id": ["1", "2"], "seq": ["ACGT", "GGNN"], "label": ["1", "0"]}


def test_ids_that_look_like_missing_values_are_ids(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("id\tseq\tlabel\nnull\tAC\tnano\nnan\tGT\tnone of these\n")
    table = read_labelled_table(path)
    assert table["id"].tolist() == ["null", "nan"]
    assert table["label"].tolist() == ["nano", "none of these"]


def test_sequences_need_no_label(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("id,seq\na,acgt\n")
    assert read_sequence_table(path).to_dict("list") == {"id": ["a"], "seq": ["ACGT"]}
    with pytest.raises(InputError, match="no column 'label'"):
        read_labelled_table(path)


def parquet(path, **columns) -> None:
    """Write a table as `datasets` writes it, and `labels` as named classes."""
    import datasets

    names = columns.pop("names", None)
    features = datasets.Features(
        {name: datasets.Value("string" if isinstance(v[0], str) else "int64") for name, v in columns.items()}
    )
    if names:
        features["label"] = datasets.ClassLabel(names=names)
    datasets.Dataset.from_dict(columns, features=features).to_parquet(path)


def test_tables_of_the_hub_are_read(tmp_path):
    """Parquet, with the names of the classes where the table has them, else with their numbers."""
    parquet(tmp_path / "named", sequence=["acgt", "GGN"], label=[1, 0], names=["silent", "enhancer"])
    rows = read_labelled_table(tmp_path / "named")
    assert rows.to_dict("list") == {"id": ["1", "2"], "seq": ["ACGT", "GGN"], "label": ["enhancer", "silent"]}
    parquet(tmp_path / "plain", id=["a", "b"], seq=["A", "C"], label=[10, 2])
    rows = read_labelled_table(tmp_path / "plain")
    assert rows.to_dict("list") == {"id": ["a", "b"], "seq": ["A", "C"], "label": ["10", "2"]}
    assert read_sequence_table(tmp_path / "named")["seq"].tolist() == ["ACGT", "GGN"]


def test_mistakes_in_tables_of_the_hub_name_the_row(tmp_path):
    path = tmp_path / "table"
    parquet(path, seq=["ACGT", "ACXT"], label=["a", "b"])
    with pytest.raises(InputError, match=r"row 2: 'X' at position 3"):
        read_labelled_table(path)
    parquet(path, seq=["ACGT", "ACGT"], label=[0, -1], names=["a", "b"])
    with pytest.raises(InputError, match="row 2: the label is empty"):
        read_labelled_table(path)
    parquet(path, dna=["ACGT"], label=["a"])
    with pytest.raises(InputError, match="no column 'seq' or 'sequence'; found 'dna', 'label'"):
        read_labelled_table(path)
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(InputError, match="a header but no rows"):
        read_labelled_table(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="not a readable Parquet file") as error:
        read_labelled_table(path)
    assert "\n" not in str(error.value)


def test_text_of_any_type_is_text(tmp_path):
    """Categories, as pandas writes them, and bytes, as some databases do; `b'1'` is no label."""
    import pyarrow as pa

    texts = pa.array(["ACGT", "GGNN"])
    for kind in (pa.binary(), pa.large_binary(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        labels = pa.array(["1", "0"]).cast(kind)
        pq.write_table(pa.table({"seq": texts.cast(kind), "label": labels}), tmp_path / "t")
        found = read_labelled_table(tmp_path / "t")
        assert found.to_dict("list") == {"id": ["1", "2"], "seq": ["ACGT", "GGNN"], "label": ["1", "0"]}


def test_several_labels_may_be_a_list_of_either_size(tmp_path):
    import pyarrow as pa

    for kind in (pa.list_(pa.string()), pa.large_list(pa.string())):
        labels = pa.array([["a", "b"], []], kind)
        pq.write_table(pa.table({"seq": ["ACGT", "GGNN"], "label": labels}), tmp_path / "t")
        assert read_labelled_table(tmp_path / "t", KINDS[MULTI_LABEL])["label"].tolist() == ["a;b", ""]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([{"a": 1}, {"a": 2}], "column 'label' holds lists or records"),
        ([["a"], None], "column 'label' lacks a list. Give an empty one"),
        ([["a;b"], ["c"]], "column 'label' has a label with ';' in it"),
        ([b"\xff\xfe", b"a"], "column 'label' holds bytes that are no text"),
    ],
)
def test_what_is_no_label_in_a_table_of_the_hub_is_refused(tmp_path, labels, message):
    import pyarrow as pa

    pq.write_table(pa.table({"seq": ["ACGT", "GGNN"], "label": labels}), tmp_path / "t")
    with pytest.raises(InputError, match=message):
        read_labelled_table(tmp_path / "t", KINDS[MULTI_LABEL])


def test_text_that_is_none_in_a_table_of_the_hub_is_refused(tmp_path):
    parquet(tmp_path / "t", seq=["ACGT", "GGNN"], label=["positive", "negative"])
    (tmp_path / "t").write_bytes((tmp_path / "t").read_bytes().replace(b"positive", b"posi\xff\xfeve"))
    with pytest.raises(
        InputError, match=r"column .label. holds bytes that are no text|not a readable Parquet"
    ):
        read_labelled_table(tmp_path / "t")


def test_numbers_of_more_classes_than_are_named_are_refused(tmp_path):
    parquet(tmp_path / "t", seq=["ACGT", "GGNN"], label=[1, 0], names=["a", "b"])
    table = pq.read_table(tmp_path / "t")
    column = table.schema.get_field_index("label")
    pq.write_table(table.set_column(column, "label", [[7, 0]]), tmp_path / "t")
    with pytest.raises(InputError, match="numbers of more classes than it names"):
        read_labelled_table(tmp_path / "t")


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique=True))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_label_is_accepted_is_read_back(tmp_path, labels):
    """Whoever reads a table of ours finds the labels and ids of the user's."""
    with open(tmp_path / "t.csv", "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "seq", "label"])
        rows.writerows([f"i{number}", "ACGT", label] for number, label in enumerate(labels))
    try:
        table = read_labelled_table(tmp_path / "t.csv")
    except InputError:
        return
    write_labelled_table(tmp_path / "again.tsv", table)
    assert read_labelled_table(tmp_path / "again.tsv").equals(table)
    assert table["label"].tolist() == [label.strip() for label in labels]


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "LONGEST_LINE", 1000)
    (tmp_path / "t").write_text("seq\tlabel\n" + "ACGT" * 200 + "\t1\n" + "ACGT" * 300 + "\t0\n")
    with pytest.raises(InputError, match="t line 3: longer than 1,000 letters"):
        read_labelled_table(tmp_path / "t")
    monkeypatch.setattr(regions, "LONGEST_LINE", 1000)
    (tmp_path / "b").write_text("chr1\t0\t9\n\nchr1\t0\t9\t" + "x" * 1000)
    with pytest.raises(InputError, match="b line 3: too long for a line of BED"):
        regions.read_bed(tmp_path / "b")


def test_other_programs_read_what_is_written(tmp_path):
    """The splits of a task open with the library that most trainings begin with."""
    import datasets

    (tmp_path / "raw").write_text("seq,label\nACGT,1\nGGNN,0\n")
    table = read_labelled_table(tmp_path / "raw")
    write_labelled_table(tmp_path / "t.tsv", table)
    found = datasets.load_dataset(
        "csv", data_files=str(tmp_path / "t.tsv"), sep="\t", cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert found["seq"][:] == table["seq"].tolist()
    assert [str(label) for label in found["label"]] == table["label"].tolist()


def test_written_tables_are_read_back(tmp_path):
    source, copy = tmp_path / "a.csv", tmp_path / "b.tsv"
    source.write_text('id,seq,label\na,acgt,"two, words"\nb,tt,0\n')
    table = read_labelled_table(source)
    write_labelled_table(copy, table)
    assert copy.read_text() == "id\tseq\tlabel\na\tACGT\ttwo, words\nb\tTT\t0\n"
    assert read_labelled_table(copy).equals(table)


def test_class_order():
    assert sort_labels(["10", "2", "2", "1"]) == ["1", "2", "10"]
    assert sort_labels(["enhancer", "Other", "10"]) == ["10", "Other", "enhancer"]


@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_what_belongs_together_may_be_named_in_words_or_not_at_all(tmp_path, delimiter):
    rows = [("seq", "cluster", "label"), ("ACGT", "donor 7", "a"), ("ACGA", "", "b"), ("", "", "")]
    rows += [("ACGG", "2", "a"), ("TTTT", "", "b"), ("GGGG", "donor 7", "b")]
    table = tmp_path / "table.txt"
    table.write_text("".join(delimiter.join(row) + "\n" for row in rows))
    assert len(read_labelled_table(table)) == 5
    assert read_clusters(table, 5).tolist() == [0, 1, 2, 3, 0]
    table.write_text("".join(delimiter.join((seq, label)) + "\n" for seq, _, label in rows))
    assert read_clusters(table, 5).tolist() == [0, 1, 2, 3, 4]
