"""A vocabulary made fit for DNA: letter case, N and special tokens are settled inside the tokenizer.

A BPE vocabulary by itself knows the four letters A C G T and their merges. Genomes hold more: lower case
for repeats, N for gaps, IUPAC codes for variants. Here the tokenizer gets a normalizer and a template that
settle these once, in `tokenizer.json`, so that whoever has only that directory gets the same ids.
"""

import json
import random
from itertools import product
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from dnalm.running.errors import InputError
from dnalm.running.files import atomic_directory, sha256_of_directory, write_json
from dnalm.tokenizers.special_tokens import (
    BASES,
    SPECIAL_TOKENS,
    UNKNOWN_BASE,
    overlapping_kmer_length,
)

N_POLICIES = {
    "drop": "N and IUPAC letters leave no token, and no token spans the place",
    "unk": "every N and every IUPAC letter becomes one [UNK]",
    "token": "every N and every IUPAC letter becomes one token N",
}
N_POLICIES_OF_OVERLAPPING_WORDS = N_POLICIES | {
    "unk": "every k-mer with an N or an IUPAC letter becomes one [UNK]"
}
# U+FFFD, "replacement character": in no DNA vocabulary, so that the model maps it to [UNK].
UNKNOWN_LETTER = "\N{REPLACEMENT CHARACTER}"

# The first is the published example of DNABERT-2's vocabulary: 1 193 1911 1426 16 2.
PROBES = ("AAATTTCCCGGGATCTATC", "aaatttcccgggatctatc", "acgtACGT", "ACGTACGT", "ACGTNNACGT", "ACGTRYACGT")


def kmers(length: int, *, overlapping: bool = False) -> Tokenizer:
    """A tokenizer of all k-mers of `length` bases.

    They do not overlap, and what is left over becomes single bases; or they do, and there are none. Ids:
    special tokens 0 to 4, A C G T 5 to 8 if there are any, then the k-mers in alphabetical order. The cuts
    are regular expressions in `tokenizer.json`, so that Transformers makes them alone.
    """
    single = () if overlapping else BASES
    longer = map("".join, product(BASES, repeat=length)) if length > 1 else ()
    names = [*SPECIAL_TOKENS.values(), *single, *longer]
    ids = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=SPECIAL_TOKENS["unk"]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if not overlapping:
        pieces = Regex(f"[{BASES}]{{{length}}}|.")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(pieces, "isolated")]
        )
    return tokenizer


def adjust_for_dna(tokenizer: Tokenizer, special_tokens: dict[str, str], n_policy: str) -> Tokenizer:
    """Give `tokenizer` upper-casing, an N policy and the template `[CLS] … [SEP]`. Changes it in place.

    One whose words have to overlap is made to read them from plain sequence. `special_tokens`: the tokens
    that play unk, cls, sep, pad and mask. They must be in the vocabulary.
    """
    length = overlapping_kmer_length(tokenizer.get_vocab())
    # Special tokens are found before normalization, so that [MASK] can be typed into a sequence.
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in special_tokens.values()]
    )
    steps: list[normalizers.Normalizer] = [normalizers.Replace(base.lower(), base) for base in BASES]
    letters = BASES
    if n_policy == "drop":
        # A blank, at which the sequence is split, and not nothing: bases on the two sides of a gap are no
        # neighbours in the genome and must not end up in one token.
        steps.append(normalizers.Replace(Regex(f"[^{BASES}]+"), " "))
    elif n_policy == "unk":
        steps.append(normalizers.Replace(Regex(f"[^{BASES}\\s]"), UNKNOWN_LETTER))
        # A k-mer with such a letter is in no vocabulary and becomes [UNK].
        letters += UNKNOWN_LETTER
    else:
        steps.append(normalizers.Replace(Regex(f"[^{BASES}\\s]"), "N"))
        # Found after normalization, before the merges: a run of N is a run of tokens N.
        tokenizer.add_tokens([AddedToken(UNKNOWN_BASE, special=False, normalized=True)])
    if length is not None:
        steps += overlapping_words(length, letters)
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.normalizer = normalizers.Sequence(steps)
    cls, sep = special_tokens["cls"], special_tokens["sep"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B {sep}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (cls, sep)],
    )
    # Decoded tokens are joined without blanks: a sequence comes back as it was. Overlapping words, with
    # blanks between them, become the same tokens when they are read again.
    tokenizer.decoder = decoders.Fuse() if length is None else None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def overlapping_words(length: int, letters: str) -> list[normalizers.Normalizer]:
    """Steps that write all words of `length` letters instead of a text: with 3, `ACGT` becomes ` ACG CGT `.

    `letters`: those that words are made of; anything else parts them. Every letter begins a word, which takes
    one letter more, `length` - 1 times, from the word behind it. A replacement is a fixed text; so there is a
    step for each letter. Words that stay short, at the end of a run of letters, are removed.
    """
    letter = f"[{letters}]"
    return [
        normalizers.Replace(Regex(f"(?={letter})"), " "),
        *(
            normalizers.Replace(Regex(f"(?<={letter})(?= {letter}{{{taken}}}{last})"), last)
            for taken in range(length - 1)
            for last in letters
        ),
        normalizers.Replace(Regex(f"(?<!{letter}){letter}{{1,{length - 1}}}(?!{letter})"), ""),
    ]


