"""Judging a language model: questions, scores, baselines, intervals, and the two scripts."""

import csv
import itertools
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from settings_objects import grouped
from torch.overrides import TorchFunctionMode

import evaluate_language_model
import train_tokenizer
from dnalm.evaluate_language_model import scoring as language_model
from dnalm.evaluate_language_model.means import HeldOutMeans, estimate, line_losses
from dnalm.evaluate_language_model.scoring import FrequencyBaselines, MaskedLine, TokenScores
from dnalm.evaluate_language_model.settings import EvaluateLanguageModelSettings
from dnalm.models.architecture import load_model, model_config, new_model
from dnalm.models.masked_lm import hidden_states, token_logits
from dnalm.pretrain.masking import EVALUATION, line_generator
from dnalm.pretrain.settings import ContextSettings
from dnalm.running.errors import InputError
from dnalm.running.files import sha256_of_file
from dnalm.tokenize_windows import cache as token_cache
from dnalm.tokenize_windows.context import ContextLines
from dnalm.tokenizers import encoding
from dnalm.tokenizers.batches import length_batches, pad
from dnalm.tokenizers.settings import TrainTokenizerSettings, UnknownBaseSettings

ROOT = Path(__file__).parents[2]
ARCHITECTURE = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A directory with a small untrained `model` and the token caches `train` and `validation`."""
    place = tmp_path_factory.mktemp("language_model")
    letters = np.random.default_rng(0)
    lines = ["".join(letters.choice(list("ACGT"), size=letters.integers(70, 120))) for _ in range(60)]
    (place / "w.txt").write_text("\n".join(lines) + "\n")
    train_tokenizer.main(
        windows=[place / "w.txt"],
        settings=TrainTokenizerSettings(vocabulary_size=40, sample_lines=60, seed=1),
        unknown_bases=UnknownBaseSettings(),
        output=place / "model",
        summary=place / "tokenizer.summary.json",
    )
    tokenizer = encoding.load_tokenizer(place / "model")
    new_model(model_config(ARCHITECTURE, tokenizer), seed=0).save_pretrained(place / "model")
    ids = encoding.encode(tokenizer, lines)
    for name, part in (("train", ids[:40]), ("validation", ids[40:])):
        (place / name).mkdir()
        token_cache.write_tokens(place / name, [part], len(tokenizer))
    return place


@pytest.fixture(scope="module")
def tokenizer(place):
    return encoding.load_tokenizer(place / "model")


@pytest.fixture(scope="module")
def questions(place, tokenizer) -> list[MaskedLine]:
    lines = ContextLines(token_cache.load_tokens(place / "validation"), 30)
    return language_model.hide_tokens(lines, range(len(lines)), tokenizer, 0.3, 42)


def evaluate(place: Path, output: Path, **changes) -> dict:
    options = {
        "model": place / "model",
        "tokens": [place / "validation"],
        "training_tokens": [place / "train"],
        "published": None,
        "name": "toy",
        "max_tokens": 30,
        "masking_probability": 0.3,
        "max_lines": 15,
        "examples": 4,
        "confidence": 0.95,
        "seed": 42,
        "gpus": 0,
        "allow_cpu": False,
        "metrics": output / "metrics.json",
        "sequence_loss": output / "sequence_loss.tsv",
        "fill_mask": output / "fill_mask.tsv",
    }
    classes = {"context": ContextSettings, "settings": EvaluateLanguageModelSettings}
    evaluate_language_model.main(**grouped(options | changes, **classes))
    return json.loads((output / "metrics.json").read_text())


def read_table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_choose_lines():
    assert language_model.choose_lines(3, 10).tolist() == [0, 1, 2]
    assert language_model.choose_lines(101, 3).tolist() == [0, 50, 100]


def test_every_hidden_token_is_masked_and_nothing_else_changes(questions, tokenizer):
    for line in questions:
        assert len(line.ids) <= 30
        changed = np.flatnonzero(line.ids != line.input_ids)
        assert changed.tolist() == line.positions.tolist()
        assert set(line.input_ids[changed]) == {tokenizer.mask_token_id}
        assert not set(line.targets) & set(tokenizer.all_special_ids)


def test_tokens_are_hidden_each_by_itself_and_by_line_number_alone(place, tokenizer):
    """The numbers are those of (seed, line) for evaluation: one for each token."""
    lines = ContextLines(token_cache.load_tokens(place / "validation"), 30)
    for line in language_model.hide_tokens(lines, [3, 11], tokenizer, 0.3, 42):
        drawn = line_generator(42, 0, line.index, EVALUATION).random(len(line.ids)) < 0.3
        drawn &= ~np.isin(line.ids, tokenizer.all_special_ids)
        assert line.positions.tolist() == np.flatnonzero(drawn).tolist()


def test_of_one_hidden_token_everything_around_is_seen(questions, tokenizer):
    chosen = [language_model.hide_one_token(line, tokenizer, 7) for line in questions]
    for line, one in zip(questions, chosen, strict=True):
        (position,) = one.positions
        assert position in line.positions and one.index == line.index
        assert np.flatnonzero(one.input_ids != line.ids).tolist() == [position]
        assert one.input_ids[position] == tokenizer.mask_token_id
    others = [language_model.hide_one_token(line, tokenizer, 8) for line in questions]
    assert [a.positions[0] for a in chosen] != [a.positions[0] for a in others]


def test_model_answers_equal_the_plain_forward_pass(place, tokenizer, questions):
    model = load_model(place / "model", tokenizer).eval()
    scores = language_model.model_scores(model, questions, tokenizer.pad_token_id, torch.device("cpu"))
    loss, rank = [], []
    for line in questions:
        with torch.inference_mode():
            logits = model(torch.from_numpy(line.input_ids)[None]).logits[0, line.positions]
        targets = torch.from_numpy(line.targets)
        loss.append(torch.nn.functional.cross_entropy(logits, targets, reduction="none").numpy())
        rank.append((logits > logits.gather(1, targets[:, None])).sum(1).numpy())
    np.testing.assert_allclose(scores.loss, np.concatenate(loss), atol=1e-5)
    assert (scores.rank != np.concatenate(rank)).mean() < 0.02  # near ties may swap


def plain_scores(model, lines: list[MaskedLine], pad_id: int, batch_tokens: int) -> TokenScores:
    """Line by line: its own passage through the prediction head, its own numbers."""
    loss, rank = [None] * len(lines), [None] * len(lines)
    with torch.inference_mode():
        for batch in length_batches(np.array([len(line.ids) for line in lines]), batch_tokens):
            states = hidden_states(model, **pad([lines[number].input_ids for number in batch], pad_id))
            for row, number in enumerate(batch):
                hidden = states[row, torch.from_numpy(lines[number].positions)]
                said = torch.log_softmax(token_logits(model, hidden), dim=-1)
                true = said.gather(1, torch.from_numpy(lines[number].targets)[:, None])
                loss[number] = -true[:, 0].double().numpy()
                rank[number] = (said > true).sum(1).numpy()
    return TokenScores(np.concatenate(loss), np.concatenate(rank))


@settings(max_examples=30, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(3, 40), st.integers(1, 12)), min_size=1, max_size=12),
    batch_tokens=st.integers(1, 300),
)
def test_scores_are_those_of_the_plain_reading_bit_for_bit(place, tokenizer, shapes, batch_tokens):
    model, draw = load_model(place / "model", tokenizer).eval(), np.random.default_rng(len(shapes))
    lines = []
    for length, hidden in shapes:
        ids = draw.integers(5, len(tokenizer), length)
        positions = np.sort(draw.choice(np.arange(1, length - 1), min(hidden, length - 2), replace=False))
        input_ids = ids.copy()
        input_ids[positions] = tokenizer.mask_token_id
        lines.append(MaskedLine(0, ids, input_ids, positions))
    how = (model, lines, tokenizer.pad_token_id)
    expected = plain_scores(*how, batch_tokens)
    found = language_model.model_scores(*how, torch.device("cpu"), batch_tokens)
    assert np.array_equal(found.loss, expected.loss) and np.array_equal(found.rank, expected.rank)
    assert (found.loss.dtype, found.rank.dtype) == (np.float64, np.int64)
    targets = {number: line.targets for number, line in enumerate(lines)}
    said = dict(language_model.model_log_probabilities(*how, torch.device("cpu"), batch_tokens))
    losses = [
        -said[number].numpy()[np.arange(len(ids)), ids].astype(float) for number, ids in targets.items()
    ]
    assert np.array_equal(np.concatenate(losses), expected.loss)


class Waits(TorchFunctionMode):
    """Notes what would make the CPU wait for a GPU: copies of results, and numbers asked for."""

    ASKED = ("item", "tolist", "nonzero", "masked_select", "__bool__", "__int__", "__float__", "__index__")

    def __init__(self):
        super().__init__()
        self.noted = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        index = args[1] if name == "__getitem__" else ()
        parts = index if isinstance(index, tuple) else (index,)
        by_mask = any(isinstance(part, torch.Tensor) and part.dtype == torch.bool for part in parts)
        if name == "cpu" or name in self.ASKED or by_mask:
            self.noted.append(name)
        return function(*args, **kwargs or {})


def test_a_gpu_is_waited_for_once_in_a_batch(place, tokenizer, questions):
    model = load_model(place / "model", tokenizer).eval()
    batches = list(length_batches(np.array([len(line.ids) for line in questions]), 100))
    assert len(batches) < len(questions) / 2
    how = (model, questions, tokenizer.pad_token_id, torch.device("cpu"), 100)
    with Waits() as waits:
        language_model.model_scores(*how)
    assert waits.noted == ["cpu"] * len(batches)
    with Waits() as waits:
        list(language_model.model_log_probabilities(*how))
    assert waits.noted == ["cpu"] * len(batches)


def test_floors_equal_plain_counting(place, tokenizer, questions):
    lines = token_cache.load_tokens(place / "train")
    size, special = len(tokenizer), set(tokenizer.all_special_ids)
    baselines = FrequencyBaselines(lines, sorted(special), size)
    singles, pairs = np.zeros(size), np.zeros((size, size))
    for ids in lines:
        for left, token in itertools.pairwise(ids):
            if int(token) not in special:
                singles[token] += 1
                pairs[left, token] += 1
    unigram = np.array([0.0 if token in special else singles[token] + 1 for token in range(size)])
    unigram /= unigram.sum()
    np.testing.assert_allclose(baselines.unigram, unigram)
    strength = baselines.prior_strength
    for left in range(size):
        expected = (pairs[left] + strength * unigram) / (pairs[left].sum() + strength)
        np.testing.assert_allclose(baselines.after(left), expected)
    scores = baselines.scores(questions, tokenizer.mask_token_id)
    found = iter(scores["bigram"].loss)
    for line in questions:
        for position in line.positions:
            hidden = line.input_ids[position - 1] == tokenizer.mask_token_id
            probabilities = unigram if hidden else baselines.after(int(line.ids[position - 1]))
            assert next(found) == pytest.approx(-math.log(probabilities[line.ids[position]]))
    assert set(scores["uniform"].loss) == {math.log(size - 5)}


def markov_lines(pull: float, seed: int, lines: int = 60) -> list[np.ndarray]:
    """Lines of tokens 5 to 24: with probability `pull` the one after the one before, else any."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(lines):
        ids = [int(generator.integers(5, 25))]
        for _ in range(30):
            any_token = int(generator.integers(5, 25))
            ids.append(5 + (ids[-1] - 4) % 20 if generator.random() < pull else any_token)
        found.append(np.array([1, *ids, 2]))
    return found


