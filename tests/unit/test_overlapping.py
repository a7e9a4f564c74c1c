"""Overlapping k-mers, as the first DNABERT reads them: what a sequence becomes, and who has to know."""

import functools
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_lines import Lines
from tokenizers import Tokenizer

from dnalm.evaluate_language_model.scoring import (
    FrequencyBaselines,
    MaskedLine,
    hide_one_token,
    hide_tokens,
)
from dnalm.pretrain.batches import Corpus, Vocabulary
from dnalm.pretrain.masking import EVALUATION, IGNORED, line_generator, mask_tokens
from dnalm.pretrain.settings import MaskingSettings
from dnalm.tokenize_windows.context import ContextLines
from dnalm.tokenizers import overlapping
from dnalm.tokenizers.bases import OverlappingWords, bases_of, offsets_bp
from dnalm.tokenizers.encoding import encode, load_tokenizer
from dnalm.tokenizers.special_tokens import SPECIAL_TOKENS, overlapping_kmer_length
from dnalm.tokenizers.vocabulary import adjust_for_dna, check, kmers

POLICIES = ("drop", "unk", "token")
LENGTHS = (2, 3, 6)


@functools.cache
def made(length: int, n_policy: str = "unk") -> Tokenizer:
    tokenizer = adjust_for_dna(kmers(length, overlapping=True), SPECIAL_TOKENS, n_policy)
    check(tokenizer, SPECIAL_TOKENS, n_policy, "made here")
    return tokenizer


def plain_words(text: str, length: int, n_policy: str) -> list[str]:
    """What the tokenizer does, in a few lines."""
    parts = {"unk": r"\S+", "drop": "[ACGT]+", "token": r"[ACGT]+|\S"}[n_policy]
    found = []
    for part in re.findall(parts, re.sub("[acgt]", lambda base: base[0].upper(), text)):
        if n_policy == "token" and set(part) - set("ACGT"):
            found.append("N")
        else:
            found += [part[start : start + length] for start in range(len(part) - length + 1)]
    return [word if set(word) <= set("ACGTN"[: 4 + (n_policy == "token")]) else "[UNK]" for word in found]


# Blanks part words; which characters are blank is not the same for everybody.
letters = st.characters(categories=("L", "N", "P", "S"))
pieces = st.one_of(
    st.text("ACGT", max_size=40), st.text("ACGTacgtNnRYX \n", max_size=15), st.text(letters, max_size=4)
)
texts = st.lists(pieces, max_size=5).map("".join)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=60, deadline=None)
@given(text=texts, length=st.sampled_from(LENGTHS))
def test_tokens_are_all_words_of_the_sequence(policy, text, length):
    assert made(length, policy).encode(text).tokens[1:-1] == plain_words(text, length, policy)


@functools.cache
def encoder_of(length: int, n_policy: str) -> overlapping.KmerEncoder | None:
    return overlapping.encoder_for(made(length, n_policy))


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=40, deadline=None)
@given(
    lines=st.lists(st.text("ACGTacgtACGTNnRz", max_size=40), max_size=6),
    length=st.sampled_from(LENGTHS),
)
def test_the_fast_way_gives_the_same_ids(policy, lines, length):
    tokenizer, encoder = made(length, policy), encoder_of(length, policy)
    assert encoder is not None
    values, lengths = encoder.encode([line.encode() for line in lines])
    expected = [tokenizer.encode(line).ids for line in lines]
    assert lengths.tolist() == [len(ids) for ids in expected]
    assert values.tolist() == [number for ids in expected for number in ids]


def test_sequences_are_encoded_as_transformers_does():
    tokenizer = loaded(3)
    for sequences in (["ACGTNacgtt", "AC", "gattaca" * 9], ["ACGT[MASK]ACGT", "ACGTT"], []):
        for found, text in zip(encode(tokenizer, sequences, 9), sequences, strict=True):
            assert found.tolist() == tokenizer(text, truncation=True, max_length=9)["input_ids"]
            assert found.dtype == np.uint16


def test_only_a_vocabulary_of_all_words_of_one_length_overlaps():
    names = set(kmers(3, overlapping=True).get_vocab())
    assert overlapping_kmer_length(names) == overlapping_kmer_length(names | {"N", ""}) == 3
    for other in (names - {"ACG"}, names | {"A"}, names | {"ACGT"}, set("ACGT"), set()):
        assert overlapping_kmer_length(other) is None
    assert overlapping.encoder_for(adjust_for_dna(kmers(3), SPECIAL_TOKENS, "unk")) is None


