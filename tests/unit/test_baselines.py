"""The baselines: k-mer features against plain counting, and what training writes and reads back."""

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import baseline
import baseline_cnn
from dnalm.baseline.gapped import FEATURES, GappedKmerRegression, gapped_features
from dnalm.baseline.predictors import (
    PENALTIES,
    STRANDS,
    KmerRegression,
    Majority,
    fit_linear_model,
    kmer_features,
    train_kmer_regression,
    word_features,
)
from dnalm.baseline.settings import BASELINES, BaselineSettings, KmerSettings
from dnalm.baseline.stored import load_baseline
from dnalm.baseline_cnn.network import MotifNetwork, encode_bases, predict_logits
from dnalm.baseline_cnn.settings import CnnSettings
from dnalm.combine.predictor import WEIGHTS, Combined, Features, train_combined
from dnalm.evaluate.settings import StrandSettings
from dnalm.problems.kinds import KINDS
from dnalm.problems.names import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from dnalm.report import words
from dnalm.running.errors import InputError
from dnalm.running.files import sha256_of_directory
from dnalm.sequences.strands import canonical, reverse_complement
from dnalm.sequences.tables import read_labelled_table


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ACGTN", min_size=1, max_size=20), min_size=1, max_size=6), st.integers(1, 4))
def test_features_against_plain_counting(sequences, k):
    forward = kmer_features(sequences, k, "forward", batch=2).toarray()
    both = kmer_features(sequences, k, "both").toarray()
    for row, sequence in enumerate(sequences):
        words = [sequence[i : i + k] for i in range(len(sequence) - k + 1)]
        words = [word for word in words if "N" not in word]
        for found, counts in (
            (forward[row], Counter(words)),
            (both[row], Counter(canonical(word) for word in words)),
        ):
            expected = sorted(np.sqrt(n / len(words)) for n in counts.values())
            assert np.allclose(sorted(found[found > 0]), expected)
        code = {
            word: sum("ACGT".index(base) * 4**i for i, base in enumerate(reversed(word))) for word in words
        }
        assert all(forward[row, place] > 0 for place in code.values())
    turned = kmer_features([reverse_complement(s) for s in sequences], k, "both").toarray()
    assert np.allclose(turned, both)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("ACGTN", min_size=1, max_size=25), min_size=1, max_size=6),
    st.integers(0, 3),
    st.integers(1, 5),
)
def test_gapped_words_by_place_against_plain_counting(sequences, gap, places):
    offsets = [0, 1, 2 + gap, 3 + gap]
    sequences += [reverse_complement(sequence) for sequence in sequences]
    forward, both = list[Counter](), list[Counter]()
    for sequence in sequences:
        n = len(sequence) - offsets[-1]
        words, either = [], []
        for start in range(n):
            if "N" in sequence[start : start + offsets[-1] + 1]:
                continue
            word, place = "".join(sequence[start + offset] for offset in offsets), start * places // n
            words.append((place, word))
            either.append(min(words[-1], (places - 1 - place, reverse_complement(word))))
        forward.append(Counter(words))
        both.append(Counter(either))
    for strands, counts in (("forward", forward), ("both", both)):
        found = word_features(sequences, offsets, strands, places, batch=2).toarray()
        # The columns are in an order of their own; each is what one word has in all sequences.
        expected = [
            [np.sqrt(of[word] / max(1, of.total())) for of in counts] for word in set().union(*counts)
        ]
        columns = found.T[found.any(axis=0)]
        assert sorted(columns.round(9).tolist()) == sorted(np.round(expected, 9).tolist())


@pytest.mark.parametrize("features", FEATURES)
def test_features_of_a_sequence_that_has_every_word_have_the_length_one(features):
    """A penalty then means the same for both, however many words there are."""
    sequences = ["".join(random.Random(seed).choices("ACGT", k=90)) for seed in range(3)]
    found = gapped_features(sequences, features, "both", 90).toarray()
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(3))


