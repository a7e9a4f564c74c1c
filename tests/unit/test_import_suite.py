"""Published suites become task sheets that the workflow reads."""

import csv
import gzip
from pathlib import Path

import pytest

import import_suite
from dnalm.running.errors import InputError
from dnalm.sequences.tables import read_labelled_table


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


def imported(suite: Path, output: Path) -> dict[str, dict[str, str]]:
    import_suite.main(suite, output)
    with open(output / "tasks.tsv", newline="") as file:
        return {row["task"]: row for row in csv.DictReader(file, delimiter="\t")}


def rows(path: str) -> list[tuple[str, ...]]:
    return list(read_labelled_table(path)[["seq", "label"]].itertuples(index=False, name=None))


def test_gue_keeps_its_tables_and_its_names(tmp_path):
    suite = tmp_path / "GUE"
    for task in ("tf/0", "prom/prom_300_tata", "EMP/H3"):
        for split in ("train", "dev", "test"):
            write(suite / task / f"{split}.csv", f"sequence,label\nACGT{'A' * len(split)},1\nGGCC,0\n")
    sheet = imported(suite, tmp_path / "out")
    assert list(sheet) == ["EMP_H3", "prom_300_tata", "tf_0"]
    assert sheet["tf_0"]["validation"] == str(suite / "tf/0/dev.csv")
    assert rows(sheet["tf_0"]["train"]) == [("ACGTAAAAA", "1"), ("GGCC", "0")]


def test_fasta_with_labels_in_the_headers(tmp_path):
    suite = tmp_path / "tasks"
    write(suite / "promoter_all/train.fna", ">chr1:5|1\nACGT\nacgt\n>chr1:5|0\nGGGG\n")
    write(suite / "promoter_all/test.fna.gz", ">a|b|1\nTTTT\n>x|0\nCCCC\n")
    sheet = imported(suite, tmp_path / "out")
    assert sheet["promoter_all"]["validation"] == ""
    assert rows(sheet["promoter_all"]["train"]) == [("ACGTACGT", "1"), ("GGGG", "0")]
    assert rows(sheet["promoter_all"]["test"]) == [("TTTT", "1"), ("CCCC", "0")]


def test_a_folder_for_each_class(tmp_path):
    for split in ("train", "test"):
        for label, base in (("positive", "A"), ("negative", "C")):
            for number in (2, 10):
                write(tmp_path / f"suite/human_ocr/{split}/{label}/{number}.txt", base * number + "\n")
    sheet = imported(tmp_path / "suite", tmp_path / "out")
    assert rows(sheet["human_ocr"]["test"]) == [
        ("CC", "negative"),
        ("C" * 10, "negative"),
        ("AA", "positive"),
        ("A" * 10, "positive"),
    ]


def test_one_task_may_be_the_whole_suite(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / f"covid/{split}.csv", "sequence,label\nACGT,1\n")
    assert list(imported(tmp_path / "covid", tmp_path / "out")) == ["covid"]


@pytest.mark.parametrize(
    "files, says",
    [
        ({"readme.txt": "hello"}, "no folder in it holds a train and a test split"),
        ({"t/train.fna": ">one\nACGT\n", "t/test.fna": ">a|1\nAC\n"}, "header >one does not end with"),
        ({"t/train.fna": ">a|1\nACGU\n", "t/test.fna": ">a|1\nAC\n"}, "Write T instead of U"),
        ({"t/train.fna": "AC\n", "t/test.fna": ">a|1\nAC\n"}, "train.fna: cannot be read|no sequences"),
        ({"t/train.fna": "", "t/test.fna": ">a|1\nAC\n"}, "no sequences"),
        (
            {"t/train.csv": "sequence,label\nAC,1\n", "t/train.fna": ">a|1\nAC\n", "t/test.csv": ""},
            "train.csv is the train split already",
        ),
        ({"t/train.csv": "a,b\nAC,1\n", "t/test.csv": "sequence,label\nAC,1\n"}, "no column 'seq'"),
        (
            {f"{task}/{split}.fna": ">a|1\nAC\n" for task in ("a b", "a_b") for split in ("train", "test")},
            "there is a task a_b already",
        ),
    ],
)
def test_what_is_no_suite_is_refused_in_one_line(files, says, tmp_path):
    for name, text in files.items():
        write(tmp_path / "suite" / name, text)
    with pytest.raises(InputError, match=says) as error:
        import_suite.main(tmp_path / "suite", tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out/tasks.tsv").exists()


def test_a_damaged_file_of_a_suite_is_named(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / "suite" / f"t/{split}.fna", ">a|1\nAC\n")
    (tmp_path / "suite/t/train.fna").rename(tmp_path / "suite/t/train.fna.gz")
    with pytest.raises(InputError, match=r"train\.fna\.gz: cannot be read .*Fetch it again"):
        import_suite.main(tmp_path / "suite", tmp_path / "out")


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        import_suite.main(tmp_path / "nothing", tmp_path / "out")