def test_words_with_blanks_between_them_are_the_same_tokens_again():
    tokenizer = made(3)
    ids = tokenizer.encode("acgttNgca").ids
    text = tokenizer.decode(ids)
    assert text == "ACG CGT GTT GCA"
    assert tokenizer.encode("ACG CGT [MASK] GTT GCA").tokens[1:-1] == ["ACG", "CGT", "[MASK]", "GTT", "GCA"]


# ----------------------------------------------------------------------------- bases of tokens


def loaded(length: int, n_policy: str = "unk"):
    from transformers import PreTrainedTokenizerFast

    names = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    return PreTrainedTokenizerFast(tokenizer_object=made(length, n_policy), **names)


@functools.cache
def known(length: int, n_policy: str = "unk") -> OverlappingWords:
    found = bases_of(loaded(length, n_policy))
    assert isinstance(found, OverlappingWords)
    return found


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=30, deadline=None)
@given(sequence=st.text("ACGTACGTACGTACGTN", max_size=60), length=st.sampled_from([2, 3]))
def test_every_token_holds_the_letters_that_its_offsets_say(policy, sequence, length):
    tokenizer = loaded(length, policy)
    encoding = tokenizer.backend_tokenizer.encode(sequence)
    for token, (start, end) in list(zip(encoding.tokens, offsets_bp(tokenizer, encoding), strict=True))[1:-1]:
        assert sequence[start:end] == token or (token == "[UNK]" and "N" in sequence[start:end])
        assert end - start == (1 if token == "N" else length)


@settings(max_examples=60, deadline=None)
@given(
    sequence=st.text("ACGT", min_size=6, max_size=40),
    length=st.sampled_from([2, 3, 6]),
    hidden=st.sets(st.integers(0, 40)),
)
def test_hidden_bases_are_those_that_no_visible_word_holds(sequence, length, hidden):
    ids = np.array(made(length).encode(sequence).ids)
    starts = range(len(sequence) - length + 1)
    positions = np.array([1 + start for start in starts if start in hidden], int)
    visible = {base for start in starts if start not in hidden for base in range(start, start + length)}
    expected = []
    for start in positions - 1:
        found = [base in visible for base in range(start, start + length)]
        first = found.index(False) if False in found else length
        last = found[::-1].index(False) if first < length else 0
        expected.append(length - first - last)
        assert np.array_equal(known(length).starts(ids)[1:-1], starts)
    assert known(length).hidden(ids, positions).tolist() == expected


def test_a_run_of_k_hidden_words_hides_one_base():
    ids = np.array(made(6).encode("ACGTTGCAACGTAACCGGTTACG").ids)
    for run, hidden in ((6, [1] * 6), (5, [0] * 5), (8, [1, 2, 3, 3, 3, 3, 2, 1])):
        assert known(6).hidden(ids, np.arange(5, 5 + run)).tolist() == hidden
    # At the end of a sequence the last word alone holds the last base.
    assert known(6).hidden(ids, np.array([1, len(ids) - 2])).tolist() == [1, 1]


@pytest.mark.parametrize("policy", POLICIES)
def test_what_stands_around_a_token(policy):
    sequence = "ACGTTNGCAACC"
    ids = np.array(made(3, policy).encode(sequence).ids)
    whole = sequence.replace("N", "" if policy == "drop" else "N")
    for position in range(1, len(ids) - 1):
        token = made(3, policy).id_to_token(ids[position])
        left, right = known(3, policy).around(ids, position)
        if token != "[UNK]":
            assert left + token + right == whole
    assert known(3, policy).around(ids, 2) == ("A", whole[4:])


# ----------------------------------------------------------------------------- masks and judging


def test_what_becomes_of_a_hidden_token_becomes_of_its_whole_run():
    ids = np.array(made(3).encode("ACGTTGCAACGTAACCGGTTACGATCGATTACA" * 40).ids)
    options = {"special_ids": range(5), "vocabulary_size": 69, "mask_id": 4, "probability": 0.3}
    options |= {"mask_fraction": 0.8, "random_fraction": 0.1}
    fates, both = [], []
    for line in range(30):
        generator = line_generator(1, 0, line)
        shown, labels = mask_tokens(ids, **options, span_tokens=3, same_fate=True, generator=generator)
        chosen = labels != IGNORED
        begins = np.flatnonzero(chosen & ~np.concatenate([[False], chosen[:-1]]))
        for begin in begins:
            run = slice(begin, begin + int(np.argmin(np.append(chosen[begin:], False))))
            # Among random tokens are some true ones.
            assert (shown[run] == 4).all() or (shown[run] != 4).all()
            fates.append((shown[run] == 4).all())
        both += [first and second for first, second in pairwise(fates[-len(begins) :])]
        assert known(3).hidden(ids, np.flatnonzero(chosen)).min() >= 1
    assert np.mean(fates) == pytest.approx(0.8, abs=0.03)
    # Each run has a fate of its own.
    assert np.mean(both) == pytest.approx(0.8**2, abs=0.03)