def write_task(folder: Path, labels: list[str], n: int, seed: int) -> dict[str, Path]:
    """Three splits of 60-bp sequences, each label with its own planted word."""
    generator = np.random.default_rng(seed)
    words = ["GATTACA", "CCGGAAT", "TTTGGGC"]
    paths = {}
    for split in ("train", "validation", "test"):
        lines = ["seq\tlabel"]
        for i in range(n):
            bases = generator.choice(list("ACGT"), 60)
            label = i % len(labels)
            for start in generator.choice(8, 3, replace=False) * 7:
                bases[start : start + 7] = list(words[label])
            lines.append("".join(bases) + "\t" + labels[label])
        paths[split] = folder / f"{split}.tsv"
        paths[split].write_text("\n".join(lines) + "\n")
    return paths


def train(kind: str, paths: dict[str, Path], output: Path, lengths=(3, 4)) -> dict:
    baseline.main(
        baseline=kind,
        task="toy",
        train=paths["train"],
        validation=paths["validation"],
        settings=KmerSettings(kmer_lengths=lengths),
        output=output,
        summary=output.with_suffix(".json"),
    )
    return json.loads(output.with_suffix(".json").read_text())


@pytest.mark.parametrize("labels", [["0", "1"], ["a", "b", "c"]], ids=["two classes", "three classes"])
def test_kmers_learn_planted_words(tmp_path, labels):
    paths = write_task(tmp_path, labels, 120, seed=1)
    summary = train("kmer", paths, tmp_path / "kmer")
    predictor = load_baseline(tmp_path / "kmer")
    assert isinstance(predictor, KmerRegression) and predictor.labels == labels
    test = read_labelled_table(paths["test"])
    probabilities = predictor.outputs(test["seq"].tolist())
    assert probabilities.shape == (120, len(labels)) and np.allclose(probabilities.sum(axis=1), 1)
    predicted = np.array(labels)[probabilities.argmax(axis=1)]
    assert (predicted == test["label"]).mean() > 0.9
    # The best of everything that was tried was chosen, and what was saved is that model.
    assert summary["chosen"] == min(summary["tried"], key=lambda result: result["loss"])
    held_out = read_labelled_table(paths["validation"])
    again = predictor.outputs(held_out["seq"].tolist())
    truth = [labels.index(label) for label in held_out["label"]]
    assert -np.log(again[range(120), truth]).mean() == pytest.approx(summary["chosen"]["loss"], abs=1e-5)


@pytest.mark.parametrize("features", ["gapped", "positional"])
def test_gapped_kmers_learn_what_kmers_miss(tmp_path, features):
    generator = np.random.default_rng(5)
    paths = {}
    for split, n in (("train", 400), ("validation", 100), ("test", 200)):
        rows = []
        for i in range(n):
            bases = generator.choice(list("ACGT"), 60)
            if features == "gapped":
                # CGT and TCA, so many bases apart in one class and another number in the other.
                start, gap = generator.integers(45), (4, 8)[i % 2]
                bases[[start, start + 1, start + 2]] = list("CGT")
                bases[[start + 3 + gap, start + 4 + gap, start + 5 + gap]] = list("TCA")
            else:
                start = (20, 30)[i % 2]
                bases[start : start + 4] = list("TATA")
            rows.append(f"{''.join(bases)}\t{i % 2}\n")
        paths[split] = tmp_path / f"{split}.tsv"
        paths[split].write_text("seq\tlabel\n" + "".join(rows))
    summary = train("gapped_kmer", paths, tmp_path / "gapped")
    assert summary["chosen"]["features"] == features
    predictor = load_baseline(tmp_path / "gapped")
    assert isinstance(predictor, GappedKmerRegression)
    test = read_labelled_table(paths["test"])
    predicted = predictor.outputs(test["seq"].tolist()).argmax(axis=1)
    assert (predicted.astype(str) == test["label"]).mean() > 0.8
    train("kmer", paths, tmp_path / "kmer")
    plain = load_baseline(tmp_path / "kmer").outputs(test["seq"].tolist()).argmax(axis=1)
    assert (plain.astype(str) == test["label"]).mean() < 0.7


def drawn_features(n: int = 40, columns: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, columns))


