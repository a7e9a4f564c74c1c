"""Corpora that are no genomes: which sequences they hold, and what is counted."""

import json

import corpus_from_task


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
