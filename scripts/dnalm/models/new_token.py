"""A checkpoint whose tokenizer got the token N: a row for it in embeddings and prediction head."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnalm.models.tensors import output_bias
from dnalm.tokenizers.special_tokens import BASES, UNKNOWN_BASE, read_vocabulary, tokenizer_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def is_new_token(directory: Path, vocabulary_size: Any, tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether the tokenizer has the vocabulary of the checkpoint in `directory` and, behind it, the token N.

    A tokenizer beside the checkpoint says so; without one, that there is no row for N. Embeddings may have
    more rows than there are tokens, which nothing was learned in.
    """
    if tokenizer.convert_ids_to_tokens(len(tokenizer) - 1) != UNKNOWN_BASE:
        return False
    if tokenizer_file(directory).is_file():
        return UNKNOWN_BASE not in read_vocabulary(directory)
    return len(tokenizer) - 1 == vocabulary_size


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
    if model.config.vocab_size < size:
        _widen(model, size)
    with torch.no_grad():
        inner, outer = model.get_input_embeddings(), model.get_output_embeddings()
        for weight in {id(m.weight): m.weight for m in (inner, outer)}.values():
            weight[size - 1] = weight[bases].mean(dim=0)
        for _, bias in _output_biases(model):
            bias[size - 1] = bias[bases].mean()


def _widen(model: "PreTrainedModel", size: int) -> None:
    """One row more, of zeros."""
    import torch

    places = _output_biases(model)
    wider = {
        id(bias): torch.nn.Parameter(torch.cat([bias.detach(), bias.new_zeros(1)])) for _, bias in places
    }
    model.resize_token_embeddings(size, mean_resizing=False)
    # Not every family brings the bias of its head along, and what two names share stays shared.
    for name, bias in places:
        holder, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(holder), attribute, wider[id(bias)])


def _output_biases(model: "PreTrainedModel") -> list[tuple[str, Any]]:
    """What the prediction head adds to the logits, by each of its names.

    One parameter with two names, or two where embeddings and output are not tied.
    """
    named = dict(model.named_parameters(remove_duplicate=False))
    output: Any = model.get_output_embeddings()
    biases = [b for b in (output.bias, named.get(output_bias(model.config.model_type))) if b is not None]
    return [(name, value) for name, value in named.items() if any(value is b for b in biases)]