def plain_prior_strength(lines: list[np.ndarray], size: int) -> float:
    """The strength with the lowest loss on every tenth line, from the pairs of all others."""
    singles = np.array([0.0] * 5 + [1.0] * (size - 5))
    pairs = np.zeros((size, size))
    for number, ids in enumerate(lines):
        for left, token in itertools.pairwise(ids):
            if token >= 5:
                singles[token] += 1
                pairs[left, token] += number % 10 > 0
    unigram, losses = singles / singles.sum(), {}
    for strength in language_model.PRIOR_STRENGTHS:
        losses[strength] = -sum(
            math.log((pairs[left, token] + strength * unigram[token]) / (pairs[left].sum() + strength))
            for ids in lines[::10]
            for left, token in itertools.pairwise(ids)
            if token >= 5
        )
    return min(losses, key=lambda strength: losses[strength])


def test_the_prior_of_the_bigram_is_chosen_on_every_tenth_line(tmp_path):
    found = []
    for number, pull in enumerate([0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.5, 0.9]):
        lines = markov_lines(pull, number)
        (tmp_path / str(number)).mkdir()
        token_cache.write_tokens(tmp_path / str(number), [lines], 25)
        baselines = FrequencyBaselines(token_cache.load_tokens(tmp_path / str(number)), range(5), 25)
        assert baselines.prior_strength == plain_prior_strength(lines, 25)
        assert baselines.bigram_tokens == 60 * 31
        found.append(baselines.prior_strength)
    assert len(set(found)) >= 4, found


