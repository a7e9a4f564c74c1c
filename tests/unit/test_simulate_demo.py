"""The demo's simulator: same seed, same bytes; what it plants is there; it leaks what it says it leaks."""

import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simulate_demo as demo
from dnalm.running.errors import InputError
from dnalm.running.files import sha256_of_file
from dnalm.simulate_demo.settings import SimulateDemoSettings

SCRIPT = Path(demo.__file__)
FILES = {"genome": "genome.fa.gz", "train": "train.tsv", "test": "test.tsv", "description": "demo.json"}


def simulate(directory: Path, **options) -> dict[str, Path]:
    paths = {name: directory / file for name, file in FILES.items()}
    sizes = {"genome_length": 300_000, "contigs": 3, "train_sequences": 60, "test_sequences": 80}
    settings = SimulateDemoSettings(**{"seed": 7, **sizes, **options})
    demo.main(settings=settings, **paths)
    return paths


def read_fasta(path: Path) -> dict[str, str]:
    records = gzip.decompress(path.read_bytes()).decode().split(">")[1:]
    return {r.split()[0]: "".join(r.split("\n")[1:]) for r in records}


def read_rows(path: Path) -> list[list[str]]:
    header, *rows = [line.split("\t") for line in path.read_text().splitlines()]
    assert header == ["id", "seq", "label"]
    return rows


def turned(sequence: str) -> str:
    return sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> dict[str, Path]:
    return simulate(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def description(simulated) -> dict:
    return json.loads(simulated["description"].read_text())


def test_same_seed_gives_the_same_bytes(simulated, tmp_path):
    again = simulate(tmp_path)
    for name in FILES:
        assert sha256_of_file(again[name]) == sha256_of_file(simulated[name])


def test_another_seed_gives_another_task(simulated, tmp_path):
    other = simulate(tmp_path, seed=8)
    assert not {row[1] for row in read_rows(other["test"])} & {row[1] for row in read_rows(simulated["test"])}


def test_another_genome_length_leaves_the_task_as_it_is(simulated, tmp_path):
    shorter = simulate(tmp_path, genome_length=50_000)
    for name in ("train", "test"):
        assert shorter[name].read_bytes() == simulated[name].read_bytes()


def test_genome_has_contigs_unknown_bases_and_soft_masked_repeats(simulated, description):
    genome = read_fasta(simulated["genome"])
    assert list(genome) == ["chr1", "chr2", "chr3"]
    said = description["genome"]
    assert {name: len(text) for name, text in genome.items()} == said["sequences"]
    whole = "".join(genome.values())
    assert set(whole) == set("ACGTNacgt")
    assert said["n_bases"] == whole.count("N")
    assert said["soft_masked_bases"] == sum(letter.islower() for letter in whole)
    assert 0.02 < said["soft_masked_bases"] / len(whole) < 0.25
    assert said["gaps"] > 0
    for text in genome.values():
        assert text.startswith("N" * 200) and text.endswith("N" * 200)


def test_contigs_have_about_the_length_asked_for(description):
    assert 300_000 <= description["genome"]["bases"] < 450_000


def test_both_kinds_of_regions_are_written_in_their_lexicon(simulated, description):
    """Motifs of each lexicon stand in the genome far more often than in shuffled bases of its composition."""
    whole = "".join(read_fasta(simulated["genome"]).values())
    shuffled = "".join(np.random.default_rng(0).permutation(list(whole)))
    for lexicon in ("enhancer", "other"):
        planted = sum(whole.count(motif) for motif in description["motifs"][lexicon])
        assert planted > 5 * sum(shuffled.count(motif) for motif in description["motifs"][lexicon])


def test_task_is_balanced_of_one_length_and_upper_case(simulated):
    for name, number in (("train", 60 + 12), ("test", 80)):
        rows = read_rows(simulated[name])
        assert len(rows) == number
        assert len({row[0] for row in rows}) == number
        assert {len(row[1]) for row in rows} == {200}
        assert set("".join(row[1] for row in rows)) == set("ACGT")
    assert Counter(row[2] for row in read_rows(simulated["test"])) == {"0": 40, "1": 40}


def test_leaks_are_those_of_the_description(simulated, description):
    training = {row[1]: row[2] for row in read_rows(simulated["train"])}
    found = {"exact": [], "reverse_complement": []}
    for name, sequence, label in read_rows(simulated["test"]):
        for kind, form in (("exact", sequence), ("reverse_complement", turned(sequence))):
            if form in training:
                assert training[form] == label
                found[kind].append(name)
    assert found == description["task"]["leaked"]
    assert [len(names) for names in found.values()] == [6, 6]


def test_no_labelled_sequence_stands_in_the_genome(simulated):
    whole = "N".join(read_fasta(simulated["genome"]).values()).upper()
    for row in read_rows(simulated["train"]) + read_rows(simulated["test"]):
        assert row[1] not in whole and turned(row[1]) not in whole


def test_composition_tells_nothing_and_motifs_tell_almost_all(tmp_path):
    paths = simulate(tmp_path, test_sequences=1000, genome_length=5000, contigs=1)
    rows = read_rows(paths["test"])
    gc = {label: [] for label in "01"}
    for _, sequence, label in rows:
        gc[label].append(sum(map(sequence.count, "CG")) / len(sequence))
    difference = np.mean(gc["1"]) - np.mean(gc["0"])
    error = np.hypot(*(np.std(values) / len(values) ** 0.5 for values in gc.values()))
    assert abs(difference) < 4 * error
    assert json.loads(paths["description"].read_text())["task"]["accuracy_of_informed_reader"] > 0.98


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(6, 10))
def test_motifs_are_anagrams_and_clearly_different(seed, motifs, length):
    lexicons = demo.make_lexicons(np.random.default_rng(seed), motifs, length)
    assert lexicons.shape == (2, motifs, length)
    assert (np.sort(lexicons[0], axis=1) == np.sort(lexicons[1], axis=1)).all()
    words = [form for word in lexicons.reshape(-1, length) for form in (word, demo.reverse_complement(word))]
    for i, word in enumerate(words):
        for other in words[:i]:
            assert (word != other).sum() >= 2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(50, 2000), st.sampled_from([0, 1]))
def test_region_has_the_length_and_without_strangers_only_its_lexicon(seed, length, lexicon):
    generator = np.random.default_rng(seed)
    # Long motifs do not come about in the background by chance.
    grammar = demo.Grammar(demo.make_lexicons(generator, 5, 14), wrong_motif_fraction=0.0)
    region = demo.write_region(generator, length, lexicon, grammar)
    assert len(region) == length
    assert demo.count_motifs(demo.letters(region), grammar)[1 - lexicon] == 0


def test_more_motifs_than_there_are_words_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match="--motifs 500"):
        simulate(tmp_path, motifs=500, motif_length=4)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--train-sequences", "0"], "--train-sequences is 0, but must be at least 2."),
        (["--wrong-motif-fraction", "0.5"], "--wrong-motif-fraction is 0.5, but must be less than 0.5."),
        (["--seed=-1"], "--seed is -1, but must be at least 0."),
        (
            ["--leaked-sequences", "81", "--test-sequences", "80"],
            "the command has --leaked-sequences 81, but only 80 --test-sequences. Give a smaller number.",
        ),
    ],
)
def test_impossible_sizes_are_refused_in_one_line_and_nothing_is_written(tmp_path, flags, message):
    files = [part for name, file in FILES.items() for part in (f"--{name}", str(tmp_path / file))]
    done = subprocess.run([sys.executable, SCRIPT, *flags, *files], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"error: {message}"]
    assert not list(tmp_path.iterdir())
