"""What of a whole classifier learns: every weight, the topmost layers, or low-rank matrices (LoRA).

The head always learns. Whatever learned, a classifier is saved as weights under the names that Transformers
gives them: the product of LoRA's matrices is added to the weights beside which they stood.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dnalm.finetune.classifier import count_parameters
from dnalm.finetune.objectives import TargetScale
from dnalm.finetune.settings import LoraSettings, PartialSettings, ThroughBackboneSettings
from dnalm.models.families import FAMILIES, ClassifierHead, check_layers, check_rank, part_of_model
from dnalm.running.weights import save_weights

if TYPE_CHECKING:
    from peft import PeftModel

# Which parts of a layer (`dnalm.models.families.part_of_model`) have low-rank matrices beside them.
TARGETS = {"attention": ("attention",), "all-linear": ("attention", "feed-forward")}
# Where the matrices of LoRA are kept in a classifier directory, as peft writes them.
ADAPTER = "adapter"


def prepare(model: Any, training: ThroughBackboneSettings, seed: int) -> nn.Module:
    """The classifier (a Transformers model), ready to be trained: what does not learn needs no gradient."""
    if isinstance(training, PartialSettings):
        freeze_below(model, training.layers)
    if isinstance(training, LoraSettings):
        return with_lora(model, training, seed)
    return model


def freeze_below(model: Any, layers: int) -> None:
    """Take the embeddings and all but the topmost `layers` out of training."""
    config = model.config.to_dict()
    count = check_layers(config, layers, "--training-layers")
    family = FAMILIES[config["model_type"]]
    below = [f"{family.backbone}.embeddings"]
    below += [f"{family.layers}.{number}." for number in range(count - layers)]
    for name, parameter in model.named_parameters():
        if name.startswith(tuple(below)):
            parameter.requires_grad_(False)


def with_lora(model: Any, training: LoraSettings, seed: int) -> "PeftModel":
    """The classifier with low-rank matrices, drawn by `seed`; at the start they change nothing."""
    from peft import LoraConfig, TaskType, get_peft_model

    check_rank(model.config.to_dict(), training.rank, "--training-rank")
    family = FAMILIES[model.config.model_type]
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=training.rank,
        lora_alpha=training.alpha,
        lora_dropout=training.dropout,
        target_modules=target_pattern(model, training.target_modules),
        modules_to_save=head_modules(family.classifier_head),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted = get_peft_model(model, config)
    # Where the language model stood says nothing to others, and results do not depend on folders.
    adapted.peft_config["default"].base_model_name_or_path = None
    return adapted


def target_pattern(model: Any, which: str) -> str:
    """A regular expression of the names of the linear modules of all layers that get low-rank matrices."""
    layer = re.compile(rf"{re.escape(FAMILIES[model.config.model_type].layers)}\.\d+\.")
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    inside = {
        name[match.end() :]
        for name in linear
        if (match := layer.match(name)) and part_of_model(name) in TARGETS[which]
    }
    return f"{layer.pattern}({'|'.join(map(re.escape, sorted(inside)))})"


def head_modules(head: ClassifierHead) -> list[str]:
    """Names of the modules of the head; not of those in `classifier`, which peft always trains and keeps."""
    parts = [head.dense, *([head.norm] if head.norm else []), head.output]
    return [name for name in parts if name.partition(".")[0] != "classifier"]


def merged(weights: dict[str, torch.Tensor], module: nn.Module) -> dict[str, torch.Tensor]:
    """The `weights` that a classifier started from, with what `module` has made of them, on the CPU.

    A module from :func:`with_lora` loses its matrices: they become part of the weights.
    """
    model: Any = module
    if is_adapted(module):
        model = model.merge_and_unload()
    now = model.state_dict()
    return {name: now[name].detach().cpu() if name in now else value for name, value in weights.items()}


def save_adapter(directory: Path, module: "PeftModel", values: TargetScale | None = None) -> None:
    """Write matrices and head of :func:`with_lora`, as `peft.PeftModel.from_pretrained` reads them.

    `values`: the scale on which a regression learned; its head is written so that it says measured values.
    """
    from peft import get_peft_model_state_dict

    directory.mkdir()
    config = module.peft_config["default"]
    config.inference_mode = True
    config.save_pretrained(directory)
    weights = get_peft_model_state_dict(module, save_embedding_layers=False)
    if values is not None:
        kind = module.config.model_type
        weights = values.folded(f"base_model.model.{FAMILIES[kind].classifier_head.output}", weights)
    weights = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    save_weights(weights, directory / "adapter_model.safetensors", metadata={"format": "pt"})


def is_adapted(module: nn.Module) -> bool:
    """Whether `module` comes from :func:`with_lora`."""
    return hasattr(module, "peft_config")


def count_trained(weights: dict[str, torch.Tensor], module: nn.Module) -> dict[str, Any]:
    """:func:`count_parameters` of a classifier with `weights`, of which `module` trains some.

    Low-rank matrices are trained, but are no parameters of the classifier into which they are merged.
    """
    learning = {
        name.removeprefix("base_model.model.").replace(".modules_to_save.default", ""): parameter.numel()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }
    counted = count_parameters(weights, trainable=learning.keys() & weights.keys())
    matrices = sum(learning[name] for name in learning.keys() - weights.keys())
    if matrices:
        counted["parts"]["low-rank matrices"] = {"total": 0, "trainable": matrices}
        counted["trainable"] += matrices
    return counted
