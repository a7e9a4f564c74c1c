"""Make a given vocabulary fit for DNA: upper-casing, N policy and `[CLS] … [SEP]` inside the tokenizer.

In: a `tokenizer.json`, or a directory with one (a tokenizer or a model, as the Hub has them). It must have
tokens for [UNK] [CLS] [SEP] [PAD] [MASK] and for A, C, G and T. The ids of its tokens stay as they are.
Or no file but a length: the vocabulary of all k-mers of so many bases.
Out: a Hugging Face fast tokenizer directory: `tokenizer.json`, `tokenizer_config.json`, and
`dna_tokenizer.json`, which says what lower case, N and IUPAC letters become, with and without the adjustment;
and a JSON summary, the same with the SHA-256 of the directory. The tokenizer is called as its directory.
"""

from pathlib import Path

from tokenizers import Tokenizer

from dnalm.running import commandline
from dnalm.running.errors import InputError
from dnalm.running.files import read_json, sha256_of_file
from dnalm.tokenizers import vocabulary
from dnalm.tokenizers.settings import ImportTokenizerSettings


def main(source: Path | None, settings: ImportTokenizerSettings, output: Path, summary: Path) -> None:
    """Take the vocabulary at `source`, or all k-mers; adjust it, check it by trying, write it to `output`."""
    if (source is None) == (settings.kmer_length is None):
        raise InputError("give either --source or --kmer-length.")
    if source is not None:
        path = source / "tokenizer.json" if source.is_dir() else source
        tokenizer, special_tokens = read_vocabulary(path)
        origin = {"source": source.name, "source_sha256": sha256_of_file(path)}
        place = str(path)
    else:
        assert settings.kmer_length is not None
        tokenizer, special_tokens = vocabulary.kmers(settings.kmer_length), vocabulary.SPECIAL_TOKENS
        origin = {"source": f"all {settings.kmer_length}-mers"}
        place = f"--kmer-length {settings.kmer_length}"
    plain = vocabulary.copy(tokenizer)
    vocabulary.adjust_for_dna(tokenizer, special_tokens, settings.n_policy)
    vocabulary.check(tokenizer, special_tokens, settings.n_policy, place)
    description = {**origin, **vocabulary.describe(tokenizer, plain, special_tokens, settings.n_policy)}
    vocabulary.save(tokenizer, special_tokens, description, output, summary)


def read_vocabulary(path: Path) -> tuple[Tokenizer, dict[str, str]]:
    """The tokenizer in the file `path` and its special tokens; InputError if it is none of DNA."""
    tokenizer = read_tokenizer(path)
    config = path.parent / "tokenizer_config.json"
    special_tokens = find_special_tokens(tokenizer, read_json(config) if config.is_file() else {}, path)
    missing = [base for base in vocabulary.BASES if tokenizer.token_to_id(base) is None]
    if missing:
        raise InputError(f"{path}: the vocabulary lacks {', '.join(missing)}. It is not a vocabulary of DNA.")
    return tokenizer, special_tokens


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in the file `path`; InputError if it is missing or of another format."""
    if not path.is_file():
        raise InputError(f"{path}: no such file. Give a tokenizer.json or a directory that holds one.")
    try:
        return Tokenizer.from_str(path.read_text())
    except Exception as error:  # tokenizers raises bare Exception
        raise InputError(f"{path}: not a Hugging Face tokenizer.json ({error}).") from error


def find_special_tokens(tokenizer: Tokenizer, config: dict, path: Path) -> dict[str, str]:
    """Which tokens play unk, cls, sep, pad and mask: as tokenizer_config.json says, else by usual names."""
    found, missing = {}, []
    for role, names in vocabulary.SPECIAL_TOKEN_NAMES.items():
        # An entry is a string or, in older files, {"content": ..., "lstrip": ...}.
        entry = config.get(f"{role}_token")
        entry = entry.get("content") if isinstance(entry, dict) else entry
        candidates = [name for name in (entry, *names) if name and tokenizer.token_to_id(name) is not None]
        if candidates:
            found[role] = candidates[0]
        else:
            missing.append(vocabulary.SPECIAL_TOKENS[role])
    if missing:
        raise InputError(
            f"{path}: no token for {', '.join(missing)}. Masked language models need all of "
            f"{' '.join(vocabulary.SPECIAL_TOKENS.values())}; train a tokenizer here instead."
        )
    return found


if __name__ == "__main__":
    parser = commandline.parser(__doc__)
    parser.add_argument("--source", type=Path, help="tokenizer.json, or a directory that holds one")
    commandline.add_settings_flags(parser, ImportTokenizerSettings)
    parser.add_argument("--output", type=Path, required=True, help="tokenizer directory to write")
    parser.add_argument(
        "--summary", type=Path, required=True, help="JSON file: what it does, and its SHA-256"
    )
    commandline.run(main, parser.parse_args())
