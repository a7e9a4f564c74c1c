"""Networks: from an architecture file and a tokenizer, or from a model directory."""

import inspect
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dnalm.models.checks import check_model_directory
from dnalm.models.families import FAMILIES, count_by_part
from dnalm.models.new_token import add_row, is_new_token
from dnalm.running.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger("dnalm")


def _config_class(model_type: str) -> "type[PretrainedConfig]":
    # Imported here, because the Transformers classes take seconds and the other functions are light.
    from transformers import CONFIG_MAPPING

    return CONFIG_MAPPING[model_type]


def model_config(architecture: Mapping[str, Any], tokenizer: "PreTrainedTokenizerBase") -> "PretrainedConfig":
    """The configuration of a model of this architecture for this tokenizer.

    The ids of the special tokens must be set: ModernBERT's own pad id, 50283, lies outside of any DNA
    vocabulary and crashes the embedding. Raises InputError for what Transformers refuses.
    """
    settings = dict(architecture)
    kind = settings.pop("model_type", "modernbert")
    ids = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "cls_token_id": tokenizer.cls_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "mask_token_id": getattr(tokenizer, "mask_token_id", None),
    }
    known = inspect.signature(_config_class(kind).__init__).parameters
    settings |= {key: value for key, value in ids.items() if key in known}
    try:
        return _config_class(kind)(**settings)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the architecture file: Transformers refuses it ({reason}). Mend it.") from None


def new_model(config: "PretrainedConfig", seed: int) -> "PreTrainedModel":
    """A masked language model with random weights, a function of (config, seed); float32, on the CPU."""
    import torch
    from transformers import AutoModelForMaskedLM

    # The weights are drawn on the CPU whatever the device, and the caller's random numbers are left alone.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return prepared(AutoModelForMaskedLM.from_config(config, dtype=torch.float32))


def load_model(
    directory: str | Path,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    *,
    new_head: bool = False,
) -> "PreTrainedModel":
    """The masked language model in `directory` (config.json, model.safetensors), float32, on the CPU.

    With `new_head` a checkpoint without a prediction head gets a random one, always the same. Raises
    InputError unless all other weights are there, none is left over and all are numbers, and unless it has
    the vocabulary of `tokenizer`. Only the token N may be new: it gets a row in embeddings and head.
    """
    import torch
    from transformers import AutoModelForMaskedLM

    directory = Path(directory)
    config = check_model_directory(directory)
    if not new_head and any(
        "ForSequenceClassification" in name for name in config.get("architectures") or []
    ):
        raise InputError(
            f"{directory}: a classifier, which cannot name hidden tokens. Give the language model that it "
            "was made of, such as results/models/NAME."
        )
    if tokenizer is not None:
        _check_tokenizer(directory, config, tokenizer)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, report = AutoModelForMaskedLM.from_pretrained(
                directory,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                # Which the fast kinds of attention do not have, so that the model could not be saved.
                output_attentions=False,
                output_loading_info=True,
            )
    except Exception as error:
        raise InputError(f"{directory}: the checkpoint cannot be loaded ({error}).") from error
    found = take_older_biases(model, report["missing_keys"])
    report["missing_keys"] = set(report["missing_keys"]) - found
    check_weights(directory, model, report, new_head=new_head)
    if tokenizer is not None and model.config.pad_token_id != tokenizer.pad_token_id:
        raise InputError(
            f"{directory}/config.json: it lacks pad_token_id, which is then {model.config.pad_token_id}, but "
            f"{tokenizer.pad_token_id} by the tokenizer. Write that into it."
        )
    if tokenizer is not None and is_new_token(directory, model.config.vocab_size, tokenizer):
        logger.info("%s: its embeddings get a row for the token N, the mean of those of the bases", directory)
        add_row(model, tokenizer)
    return prepared(model)


