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


def compile_layers(model: "PreTrainedModel", backend: str = "inductor") -> None:
    """Have `torch.compile` translate each layer at its first use, for lines of all lengths.

    Layer by layer and not as one: layers of a kind share their translation, and each can still be sharded
    or compute its gradients twice. Names of weights stay what they are.
    """
    family = FAMILIES[model.config.model_type]
    for layer in model.get_submodule(family.layers).children():
        layer.compile(dynamic=True, backend=backend)


def token_logits(model: "PreTrainedModel", hidden: "torch.Tensor") -> "torch.Tensor":
    """What the prediction head says of hidden states [..., hidden]: logits float32[..., vocabulary].

    It works token by token, so only the tokens in question need to pass through it.
    """
    for name in FAMILIES[model.config.model_type].prediction_head:
        hidden = getattr(model, name)(hidden)
    return hidden.float()
