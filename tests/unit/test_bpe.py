"""The compiled encoder: the ids of the `tokenizers` library, for every vocabulary that it accepts."""

import os
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

from dnalm.tokenizers.bpe import encoder_for
from dnalm.tokenizers.merges import LETTERS_AT_ONCE
from dnalm.tokenizers.special_tokens import SPECIAL_TOKENS
from dnalm.tokenizers.vocabulary import adjust_for_dna, kmers

POLICIES = ("drop", "unk", "token")


def dna(length: int, seed: int) -> str:
    return "".join(random.Random(seed).choices("ACGT", k=length))


def adjusted(model: models.Model | None = None, n_policy: str = "unk") -> Tokenizer:
    """BPE learnt from random DNA, or another model, made fit for DNA."""
    tokenizer = Tokenizer(model or models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if model is None:
        specials = list(SPECIAL_TOKENS.values())
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=specials, show_progress=False)
        # Repeats, so that tokens overlap themselves.
        sample = [dna(300, seed) + "A" * 40 + "CA" * 30 for seed in range(40)]
        tokenizer.train_from_iterator(sample, trainer)
    return adjust_for_dna(tokenizer, SPECIAL_TOKENS, n_policy)


def from_merges(*merges: tuple[str, str], **options: bool) -> models.BPE:
    tokens = [*SPECIAL_TOKENS.values(), *"ACGT", *(left + right for left, right in merges)]
    ids = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return models.BPE(vocab=ids, merges=list(merges), unk_token="[UNK]", **options)


def check(tokenizer: Tokenizer, lines: list[str]) -> None:
    encoder = encoder_for(tokenizer)
    assert encoder is not None
    values, lengths = encoder.encode([line.encode() for line in lines])
    expected = [tokenizer.encode(line).ids for line in lines]
    assert lengths.tolist() == [len(ids) for ids in expected]
    assert values.tolist() == [number for ids in expected for number in ids]


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    return {policy: adjusted(n_policy=policy) for policy in POLICIES}


pieces = st.one_of(
    st.text("ACGT", max_size=60),
    st.text("ACGTacgtNnRYSWKMBDHVX", max_size=30),
    st.tuples(st.sampled_from(["A", "CA", "ACG", "N"]), st.integers(1, 50)).map(lambda p: p[0] * p[1]),
)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=60, deadline=None)
@given(lines=st.lists(st.lists(pieces, max_size=5).map("".join), min_size=1, max_size=8))
def test_ids_are_those_of_the_library(tokenizers, policy, lines):
    check(tokenizers[policy], lines)


def test_lines_of_every_length(tokenizers):
    long = dna(100_000, 1)
    check(tokenizers["unk"], ["", "A", "n", long, "", dna(LETTERS_AT_ONCE - 1, 2), long[:7], ""])
    check(tokenizers["drop"], ["NNN", long[:60_000] + "N" * 500 + long[60_000:], "C"])


@pytest.mark.parametrize(
    "tokenizer",
    [
        lambda: kmers(3),
        # AAA is made in two ways.
        lambda: adjusted(from_merges(("A", "A"), ("AA", "A"), ("A", "AA"))),
        # The later merge makes what the earlier one needs.
        lambda: adjusted(from_merges(("AC", "G"), ("A", "C"))),
        lambda: adjusted(from_merges(("A", "C"), fuse_unk=True)),
    ],
    ids=["k-mers", "two ways", "out of order", "fused"],
)
def test_other_vocabularies_are_left_to_the_library(tokenizer):
    assert encoder_for(tokenizer()) is None


def test_a_special_token_of_letters_is_left_to_the_library():
    tokenizer = adjusted()
    tokenizer.add_special_tokens([AddedToken("GATTACA", special=True, normalized=False)])
    assert encoder_for(tokenizer) is None


def test_a_length_that_a_vocabulary_comes_with_cuts_and_fills_no_line():
    """Published ones often hold that of their own model, 512 tokens."""
    given = Tokenizer(from_merges(("A", "C")))
    given.enable_truncation(8)
    given.enable_padding(length=30)
    tokenizer = adjust_for_dna(given, SPECIAL_TOKENS, "unk")
    assert [len(tokenizer.encode(line).ids) for line in ("A", "ACGT" * 50)] == [3, 152]


@pytest.mark.parametrize("room", [None, 0], ids=["room", "full"])
def test_machine_code_that_cannot_be_kept_is_made_all_the_same(tmp_path, repository, room):
    """A full quota shows when the first call writes its machine code, not when the folder is made."""
    (tmp_path / "doubling.py").write_text("def doubled(values):\n    return 2 * values\n")
    code = (
        "import logging, resource, sys\nimport numpy as np\n"
        "from dnalm.tokenizers.merges import compiled\nfrom doubling import doubled\n"
        "logging.basicConfig(level='INFO')\n"
        + (f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n" if room is not None else "")
        + "double = compiled(doubled)\nprint(double(np.arange(3)), double(np.ones(2)))\n"
    )
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(repository / "scripts")]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    made = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert made.stdout == "[0 2 4] [2. 2.]\n", made.stderr
    assert made.stderr.count("machine code is not kept") == (0 if room is None else 1)
    assert bool(list((tmp_path / "cache").rglob("*.nbc"))) == (room is None)