def test_pairs_are_counted_on_lines_spread_over_all_if_there_are_too_many(tmp_path, monkeypatch):
    """32 tokens a line, 31 of them after another and ordinary."""
    monkeypatch.setattr(language_model, "BIGRAM_TOKENS", 500)
    token_cache.write_tokens(tmp_path, [markov_lines(0.0, 1, lines=100)], 25)
    assert FrequencyBaselines(token_cache.load_tokens(tmp_path), range(5), 25).bigram_tokens == 15 * 31


def test_chance_finds_the_true_token_among_as_many_as_are_asked_for():
    by_chance = TokenScores(np.zeros(3), np.full(3, -1), choices=np.array([4, 35, 2]))
    assert by_chance.found(1).tolist() == [1 / 4, 1 / 35, 1 / 2]
    assert by_chance.found(5).tolist() == [1, 1 / 7, 1]


@given(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.5]), min_size=2, max_size=12))
def test_ranks_are_a_permutation_in_descending_order(values):
    probabilities = np.array(values)
    ranks = language_model.ranks(probabilities, np.arange(len(values)))
    assert sorted(ranks) == list(range(len(values)))
    assert (np.diff(probabilities[np.argsort(ranks)]) <= 0).all()


def of_one_source(n_tokens: int, confidence: float = 0.95) -> HeldOutMeans:
    return HeldOutMeans(np.zeros(n_tokens, np.int64), np.ones(n_tokens, np.int64), confidence)


