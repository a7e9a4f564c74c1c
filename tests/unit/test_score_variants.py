"""How probable a language model finds alleles: what either sees, and the numbers of Transformers alone."""

import csv
import re
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from settings_objects import grouped
from tokenizers import Tokenizer, models
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedTokenizerFast,
)

import import_tokenizer
import score_variants
from dnalm.running.errors import InputError
from dnalm.running.progress import Progress
from dnalm.score_variants.hiding import hide_difference
from dnalm.score_variants.likelihood import AlleleLikelihoods
from dnalm.score_variants.settings import VariantContextSettings
from dnalm.sequences.strands import reverse_complement
from dnalm.tokenizers.encoding import load_tokenizer
from dnalm.tokenizers.settings import ImportTokenizerSettings
from dnalm.tokenizers.special_tokens import SPECIAL_TOKENS
from dnalm.tokenizers.vocabulary import adjust_for_dna

CPU = torch.device("cpu")
CLS, SEP, MASK = 1, 2, 4
DNA = "GATTACAGATTTCCGAAACGTTGACCATGCAATTGCGAGTCA"

tokens = st.lists(st.integers(5, 7), max_size=9).map(lambda ids: np.array([CLS, *ids, SEP]))


@given(reference=tokens, alternative=tokens, max_tokens=st.integers(3, 12))
def test_what_is_left_to_see_is_the_same_with_either_allele(reference, alternative, max_tokens):
    lines = hide_difference(reference, alternative, MASK, max_tokens)
    seen = [line.input_ids[line.input_ids != MASK].tolist() for line in lines]
    assert seen[0] == seen[1]
    most = max(len(line.positions) for line in lines)
    for line, whole in zip(lines, (reference, alternative), strict=True):
        assert (line.ids[0], line.ids[-1]) == (CLS, SEP)
        assert set(line.positions.tolist()) == set(np.flatnonzero(line.input_ids == MASK).tolist())
        assert np.delete(line.ids, line.positions).tolist() == seen[0], "nothing else is changed"
        assert bytes(line.ids[1:-1].astype(np.uint8)) in bytes(whole.astype(np.uint8)), "one piece of it"
    longest = max(len(line.ids) for line in lines)
    needed = max(len(reference), len(alternative))
    assert longest == max(most + 2, min(needed, max_tokens)), "as much as may be read"


@given(reference=tokens, alternative=tokens)
def test_nothing_is_hidden_that_stands_at_either_end_of_both(reference, alternative):
    first, second = hide_difference(reference, alternative, MASK, 100)
    assert (first.ids.tolist(), second.ids.tolist()) == (reference.tolist(), alternative.tolist())
    hidden = first.targets.tolist(), second.targets.tolist()
    if all(hidden):
        assert hidden[0][0] != hidden[1][0] and hidden[0][-1] != hidden[1][-1]
    assert (reference.tolist() == alternative.tolist()) == (hidden == ([], []))


def with_base(sequence: str, position: int, base: str) -> str:
    return sequence[:position] + base + sequence[position + 1 :]


def compare(model: Path, pairs: list[tuple[str, str]], max_tokens: int | None = None):
    return AlleleLikelihoods(model, max_tokens, CPU).compare(pairs, lambda read: None)


def model_of(folder: Path, tokenizer: PreTrainedTokenizerFast, **sizes) -> Path:
    """A small network with random weights that tell sequences apart."""
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("pad", "cls", "sep")}
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.3,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        **ids,
        **sizes,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ModernBertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def of_bases(tmp_path_factory) -> Path:
    """A model each of whose tokens is a base."""
    vocabulary = {token: id for id, token in enumerate([*SPECIAL_TOKENS.values(), *"ACGT"])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="[UNK]"))
    adjust_for_dna(backend, SPECIAL_TOKENS, "unk")
    names = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    return model_of(tmp_path_factory.mktemp("of_bases") / "model", tokenizer)


def log_probabilities(model: Path, ids: list[int], hidden: list[int]) -> torch.Tensor:
    """What Transformers alone gives to every token where some are hidden: [n, vocabulary]."""
    inputs = torch.tensor([ids])
    inputs[0, hidden] = MASK
    with torch.inference_mode():
        said = AutoModelForMaskedLM.from_pretrained(model).eval()(inputs).logits[0, hidden]
    return said.log_softmax(-1)


