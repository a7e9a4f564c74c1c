"""Tokenizers, the token cache, and what their scripts promise."""

import copy
import functools
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from settings_objects import grouped
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

import import_tokenizer
import tokenize_windows
import train_tokenizer
from dnalm.running.errors import InputError
from dnalm.running.files import sha256_of_directory
from dnalm.tokenize_windows import cache as token_cache
from dnalm.tokenizers import bpe, encoding
from dnalm.tokenizers.settings import ImportTokenizerSettings, TrainTokenizerSettings, UnknownBaseSettings

ROOT = Path(__file__).parents[2]
DNABERT2 = ROOT.parent / "shared" / "data" / "tokenizer" / "dnabert2-tokenizer.json"


def random_lines(count: int, length: int, seed: int = 1) -> list[str]:
    letters = random.Random(seed)
    return ["".join(letters.choices("ACGT", k=length)) for _ in range(count)]


def train(directory: Path, windows: list[Path], **changes) -> Path:
    options = {
        "vocabulary_size": 64,
        "sample_lines": 100,
        "min_frequency": 2,
        "seed": 42,
        "n_policy": "unk",
    }
    summary = directory.with_suffix(".json")
    classes = {"settings": TrainTokenizerSettings, "unknown_bases": UnknownBaseSettings}
    settings = grouped(options | changes, **classes)
    train_tokenizer.main(windows=windows, output=directory, summary=summary, **settings)
    return directory


def import_(source: Path | None, directory: Path, n_policy: str = "unk", **changes) -> Path:
    summary = directory.with_suffix(".json")
    settings = ImportTokenizerSettings(n_policy=n_policy, **changes)
    import_tokenizer.main(source=source, settings=settings, output=directory, summary=summary)
    return directory


@pytest.fixture(scope="module")
def windows(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("windows") / "toy.train.txt"
    path.write_text("".join(f"{line}\n" for line in random_lines(40, 200)))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, windows) -> dict[str, Path]:
    """One tokenizer directory per N policy."""
    base = tmp_path_factory.mktemp("tokenizers")
    return {policy: train(base / policy, [windows], n_policy=policy) for policy in ("drop", "unk", "token")}


# ----------------------------------------------------------------------------- vocabulary


@pytest.mark.parametrize("n_policy", ["unk", "drop", "token"])
@pytest.mark.parametrize("length", [1, 3, 6])
def test_kmers_do_not_overlap_and_load_with_transformers_alone(tmp_path, length, n_policy):
    from transformers import AutoTokenizer

    directory = import_(None, tmp_path / "kmers", n_policy, kmer_length=length)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    assert len(tokenizer) == (9 if length == 1 else 9 + 4**length) + (n_policy == "token")
    left, right = random_lines(2, 31)

    def cut(sequence):
        whole = len(sequence) - len(sequence) % length
        pieces = [sequence[start : start + length] for start in range(0, whole, length)]
        return pieces + list(sequence[whole:])

    unknown = {"unk": [tokenizer.unk_token] * 2, "drop": [], "token": ["N", "N"]}[n_policy]
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(f"{left.lower()}NR{right}")["input_ids"])
    assert tokens[1:-1] == cut(left) + unknown + cut(right)
    asked = tokenizer.convert_ids_to_tokens(tokenizer(f"{left}[MASK]{right}")["input_ids"])
    assert asked[1:-1] == [*cut(left), tokenizer.mask_token, *cut(right)]


def test_kmers_or_a_source_and_not_both(tmp_path):
    for source, changes in ((None, {}), (tmp_path, {"kmer_length": 3})):
        with pytest.raises(InputError, match="either --source or --kmer-length"):
            import_(source, tmp_path / "none", **changes)


