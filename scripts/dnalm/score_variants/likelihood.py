"""How probable a masked language model finds sequences with either allele of a variant."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dnalm.embed.embedding import read_model_config
from dnalm.evaluate_language_model.scoring import MaskedLine, model_scores
from dnalm.models.architecture import load_model
from dnalm.models.directory import quieten
from dnalm.models.families import token_limit
from dnalm.score_variants.hiding import hide_difference
from dnalm.sequences.strands import reverse_complement
from dnalm.tokenizers.encoding import encode, load_tokenizer
from dnalm.tokenizers.special_tokens import BASES, overlapping_kmer_length


class AlleleLikelihoods:
    """A language model that is asked for the tokens in which sequences with either allele differ.

    max_tokens: how many it reads. cut: of how many sequences so far not all tokens were read.
    """

    def __init__(self, model: Path, max_tokens: int | None, device: torch.device):
        self.max_tokens, self.cut = token_limit(read_model_config(model), max_tokens), 0
        self.tokenizer, self.device = load_tokenizer(model), device
        quieten()
        self.network = load_model(model, self.tokenizer).to(device).eval()
        vocabulary = self.tokenizer.get_vocab()
        self.tokens_per_base = overlapping_kmer_length(vocabulary) or 1
        self.is_dna = np.zeros(len(self.tokenizer), bool)
        self.is_dna[[id for token, id in vocabulary.items() if token and set(token) <= set(BASES)]] = True

    def compare(
        self, pairs: list[tuple[str, str]], on_read: Callable[[int], None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """ln P(alternative) - ln P(reference) of each pair, and how many tokens were hidden of both.

        `pairs`: DNA in upper case with the reference and with the alternative allele. `on_read` is told how
        many sequences were read, four for each pair. Returns float64[n], the mean over both strands, NaN
        where a hidden token is no DNA, rounded so that no zero has a sign, and int64[n, 2], their sum.
        """
        forward = [sequence for pair in pairs for sequence in pair]
        lines = self._lines([*forward, *map(reverse_complement, forward)])
        hidden = np.array([len(line.positions) for line in lines])
        scores = model_scores(self.network, lines, self.tokenizer.pad_token_id, self.device, on_read=on_read)
        loss = np.bincount(np.repeat(np.arange(len(lines)), hidden), scores.loss, len(lines))
        told = np.array([self.is_dna[line.targets].all() for line in lines])
        # Strand, pair, allele.
        loss, hidden, told = (values.reshape(2, -1, 2) for values in (loss, hidden, told))
        ratio = (loss[..., 0] - loss[..., 1]).mean(axis=0) / self.tokens_per_base
        # Words with an unknown letter may be one and the same token whatever the allele is.
        same = np.array([reference == alternative for reference, alternative in pairs])
        told = told.all(axis=(0, 2)) & (hidden.any(axis=(0, 2)) | same)
        return np.where(told, np.round(ratio, 6) + 0.0, np.nan), hidden.sum(axis=0)

    def _lines(self, sequences: list[str]) -> list[MaskedLine]:
        """The tokens of sequences of which two and two are alike but for an allele, that one hidden."""
        ids, lines = encode(self.tokenizer, sequences), list[MaskedLine]()
        for reference, alternative in zip(ids[::2], ids[1::2], strict=True):
            lines += hide_difference(reference, alternative, self.tokenizer.mask_token_id, self.max_tokens)
        self.cut += sum(len(line.ids) < len(all_ids) for line, all_ids in zip(lines, ids, strict=True))
        return lines