def check(tokenizer: Tokenizer, special_tokens: dict[str, str], n_policy: str, source: str) -> None:
    """Raise InputError, naming `source`, unless the adjusted tokenizer keeps DNA as it is.

    Checked by trying: 1000 random bases must come back from their tokens letter by letter, and N must do
    what the policy says. Word-piece and byte-level vocabularies fail here; so do those that read the same
    sequence otherwise the next time, or in lower case.
    """
    vocabulary = tokenizer.get_vocab()
    length = overlapping_kmer_length(vocabulary) or 1
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise InputError(f"{source}: the ids of the vocabulary are not 0 to {len(vocabulary) - 1}.")
    if getattr(tokenizer.model, "dropout", None):
        raise InputError(
            f"{source}: it leaves out merges at random (dropout), so that a sequence is read otherwise each "
            "time. Set dropout of its model to null."
        )
    letters = random.Random(0)
    sequence = "".join(letters.choices(BASES, k=1000))
    tokens = tokenizer.encode(sequence).tokens
    if tokens[0] != special_tokens["cls"] or tokens[-1] != special_tokens["sep"]:
        raise InputError(f"{source}: sequences do not become [CLS] … [SEP] but {tokens[0]} … {tokens[-1]}.")
    words = [sequence[start : start + length] for start in range(len(sequence) - length + 1)]
    if (tokens[1:-1] != words) if length > 1 else ("".join(tokens[1:-1]) != sequence):
        raise InputError(
            f"{source}: the tokens of a DNA sequence do not spell the sequence ({' '.join(tokens[:6])} …). "
            "Only vocabularies whose tokens are pieces of DNA can be used, such as BPE."
        )
    for token in tokenizer.get_added_tokens_decoder().values():
        # Looked for before letters become upper case, so that the case of a genome would show.
        content = token.content
        either_case = [tokenizer.encode(text).ids for text in (content.lower(), content.upper())]
        if content.isalpha() and either_case[0] != either_case[1]:
            raise InputError(
                f"{source}: the added token {content!r} is found in upper or in lower case only, so that a "
                "sequence is read otherwise where it is soft-masked. Remove it from added_tokens."
            )
    text = "N" * length + "R"
    expected = {"drop": [], "unk": [special_tokens["unk"]] * 2, "token": ["N"] * len(text)}[n_policy]
    found = tokenizer.encode(text).tokens[1:-1]
    if found != expected:
        raise InputError(
            f"{source}: {text} becomes {' '.join(found) or 'nothing'} instead of "
            f"{' '.join(expected) or 'nothing'} under the N policy {n_policy}. Choose another N policy."
        )


def describe(
    tokenizer: Tokenizer, plain: Tokenizer, special_tokens: dict[str, str], n_policy: str
) -> dict[str, Any]:
    """What the adjusted `tokenizer` does, tried out, beside `plain`, the vocabulary before the adjustment."""
    probes = [
        {
            "text": text,
            "ids": tokenizer.encode(text).ids,
            "tokens": tokenizer.encode(text, add_special_tokens=False).tokens,
            "tokens_without_adjustment": plain.encode(text, add_special_tokens=False).tokens,
        }
        for text in PROBES
    ]
    length = overlapping_kmer_length(tokenizer.get_vocab())
    meanings = N_POLICIES if length is None else N_POLICIES_OF_OVERLAPPING_WORDS
    return {
        "vocabulary_size": tokenizer.get_vocab_size(),
        **({} if length is None else {"bases_shared_with_the_next": length - 1}),
        "n_policy": n_policy,
        "n_policy_meaning": meanings[n_policy],
        "special_tokens": {
            role: {"token": token, "id": tokenizer.token_to_id(token)}
            for role, token in special_tokens.items()
        },
        "longest_token_bp": max(len(token) for token in tokenizer.get_vocab() if set(token) <= set(BASES)),
        "probes": probes,
    }


def copy(tokenizer: Tokenizer) -> Tokenizer:
    """An independent tokenizer with the same vocabulary and steps."""
    return Tokenizer.from_str(tokenizer.to_str())


def save(
    tokenizer: Tokenizer,
    special_tokens: dict[str, str],
    description: dict[str, Any],
    output: Path,
    summary: Path,
) -> None:
    """Write the tokenizer directory `output`, and `summary`: the description and the directory's SHA-256.

    `output` holds `tokenizer.json`, `tokenizer_config.json` and `dna_tokenizer.json`, the description.
    """
    description = {"tokenizer": output.name, **description}
    with atomic_directory(output) as temporary:
        _write(tokenizer, special_tokens, description, temporary)
        # What reads this file is made anew if and only if the tokenizer differs, not if its date does.
        digest = sha256_of_directory(temporary)
    write_json(summary, {**description, "sha256": digest})


def _write(
    tokenizer: Tokenizer, special_tokens: dict[str, str], description: dict[str, Any], directory: Path
) -> None:
    # Its own `save` does not notice where a file server says only at the end that the file was not written.
    (directory / "tokenizer.json").write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    config = {
        # The class that Transformers 4 and 5 both know.
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{role}_token": token for role, token in special_tokens.items()},
        # ModernBERT takes no token_type_ids.
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        "padding_side": "right",
        "truncation_side": "right",
    }
    for name, value in (("tokenizer_config.json", config), ("dna_tokenizer.json", description)):
        (directory / name).write_text(
            json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
