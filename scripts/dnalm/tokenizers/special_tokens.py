"""Special tokens: which ones a masked language model needs, and which tokens of a vocabulary they are.

Light: the workflow asks when it starts.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dnalm.running.errors import InputError
from dnalm.running.files import read_json

BASES = "ACGT"
# The token of a letter that is none of them, where the N policy has one.
UNKNOWN_BASE = "N"
# The order gives the ids 0..4 of a vocabulary trained here; DNABERT-2 has the same.
SPECIAL_TOKENS = {"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"}
# What other vocabularies call them, tried in this order where no tokenizer_config.json says it.
SPECIAL_TOKEN_NAMES = {
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<cls>", "<s>"),
    "sep": ("[SEP]", "<sep>", "<eos>", "</s>"),
    "pad": ("[PAD]", "<pad>"),
    "mask": ("[MASK]", "<mask>"),
}
# As in dnalm.models.keys.
LARGEST_VOCABULARY = 1_000_000
_NAME = re.compile(r"[^\s\"'`\\]{1,40}")


def find_special_tokens(vocabulary: Collection[str], path: Path) -> dict[str, str]:
    """Which tokens play unk, cls, sep, pad and mask: as tokenizer_config.json says, else by usual names.

    `path`: the tokenizer.json whose vocabulary it is. Raises InputError for what is missing.
    """
    file = path.parent / "tokenizer_config.json"
    config = read_json(file) if file.is_file() else {}
    if not isinstance(config, dict):
        raise InputError(f"{file}: an object was expected. Fetch it again, or remove it.")
    found, missing = {}, []
    for role, names in SPECIAL_TOKEN_NAMES.items():
        # An entry is a string or, in older files, {"content": ..., "lstrip": ...}.
        entry = config.get(f"{role}_token")
        entry = entry.get("content") if isinstance(entry, dict) else entry
        candidates = [name for name in (entry, *names) if isinstance(name, str) and name in vocabulary]
        if candidates:
            # It stands in commands that people copy from a model card.
            if not _NAME.fullmatch(candidates[0]):
                raise InputError(
                    f"{path}: {candidates[0][:40]!r} stands for {SPECIAL_TOKENS[role]}. Name it by one short "
                    "word without quotation marks."
                )
            found[role] = candidates[0]
        else:
            missing.append(SPECIAL_TOKENS[role])
    if missing:
        raise InputError(
            f"{path}: no token for {', '.join(missing)}. Masked language models need all of "
            f"{' '.join(SPECIAL_TOKENS.values())}; train a tokenizer here instead."
        )
    return found


def overlapping_kmer_length(vocabulary: Collection[str]) -> int | None:
    """k, if the vocabulary reads overlapping k-mers as the first DNABERT's does (Ji et al. 2021,
    doi:10.1093/bioinformatics/btab083): its words of A, C, G, T are all those of k bases. Otherwise None.

    Without single bases k-mers that stand one beside the other could not spell every sequence.
    """
    words = [token for token in vocabulary if token and set(token) <= set(BASES)]
    lengths = {len(word) for word in words}
    if len(lengths) != 1:
        return None
    (length,) = lengths
    return length if length > 1 and len(words) == len(BASES) ** length else None


def check_vocabulary(vocabulary: Collection[str], path: Path) -> dict[str, str]:
    """The special tokens of a vocabulary that can be made fit for DNA; InputError if it cannot."""
    special_tokens = find_special_tokens(vocabulary, path)
    if overlapping_kmer_length(vocabulary) is not None:
        return special_tokens
    missing = [base for base in BASES if base not in vocabulary]
    if len(missing) == len(BASES) and any(BASES[0] * length in vocabulary for length in range(2, 11)):
        raise InputError(
            f"{path}: no single bases, as in a vocabulary of overlapping k-mers, but not all words of one "
            "length either. Let one be made (kmer_length with overlapping), or use a BPE vocabulary."
        )
    if missing:
        raise InputError(
            f"{path}: the vocabulary lacks {', '.join(missing)}. It is not a vocabulary of DNA; train a "
            "tokenizer here instead."
        )
    return special_tokens


def read_vocabulary(source: Path) -> dict[str, int]:
    """The ids of all tokens of a `tokenizer.json`, or of the one in a directory, without loading it.

    Raises InputError if it is none of Hugging Face.
    """
    path = tokenizer_file(source)
    content: Any = read_json(path)
    try:
        tokens = content["model"]["vocab"]
        # A dictionary token -> id, or for Unigram a list of [token, score].
        ids = dict(tokens) if isinstance(tokens, dict) else {t: n for n, (t, _) in enumerate(tokens)}
        ids |= {token["content"]: token["id"] for token in content.get("added_tokens") or []}
        if not ids or not all(isinstance(t, str) and isinstance(n, int) for t, n in ids.items()):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: no vocabulary in it. Give a tokenizer.json of Hugging Face.") from None
    check_ids(ids, path)
    return ids


def check_ids(ids: Mapping[str, int], path: Path) -> None:
    """Raise InputError for more tokens, or larger ids, than a model has, and for two tokens of one id."""
    if len(ids) > LARGEST_VOCABULARY:
        raise InputError(
            f"{path}: {len(ids):,} tokens; no model has more than {LARGEST_VOCABULARY:,}. Choose another."
        )
    tokens: dict[int, str] = {}
    for token, number in ids.items():
        if not 0 <= number < 10 * LARGEST_VOCABULARY:
            raise InputError(f"{path}: the token {token[:40]!r} has the id {number}. Fetch the file again.")
        if (twin := tokens.setdefault(number, token)) != token:
            raise InputError(
                f"{path}: the tokens {twin[:40]!r} and {token[:40]!r} have one id, {number}. Fetch the file "
                "again."
            )


def check_n_policy(path: Path, n_policy: str) -> None:
    """InputError where the `tokenizer.json` has a token N that any other N policy would have to take away.

    So is one that was made here with the policy `token`.
    """
    added = [token.get("content") for token in read_json(path).get("added_tokens") or []]
    if UNKNOWN_BASE in added and n_policy != "token":
        raise InputError(
            f"{path}: this tokenizer has a token N of its own, which the N policy {n_policy} cannot "
            "take away. Set n_policy to token."
        )


def tokenizer_file(source: Path) -> Path:
    """The `tokenizer.json` that a source of a tokenizer means."""
    return source / "tokenizer.json" if source.is_dir() else source
