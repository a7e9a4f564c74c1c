"""Test sequences that pretraining has read are counted, on either strand."""

import json

import numpy as np
import pytest

import pretraining_overlap
from dnalm.report.words import overlap_sentence
from dnalm.running.errors import InputError
from dnalm.sequences.strands import reverse_complement


def test_whole_half_and_parts_are_counted_on_both_strands(tmp_path):
    generator = np.random.default_rng(0)

    def draw(n: int) -> str:
        return "".join(generator.choice(list("ACGT"), n))

    whole, half, some, other = (draw(132) for _ in range(4))
    test = tmp_path / "test.tsv"
    test.write_text("seq\tlabel\n" + "".join(f"{s}\t1\n" for s in (whole, half, some, other)))
    # 132 bp are 101 words of 32 bp; 90 bp hold 59 of them, 40 bp 9.
    first, second = tmp_path / "one.txt", tmp_path / "two.txt"
    first.write_text(f"{draw(50)}{reverse_complement(whole)}{draw(50)}\n{draw(200)}\n")
    second.write_text(f"{half[:90].lower()}{draw(20)}\n{some[50:90]}\n")
    pretraining_overlap.main("t", test, [first, second], tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    counts = {"whole": 1, "half": 2, "any": 3, "without_words": 0}
    assert found == {"task": "t", "n": 4, "word_bp": 32} | counts
    assert "2 of them (50.0%)" in overlap_sentence(found) and "1 whole" in overlap_sentence(found)


def test_nothing_is_said_where_nobody_looked():
    assert overlap_sentence(None) == ""
    assert overlap_sentence({"n": 3, "half": 0, "whole": 0, "word_bp": 32}).startswith(" None of them")


def test_what_a_checkpoint_has_read_is_not_known():
    before = " What its checkpoint had read before is not known."
    assert overlap_sentence(None, checkpoint=True) == before
    found = overlap_sentence({"n": 3, "half": 0, "whole": 0, "word_bp": 32}, checkpoint=True)
    assert found.startswith(" None of them stood in the pretraining lines") and found.endswith(before)


def test_of_sequences_without_a_word_nothing_is_claimed(tmp_path):
    """One of 31 bp, and one with an N in its middle; a line that holds both does not show it."""
    short, parted, long = "ACGTT" * 6 + "A", "GATTC" * 6 + "N" + "GATTC" * 6, "GGCAT" * 8
    test, lines = tmp_path / "test.tsv", tmp_path / "lines.txt"
    lines.write_text(f"{short}{parted}\n")
    for sequences, start in (
        ((short, parted), " They have none of the words of 32 bp"),
        (
            (short, parted, long),
            " None of them stood in the pretraining lines, whole or by half. 2 have none",
        ),
    ):
        test.write_text("seq\tlabel\n" + "".join(f"{s}\t1\n" for s in sequences))
        pretraining_overlap.main("t", test, [lines], tmp_path / "out.json")
        found = json.loads((tmp_path / "out.json").read_text())
        assert found["without_words"] == 2 and overlap_sentence(found).startswith(start)


def test_lines_that_are_not_there_are_refused(tmp_path):
    (tmp_path / "test.tsv").write_text(f"seq\tlabel\n{'ACGT' * 10}\t1\n")
    with pytest.raises(InputError, match=r"no\.txt: no such file"):
        pretraining_overlap.main("t", tmp_path / "test.tsv", [tmp_path / "no.txt"], tmp_path / "out.json")