@pytest.mark.skipif(not DNABERT2.is_file(), reason="shared/data with DNABERT-2's tokenizer.json is absent")
@pytest.mark.parametrize("policy", ["drop", "unk", "token"])
def test_dnabert2_keeps_its_ids_and_ignores_case(tmp_path, policy):
    import_(DNABERT2, tmp_path / "t", policy)
    tokenizer = encoding.load_tokenizer(tmp_path / "t")
    for sequence in ("AAATTTCCCGGGATCTATC", "aaatttcccgggatctatc", "AAAtttCCCGGGATCtATC"):
        assert tokenizer(sequence)["input_ids"] == [1, 193, 1911, 1426, 16, 2]
    assert len(tokenizer) == 4096 + (policy == "token")


def test_trained_vocabulary_has_special_tokens_then_bases(trained):
    for policy, directory in trained.items():
        vocabulary = Tokenizer.from_file(str(directory / "tokenizer.json")).get_vocab()
        by_id = sorted(vocabulary, key=vocabulary.get)
        assert by_id[:9] == ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "A", "C", "G", "T"]
        assert len(by_id) == 64
        assert (by_id[-1] == "N") == (policy == "token")


@pytest.mark.parametrize(
    ("policy", "expected"), [("drop", []), ("unk", ["[UNK]", "[UNK]"]), ("token", ["N", "N"])]
)
def test_n_policy(trained, policy, expected):
    tokenizer = encoding.load_tokenizer(trained[policy])
    left, right = (tokenizer.tokenize(part) for part in ("ACGTTA", "GGATCA"))
    for gap in ("NN", "nn", "Ry", "nK", "-*"):
        assert tokenizer.tokenize(f"ACGTTA{gap}GGATCA") == left + expected + right


def test_transformers_alone_gives_the_same_ids(trained):
    from transformers import AutoTokenizer

    for directory in trained.values():
        theirs = AutoTokenizer.from_pretrained(directory)
        sequences = ["ACGTNNacgtt", "GATTACA"]
        ours = encoding.encode(encoding.load_tokenizer(directory), sequences)
        assert [theirs(sequence)["input_ids"] for sequence in sequences] == [ids.tolist() for ids in ours]
        assert set(theirs(sequences[0])) == {"input_ids", "attention_mask"}
        assert theirs.decode(theirs("gattACA")["input_ids"], skip_special_tokens=True) == "GATTACA"
        assert theirs.tokenize("ACG[MASK]ACG").count("[MASK]") == 1


def test_training_repeats_exactly(tmp_path, windows):
    def digest(place: str, **changes) -> str:
        directory = train(tmp_path / place / "small", [windows], sample_lines=20, **changes)
        summary = json.loads(directory.with_suffix(".json").read_text())
        assert summary["tokenizer"] == "small" and summary["sha256"] == sha256_of_directory(directory)
        return summary["sha256"]

    assert digest("a") == digest("b") != digest("c", seed=43)


def test_sample_is_bounded_and_covers_all_files(tmp_path):
    paths = []
    for index, count in enumerate((300, 100)):
        paths.append(tmp_path / f"{index}.txt")
        paths[-1].write_text("\n".join(random_lines(count, 50, index)))  # no line feed at the end
    train(tmp_path / "t", paths, sample_lines=80)
    sample = json.loads((tmp_path / "t" / "dna_tokenizer.json").read_text())["sample"]
    assert [entry["lines"] for entry in sample["files"]] == [300, 100]
    assert sum(entry["sampled"] for entry in sample["files"]) == sample["lines"] == 80
    assert 40 <= sample["files"][0]["sampled"] <= 75  # 60 expected


def test_no_merge_is_learnt_across_a_gap(tmp_path):
    path = tmp_path / "w.txt"
    path.write_text("AANCC\n" * 50)
    train(tmp_path / "t", [path], vocabulary_size=30)
    vocabulary = Tokenizer.from_file(str(tmp_path / "t" / "tokenizer.json")).get_vocab()
    assert {"AA", "CC"} < set(vocabulary) and not any("AC" in token for token in vocabulary)