@pytest.mark.parametrize("penalty", [0.1, 10.0])
def test_ridge_regression_is_the_textbooks_and_knows_no_unit(penalty):
    """Weights (X'X + I / penalty)^-1 X'y of centred features and standardised values."""
    features = drawn_features()
    values = features @ [[1.0], [-2.0], [0.5]] + 0.3 * drawn_features(columns=1, seed=1)
    weights, intercepts = fit_linear_model(REGRESSION, features, values, penalty)
    centred = features - features.mean(axis=0)
    standard = (values - values.mean()) / values.std()
    expected = np.linalg.solve(centred.T @ centred + np.eye(3) / penalty, centred.T @ standard) * values.std()
    assert weights == pytest.approx(expected.T) and weights.shape == (1, 3) and intercepts.shape == (1,)
    assert intercepts[0] == pytest.approx(values.mean() - features.mean(axis=0) @ expected[:, 0])
    scaled = fit_linear_model(REGRESSION, features, 100 * values + 7, penalty)
    assert scaled[0] == pytest.approx(100 * weights) and scaled[1] == pytest.approx(100 * intercepts + 7)


def test_logistic_regression_says_what_scikit_learns_says():
    from sklearn.linear_model import LogisticRegression

    features = drawn_features()
    score = features @ [1.0, -2.0, 0.5] + 0.7
    several = (score[:, None] > [-1, 1]).sum(axis=1)
    for problem, targets in ((SINGLE_LABEL, several // 2), (SINGLE_LABEL, several)):
        weights, intercepts = fit_linear_model(problem, features, targets, 0.5)
        found = KINDS[problem].outputs(features @ weights.T + intercepts)
        theirs = LogisticRegression(C=0.5).fit(features, targets)
        assert found == pytest.approx(theirs.predict_proba(features), abs=1e-3)
    carried = np.stack([several > 0, several == 1], axis=1).astype(np.int64)
    weights, intercepts = fit_linear_model(MULTI_LABEL, features, carried, 0.5)
    found = KINDS[MULTI_LABEL].outputs(features @ weights.T + intercepts)
    for label in (0, 1):
        theirs = LogisticRegression(C=0.5).fit(features, carried[:, label])
        assert found[:, label] == pytest.approx(theirs.predict_proba(features)[:, 1], abs=1e-3)


def test_of_equally_good_models_the_first_is_kept():
    """Sequences that are all the same: no k-mer and no penalty helps."""
    same = (["ACGTACGT"] * 8, np.arange(8) % 2)
    model, tried = train_kmer_regression(SINGLE_LABEL, same, same, ["0", "1"], [2, 3])
    kept = (tried[0]["k"], tried[0]["strands"])
    assert (model.k, model.strands) == kept == (2, "forward")
    assert {result["loss"] for result in tried} == {0.693147}
    assert [(r["k"], r["strands"], r["penalty"]) for r in tried] == [
        (k, strands, penalty) for k in (2, 3) for strands in STRANDS for penalty in PENALTIES
    ]


def test_same_input_same_bytes(tmp_path):
    paths = write_task(tmp_path, ["0", "1"], 60, seed=2)
    train("kmer", paths, tmp_path / "one")
    train("kmer", paths, tmp_path / "two")
    assert sha256_of_directory(tmp_path / "one") == sha256_of_directory(tmp_path / "two")
    assert {p.name for p in (tmp_path / "one").iterdir()} == {"baseline.json", "model.safetensors"}


def test_majority_predicts_the_shares(tmp_path):
    table = tmp_path / "train.tsv"
    table.write_text("seq\tlabel\nAA\t1\nAC\t1\nAG\t0\nAT\t1\n")
    train("majority", {"train": table, "validation": table}, tmp_path / "majority")
    predictor = load_baseline(tmp_path / "majority")
    assert isinstance(predictor, Majority)
    assert predictor.outputs(["A", "C"]).tolist() == [[0.25, 0.75]] * 2


def test_errors(tmp_path, repository):
    paths = write_task(tmp_path, ["0", "1"], 6, seed=3)
    with pytest.raises(InputError, match=r"baseline\.json: no such file"):
        load_baseline(tmp_path)
    script = [sys.executable, str(repository / "scripts" / "baseline.py"), "--baseline=kmer", "--task=toy"]
    flags = [
        f"--train={paths['train']}",
        f"--output={tmp_path / 'out'}",
        f"--summary={tmp_path / 'out.json'}",
    ]
    result = subprocess.run(script + flags, capture_output=True, text=True)
    assert result.returncode == 1
    assert (
        result.stderr == "error: --baseline kmer needs --validation: k-mers and penalty are chosen there.\n"
    )
    assert not list(tmp_path.glob("*out*"))


# ---- The convolutional network ----


def train_cnn(paths: dict[str, Path], output: Path, strands: str = "both", name="cnn", **settings) -> dict:
    baseline_cnn.main(
        baseline=name,
        task="toy",
        train=paths["train"],
        validation=paths["validation"],
        settings=CnnSettings(cnn_filters=16, **settings),
        strands=StrandSettings(strands=strands),
        output=output,
        summary=output.with_suffix(".json"),
    )
    return json.loads(output.with_suffix(".json").read_text())


def test_network_learns_planted_words_the_same_every_time(tmp_path):
    labels = ["a", "b", "c"]
    paths = write_task(tmp_path, labels, 150, seed=1)
    summary = train_cnn(paths, tmp_path / "cnn", cnn_epochs=20, cnn_batch_size=16, cnn_learning_rate=1e-2)
    train_cnn(paths, tmp_path / "again", cnn_epochs=20, cnn_batch_size=16, cnn_learning_rate=1e-2)
    assert sha256_of_directory(tmp_path / "cnn") == sha256_of_directory(tmp_path / "again")
    predictor = load_baseline(tmp_path / "cnn")
    assert predictor.labels == labels
    test = read_labelled_table(paths["test"])
    sequences = test["seq"].tolist()
    probabilities = predictor.outputs(sequences)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (np.array(labels)[probabilities.argmax(axis=1)] == test["label"]).mean() > 0.9
    assert summary["kept"] == min(summary["log"], key=lambda record: record["validation_loss"])
    turned = predictor.outputs([reverse_complement(s) for s in sequences])
    assert np.allclose(turned, probabilities, atol=1e-5)


def test_a_deep_network_learns_planted_words_and_reads_both_strands(tmp_path):
    paths = write_task(tmp_path, ["a", "b"], 150, seed=1)
    train_cnn(
        paths, tmp_path / "cnn", name="deep_cnn", cnn_epochs=8, cnn_batch_size=16, cnn_learning_rate=1e-2
    )
    predictor, test = load_baseline(tmp_path / "cnn"), read_labelled_table(paths["test"])
    sequences = test["seq"].tolist()
    probabilities = predictor.outputs(sequences)
    assert (np.array(["a", "b"])[probabilities.argmax(axis=1)] == test["label"]).mean() > 0.9
    turned = predictor.outputs([reverse_complement(s) for s in sequences])
    assert np.allclose(turned, probabilities, atol=1e-5)


def test_network_tells_the_strands_apart_where_they_matter(tmp_path):
    paths = write_task(tmp_path, ["a", "b"], 30, seed=1)
    train_cnn(paths, tmp_path / "cnn", strands="forward", cnn_epochs=1, cnn_batch_size=16)
    predictor, word = load_baseline(tmp_path / "cnn"), "ACCTGATTGCAACCATGGTTTAAC"
    forward, turned = predictor.outputs([word, reverse_complement(word)])
    assert not np.allclose(forward, turned, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text("ACGTN", min_size=1, max_size=30), min_size=1, max_size=5), st.booleans())
def test_a_sequence_is_read_the_same_on_both_strands_and_in_any_batch(sequences, deep):
    torch.manual_seed(0)
    network = MotifNetwork(filters=5, width=6, classes=2, deep=deep)
    together = predict_logits(network, encode_bases(sequences))
    alone = torch.cat([predict_logits(network, encode_bases([s])) for s in sequences])
    turned = predict_logits(network, encode_bases([reverse_complement(s) for s in sequences]))
    assert torch.allclose(together, alone, atol=1e-5) and torch.allclose(together, turned, atol=1e-5)


# ---- k-mers and embeddings together ----


def test_combined_model_learns_what_either_part_knows():
    """Half of the sequences of class 1 show it in their k-mers, half in their embeddings."""
    generator = np.random.default_rng(0)

    def draw(n: int) -> tuple[list[str], np.ndarray, np.ndarray]:
        by_word, by_vector = generator.integers(0, 2, n), generator.integers(0, 2, n)
        sequences = [
            "".join(generator.choice(list("ACGT"), 50)) + "GATTACAGATTACA" * int(word) for word in by_word
        ]
        vectors = generator.normal(size=(n, 8)).astype(np.float32)
        vectors[:, 3] += 6 * by_vector
        return sequences, 50 + 7 * vectors, by_word | by_vector

    train, validation, test = draw(300), draw(200), draw(200)
    combined, tried = train_combined(SINGLE_LABEL, train, validation, k=4, strands="both")
    probabilities = combined.outputs(*test[:2])
    assert (probabilities.argmax(axis=1) == test[2]).mean() > 0.95
    best = min(result["loss"] for result in tried)
    truth = combined.outputs(*validation[:2])[range(200), validation[2]]
    assert -np.log(truth).mean() == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("weight", [0.1, 3.0])
def test_an_embedding_has_the_length_that_it_is_given_beside_the_k_mers(weight):
    """In the mean over the training sequences; the vector of k-mers has a length of 1."""
    generator = np.random.default_rng(1)
    vectors = generator.normal(3.0, [0.1, 1, 10, 100], size=(50, 4))
    scale = weight / (vectors.std(axis=0) * 2)
    features = Features(3, "both", vectors.mean(axis=0), scale).of(["ACGGTCATTGCA"] * 50, vectors).toarray()
    kmers, embedded = features[:, :-4], features[:, -4:]
    assert (kmers**2).sum(axis=1) == pytest.approx(1)
    assert (embedded**2).sum(axis=1).mean() == pytest.approx(weight**2)
    assert embedded.mean(axis=0) == pytest.approx(0, abs=1e-12)


def test_the_weights_that_are_tried_are_lengths_of_standardised_embeddings():
    """A dimension that is always the same counts as one of deviation 1."""
    generator = np.random.default_rng(2)
    vectors = np.column_stack([generator.normal(5, 10, 60), np.full(60, 4.0)]).astype(np.float32)
    split = (["ACGTACGT"] * 60, vectors, (vectors[:, 0] > 5).astype(np.int64))
    model, tried = train_combined(SINGLE_LABEL, split, split, k=2, strands="both")
    best = min(tried, key=lambda result: result["loss"])
    assert [(r["weight"], r["penalty"]) for r in tried] == [(w, p) for w in WEIGHTS for p in PENALTIES]
    assert best["weight"] == WEIGHTS[-1] and best["penalty"] == PENALTIES[-1]
    deviation = [vectors[:, 0].std(dtype=float), 1]
    assert model.features.scale == pytest.approx(best["weight"] / (np.array(deviation) * 2**0.5))
    assert model.features.mean == pytest.approx(vectors.mean(axis=0, dtype=float))
    # Where nothing helps, the first of all is kept.
    alike = (split[0], np.full((60, 2), 4.0, np.float32), np.arange(60) % 2)
    model, _ = train_combined(SINGLE_LABEL, alike, alike, k=2, strands="both")
    assert model.features.scale == pytest.approx(np.full(2, WEIGHTS[0] / 2**0.5))


def test_an_incomplete_directory_of_k_mers_and_embeddings_is_refused(tmp_path):
    (tmp_path / "combined.json").write_text(json.dumps({"problem": SINGLE_LABEL, "labels": ["0", "1"]}))
    with pytest.raises(InputError, match=r"not a complete directory of scripts/combine\.py"):
        Combined(tmp_path)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_has_a_script_a_switch_and_words(name, repository):
    assert (repository / f"scripts/{BASELINES[name]}.py").is_file()
    assert BaselineSettings.model_fields[name].annotation is bool
    assert words.BASELINES[name].name and words.BASELINES[name].described
