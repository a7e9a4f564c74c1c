"""A masked batch in words: which tokens the model is asked for, and what it sees in their place."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dnalm.tokenizers.batches import IGNORED

# What became of a token. The first three are asked for; the others are only read.
MASKED, REPLACED, KEPT, READ, SPECIAL = "masked", "replaced", "kept", "read", "special"
FATES = (MASKED, REPLACED, KEPT, READ, SPECIAL)


def fates(input_ids: np.ndarray, labels: np.ndarray, mask_id: int, special_ids: Sequence[int]) -> list[str]:
    """What became of each token of a line: one of FATES per position.

    `input_ids`, `labels`: int64[n], as the model gets them; a label of -100 is not asked for.
    """
    found = []
    for shown, label in zip(input_ids.tolist(), labels.tolist(), strict=True):
        if label == IGNORED:
            found.append(SPECIAL if shown in special_ids else READ)
        else:
            found.append(MASKED if shown == mask_id else KEPT if shown == label else REPLACED)
    return found


def masked_line(
    tokenizer: Any, input_ids: np.ndarray, labels: np.ndarray, attention_mask: np.ndarray, tokens: int
) -> dict[str, Any]:
    """The first `tokens` tokens of a line: what the model sees, the truth where it is asked, and the fate."""
    length = int(attention_mask.sum())
    input_ids, labels = input_ids[:length], labels[:length]
    became = fates(input_ids, labels, tokenizer.mask_token_id, tokenizer.all_special_ids)
    truth = np.where(labels == IGNORED, input_ids, labels)
    return {
        "tokens": length,
        "counts": {fate: became.count(fate) for fate in FATES},
        "seen": tokenizer.convert_ids_to_tokens(input_ids[:tokens].tolist()),
        "truth": tokenizer.convert_ids_to_tokens(truth[:tokens].tolist()),
        "fate": became[:tokens],
    }


def tokenizer_call(tokenizer: Any, texts: list[str]) -> dict[str, Any]:
    """What a call of the tokenizer gives for texts of different lengths, padded to the longest."""
    encoded = tokenizer(texts, padding=True, return_attention_mask=True, return_special_tokens_mask=True)
    names = ("input_ids", "attention_mask", "special_tokens_mask")
    rows = [
        {
            "text": text,
            "tokens": tokenizer.convert_ids_to_tokens(encoded["input_ids"][row]),
            **{name: encoded[name][row] for name in names},
        }
        for row, text in enumerate(texts)
    ]
    return {"padded_to": len(rows[0]["tokens"]), "rows": rows}