def make_tokenizer(path: Path, specials: list[str], alphabet: str = "ACGT") -> Path:
    tokenizer = Tokenizer(models.BPE(unk_token=specials[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(vocab_size=40, special_tokens=specials, initial_alphabet=list(alphabet))
    tokenizer.train_from_iterator(random_lines(5, 100) if "T" in alphabet else ["ACGACG"], trainer)
    tokenizer.save(str(path))
    return path


def test_import_understands_other_names_and_an_own_n(tmp_path):
    path = make_tokenizer(tmp_path / "tokenizer.json", ["<unk>", "<s>", "</s>", "<pad>", "<mask>"], "ACGTN")
    import_(tmp_path, tmp_path / "t")
    tokenizer = encoding.load_tokenizer(tmp_path / "t")
    ids = tokenizer("aNa")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["<s>", "A", "<unk>", "A", "</s>"]
    import_(path, tmp_path / "t", "token")
    tokenizer = encoding.load_tokenizer(tmp_path / "t")
    assert tokenizer.tokenize("aRNa") == ["A", "N", "N", "A"] and len(tokenizer) == 40


@pytest.mark.parametrize(
    ("specials", "alphabet", "message"),
    [
        (["[UNK]", "[CLS]", "[SEP]", "[PAD]"], "ACGT", r"no token for \[MASK\]"),
        (["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"], "ACG", "lacks T"),
    ],
)
def test_import_names_what_is_missing(tmp_path, specials, alphabet, message):
    path = make_tokenizer(tmp_path / "tokenizer.json", specials, alphabet)
    with pytest.raises(InputError, match=message):
        import_(path, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_a_tokenizer_made_here_can_be_taken_again(tmp_path, trained):
    for policy, directory in trained.items():
        again = import_(directory, tmp_path / policy, policy)
        assert (again / "tokenizer.json").read_bytes() == (directory / "tokenizer.json").read_bytes()
    with pytest.raises(InputError, match=r"has a token N of its own, .* Set n_policy to token"):
        import_(trained["token"], tmp_path / "refused", "unk")


def test_import_tells_of_dna_that_is_read_otherwise_than_before(tmp_path, caplog):
    specials = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    path = make_tokenizer(tmp_path / "tokenizer.json", specials)
    tokenizer = Tokenizer.from_file(str(path))

    def told() -> str:
        caplog.clear()
        tokenizer.save(str(path))
        import_(path, tmp_path / "t")
        return caplog.text

    assert not told(), "a bare vocabulary has no template"
    tokenizer.enable_truncation(20)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    assert not told()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    before, here = told().split("reads DNA as ")[1].split(", here as ")
    assert before.startswith("[CLS] ") and not before.endswith("[SEP]")
    assert here.startswith("[CLS] ") and here.split(".")[0].endswith("[SEP]")
    tokenizer.post_processor, tokenizer.normalizer = None, normalizers.Replace("ACG", "A C G")
    assert "A model that was trained with it before reads what it does not know" in told()


def test_import_refuses_word_pieces(tmp_path):
    names = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "A", "C", "G", "T", "##A", "##C", "##G", "##T"]
    vocabulary = {name: index for index, name in enumerate(names)}
    Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match="do not spell"):
        import_(tmp_path, tmp_path / "t")


# ----------------------------------------------------------------------------- encode, truncate


@functools.cache
def trained_tokenizer(directory: Path):
    return encoding.load_tokenizer(directory)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text("ACGTacgtNnRK", max_size=80), max_size=5), st.none() | st.integers(3, 30))
