"""Corpora that are no genomes: which sequences they hold, and what is counted."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import corpus_from_lines
import corpus_from_task
from dnalm.corpora.lines import split_sequences
from dnalm.corpora.settings import LinesSettings
from dnalm.running.errors import InputError
from dnalm.sequences.strands import reverse_complement


def test_a_task_gives_its_training_sequences_without_labels(tmp_path):
    (tmp_path / "train.tsv").write_text("id\tseq\tlabel\na\tacgtACGT\t1\nb\tGGGGCC\t0\n")
    (tmp_path / "validation.tsv").write_text("id\tseq\tlabel\nc\tTTNN\t1\n")
    corpus_from_task.main(
        corpus="own",
        task="enhancers",
        train_sequences=tmp_path / "train.tsv",
        validation_sequences=tmp_path / "validation.tsv",
        train=tmp_path / "own.train.txt",
        validation=tmp_path / "own.validation.txt",
        stats=tmp_path / "own.stats.json",
    )
    assert (tmp_path / "own.train.txt").read_text() == "ACGTACGT\nGGGGCC\n"
    assert (tmp_path / "own.validation.txt").read_text() == "TTNN\n"
    stats = json.loads((tmp_path / "own.stats.json").read_text())
    assert stats["windows"] == {"train": 2, "validation": 1}
    assert (stats["sequences"], stats["bases"], stats["gc_content"]) == (3, 18, 10 / 16)
    assert stats["length"] == {"shortest": 4, "median": 6.0, "longest": 8}


def test_labels_decide_nothing(tmp_path):
    lines = {}
    for label in "01":
        (tmp_path / "train.tsv").write_text(f"id\tseq\tlabel\na\tACGT\t{label}\n")
        corpus_from_task.main(
            corpus="own",
            task="t",
            train_sequences=tmp_path / "train.tsv",
            validation_sequences=tmp_path / "train.tsv",
            train=tmp_path / "train.txt",
            validation=tmp_path / "validation.txt",
            stats=tmp_path / "stats.json",
        )
        lines[label] = (tmp_path / "train.txt").read_bytes(), (tmp_path / "stats.json").read_bytes()
    assert lines["0"] == lines["1"]


def from_lines(folder, content: bytes, **settings):
    (folder / "reads.txt").write_bytes(content)
    corpus_from_lines.main(
        corpus="own",
        lines=folder / "reads.txt",
        settings=LinesSettings(**settings),
        train=folder / "train.txt",
        validation=folder / "validation.txt",
        stats=folder / "stats.json",
    )
    return [(folder / f"{split}.txt").read_text().split() for split in ("train", "validation")]


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_lines_become_a_corpus(tmp_path, packed):
    train, validation = from_lines(tmp_path, packed(b"acgt\n\nGGGG\r\nTTNN\nCCCC"), validation_fraction=0.3)
    # CCCC is GGGG on the other strand: three molecules, of which one is held out.
    assert sorted(train + validation) == ["ACGT", "CCCC", "GGGG", "TTNN"]
    assert {"CCCC", "GGGG"} <= set(train) or validation == ["GGGG", "CCCC"]
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert stats["windows"] == {"train": len(train), "validation": len(validation)}
    assert stats["source"] == "lines of reads.txt" and stats["bases"] == 16


@given(
    st.lists(st.text("ACGT", min_size=8, max_size=12), min_size=2, max_size=60),
    st.floats(0.01, 0.5),
    st.randoms(use_true_random=False),
)
def test_the_split_of_lines_depends_on_content_only(sequences, fraction, random):
    held_out = split_sequences(sequences, fraction)
    of = dict(zip(sequences, held_out, strict=True))
    molecules = {min(sequence, reverse_complement(sequence)) for sequence in sequences}
    assert len({s for s in molecules if of.get(s, of.get(reverse_complement(s)))}) == max(
        1, round(fraction * len(molecules))
    )
    turned = [random.choice([s, reverse_complement(s)]) for s in sequences]
    random.shuffle(turned)
    again = dict(zip(turned, split_sequences(turned, fraction), strict=True))
    assert all(again[s] == of.get(s, of.get(reverse_complement(s))) for s in turned)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b">chr1\nACGT\n", "this is a FASTA file. Name it in the sheet of genomes"),
        (b"ACGT\nAXGT\n", "line 2: 'X' at position 2 of the sequence is no DNA letter"),
        (b"ACGU\nACGT\n", "Write T instead of U"),
        (b"\n\n", "no sequences in it"),
        (b"AACC\nGGTT\n", "all sequences are one and the same"),
        (b"\xff\xfe\n", "not a text file"),
    ],
)
def test_lines_that_are_no_corpus_are_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        from_lines(tmp_path, content)
    assert not (tmp_path / "train.txt").exists()