def test_scores_are_means_over_hidden_tokens():
    lines = [
        MaskedLine(0, np.array([1, 5, 6, 2]), np.array([1, 4, 6, 2]), np.array([1])),
        MaskedLine(1, np.array([1, 5, 6, 7, 2]), np.array([1, 4, 4, 4, 2]), np.array([1, 2, 3])),
    ]
    means = HeldOutMeans(np.zeros(4, np.int64), np.array([1, 1, 2, 3]), 0.95)
    scores = TokenScores(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 1, 4, 5]))
    found = means.of(scores)
    assert found["loss"]["value"] == 2.5
    assert found["perplexity"]["value"] == pytest.approx(math.exp(2.5), rel=1e-5)
    assert found["bits_per_base"]["value"] == pytest.approx(10 / math.log(2) / 7, rel=1e-5)
    assert found["masked_accuracy"]["value"] == 0.25 and found["top5_accuracy"]["value"] == 0.75
    assert line_losses(lines, scores).tolist() == [1.0, 3.0]
    # Fewer tokens than runs: each is one. No share is below 0 or above 1.
    low, high = scipy.stats.t.interval(0.95, 3, 2.5, scipy.stats.sem(scores.loss))
    assert found["loss"] == estimate(2.5, low, high)
    assert [found["masked_accuracy"][bound] for bound in ("low", "high")] == [0, 1]
    worse = TokenScores(scores.loss + 0.5, scores.rank)
    assert means.advantage(scores, worse) == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert estimate(1 / 3, 25 / 9, 975 / 9) == {"value": 0.333333, "low": 2.77778, "high": 108.333}


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(0.5, 0.999))
def test_an_interval_is_that_of_the_means_of_ten_runs(seed, tokens_per_run, confidence):
    """Student's, as SciPy has it."""
    generator = np.random.default_rng(seed)
    scores = TokenScores(
        generator.gamma(2.0, size=10 * tokens_per_run), generator.integers(0, 9, 10 * tokens_per_run)
    )
    found = of_one_source(len(scores.loss), confidence).of(scores)
    for measure, values, largest in (("loss", scores.loss, np.inf), ("top5_accuracy", scores.rank < 5, 1)):
        of_runs = values.reshape(10, -1).mean(axis=1)
        bounds = scipy.stats.t.interval(confidence, 9, values.mean(), scipy.stats.sem(of_runs) + 1e-12)
        for name, expected in zip(("low", "high"), np.clip(bounds, 0, largest), strict=True):
            assert found[measure][name] == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert found[measure]["value"] == pytest.approx(values.mean(), rel=1e-5, abs=1e-6)


