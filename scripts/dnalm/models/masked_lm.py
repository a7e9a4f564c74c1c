"""What every masked language model does, whatever its family."""

from typing import TYPE_CHECKING

from dnalm.models.families import FAMILIES

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


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
