"""The network: a ModernBERT. Its size stands in an architecture file, its vocabulary is the tokenizer's."""

import difflib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnalm.running.errors import InputError
from dnalm.running.files import read_json

if TYPE_CHECKING:
    import torch
    from transformers import ModernBertConfig, ModernBertForMaskedLM, PreTrainedTokenizerBase

# Keys of the model's configuration that follow from the tokenizer and have no place in an architecture file.
FROM_TOKENIZER = {
    "vocab_size",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "cls_token_id",
    "sep_token_id",
}


def read_architecture(path: str | Path) -> dict[str, Any]:
    """Keyword arguments of ModernBertConfig from an architecture file, checked.

    The file is a JSON object with keys of `transformers.ModernBertConfig` and, if wished, a `description`.
    Raises InputError for an unknown key, a key that the tokenizer decides, and sizes that do not fit.
    """
    # Imported here, because the Transformers classes take seconds and the other functions are light.
    from transformers import ModernBertConfig

    settings = read_json(path)
    if not isinstance(settings, dict):
        raise InputError(f"{path}: an object with the keys of ModernBertConfig was expected.")
    settings = {key: value for key, value in settings.items() if key != "description"}
    model_type = settings.pop("model_type", "modernbert")
    if model_type != "modernbert":
        raise InputError(f"{path}: model_type is {model_type!r}; only 'modernbert' can be trained.")

    known = {name for name in inspect.signature(ModernBertConfig.__init__).parameters if name != "self"}
    known |= {"global_attn_every_n_layers"}
    for key in settings:
        if key in FROM_TOKENIZER:
            raise InputError(f"{path}: remove {key}; it is taken from the tokenizer.")
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known - FROM_TOKENIZER), n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(f"{path}: unknown key {key}.{hint}")
    for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"):
        value = settings.get(key, 1)
        if not isinstance(value, int) or value < 1:
            raise InputError(f"{path}: {key} is {value!r}; a whole number of 1 or more was expected.")
    hidden = settings.get("hidden_size", ModernBertConfig.hidden_size)
    heads = settings.get("num_attention_heads", ModernBertConfig.num_attention_heads)
    # Rotary position embeddings turn pairs of numbers, so the width of a head is even.
    if hidden % heads or hidden // heads % 2:
        raise InputError(
            f"{path}: hidden_size {hidden} cannot be shared by {heads} attention heads; "
            "hidden_size must be an even multiple of num_attention_heads."
        )
    return settings


def model_config(architecture: Mapping[str, Any], tokenizer: "PreTrainedTokenizerBase") -> "ModernBertConfig":
    """The configuration of a model of this architecture for this tokenizer.

    The ids of the special tokens must be set: ModernBERT's own pad id, 50283, lies outside of any DNA
    vocabulary and crashes the embedding.
    """
    from transformers import ModernBertConfig

    return ModernBertConfig(
        **architecture,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
    )


def new_model(config: "ModernBertConfig", seed: int) -> "ModernBertForMaskedLM":
    """A masked language model with random weights, a function of (config, seed); float32, on the CPU."""
    import torch
    from transformers import ModernBertForMaskedLM

    # The weights are drawn on the CPU whatever the device, and the caller's random numbers are left alone.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ModernBertForMaskedLM(config).float()


def load_model(directory: str | Path, tokenizer: "PreTrainedTokenizerBase") -> "ModernBertForMaskedLM":
    """The masked language model in `directory` (config.json, model.safetensors), to be trained on.

    Raises InputError unless it is a ModernBERT with weights in safetensors and this tokenizer's vocabulary.
    """
    import torch
    from transformers import ModernBertForMaskedLM

    directory = Path(directory)
    config = read_json(directory / "config.json")
    if config.get("model_type") != "modernbert":
        raise InputError(
            f"{directory}/config.json: model_type is {config.get('model_type')!r}; "
            "only 'modernbert' can be trained."
        )
    if not any(directory.glob("model*.safetensors")):
        raise InputError(f"{directory}: no model.safetensors. Other weight files are not read.")
    expected = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "cls_token_id": tokenizer.cls_token_id,
        "sep_token_id": tokenizer.sep_token_id,
    }
    for key, value in expected.items():
        # A checkpoint may have a few rows more than the tokenizer has tokens, never fewer.
        fits = config.get(key, 0) >= value if key == "vocab_size" else config.get(key) == value
        if not fits:
            raise InputError(
                f"{directory}/config.json: {key} is {config.get(key)}, the tokenizer's is {value}. "
                "Use the checkpoint's own tokenizer."
            )
    try:
        # A missing head (a checkpoint of the bare backbone) is drawn at random, from the same seed always.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return ModernBertForMaskedLM.from_pretrained(
                directory, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
    except Exception as error:
        raise InputError(f"{directory}: the checkpoint cannot be loaded ({error}).") from error


def count_parameters(model: "torch.nn.Module") -> dict[str, Any]:
    """Numbers of parameters, tied ones counted once.

    Returns `{"total": n, "trainable": n, "parts": {part: {"total": n, "trainable": n}}}`, in the order of
    the forward pass.
    """
    parts: dict[str, dict[str, int]] = {}
    for name, parameter in model.named_parameters():
        part = parts.setdefault(part_of_model(name), {"total": 0, "trainable": 0})
        part["total"] += parameter.numel()
        part["trainable"] += parameter.numel() if parameter.requires_grad else 0
    return {
        "total": sum(part["total"] for part in parts.values()),
        "trainable": sum(part["trainable"] for part in parts.values()),
        "parts": parts,
    }


def part_of_model(parameter: str) -> str:
    """Which part of a ModernBERT a parameter belongs to, in words; `parameter` is its name in the model."""
    name = parameter.removeprefix("model.")
    if name.startswith("embeddings."):
        return "token embeddings"
    if name.startswith("layers."):
        return "attention" if ".attn" in name else "feed-forward"
    if name.startswith("final_norm"):
        return "final norm"
    if name.startswith("decoder."):
        # Its matrix is the token embeddings' and is counted there.
        return "output bias"
    return {"head": "head", "classifier": "classifier"}.get(name.split(".")[0], "other")