@pytest.mark.parametrize("overlapping", [True, False])
def test_lines_are_masked_as_their_seed_epoch_settings_and_vocabulary_say(tiny_model, overlapping):
    tokenizer = loaded(3) if overlapping else load_tokenizer(tiny_model)
    settings = MaskingSettings(probability=0.3, mask_token=0.5, random_token=0.3, span_tokens=3)
    lines = ContextLines(Lines([80] * 4), 80, truncated=True)
    corpus = Corpus(lines, Vocabulary.of(tokenizer), settings, seed=7)
    found = corpus.micro_batch([2], 3, EVALUATION)
    expected = mask_tokens(
        corpus.lines.line(2),
        special_ids=tokenizer.all_special_ids,
        vocabulary_size=len(tokenizer),
        mask_id=tokenizer.mask_token_id,
        probability=0.3,
        mask_fraction=0.5,
        random_fraction=0.3,
        span_tokens=3,
        same_fate=overlapping,
        generator=line_generator(7, 3, 2, EVALUATION),
    )
    assert found["input_ids"][0].tolist() == expected[0].tolist()
    assert found["labels"][0].tolist() == expected[1].tolist()


def plain_agreeing(line: MaskedLine, probabilities: np.ndarray, length: int) -> list[tuple[float, int]]:
    """Loss and rank of each hidden token among the words that fit, by trying them all."""
    names = [made(length).id_to_token(number) for number in range(made(length).get_vocab_size())]
    sequence = dict[int, str]()
    for start, (true, shown) in enumerate(zip(line.ids[1:-1], line.input_ids[1:-1], strict=True)):
        if shown == true:
            sequence |= {start + i: base for i, base in enumerate(names[true])}
    scores = []
    for position in line.positions:
        asked = [sequence.get(position - 1 + i) for i in range(length)]
        fits = [
            number >= 5 and all(base in (None, name[i]) for i, base in enumerate(asked))
            for number, name in enumerate(names)
        ]
        among = np.where(fits, probabilities, 0)
        true = line.ids[position]
        rank = (
            (among > among[true]) | ((among == among[true]) & fits & (np.arange(len(names)) < true))
        ).sum()
        scores.append((-np.log(among[true] / among.sum()), rank))
    return scores


@settings(max_examples=25, deadline=None)
@given(sequence=st.text("ACGT", min_size=12, max_size=30), seed=st.integers(0, 99))
def test_baselines_choose_among_the_words_that_fit(sequence, seed):
    tokenizer, generator = loaded(3), np.random.default_rng(seed)
    lines = [np.array(made(3).encode(text).ids, np.uint16) for text in (sequence, sequence[::-1] * 3)]
    counted = FrequencyBaselines(Cache(lines), tokenizer.all_special_ids, len(tokenizer))
    masked = hide_tokens(Cache(lines), range(2), tokenizer, 0.3, seed)
    if not masked:
        return
    scores = counted.scores(masked, tokenizer.mask_token_id, known(3))
    hidden = np.concatenate([known(3).hidden(line.ids, line.positions) for line in masked])
    # Two bits for each hidden base, neither more nor less.
    assert np.allclose(scores["uniform"].loss, hidden * np.log(4)) and hidden.min() >= 1
    expected = [score for line in masked for score in plain_agreeing(line, counted.unigram, 3)]
    assert np.allclose(scores["unigram"].loss, [loss for loss, _ in expected])
    assert scores["unigram"].rank.tolist() == [rank for _, rank in expected]
    place, line = 0, masked[0]
    left = int(line.input_ids[line.positions[0] - 1])
    if left != tokenizer.mask_token_id:
        assert scores["bigram"].loss[place] == pytest.approx(
            plain_agreeing(line, counted.after(left), 3)[0][0]
        )
    one = hide_one_token(line, tokenizer, int(generator.integers(9)))
    assert known(3).hidden(one.ids, np.flatnonzero(one.input_ids == 4))[0] >= 1
    near = np.abs(np.arange(len(one.ids)) - one.positions[0]) < 3
    assert np.array_equal(one.input_ids == 4, near & (one.ids >= 5))


class Cache:
    """Lines of tokens as a cache has them."""

    def __init__(self, lines: list[np.ndarray]):
        self.lines, self.lengths = lines, np.array([len(ids) for ids in lines])

    def __len__(self) -> int:
        return len(self.lines)

    def line(self, index: int) -> np.ndarray:
        return self.lines[index]

    def counts(self, size: int) -> np.ndarray:
        return np.bincount(np.concatenate(self.lines), minlength=size)