def test_encode_equals_transformers(trained, sequences, max_tokens):
    tokenizer = trained_tokenizer(trained["unk"])
    expected = [
        tokenizer(sequence, truncation=max_tokens is not None, max_length=max_tokens)["input_ids"]
        for sequence in sequences
    ]
    # A padded call leaves padding and truncation switched on in the backend.
    tokenizer(["ACGT" * 30, "A"], padding=True, truncation=True, max_length=5)
    found = encoding.encode(tokenizer, sequences, max_tokens)
    assert [ids.tolist() for ids in found] == expected
    assert all(ids.dtype == np.uint16 for ids in found)


letters = (
    st.text("ACGT", max_size=80) | st.text("ACGTacgtNnRKuX", max_size=20) | st.text("ACGT-* \né", max_size=4)
)


@pytest.mark.parametrize("policy", ["drop", "unk", "token"])
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequences=st.lists(letters, max_size=5), max_tokens=st.none() | st.integers(3, 30))
def test_compiled_encoding_gives_the_ids_of_the_library(trained, policy, sequences, max_tokens):
    tokenizer = trained_tokenizer(trained[policy])
    library = [np.array(tokenizer.backend_tokenizer.encode(sequence).ids) for sequence in sequences]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "WORTH_COMPILED", 0)
        found = encoding.encode(tokenizer, sequences, max_tokens)
        assert encoding._encoders(tokenizer).choose(0) is not None
    assert [ids.tolist() for ids in found] == [encoding.truncate(ids, max_tokens).tolist() for ids in library]
    assert all(ids.dtype == np.uint16 for ids in found)


def test_compiled_encoding_is_loaded_once_and_not_for_a_few_sequences(trained, monkeypatch):
    loaded, load = [], bpe.encoder_for
    monkeypatch.setattr(bpe, "encoder_for", lambda backend: loaded.append(backend) or load(backend))
    monkeypatch.setattr(encoding, "WORTH_COMPILED", 100)
    tokenizer = encoding.load_tokenizer(trained["unk"])
    asked = []
    for chunk in (["ACGT" * 10], ["GATTACA" * 8], ["ACGT"], ["CATG" * 50]):
        encoding.encode(tokenizer, chunk)
        asked.append(len(loaded))
    assert asked == [0, 0, 1, 1]


@given(st.lists(st.integers(5, 99), max_size=40), st.integers(3, 30))
def test_truncate(middle, max_tokens):
    ids = np.array([1, *middle, 2], np.uint16)
    result = encoding.truncate(ids, max_tokens)
    assert len(result) == min(len(ids), max_tokens)
    assert result[0] == 1 and result[-1] == 2
    assert result[:-1].tolist() == ids[: len(result) - 1].tolist()
    assert encoding.truncate(ids, None) is ids


# ----------------------------------------------------------------------------- token cache


def tokenize(windows: Path, tokenizer: Path, output: Path, threads: int = 1) -> dict:
    summary = output.with_suffix(".json")
    tokenize_windows.main(
        windows=windows,
        tokenizer=tokenizer,
        genome="toy",
        split="train",
        threads=threads,
        output=output,
        summary=summary,
    )
    return json.loads(summary.read_text())


def test_cache_holds_what_transformers_would_give(tmp_path, trained, monkeypatch):
    from datasets import load_from_disk

    monkeypatch.setattr(tokenize_windows, "LINES_PER_BATCH", 7)  # several record batches
    lines = [*random_lines(40, 100), "acgtn", "NNN", "A"]
    path = tmp_path / "w.txt"
    path.write_bytes("\r\n".join(lines).encode())
    summary = tokenize(path, trained["unk"], tmp_path / "cache")
    tokenizer = encoding.load_tokenizer(trained["unk"])
    expected = [tokenizer(line)["input_ids"] for line in lines]

    dataset = load_from_disk(str(tmp_path / "cache"))
    assert dataset["input_ids"][:] == expected
    assert dataset.features["input_ids"].feature.dtype == "uint16"

    cache = token_cache.load_tokens(tmp_path / "cache")
    assert [ids.tolist() for ids in cache] == expected
    assert cache.lengths.tolist() == [len(ids) for ids in expected] and cache.lengths.dtype == np.int32
    assert [ids.tolist() for ids in copy.deepcopy(cache)] == expected
    counts = np.bincount(np.concatenate(expected), minlength=64)
    assert cache.counts(64).tolist() == counts.tolist()

    assert summary["lines"] == len(lines) and summary["bases"] == sum(map(len, lines))
    assert summary["tokens"] == sum(map(len, expected)) and summary["unknown_tokens"] == counts[0] == 4
    assert sum(lines for _, lines in summary["tokens_per_line"]["histogram"]) == len(lines)
    assert summary["tokens_per_line"]["median"] == int(np.median(cache.lengths))