def test_single_bases_are_told_as_the_masked_marginal_of_both_strands(of_bases):
    position, base = 20, "A"
    assert DNA[position] == "T"
    (found,), hidden = compare(of_bases, [(DNA, with_base(DNA, position, base))])
    expected = []
    for sequence, at, (true, other) in (
        (DNA, position, "TA"),
        (reverse_complement(DNA), len(DNA) - 1 - position, "AT"),
    ):
        ids = [CLS, *(5 + "ACGT".index(letter) for letter in sequence), SEP]
        said = log_probabilities(of_bases, ids, [at + 1])[0]
        expected.append(float(said[5 + "ACGT".index(other)] - said[5 + "ACGT".index(true)]))
    assert found == pytest.approx(np.mean(expected), abs=1e-5)
    assert abs(expected[0] - expected[1]) > 1e-3 and hidden.tolist() == [[2, 2]]


def test_longer_tokens_are_told_together_however_many_there_are(tiny_model):
    """Where one allele makes the word AATT and the other does not."""
    alleles = "GGTAATTCAG", "GGTACTTCAG"
    likelihoods, ratios, hidden = AlleleLikelihoods(tiny_model, None, CPU), [], []
    for strand in (str, reverse_complement):
        reference, alternative = (likelihoods.tokenizer(strand(dna))["input_ids"] for dna in alleles)
        pairs = list(zip(reference, alternative, strict=False))
        before = next(n for n, (one, other) in enumerate(pairs) if one != other)
        pairs = list(zip(reference[::-1], alternative[::-1], strict=False))
        behind = next(n for n, (one, other) in enumerate(pairs) if one != other)
        sums = []
        for ids in (reference, alternative):
            places = list(range(before, len(ids) - behind))
            said = log_probabilities(tiny_model, ids, places)
            sums.append(sum(float(row[ids[place]]) for row, place in zip(said, places, strict=True)))
            hidden.append(len(places))
        ratios.append(sums[1] - sums[0])
    found, counts = likelihoods.compare([alleles], lambda read: None)
    assert found == [pytest.approx(np.mean(ratios), abs=1e-5)]
    assert counts.tolist() == [[hidden[0] + hidden[2], hidden[1] + hidden[3]]]
    assert hidden[0] != hidden[1]


dna = st.text("ACGT", min_size=1, max_size=30)


@settings(max_examples=20)
@given(left=dna, right=dna, alleles=st.permutations("ACGT"))
def test_exchanged_alleles_have_the_opposite_ratio_and_so_do_both_strands(tiny_model, left, right, alleles):
    one, other = (f"{left}{allele}{right}" for allele in alleles[:2])
    strands = [(one, other), (other, one), (reverse_complement(one), reverse_complement(other)), (one, one)]
    there, back, of_the_other_strand, same = likelihoods_of(tiny_model).compare(strands, lambda read: None)[0]
    assert back == pytest.approx(-there, abs=1e-4)
    assert of_the_other_strand == pytest.approx(there, abs=1e-4)
    assert same == 0


@cache
def likelihoods_of(model: Path) -> AlleleLikelihoods:
    return AlleleLikelihoods(model, None, CPU)


def test_overlapping_words_count_a_base_once(tmp_path):
    """A base stands in three words of three; the mean over them is of the size of one."""
    import_tokenizer.main(
        None,
        ImportTokenizerSettings(kmer_length=3, overlapping=True),
        tmp_path / "tokenizer",
        tmp_path / "t.json",
    )
    model = model_of(tmp_path / "model", load_tokenizer(tmp_path / "tokenizer"))
    alleles = DNA, with_base(DNA, 20, "A")
    (found,), hidden = compare(model, [alleles])
    assert hidden.tolist() == [[6, 6]]
    expected = []
    for strand, at in ((str, 20), (reverse_complement, len(DNA) - 21)):
        places = [at - 1, at, at + 1]
        ids = [AutoTokenizer.from_pretrained(model)(strand(dna))["input_ids"] for dna in alleles]
        # The k-mer that begins at base n is token n + 1.
        assert [n for n, (one, other) in enumerate(zip(*ids, strict=True)) if one != other] == places
        said = log_probabilities(model, ids[0], places)
        expected.append(
            np.mean([float(row[ids[1][n]] - row[ids[0][n]]) for row, n in zip(said, places, strict=True)])
        )
    assert found == pytest.approx(np.mean(expected), abs=1e-5)