def test_intervals_hold_the_truth_where_neighbours_are_alike():
    """Those of tokens taken for independent would in a third of all genomes."""
    generator, held = np.random.default_rng(1), 0
    means = of_one_source(2000)
    for _ in range(300):
        steps = generator.normal(size=2200)
        # Each token's loss is that of the one before by nine tenths.
        losses = 5 + scipy.signal.lfilter([1], [1, -0.9], steps)[200:]
        bounds = means.of(TokenScores(losses, np.zeros(2000, np.int64)))["loss"]
        held += bounds["low"] <= 5 <= bounds["high"]
    assert 0.91 <= held / 300 <= 0.98


def test_what_differs_between_genomes_alone_widens_no_interval():
    """Each has runs of its own; a genome with a single hidden token goes with the others."""
    sources, ones = np.repeat([0, 1, 3], [30, 7, 2]), np.ones(39, np.int64)
    scores = TokenScores(np.repeat([1.0, 3.0, 2.0], [30, 7, 2]), np.zeros(39, np.int64))
    loss = HeldOutMeans(sources, ones, 0.95).of(scores)["loss"]
    assert loss["low"] == loss["value"] == loss["high"]
    lonely = HeldOutMeans(np.repeat([0, 1, 3], [30, 8, 1]), ones, 0.95).of(scores)["loss"]
    assert lonely["low"] < lonely["value"] < lonely["high"]


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(0.5, 0.999))
def test_an_interval_over_several_genomes_is_that_of_a_stratified_mean(seed, tokens_per_run, confidence):
    """Four runs of one genome, six of another: how much harder the other is makes nothing uncertain."""
    runs = np.random.default_rng(seed).gamma(2.0, size=(10, tokens_per_run))
    runs[4:] += 3
    n = tokens_per_run
    means = HeldOutMeans(np.repeat([0, 1], [4 * n, 6 * n]), np.ones(10 * n, np.int64), confidence)
    found = means.of(TokenScores(runs.ravel(), np.zeros(10 * n, np.int64)))["loss"]
    variance = sum((len(of) / 10) ** 2 * of.mean(axis=1).var(ddof=1) / len(of) for of in (runs[:4], runs[4:]))
    low, high = scipy.stats.t.interval(confidence, 3 + 5, runs.mean(), variance**0.5)
    assert found == pytest.approx(estimate(runs.mean(), max(low, 0), high), rel=1e-5)


@pytest.mark.parametrize(("few", "word"), [(0, "no"), (1, "one")])
def test_too_few_hidden_tokens_are_an_error(few, word, place, tmp_path, monkeypatch):
    hide = evaluate_language_model.hide_tokens

    def hide_few(*arguments):
        lines = [line for line in hide(*arguments) if len(line.positions)][:few]
        return [replace(line, positions=line.positions[:1]) for line in lines]

    monkeypatch.setattr(evaluate_language_model, "hide_tokens", hide_few)
    with pytest.raises(InputError, match=f"{word} token was hidden; held-out lines read: 15"):
        evaluate(place, tmp_path)
    assert not list(tmp_path.iterdir())


