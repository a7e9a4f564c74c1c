"""Embeddings: one vector per sequence out of the hidden states of a language model.

A *model directory* is what `scripts/pretrain.py` writes: `config.json`, `model.safetensors` and the
tokenizer of a masked language model.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dnalm.models.architecture import check_answers, load_model
from dnalm.models.attention_masks import make_masks_ahead
from dnalm.models.checks import check_model_directory
from dnalm.models.directory import quieten
from dnalm.running.devices import usual_batch_tokens
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file, sha256_of_file
from dnalm.running.memory import batches_that_fit
from dnalm.running.progress import Progress
from dnalm.tokenizers.batches import pad

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# How the hidden states of a sequence become one vector.
POOLINGS = ("cls", "mean", "max")


# ----------------------------------------------------------------------------- model directories


def read_model_config(directory: str | Path) -> dict[str, Any]:
    """The `config.json` of a model directory. Raises InputError if it is not one, or has no weights."""
    config = check_model_directory(directory)
    if not (Path(directory) / "model.safetensors").is_file():
        raise InputError(
            f"{directory}: no model.safetensors. Save the model with save_pretrained, in one file of weights."
        )
    return config


def load_backbone(directory: str | Path, device: "torch.device | str" = "cpu") -> "PreTrainedModel":
    """The model in `directory` without its language-model head, in float32 and evaluation mode."""
    read_model_config(directory)
    quieten()
    backbone = load_model(directory, new_head=True).base_model.to(device).eval()
    make_masks_ahead(backbone)
    return backbone


# ----------------------------------------------------------------------------- embeddings


def pool(hidden: "torch.Tensor", mask: "torch.Tensor | None") -> dict[str, "torch.Tensor"]:
    """The vectors of a batch by every pooling, float32[n, hidden].

    `hidden`: [n, tokens, hidden], the last hidden states. `mask`: int64[n, tokens], 1 for tokens, 0 for
    padding, or None.

    - `cls`: the state of [CLS].
    - `mean`: the mean over all tokens but padding, [CLS] and [SEP] included. This is what
      `classifier_pooling="mean"` computes in Transformers, so that a head trained on these vectors is the
      head of the whole model.
    - `max`: the largest value of each dimension over the same tokens.
    """
    hidden = hidden.float()
    if mask is None:
        return {"cls": hidden[:, 0], "mean": hidden.mean(dim=1), "max": hidden.amax(dim=1)}
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return {
        "cls": hidden[:, 0],
        "mean": (hidden * weights).sum(dim=1) / weights.sum(dim=1),
        "max": hidden.masked_fill(weights == 0, float("-inf")).amax(dim=1),
    }


def embed_tokens(
    model: "PreTrainedModel",
    tokens: Sequence[np.ndarray],
    *,
    pad_id: int,
    batch_tokens: int | None = None,
    bf16: bool = False,
    layer: int | None = None,
    on_read: Callable[[int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Embed id arrays (`[CLS] … [SEP]`) by every pooling in one forward pass.

    Returns {pooling: float32[n, hidden]} in the given order, whatever the batches. `bf16` computes in
    bfloat16. `batch_tokens`: tokens of one forward pass, padding included; fewer where
    memory runs out. `layer`: pools the states after this layer, of 0 the token embeddings; None: the last
    hidden states. `on_read` is told how many more were read; None: the log is.
    """
    import torch

    device = next(model.parameters()).device
    batch_tokens = batch_tokens or usual_batch_tokens(device)
    lengths = np.array([len(ids) for ids in tokens])

    def read(batch: np.ndarray) -> np.ndarray:
        inputs = pad([tokens[i] for i in batch], pad_id)
        inputs = {name: value.to(device) for name, value in inputs.items()}
        states = model(**inputs, output_hidden_states=layer is not None)
        hidden = states.last_hidden_state if layer is None else states.hidden_states[layer]
        pooled = pool(hidden, inputs.get("attention_mask"))
        # One copy: each would wait for the GPU.
        return torch.stack([pooled[name] for name in POOLINGS]).cpu().numpy()

    result = {name: np.empty((len(tokens), model.config.hidden_size), np.float32) for name in POOLINGS}
    on_read = on_read or Progress("embedding", total=len(tokens), unit="sequences").advance
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for batch, pooled in batches_that_fit(model, read, lengths, batch_tokens):
            check_answers(model, pooled)
            for name, vectors in zip(POOLINGS, pooled, strict=True):
                result[name][batch] = vectors
            on_read(len(batch))
    return result


# ----------------------------------------------------------------------------- files


def write_embeddings(path: str | Path, columns: Mapping[str, Any], about: dict[str, Any]) -> None:
    """Write an `.npz` file: one array per column, of texts or numbers, and `about` (JSON text).

    `numpy.load(path)["mean"]` reads it without pickle. NumPy dates the members of the archive 1980, so the
    same content gives the same bytes.
    """
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **columns, about=np.array(json.dumps(about)))


@dataclass(frozen=True)
class Embeddings:
    """The content of a file of scripts/embed.py, with the vectors of one pooling; rows as in its table.

    `vectors`: float32[n, hidden].
    """

    ids: list[str]
    labels: list[str]
    vectors: np.ndarray
    about: dict[str, Any]


def read_embeddings(path: str | Path, pooling: str) -> Embeddings:
    """Read a file of embeddings. Raises InputError if there is none or it is none."""
    try:
        with np.load(path) as data:
            about = json.loads(str(data["about"]))
            return Embeddings(data["id"].tolist(), data["label"].tolist(), data[pooling], about)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except Exception as error:
        raise InputError(f"{path}: no embeddings ({error}). Make them with scripts/embed.py.") from None


def model_digest(directory: str | Path) -> str:
    """SHA-256 of the model's weights: says which model made a file of embeddings."""
    return sha256_of_file(Path(directory) / "model.safetensors")