def test_no_more_is_read_than_the_model_reads(of_bases):
    """Of more tokens those nearest to the variant are, as if the sequence were shorter."""
    near = slice(15, 26)
    alleles = DNA, with_base(DNA, 20, "A")
    likelihoods = AlleleLikelihoods(of_bases, 13, CPU)
    (found,), _ = likelihoods.compare([alleles], lambda read: None)
    (expected,), _ = compare(of_bases, [(alleles[0][near], alleles[1][near])])
    (whole,), _ = compare(of_bases, [alleles])
    assert found == pytest.approx(expected, abs=1e-5) and abs(found - whole) > 1e-3
    assert likelihoods.cut == 4
    likelihoods.compare([(DNA[:11], with_base(DNA[:11], 5, "A"))], lambda read: None)
    assert likelihoods.cut == 4, "as many as are read are not cut"


def scored(model: Path, folder: Path, genome: str, *rows: str, **changes) -> list[dict[str, str]]:
    """The table of variants of a genome of one chromosome."""
    (folder / "g.fa").write_text(f">chr1\n{genome}\n")
    (folder / "v.vcf").write_text("".join(f"{row}\n" for row in ("##fileformat=VCFv4.3", HEADER, *rows)))
    options = {
        "model": model,
        "input": folder / "v.vcf",
        "genome": folder / "g.fa",
        "max_tokens": None,
        "gpus": 0,
        "allow_cpu": False,
        "output": folder / "scores.tsv",
    }
    score_variants.main(**grouped(options | changes, settings=VariantContextSettings))
    with open(folder / "scores.tsv") as file:
        return list(csv.DictReader(file, delimiter="\t"))


HEADER = "#CHROM\tPOS\tID\tREF\tALT"


def test_every_substitution_has_a_row_and_all_else_is_counted(of_bases, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(score_variants, "ALLELES_PER_CHUNK", 2)
    monkeypatch.setattr(score_variants, "Progress", partial(Progress, interval=0))
    caplog.set_level("INFO", "dnalm")
    rows = scored(
        of_bases,
        tmp_path,
        DNA,
        "chr1\t21\trs1\tT\tA,G",
        "chr1\t3\t.\tTTAC\tTT,TTACC,TGAG",
        "chr1\t1\trs2\tG\t<DEL>,C",
        window=20,
    )
    assert [(row["id"], row["position"], row["reference"], row["alternative"]) for row in rows] == [
        ("rs1", "21", "T", "A"),
        ("rs1", "21", "T", "G"),
        ("chr1:3", "3", "TTAC", "TGAG"),
        ("rs2", "1", "G", "C"),
    ]
    assert [(row["sequence"], row["start"], row["end"]) for row in rows[1:]] == [
        ("chr1", "10", "30"),
        ("chr1", "0", "20"),
        ("chr1", "0", "20"),
    ]
    assert [row["reference_tokens"] for row in rows] == ["2", "2", "6", "2"], "all between two that differ"
    (expected,), _ = compare(of_bases, [(DNA[10:30], with_base(DNA[10:30], 10, "A"))])
    assert float(rows[0]["log_likelihood_ratio"]) == pytest.approx(expected, abs=1e-5)
    said = caplog.text
    assert "3 of 7 alleles have no row: 1 without bases of their own" in said
    assert "2 shorter or longer than the reference" in said
    assert re.findall(r"scoring variants: (.+ alleles .+%\))", said)[-1] == "4 of 4 alleles (100%)"


def test_of_letters_that_are_no_bases_nothing_is_said(of_bases, tmp_path):
    genome = with_base(DNA, 22, "N")
    rows = scored(of_bases, tmp_path, genome, "chr1\t23\t.\tN\tA", "chr1\t22\t.\tT\tR,C,T", window=20)
    said = [row["log_likelihood_ratio"] for row in rows]
    assert said[:2] == ["", ""] and float(said[2]) and said[3] == "0.000000"


def test_a_file_of_other_sequences_is_refused(of_bases, tmp_path):
    (tmp_path / "regions.bed").write_text("chr1\t0\t20\n")
    with pytest.raises(InputError, match=r"regions.bed: variants are needed, a VCF file, but this is a BED"):
        scored(of_bases, tmp_path, DNA, input=tmp_path / "regions.bed")
    with pytest.raises(InputError, match=r"2 of 2 alleles have no row: 2 shorter .* There is nothing to sc"):
        scored(of_bases, tmp_path, DNA, "chr1\t21\t.\tT\tTA,TG")
    with pytest.raises(InputError, match=r"--max-tokens is 2; .* need at least 3"):
        scored(of_bases, tmp_path, DNA, "chr1\t21\t.\tT\tA", max_tokens=2)
    assert not (tmp_path / "scores.tsv").exists()