def test_script_end_to_end(place, tmp_path, tokenizer):
    (tmp_path / "a").mkdir()
    found = evaluate(place, tmp_path / "a")
    assert (
        found["lines"] == 15
        and found["lines_available"] == found["cut"]["pieces"] == 40
        and found["model"] == "toy"
    )
    # An untrained model knows nothing: about as good as drawing tokens.
    assert abs(found["metrics"]["loss"]["value"] - math.log(40)) < 0.3
    assert found["baselines"]["uniform"]["loss"]["value"] == pytest.approx(math.log(35), rel=1e-5)
    assert found["baselines"]["uniform"]["top5_accuracy"]["value"] == pytest.approx(1 / 7, abs=1e-6)
    for measures in (found["metrics"], *found["baselines"].values()):
        for measure in measures.values():
            assert measure["low"] <= measure["value"] <= measure["high"]

    nats, bits = (found["metrics"][measure]["value"] for measure in ("loss", "bits_per_base"))
    of_bases = bits * math.log(2) * found["hidden_bases"]
    assert of_bases == pytest.approx(nats * found["hidden_tokens"], rel=1e-4)

    losses = read_table(tmp_path / "a" / "sequence_loss.tsv")
    assert len(losses) == 15 and {row["source"] for row in losses} == {"validation"}
    total = sum(int(row["masked"]) * float(row["loss"]) for row in losses)
    assert total / found["hidden_tokens"] == pytest.approx(found["metrics"]["loss"]["value"], abs=1e-5)

    # The middle of a line that is longer than the model reads stands where it says.
    validation = token_cache.load_tokens(place / "validation")
    assert {int(row["start_bp"]) > 0 for row in losses} == {True, False}
    examples = read_table(tmp_path / "a" / "fill_mask.tsv")
    assert len(examples) == 4
    for row in examples:
        sequence = tokenizer.decode(validation.line(int(row["line"]) - 1), skip_special_tokens=True)
        start = int(row["position_bp"]) - 1
        assert sequence[start:].startswith(row["token"] + row["right"])
        assert sequence[:start].endswith(row["left"])
        top = [row[f"predicted_{place}"] for place in range(1, 6)]
        assert (row["token"] in top) == (int(row["rank"]) <= 5)
        probabilities = [float(row[f"probability_{place}"]) for place in range(1, 6)]
        assert sorted(probabilities, reverse=True) == probabilities and sum(probabilities) < 1
        assert (float(row["probability"]) >= probabilities[-1]) == (row["token"] in top)

    evaluate(place, tmp_path / "b")
    for name in ("metrics.json", "sequence_loss.tsv", "fill_mask.tsv"):
        assert sha256_of_file(tmp_path / "a" / name) == sha256_of_file(tmp_path / "b" / name)


def test_a_model_before_its_adaptation_answers_the_same_questions(place, tmp_path):
    metrics = evaluate(place, tmp_path, published=place / "model")
    assert metrics["published"]["metrics"] == metrics["metrics"]
    assert metrics["published"]["improvement"] == {"value": 0, "low": 0, "high": 0}


def test_another_number_of_threads_moves_the_last_digit_at_most(place, tokenizer, tmp_path):
    """A network wide enough for PyTorch to share its work among threads.

    On some makes of CPU that changes the order in which small sums are added up.
    """
    sizes = {"hidden_size": 128, "intermediate_size": 192, "num_attention_heads": 4}
    shutil.copytree(place / "model", tmp_path / "wide")
    new_model(model_config(ARCHITECTURE | sizes, tokenizer), seed=0).save_pretrained(tmp_path / "wide")
    usual, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            output = tmp_path / str(threads)
            output.mkdir()
            evaluate(place, output, model=tmp_path / "wide")
            found.append({file.name: file.read_text().split() for file in sorted(output.iterdir())})
    finally:
        torch.set_num_threads(usual)
    assert found[0].keys() == found[1].keys() and len(found[0]) == 3
    for name, words in found[0].items():
        assert len(words) == len(found[1][name])
        for one, two in zip(words, found[1][name], strict=True):
            assert one == two or float(one.rstrip(",")) == pytest.approx(
                float(two.rstrip(",")), rel=1e-5, abs=2e-6
            ), (name, one, two)


def test_caches_of_another_tokenizer_are_refused(place, tmp_path):
    (tmp_path / "other").mkdir()
    token_cache.write_tokens(tmp_path / "other", [[np.array([1, 70, 2])]], vocabulary_size=71)
    with pytest.raises(InputError, match="ids beyond the model's 40 tokens"):
        evaluate(place, tmp_path, tokens=[tmp_path / "other"])
    assert not (tmp_path / "metrics.json").exists()
