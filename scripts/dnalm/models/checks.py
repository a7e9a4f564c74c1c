"""What can be told of an architecture file or a model directory without loading it.

Light: the workflow asks when it starts, before any job waits for a GPU.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnalm.models.families import FAMILIES, Family, family_of
from dnalm.models.keys import DEFAULTS, known_keys, problems
from dnalm.models.tensors import check_backbone, has_prediction_head
from dnalm.running.errors import InputError
from dnalm.running.files import read_json
from dnalm.running.hints import nearest, show
from dnalm.tokenizers.special_tokens import (
    UNKNOWN_BASE,
    find_special_tokens,
    read_vocabulary,
    tokenizer_file,
)

# Keys of a model's configuration that follow from the tokenizer and have no place in an architecture file.
FROM_TOKENIZER = {
    "vocab_size",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "cls_token_id",
    "sep_token_id",
    "mask_token_id",
}


def read_architecture(path: str | Path) -> dict[str, Any]:
    """The keys of an architecture file with `model_type`, without `description`.

    The file is a JSON object with keys of the family's configuration in Transformers, `model_type` (without
    it modernbert) and, if wished, a `description`. Raises InputError for what is no architecture of one of
    the families, a key that the tokenizer decides, and sizes that do not fit.
    """
    settings = read_json(path)
    if not isinstance(settings, dict) or not settings:
        raise InputError(f"{path}: an object with the keys of a model's configuration was expected.")
    settings = {"model_type": "modernbert"} | {k: v for k, v in settings.items() if k != "description"}
    family_of(settings, path)
    known = known_keys(settings["model_type"])
    for key in settings:
        if key in FROM_TOKENIZER:
            raise InputError(f"{path}: remove {key}; it is taken from the tokenizer.")
        if key not in known:
            hint = nearest(key, known - FROM_TOKENIZER)
            raise InputError(
                f"{path}: unknown key {key} of a {settings['model_type']} model.{hint} Remove it."
            )
    check_shape(settings, path)
    return settings


def check_shape(settings: Mapping[str, Any], path: str | Path) -> None:
    """Raise InputError for values that a model's configuration cannot have, and sizes that do not fit."""
    for problem in problems(settings):
        raise InputError(f"{path}: {problem}")
    check_heads(settings, FAMILIES[settings["model_type"]], path)


