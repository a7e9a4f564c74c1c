"""Attention masks that are made before the model would ask the device whether it needs any."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def masks_of_padded(model: "PreTrainedModel", attention_mask: "torch.Tensor") -> "dict[str, torch.Tensor]":
    """ModernBERT's own masks for its kinds of attention, for a batch that is known to have padding.

    `attention_mask`: 1 for tokens, 0 for padding, [n, tokens]. ModernBERT would ask the device twice whether
    there is padding, and a GPU then makes the CPU wait in every pass.
    """
    from transformers.masking_utils import (
        create_bidirectional_mask,
        create_bidirectional_sliding_window_mask,
    )

    kinds = {
        "full_attention": create_bidirectional_mask,
        "sliding_attention": create_bidirectional_sliding_window_mask,
    }
    # Of the embeddings only the numbers of lines and tokens are asked.
    embeddings = attention_mask.unsqueeze(-1).float()
    return {
        kind: make(model.config, embeddings, attention_mask, allow_is_bidirectional_skip=False)
        for kind, make in kinds.items()
    }


def make_masks_ahead(model: "PreTrainedModel") -> None:
    """Have the backbone of a model take :func:`masks_of_padded` for the mask of a padded batch.

    What stands on the backbone, such as a classifier's pooling, still sees that mask.
    """
    if model.config.model_type != "modernbert":
        return

    def with_masks(
        backbone: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        mask = keywords.get("attention_mask")
        masks = mask if mask is None or isinstance(mask, dict) else masks_of_padded(backbone, mask)
        return arguments, keywords | {"attention_mask": masks}

    model.base_model.register_forward_pre_hook(with_masks, with_kwargs=True)