def test_several_caches_are_one_list(tmp_path, trained, windows):
    tokenize(windows, trained["unk"], tmp_path / "a")
    (tmp_path / "w.txt").write_text("ACGT\nGGG\n")
    tokenize(tmp_path / "w.txt", trained["unk"], tmp_path / "b")
    one = token_cache.load_tokens(tmp_path / "a")
    both = token_cache.load_tokens(tmp_path / "a", tmp_path / "b")
    assert len(both) == len(one) + 2
    assert both.line(3).tolist() == one.line(3).tolist()
    assert both.source(len(one) - 1) == (0, len(one) - 1) and both.source(len(one) + 1) == (1, 1)
    with pytest.raises(IndexError):
        both.line(len(both))


def test_same_bytes_whatever_the_threads(tmp_path, trained, windows):
    assert tokenize(windows, trained["unk"], tmp_path / "a") == tokenize(
        windows, trained["unk"], tmp_path / "b", threads=2
    )
    assert sha256_of_directory(tmp_path / "a") == sha256_of_directory(tmp_path / "b")


def test_wide_ids_for_wide_vocabularies(tmp_path):
    token_cache.write_tokens(tmp_path, [[np.array([1, 70_000, 2])]], vocabulary_size=70_001)
    line = token_cache.load_tokens(tmp_path).line(0)
    assert line.dtype == np.int32 and line.tolist() == [1, 70_000, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"ACGT\n\nACGT\n", "line 2: empty line"),
        (b">chr1\nACGT\n", "line 1: this is FASTA"),
        (b"ACGT\nAC GT\n", "line 2: ' ' is no letter"),
        (b"ACGT\n\x1f\x8b\n", "line 2:"),
        (b"A" * 1_000_001 + b"\n", "line 1: longer than"),
    ],
)
def test_malformed_windows(tmp_path, trained, content, message):
    path = tmp_path / "w.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)):
        tokenize(path, trained["unk"], tmp_path / "cache")
    assert not (tmp_path / "cache").exists() and not (tmp_path / "cache.json").exists()


def test_damaged_and_foreign_caches(tmp_path, trained, windows):
    with pytest.raises(InputError, match="not a token cache"):
        token_cache.load_tokens(tmp_path)
    tokenize(windows, trained["unk"], tmp_path / "cache")
    (data,) = (tmp_path / "cache").glob("*.arrow")
    whole = data.read_bytes()
    # Cut within a batch, and right behind the last one, where only the end mark is missing.
    for missing in (500, 8):
        data.write_bytes(whole[:-missing])
        with pytest.raises(InputError, match="damaged"):
            token_cache.load_tokens(tmp_path / "cache")


def test_command_line_error_is_one_line_and_leaves_nothing(tmp_path, trained):
    (tmp_path / "w.txt").write_text("ACGT\nAC-GT\n")
    command = [sys.executable, str(ROOT / "scripts" / "tokenize_windows.py")]
    command += ["--windows", "w.txt", "--tokenizer", str(trained["unk"])]
    result = subprocess.run(
        [*command, "--output", "cache", "--summary", "s.json"], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert result.stderr == "error: w.txt line 2: '-' is no letter of a sequence. Only letters are allowed.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["w.txt"]
