"""A checkpoint whose tokenizer got the token N: one row more in its embeddings and its prediction head."""

from typing import TYPE_CHECKING, Any

from dnalm.models.tensors import output_bias
from dnalm.tokenizers.special_tokens import BASES, UNKNOWN_BASE

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def is_new_token(vocabulary_size: Any, tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether the tokenizer has the vocabulary of a checkpoint and, behind it, the token N."""
    return (
        len(tokenizer) - 1 == vocabulary_size
        and tokenizer.convert_ids_to_tokens(len(tokenizer) - 1) == UNKNOWN_BASE
    )


def add_row(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
    """Give `model` a row for the last token of `tokenizer`, N: the mean of those of A, C, G and T.

    N stands for any of them; where all tokens are k-mers, for any of these. All other rows stay as they are,
    to the bit.
    """
    import torch

    size = len(tokenizer)
    vocabulary = tokenizer.get_vocab()
    single = [vocabulary[base] for base in BASES if base in vocabulary]
    bases = single or sorted(vocabulary[word] for word in vocabulary if set(word) <= set(BASES))
    named = dict(model.named_parameters(remove_duplicate=False))
    # One parameter with two names, or two where embeddings and output are not tied.
    output: Any = model.get_output_embeddings()
    biases = [b for b in (output.bias, named.get(output_bias(model.config.model_type))) if b is not None]
    places = [(name, id(value)) for name, value in named.items() if any(value is b for b in biases)]
    wider = {
        id(bias): torch.nn.Parameter(torch.cat([bias.detach(), bias.detach()[bases].mean().view(1)]))
        for bias in biases
    }
    model.resize_token_embeddings(size, mean_resizing=False)
    # Not every family brings the bias of its head along, and what two names share stays shared.
    for name, bias in places:
        holder, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(holder), attribute, wider[bias])
    with torch.no_grad():
        inner, outer = model.get_input_embeddings(), model.get_output_embeddings()
        for weight in {id(m.weight): m.weight for m in (inner, outer)}.values():
            weight[size - 1] = weight[bases].mean(dim=0)