def take_older_biases(model: "PreTrainedModel", missing: Collection[str]) -> set[str]:
    """Give output layers the bias that a checkpoint has beside them; the names of those that got one.

    Transformers 4 wrote it there only. From 5 on an output matrix that is not tied to the embeddings has a
    bias of its own, which would be missing.
    """
    parameters, taken = dict(model.named_parameters()), set()
    for name in missing:
        older = name.removesuffix(".decoder.bias") + ".bias"
        if name.endswith(".decoder.bias") and older in parameters and older not in missing:
            parameters[name].data.copy_(parameters[older].data)
            taken.add(name)
    return taken


def check_weights(
    directory: Path, model: "PreTrainedModel", report: Mapping[str, Any], *, new_head: bool = False
) -> None:
    """Raise InputError if weights are missing, left over, of another shape, or no numbers.

    `report`: what Transformers says about loading. Heads of other tasks may be left over.
    """
    prefix = FAMILIES[model.config.model_type].backbone + "."
    place = f"{directory}/model.safetensors"
    missing = sorted(report["missing_keys"])
    backbone = [name for name in missing if name.startswith(prefix)]
    if backbone:
        raise InputError(
            f"{place}: {len(backbone)} weights are missing, among them {backbone[0]}. Fetch or train the "
            "model again."
        )
    if missing and not new_head:
        raise InputError(
            f"{place}: no weights for the head of a {type(model).__name__} ({missing[0]}). Give a directory "
            "with such a model."
        )
    if missing:
        logger.warning("%s: no prediction head in it; a new one is drawn at random", directory)
    left_over = [
        name
        for name in sorted(report["unexpected_keys"])
        if name.startswith(prefix) and "pooler." not in name
    ]
    if left_over:
        raise InputError(
            f"{place}: {len(left_over)} weights have no place in the model of config.json, among them "
            f"{left_over[0]}. The two files do not belong together; fetch the model again."
        )
    if report["mismatched_keys"]:
        name = sorted(report["mismatched_keys"])[0]
        raise InputError(f"{place}: {name} has another shape than config.json says. Fetch the model again.")
    for name, value in model.named_parameters():
        if not value.isfinite().all():
            raise InputError(
                f"{place}: {name} holds NaN or infinite numbers. Fetch or train the model again."
            )


def check_answers(model: "PreTrainedModel", answers: "np.ndarray | torch.Tensor") -> None:
    """Raise InputError if what `model`, loaded from a directory, says of sequences is NaN or infinite."""
    if not np.isfinite(np.asarray(answers)).all():
        raise InputError(
            f"{model.name_or_path}: what the network says of a sequence is NaN or infinite. If it computes "
            "in bf16, try fp32; else train the model again with a lower learning rate."
        )


def _check_tokenizer(
    directory: Path, config: Mapping[str, Any], tokenizer: "PreTrainedTokenizerBase"
) -> None:
    expected = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "cls_token_id": tokenizer.cls_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        # An ESM's embeddings look for it.
        "mask_token_id": tokenizer.mask_token_id,
    }
    for key, value in expected.items():
        found = config.get(key)
        # A checkpoint may have a few rows more than the tokenizer has tokens, never fewer. Many families
        # do not note the ids of [CLS], [SEP] and [MASK].
        fits = (found or 0) >= value if key == "vocab_size" else found is None or found == value
        fits = fits or (
            key == "vocab_size" and found == value - 1 and is_new_token(directory, found, tokenizer)
        )
        if not fits:
            raise InputError(
                f"{directory}/config.json: {key} is {found}, the tokenizer's is {value}. "
                "Use the checkpoint's own tokenizer."
            )


def prepared(model: "PreTrainedModel") -> "PreTrainedModel":
    """The model, made fast on this CPU, and with weights that take no part in it left as they are."""
    from dnalm.models.matrix_products import multiply_faster

    multiply_faster(model)
    for name, parameter in model.base_model.named_parameters():
        if name.startswith(FAMILIES[model.config.model_type].unused):
            parameter.requires_grad_(False)
    return model


def count_parameters(model: "torch.nn.Module") -> dict[str, Any]:
    """:func:`dnalm.models.families.count_by_part`, in the order of the forward pass, tied ones once."""
    return count_by_part((name, p.numel(), p.requires_grad) for name, p in model.named_parameters())