def check_heads(settings: Mapping[str, Any], family: Family, path: str | Path) -> None:
    """Raise InputError unless the hidden size can be shared by the attention heads."""
    known = {**DEFAULTS[settings["model_type"]], **settings}
    hidden, heads = known[family.sizes.hidden], known[family.sizes.heads]
    rotary = not family.default_positions or settings.get("position_embedding_type") == "rotary"
    # Rotary position embeddings turn pairs of numbers, so the width of a head is even.
    if hidden % heads or (rotary and hidden // heads % 2):
        even = "an even multiple" if rotary else "a multiple"
        raise InputError(
            f"{path}: {family.sizes.hidden} {hidden} cannot be shared by {heads} attention heads; "
            f"{family.sizes.hidden} must be {even} of {family.sizes.heads}."
        )


def check_model_directory(directory: str | Path) -> dict[str, Any]:
    """The `config.json` of a model directory that can be loaded here: a known family, safetensors, no code.

    Raises InputError with the way out.
    """
    directory = Path(directory)
    config = check_config(directory)
    if not any(directory.glob("model*.safetensors")):
        old = next((f.name for f in sorted(directory.iterdir()) if f.suffix in (".bin", ".pt", ".h5")), None)
        found = f"only {old}, which can run code when it is read" if old else "no model.safetensors"
        raise InputError(
            f"{directory}: {found}. Only safetensors are read: load the model where you trust it and save "
            "it with save_pretrained, which writes model.safetensors."
        )
    check_backbone(directory, config)
    return config


def check_config(directory: Path) -> dict[str, Any]:
    """The `config.json` in a directory of a model that can be loaded here; its weights are not looked at.

    Raises InputError with the way out.
    """
    if directory.is_file():
        raise InputError(f"{directory}: a file. Give the model's directory, with config.json in it.")
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory. Give a model directory with config.json in it.")
    if not (directory / "config.json").is_file():
        raise InputError(f"{directory}: no config.json in it. Give a directory that save_pretrained wrote.")
    config = read_json(directory / "config.json")
    if not isinstance(config, dict):
        raise InputError(f"{directory}/config.json: an object was expected. Fetch the model again.")
    code = config.get("auto_map")
    own_code = [name for name in (code if isinstance(code, dict) else {}) if name.startswith("AutoModel")]
    if own_code:
        raise InputError(
            f"{directory}/config.json: the model needs program code of its own (auto_map), which is never "
            "run. Use a version of it that Transformers knows by itself."
        )
    _check_nothing_else_is_loaded(directory, config)
    family_of(config, directory / "config.json")
    check_shape(config, directory / "config.json")
    if config["model_type"] == "esm" and config.get("token_dropout") and config.get("mask_token_id") is None:
        raise InputError(
            f"{directory}/config.json: it lacks mask_token_id, which token_dropout needs. Write the number "
            "of the tokenizer's token for [MASK] into it."
        )
    return config


def _check_nothing_else_is_loaded(directory: Path, config: Mapping[str, Any]) -> None:
    """Raise InputError where Transformers would take more than the weights: code, an adapter, other numbers.

    Which of them it takes depends on the packages that happen to be installed.
    """
    for key in ("attn_implementation", "_attn_implementation", "_attn_implementation_internal"):
        # The name of a repository, from which compiled code is fetched and run.
        if "/" in str(config.get(key)):
            raise InputError(
                f"{directory}/config.json: {key} is {show(config[key])}, program code of the Hub, which is "
                "never run. Remove the key; Transformers has attention of its own."
            )
        if config.get(key) not in (None, "eager", "sdpa"):
            raise InputError(
                f"{directory}/config.json: {key} is {show(config[key])}, which not every computer has. "
                "Remove the key; Transformers chooses among what there is."
            )
    if config.get("quantization_config") is not None:
        raise InputError(
            f"{directory}/config.json: quantized weights (quantization_config), which cannot be trained. "
            "Use the model that they were made of."
        )
    if (directory / "adapter_config.json").exists():
        raise InputError(
            f"{directory}: an adapter (adapter_config.json), which changes the weights where the package "
            "peft is installed, and only there. Merge it into the model (merge_and_unload), or remove it."
        )


def check_start(directory: str | Path) -> tuple[dict[str, Any], bool]:
    """The `config.json` of a model directory that a language model can start from, and whether it has a head.

    Without a prediction head a new one is drawn. Raises InputError as :func:`check_model_directory` does, and
    if a part of the head is missing.
    """
    config = check_model_directory(directory)
    return config, has_prediction_head(Path(directory), config)


def check_tokenizer_fits(directory: str | Path, config: Mapping[str, Any], tokenizer: Path) -> None:
    """:func:`check_vocabulary_fits` of a `tokenizer.json`, or of the one in a directory."""
    path = tokenizer_file(tokenizer)
    ids = read_vocabulary(path)
    check_vocabulary_fits(directory, config, ids, find_special_tokens(ids, path), str(path))


def check_vocabulary_fits(
    directory: str | Path,
    config: Mapping[str, Any],
    ids: Mapping[str, int],
    special_tokens: Mapping[str, str],
    place: str,
) -> None:
    """Raise InputError if these tokens, those of the tokenizer at `place`, are none of the model.

    `ids`: all tokens, or those that are known already. None goes beyond the model's, and where a tokenizer
    lies beside the model, each has the number that it has there, N aside. Nor does config.json have other
    numbers for `special_tokens` (by role).
    """
    # The token N gets a row of its own where there is none.
    size, last = config.get("vocab_size", 0), max(n for token, n in ids.items() if token != UNKNOWN_BASE)
    if not isinstance(size, int) or last >= size:
        raise InputError(
            f"{directory}/config.json: vocab_size is {size!r}, but {place} has token ids up "
            f"to {last}. Use the checkpoint's own tokenizer."
        )
    known = {"pad_token_id": FAMILIES[config["model_type"]].default_padding, **config}
    for role, token in special_tokens.items():
        key, number = f"{role}_token_id", ids[token]
        if known.get(key) == number or (known.get(key) is None and role != "pad"):
            continue
        noted, remedy = f"{key} is {known[key]}", "Use the checkpoint's own tokenizer."
        if config.get(key) is None:
            noted = f"it lacks {key}, which is then {known[key]}"
            remedy = f"Use the checkpoint's own tokenizer; if this is it, write {number} into the file."
        raise InputError(f"{directory}/config.json: {noted}, but {token} is {number} in {place}. {remedy}")
    own = tokenizer_file(Path(directory))
    theirs = read_vocabulary(own) if own.is_file() else ids
    for token, number in sorted(ids.items(), key=lambda item: item[1]):
        if token != UNKNOWN_BASE and theirs.get(token) != number:
            there = f"{theirs[token]} by" if token in theirs else "not in"
            raise InputError(
                f"{directory}: the token {show(token)}, {number} in {place}, is {there} the tokenizer.json "
                "of the model, which would read other DNA than is written. Use the checkpoint's own "
                "tokenizer."
            )
