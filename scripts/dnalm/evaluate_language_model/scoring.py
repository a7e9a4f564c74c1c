"""How well a masked language model predicts hidden tokens of held-out DNA, and how well counting does.

All predictors see the same lines with the same hidden tokens. Their scores are, per hidden
token, the loss (minus the natural logarithm of the probability given to the true token) and its rank (how
many tokens were held for likelier).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dnalm.evaluate_language_model.agreeing import agreeing_scores
from dnalm.models.architecture import check_answers
from dnalm.models.masked_lm import hidden_states, token_logits
from dnalm.pretrain.masking import EVALUATION, IGNORED, line_generator, mask_tokens
from dnalm.running.errors import InputError
from dnalm.running.memory import batches_that_fit
from dnalm.tokenize_windows.cache import TokenLines
from dnalm.tokenize_windows.context import ContextLines
from dnalm.tokenizers.bases import OverlappingWords
from dnalm.tokenizers.batches import pad
from dnalm.tokenizers.special_tokens import BASES, overlapping_kmer_length

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# Tokens in one forward pass, padding included.
BATCH_TOKENS = 8192
# Counting pairs of tokens beyond this number makes the bigram baseline slower and hardly better.
BIGRAM_TOKENS = 20_000_000
# Strengths of the unigram prior that are tried for the bigram baseline, in pseudo-counts.
PRIOR_STRENGTHS = (10.0, 100.0, 1000.0, 10_000.0, 100_000.0)


@dataclass
class MaskedLine:
    """A held-out line, or a piece of one, with hidden tokens.

    `index`: its number over all held-out caches. `ids`: the truth. `input_ids`: what a predictor sees.
    `positions`: where tokens are hidden, int64[n_hidden].
    """

    index: int
    ids: np.ndarray
    input_ids: np.ndarray
    positions: np.ndarray

    @property
    def targets(self) -> np.ndarray:
        """The hidden ids: int64[n_hidden]."""
        return self.ids[self.positions]


@dataclass
class TokenScores:
    """One predictor's scores on a list of masked lines, in order: float64 and int64 [n_hidden in all].

    `choices`: among how many tokens it draws where all are as likely, so that ranks say nothing.
    """

    loss: np.ndarray
    rank: np.ndarray
    choices: np.ndarray | None = None

    def found(self, top: int) -> np.ndarray:
        """Whether each true token is among the `top` likeliest, or how often by chance: [n_hidden in all]."""
        return self.rank < top if self.choices is None else np.minimum(1.0, top / self.choices)


# ----------------------------------------------------------------------------- hidden tokens


def choose_lines(count: int, at_most: int) -> np.ndarray:
    """At most `at_most` of `count` line numbers, evenly spaced: every chromosome has its share."""
    return np.unique(np.linspace(0, count - 1, min(count, at_most)).round().astype(np.int64))


def hide_tokens(
    lines: ContextLines,
    indices: Iterable[int],
    tokenizer: "PreTrainedTokenizerFast",
    probability: float,
    seed: int,
) -> list[MaskedLine]:
    """Hide tokens of the given lines with `probability`. Lines without any hidden token are left out.

    Tokens that share bases are hidden in runs, so that each run hides at least one base. Every hidden token
    becomes [MASK]: none is replaced by a random one or left visible, as in training, because the question is
    what the context tells.
    """
    result, reach = [], overlapping_kmer_length(tokenizer.get_vocab()) or 1
    for index in indices:
        ids = lines.line(int(index)).astype(np.int64)
        input_ids, labels = mask_tokens(
            ids,
            special_ids=tokenizer.all_special_ids,
            vocabulary_size=len(tokenizer),
            mask_id=tokenizer.mask_token_id,
            probability=probability,
            mask_fraction=1.0,
            random_fraction=0.0,
            span_tokens=reach,
            generator=line_generator(seed, 0, int(index), EVALUATION),
        )
        positions = np.flatnonzero(labels != IGNORED)
        if len(positions):
            result.append(MaskedLine(int(index), ids, input_ids, positions))
    return result


def hide_one_token(line: MaskedLine, tokenizer: "PreTrainedTokenizerFast", seed: int) -> MaskedLine:
    """The same line with a single token to name, one of those hidden in it, drawn with `seed`.

    Tokens that share bases with it are hidden as well.
    """
    generator = np.random.default_rng([seed, line.index])
    position = line.positions[generator.integers(len(line.positions))]
    input_ids, reach = line.ids.copy(), overlapping_kmer_length(tokenizer.get_vocab()) or 1
    near = np.arange(max(0, position - reach + 1), min(len(input_ids), position + reach))
    input_ids[near[~np.isin(input_ids[near], tokenizer.all_special_ids)]] = tokenizer.mask_token_id
    return MaskedLine(line.index, line.ids, input_ids, np.array([position]))


# ----------------------------------------------------------------------------- the model's scores


def model_log_probabilities(
    model: "PreTrainedModel",
    lines: list[MaskedLine],
    pad_id: int,
    device: "torch.device",
    batch_tokens: int = BATCH_TOKENS,
) -> Iterator[tuple[int, "torch.Tensor"]]:
    """Per line, its number in `lines` and the log-probabilities float32[n_hidden, vocabulary] on the CPU.

    Lines of like length share a batch of at most `batch_tokens` tokens, of fewer where memory runs out; they
    come in that order.
    """
    import torch

    def read(batch: np.ndarray) -> Sequence["torch.Tensor"]:
        answers = [said for _, said in read_lines(model, [lines[n] for n in batch], pad_id, device)]
        # One copy: each makes the CPU wait for the GPU.
        return torch.cat(answers).cpu().split([len(said) for said in answers])

    lengths = np.array([len(line.ids) for line in lines])
    with torch.inference_mode():
        for batch, answers in batches_that_fit(model, read, lengths, batch_tokens):
            for said in answers:
                check_answers(model, said)
            yield from zip(batch.tolist(), answers, strict=True)


def model_scores(
    model: "PreTrainedModel",
    lines: list[MaskedLine],
    pad_id: int,
    device: "torch.device",
    batch_tokens: int = BATCH_TOKENS,
    on_read: Callable[[int], object] = lambda lines: None,
) -> TokenScores:
    """The masked language model's scores; batches as of :func:`model_log_probabilities`.

    `on_read` is told after each batch how many lines it had.
    """
    import torch

    def read(batch: np.ndarray) -> np.ndarray:
        found = []
        for targets, said in read_lines(model, [lines[n] for n in batch], pad_id, device):
            true = said.gather(1, targets[:, None])
            found.append(torch.stack([-true[:, 0].double(), (said > true).sum(1).double()]))
        # One copy, as above.
        return torch.cat(found, dim=1).cpu().numpy()

    lengths = np.array([len(line.ids) for line in lines])
    ends = np.cumsum([len(line.positions) for line in lines])
    starts = np.concatenate([[0], ends[:-1]])
    scores = np.empty((2, ends[-1]))
    with torch.inference_mode():
        for batch, found in batches_that_fit(model, read, lengths, batch_tokens):
            check_answers(model, found)
            scores[:, np.concatenate([np.arange(starts[n], ends[n]) for n in batch])] = found
            on_read(len(batch))
    return TokenScores(scores[0], scores[1].astype(np.int64))


def read_lines(
    model: "PreTrainedModel", lines: list[MaskedLine], pad_id: int, device: "torch.device"
) -> Iterator[tuple["torch.Tensor", "torch.Tensor"]]:
    """Read lines as one batch. Per line its targets int64[n_hidden] and the log-probabilities
    float32[n_hidden, vocabulary], on `device`, which nobody has waited for.
    """
    import torch

    inputs = pad([line.input_ids for line in lines], pad_id)
    asked = np.concatenate([[line.positions, line.targets] for line in lines], axis=1)
    counts = [len(line.positions) for line in lines]
    positions, targets = (
        part.split(counts) for part in torch.from_numpy(asked).to(device, non_blocking=True)
    )
    states = hidden_states(
        model, **{name: value.to(device, non_blocking=True) for name, value in inputs.items()}
    )
    for row, at, true in zip(states, positions, targets, strict=True):
        # Only hidden tokens have to go through the prediction head. Line by line, since how many there are at
        # once decides the rounding.
        yield true, torch.log_softmax(token_logits(model, row.index_select(0, at)), dim=-1)


# ----------------------------------------------------------------------------- the baselines' scores


class FrequencyBaselines:
    """Predictors that only count the tokens of the training lines.

    uniform: every ordinary token is equally likely. unigram: as often as in the training lines. bigram: as
    often as after the token on the left, smoothed towards the unigram; where the left token is hidden too,
    the unigram. Special tokens, which are never hidden, have probability 0. Of overlapping k-mers they know
    those that agree with the visible ones around.
    """

    def __init__(self, lines: TokenLines, special_ids: Sequence[int], vocabulary_size: int):
        self.vocabulary_size = vocabulary_size
        self.ordinary = np.ones(vocabulary_size, bool)
        self.ordinary[list(special_ids)] = False
        counts = np.where(self.ordinary, lines.counts(vocabulary_size) + 1.0, 0.0)
        self.unigram = counts / counts.sum()
        self._count_pairs(lines)

    def _count_pairs(self, lines: TokenLines) -> None:
        """Count (left, token) pairs; choose the strength of the prior on every tenth line, left out."""
        chosen = choose_lines(len(lines), max(1, int(BIGRAM_TOKENS / max(lines.lengths.mean(), 1))))
        parts = [lines.line(int(index)).astype(np.int64) for index in chosen]
        keys = [(ids[:-1] * self.vocabulary_size + ids[1:])[self.ordinary[ids[1:]]] for ids in parts]
        tuning = np.concatenate(keys[::10])
        counting = [part for number, part in enumerate(keys) if number % 10] or keys
        self._set_pairs(np.concatenate(counting))
        left, token = np.divmod(tuning, self.vocabulary_size)
        losses = [self._tuning_loss(left, token, strength) for strength in PRIOR_STRENGTHS]
        self.prior_strength = PRIOR_STRENGTHS[int(np.argmin(losses))]
        self._set_pairs(np.concatenate(keys))
        self.bigram_tokens = int(sum(map(len, keys)))

    def _set_pairs(self, keys: np.ndarray) -> None:
        self._keys, self._counts = np.unique(keys, return_counts=True)
        self._starts = np.searchsorted(self._keys, np.arange(self.vocabulary_size + 1) * self.vocabulary_size)
        totals = np.concatenate([[0], np.cumsum(self._counts)])
        self._totals = totals[self._starts[1:]] - totals[self._starts[:-1]]

    def _tuning_loss(self, left: np.ndarray, token: np.ndarray, strength: float) -> float:
        key = left * self.vocabulary_size + token
        place = np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)
        count = np.where(self._keys[place] == key, self._counts[place], 0)
        probability = (count + strength * self.unigram[token]) / (self._totals[left] + strength)
        return float(-np.log(probability).mean())

    def after(self, left: int) -> np.ndarray:
        """Probabilities of the token that follows `left`: float64[vocabulary_size]."""
        pairs = slice(self._starts[left], self._starts[left + 1])
        result = self.prior_strength * self.unigram
        result[self._keys[pairs] - left * self.vocabulary_size] += self._counts[pairs]
        return result / (self._totals[left] + self.prior_strength)

    def scores(
        self, lines: list[MaskedLine], mask_id: int, words: OverlappingWords | None = None
    ) -> dict[str, TokenScores]:
        """The scores of the three baselines. The uniform one has no favourite. `words`: if tokens overlap."""
        targets = np.concatenate([line.targets for line in lines])
        # Position 0 is [CLS] and never hidden, so that every hidden token has a left neighbour.
        lefts = np.concatenate([line.input_ids[line.positions - 1] for line in lines])
        choices = np.full(len(targets), int(self.ordinary.sum()))
        if words is None:

            def score(probabilities: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                return -np.log(probabilities[targets[which]]), ranks(probabilities, targets[which])
        else:
            shown = np.concatenate([words.shown(line.ids, line.positions) for line in lines], axis=1)
            is_word = words.number[targets] >= 0
            choices[is_word] = len(BASES) ** (words.length - shown.sum(axis=0)[is_word])

            def score(probabilities: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                return agreeing_scores(probabilities, words, targets[which], *shown[:, which])

        uniform = TokenScores(np.log(choices), np.full(len(targets), -1), choices)
        unigram = TokenScores(*score(self.unigram, np.arange(len(targets))))
        bigram = TokenScores(unigram.loss.copy(), unigram.rank.copy())
        order = np.argsort(lefts, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(lefts[order])) + 1):
            left = int(lefts[group[0]])
            if left != mask_id:
                bigram.loss[group], bigram.rank[group] = score(self.after(left), group)
        return {"uniform": uniform, "unigram": unigram, "bigram": bigram}


def ranks(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """How many tokens are likelier than each target; among equals the lower id comes first. int64[n]."""
    order = np.argsort(-probabilities, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[targets]


# ----------------------------------------------------------------------------- scores


def check_vocabulary(lines: TokenLines, vocabulary_size: int) -> None:
    """Raise InputError if the caches hold ids that the model does not know."""
    try:
        lines.counts(vocabulary_size)
    except ValueError:
        names = ", ".join(str(directory) for directory in lines.directories)
        raise InputError(
            f"{names}: ids beyond the model's {vocabulary_size} tokens. Use the caches of its own tokenizer."
        ) from None
