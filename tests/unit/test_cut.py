"""What a model does not read is counted, told in the log, and stands on the first screen of the report."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from settings_objects import by_flags
from steps import embed_into, evaluate_into
from tokenizers import Tokenizer, models

import finetune
from dnalm.finetune.settings import FrozenSettings, FullSettings, SequenceSettings
from dnalm.report import words
from dnalm.sequences.strands import reverse_complement
from dnalm.sequences.tables import read_labelled_table
from dnalm.tokenizers import cut, encoding
from dnalm.tokenizers.bases import offsets_bp
from dnalm.tokenizers.cut import Cut, count_cut
from dnalm.tokenizers.encoding import encode, load_tokenizer
from dnalm.tokenizers.special_tokens import SPECIAL_TOKENS
from dnalm.tokenizers.vocabulary import adjust_for_dna, kmers

SPLITS = ("train", "validation", "test")


def dna(length: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=8), max_tokens=st.none() | st.integers(4, 40)
)
def test_what_is_unread_is_what_the_tokens_kept_do_not_spell(tiny_model, lengths, max_tokens):
    tokenizer = load_tokenizer(tiny_model)
    sequences = [dna(length, seed) for seed, length in enumerate(lengths)]
    found = count_cut(tokenizer, sequences, max_tokens)
    kept = encode(tokenizer, sequences, max_tokens)
    read = sum(len(tokenizer.convert_ids_to_tokens(int(i))) for ids in kept for i in ids[1:-1])
    whole = encode(tokenizer, sequences)
    assert found.bases - found.unread == read
    assert found.cut == sum(len(a) > len(b) for a, b in zip(whole, kept, strict=True))
    assert found + found == Cut(
        max_tokens, *(2 * n for n in (len(lengths), found.cut, found.bases, found.unread))
    )


@functools.cache
def adjusted(n_policy: str, overlapping: int | None = None):
    """A tokenizer of few merges, or of overlapping k-mers, as Transformers loads it."""
    from transformers import PreTrainedTokenizerFast

    merges = [("A", "A"), ("C", "G"), ("AA", "CG")]
    vocabulary = [*SPECIAL_TOKENS.values(), *"ACGT", *(left + right for left, right in merges)]
    ids = {token: number for number, token in enumerate(vocabulary)}
    pairs = Tokenizer(models.BPE(vocab=ids, merges=merges, unk_token="[UNK]"))
    backend = kmers(overlapping, overlapping=True) if overlapping else pairs
    names = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=adjust_for_dna(backend, SPECIAL_TOKENS, n_policy), **names
    )


def plain_count(tokenizer, sequences: list[str], max_tokens: int | None) -> Cut:
    """Every sequence encoded as a whole."""
    found = Cut(max_tokens)
    for sequence in sequences:
        encoding = tokenizer.backend_tokenizer.encode(sequence)
        unread = 0
        if max_tokens is not None and len(encoding.ids) > max_tokens:
            unread = len(sequence) - offsets_bp(tokenizer, encoding)[max_tokens - 2][1]
        found += Cut(max_tokens, 1, int(unread > 0), len(sequence), unread)
    return found


@settings(max_examples=60, deadline=None)
@given(
    sequences=st.lists(st.text("ACGTacgtNR", min_size=1, max_size=60), max_size=8),
    max_tokens=st.none() | st.integers(4, 40),
    policy=st.sampled_from(["unk", "drop", "token"]),
    overlapping=st.sampled_from([None, 3]),
)
def test_the_ids_at_hand_say_which_sequences_to_encode_again(sequences, max_tokens, policy, overlapping):
    tokenizer = adjusted(policy, overlapping)
    expected = plain_count(tokenizer, sequences, max_tokens)
    ids = encode(tokenizer, sequences, max_tokens)
    assert count_cut(tokenizer, sequences, max_tokens, ids) == expected
    assert count_cut(tokenizer, sequences, max_tokens) == expected


def test_tokens_that_spell_what_was_read_are_not_made_again(monkeypatch):
    monkeypatch.setattr(cut, "SEQUENCES_PER_CALL", 1)
    asked = []
    library = cut._behind_by_library
    monkeypatch.setattr(
        cut, "_behind_by_library", lambda by, texts, limit: asked.extend(texts) or library(by, texts, limit)
    )
    clear = ["ACGTACGTAC", "acgtacgtac", "ACGT", "ACGTACGTACN"]
    # Nobody knows of which letters [UNK] was made, nor whether N alone would be another token.
    unclear = ["ACRTACGTAC", "ACGTNN"]
    assert count_cut(adjusted("unk"), clear + unclear, 6) == plain_count(adjusted("unk"), clear + unclear, 6)
    assert asked == unclear


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 30), max_tokens=st.integers(3, 40))
def test_of_overlapping_kmers_what_the_last_one_holds_is_read(length, max_tokens):
    found = count_cut(adjusted("unk", overlapping=3), [dna(length, 1)], max_tokens)
    assert found.cut == (length - 3 + 1 + 2 > max_tokens)
    assert found.unread == max(0, length - (max_tokens - 2 + 3 - 1))


def test_one_token_too_many_is_cut_and_one_less_is_not(tiny_model):
    tokenizer, sequence = load_tokenizer(tiny_model), dna(30, 1)
    tokens = len(encode(tokenizer, [sequence])[0])
    assert count_cut(tokenizer, [sequence], tokens) == Cut(tokens, 1, 0, 30, 0)
    assert count_cut(tokenizer, [sequence], tokens - 1).cut == 1


def test_sums_of_what_is_cut_begin_at_nothing():
    found = Cut(9) + Cut(9, sequences=1, cut=1, bases=8, unread=2)
    summary = found.summary()
    assert (summary["sequences"], summary["cut"], summary["bases"]) == (1, 1, 8)
    assert (summary["cut_fraction"], summary["unread_fraction"]) == (1.0, 0.25)
    assert Cut(9).summary()["cut_fraction"] == 0 and not Cut(9).warning("sequences")


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, Path]:
    """1200 bp, the same in both classes but for the last 400 bp."""
    folder, tables = tmp_path_factory.mktemp("task"), {}
    for number, split in enumerate(SPLITS):
        rows = []
        for i in range(8):
            end = "A" * 400 if i % 2 else "C" * 400
            rows.append(f"{split}{i}\t{dna(800, 10 * number + i // 2)}{end}\t{i % 2}\n")
        tables[split] = folder / f"{split}.tsv"
        tables[split].write_text("id\tseq\tlabel\n" + "".join(rows))
    return tables


def fine_tune(model, tables, embeddings, backbone, training, max_tokens, folder) -> None:
    """Write `classifier` and `classifier.json` into a folder."""
    finetune.main(
        **by_flags(
            finetune,
            model=model,
            train_sequences=tables["train"],
            validation_sequences=tables["validation"],
            train_embeddings=embeddings.get("train"),
            validation_embeddings=embeddings.get("validation"),
            backbone=backbone,
            max_tokens=max_tokens,
            name="tiny",
            task="end",
            output=folder / "classifier",
            summary=folder / "classifier.json",
            **training.model_dump(),
        )
    )


@pytest.mark.parametrize("both_strands", [False, True])
def test_fine_tuning_encodes_each_strand_once_that_it_reads(
    tiny_model, tables, tmp_path, monkeypatch, both_strands
):
    def again(*_):
        raise AssertionError("encoded to count what is cut")

    read = []
    monkeypatch.setattr(
        encoding,
        "encode",
        lambda tokenizer, texts, limit: read.extend(texts) or encode(tokenizer, texts, limit),
    )
    monkeypatch.setattr(cut, "encode", again)
    training = FullSettings(epochs=1, reverse_complement=both_strands)
    fine_tune(tiny_model, tables, {}, "full", training, 64, tmp_path)
    train, validation = (read_labelled_table(tables[split])["seq"].tolist() for split in SPLITS[:2])
    assert read == train + validation + [reverse_complement(s) for s in train if both_strands]
    summary = json.loads((tmp_path / "classifier.json").read_text())
    tokenizer = load_tokenizer(tiny_model)
    for split, sequences in (("train", train), ("validation", validation)):
        assert summary["cut"][split] == plain_count(tokenizer, sequences, 64).summary()


@pytest.mark.parametrize("max_tokens", [64, None])
def test_a_signal_that_is_cut_off_is_not_passed_over_in_silence(
    tiny_model, tables, tmp_path, caplog, max_tokens
):
    splits, limit = {split: tables[split] for split in SPLITS[:2]}, SequenceSettings(max_tokens=max_tokens)
    learned = embed_into(tmp_path, tiny_model, splits, task="end", settings=limit)
    fine_tune(tiny_model, tables, learned, "frozen", FrozenSettings(epochs=2), max_tokens, tmp_path)
    evaluate_into(tmp_path, tmp_path / "classifier", tables["test"], task="end", batch_tokens=None)
    summary, metrics = (json.loads((tmp_path / f).read_text()) for f in ("classifier.json", "metrics.json"))
    with np.load(learned["train"]) as file:
        embedded = json.loads(str(file["about"]))["cut"]
    verdicts = words.cut_verdict({"test": metrics["cut"], **summary["cut"]})
    assert summary["cut"]["train"] == embedded
    if max_tokens is None:
        assert metrics["cut"]["cut"] == embedded["cut"] == 0 and not verdicts
        return
    assert metrics["metrics"]["accuracy"]["value"] == 0.5
    for part in (embedded, summary["cut"]["validation"], metrics["cut"]):
        assert part["cut_fraction"] == 1 and part["unread_fraction"] > 0.5 and part["max_tokens"] == 64
    (verdict,) = verdicts
    assert verdict["status"] == "warn" and "100.0% of the test sequences" in verdict["text"]
    warnings = [r.message for r in caplog.records if r.levelname == "WARNING"]
    for what in (str(tables["train"]), "the train split", "the test split"):
        assert any(what in line and "finetune.max_tokens" in line for line in warnings)
