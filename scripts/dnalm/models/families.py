"""The families of networks: where each keeps its parts. Everything else is written once for all of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Family:
    """One `model_type` of Transformers.

    `prediction_head`: the modules of its masked language model, beside the backbone, that turn hidden
    states into logits; applied one after the other, token by token.
    """

    prediction_head: tuple[str, ...]


FAMILIES = {
    "modernbert": Family(prediction_head=("head", "decoder")),
}


def hidden_states(
    model: "PreTrainedModel", input_ids: "torch.Tensor", attention_mask: "torch.Tensor | None" = None
) -> "torch.Tensor":
    """The last hidden states [n, tokens, hidden] of a masked language model's backbone."""
    return model.base_model(input_ids=input_ids, attention_mask=attention_mask)[0]


def token_logits(model: "PreTrainedModel", hidden: "torch.Tensor") -> "torch.Tensor":
    """What the prediction head says of hidden states [..., hidden]: logits float32[..., vocabulary].

    It works token by token, so only the tokens in question need to pass through it.
    """
    for name in FAMILIES[model.config.model_type].prediction_head:
        hidden = getattr(model, name)(hidden)
    return hidden.float()
