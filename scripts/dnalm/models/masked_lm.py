"""What every masked language model does, whatever its family."""

from typing import TYPE_CHECKING, Any

from dnalm.models.attention_masks import masks_of_padded
from dnalm.models.families import FAMILIES

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


# Translations of a kind of layer: training and evaluation, of the first layer and the others, of local and
# global attention, of batches with padding, without, and of a single line. Beyond the limit, which is 8 by
# default, PyTorch would go on without any.
TRANSLATIONS = 64


def hidden_states(
    model: "PreTrainedModel", input_ids: "torch.Tensor", attention_mask: "torch.Tensor | None" = None
) -> "torch.Tensor":
    """The last hidden states [n, tokens, hidden] of a masked language model's backbone.

    `attention_mask`: 1 for tokens, 0 for padding, [n, tokens]; None where there is no padding.
    """
    mask: Any = attention_mask
    if mask is not None and model.config.model_type == "modernbert":
        mask = masks_of_padded(model, mask)
    return model.base_model(input_ids=input_ids, attention_mask=mask)[0]


def compile_layers(model: "PreTrainedModel", backend: str = "inductor") -> None:
    """Have `torch.compile` translate each layer at its first use, for lines of all lengths.

    Layer by layer and not as one: layers of a kind share their translation, and each can still be sharded
    or compute its gradients twice. Names of weights stay what they are.
    """
    family = FAMILIES[model.config.model_type]
    for layer in model.get_submodule(family.layers).children():
        layer.compile(dynamic=True, backend=backend, recompile_limit=TRANSLATIONS)


def token_logits(model: "PreTrainedModel", hidden: "torch.Tensor") -> "torch.Tensor":
    """What the prediction head says of hidden states [..., hidden]: logits float32[..., vocabulary].

    It works token by token, so only the tokens in question need to pass through it.
    """
    for name in FAMILIES[model.config.model_type].prediction_head:
        hidden = getattr(model, name)(hidden)
    return hidden.float()
