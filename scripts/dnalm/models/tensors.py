"""Which weights a model has, told from its configuration; and which a safetensors file has, from its header.

Light: neither torch nor safetensors is imported, and no weight is read.
Format: https://github.com/huggingface/safetensors#format
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dnalm.models.families import FAMILIES
from dnalm.models.keys import DEFAULTS
from dnalm.running.errors import InputError
from dnalm.running.hints import why_absent

Shapes = dict[str, tuple[int, ...]]

# Longer headers are refused by the format's own reader too.
LONGEST_HEADER_BYTES = 100_000_000
# Weights of a backbone that a masked language model can do without: they belong to other tasks, or are
# made anew, as tables of positions are.
NOT_NEEDED = ("pooler.", "contact_head.", "position_ids", "inv_freq")
# Models with rotary positions may hold a table of positions all the same; Transformers passes over it.
UNUSED = "position_embeddings.weight"


def backbone_shapes(config: Mapping[str, Any]) -> Shapes:
    """Names and shapes of all weights that the backbone of a masked language model must have.

    `config`: a model's `config.json`. Keys that it lacks have their defaults. As Transformers 5 names them.
    """
    kind = config["model_type"]
    family, known = FAMILIES[kind], {**DEFAULTS[kind], **config}
    hidden, inner, layers, _ = (known[key] for key in family.sizes.all())
    make = {"modernbert": _modernbert, "distilbert": _distilbert, "esm": _esm}.get(kind, _bert)
    once, each = make(known, hidden, inner)
    shapes = dict(once)
    stem = family.layers.removeprefix(f"{family.backbone}.")
    for layer in range(layers):
        shapes |= {f"{stem}.{layer}.{name}": shape for name, shape in each.items()}
    if kind == "modernbert":
        # The embeddings are normalized already.
        shapes = {n: s for n, s in shapes.items() if not n.startswith("layers.0.attn_norm.")}
    return {f"{family.backbone}.{name}": shape for name, shape in shapes.items()}


def _linear(name: str, into: int, out: int, bias: bool = True) -> Shapes:
    shapes: Shapes = {f"{name}.weight": (out, into)}
    return shapes | ({f"{name}.bias": (out,)} if bias else {})


def _norm(name: str, size: int, bias: bool = True) -> Shapes:
    shapes: Shapes = {f"{name}.weight": (size,)}
    return shapes | ({f"{name}.bias": (size,)} if bias else {})


def _modernbert(config: Mapping[str, Any], hidden: int, inner: int) -> tuple[Shapes, Shapes]:
    norm_bias, attention_bias, mlp_bias = (config[k] for k in ("norm_bias", "attention_bias", "mlp_bias"))
    once: Shapes = {"embeddings.tok_embeddings.weight": (config["vocab_size"], hidden)}
    once |= _norm("embeddings.norm", hidden, norm_bias) | _norm("final_norm", hidden, norm_bias)
    each = _norm("attn_norm", hidden, norm_bias) | _norm("mlp_norm", hidden, norm_bias)
    each |= _linear("attn.Wqkv", hidden, 3 * hidden, attention_bias)
    each |= _linear("attn.Wo", hidden, hidden, attention_bias)
    # Gated: two matrices in one.
    each |= _linear("mlp.Wi", hidden, 2 * inner, mlp_bias) | _linear("mlp.Wo", inner, hidden, mlp_bias)
    return once, each


def _bert(config: Mapping[str, Any], hidden: int, inner: int) -> tuple[Shapes, Shapes]:
    # ELECTRA's embeddings may be narrower than its layers.
    width = config.get("embedding_size", hidden)
    once: Shapes = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], width),
    }
    once |= _norm("embeddings.LayerNorm", width)
    if width != hidden:
        once |= _linear("embeddings_project", width, hidden)
    norms = _norm("attention.output.LayerNorm", hidden) | _norm("output.LayerNorm", hidden)
    return once, _bert_layer(hidden, inner) | norms


def _esm(config: Mapping[str, Any], hidden: int, inner: int) -> tuple[Shapes, Shapes]:
    once: Shapes = {"embeddings.word_embeddings.weight": (config["vocab_size"], hidden)}
    if config["position_embedding_type"] == "absolute":
        once["embeddings.position_embeddings.weight"] = (config["max_position_embeddings"], hidden)
    if config["emb_layer_norm_before"]:
        once |= _norm("embeddings.layer_norm", hidden)
    once |= _norm("encoder.emb_layer_norm_after", hidden)
    return once, _bert_layer(hidden, inner) | _norm("attention.LayerNorm", hidden) | _norm(
        "LayerNorm", hidden
    )


def _bert_layer(hidden: int, inner: int) -> Shapes:
    parts = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
    shapes: Shapes = {}
    for part in parts:
        shapes |= _linear(part, hidden, hidden)
    return shapes | _linear("intermediate.dense", hidden, inner) | _linear("output.dense", inner, hidden)


def _distilbert(config: Mapping[str, Any], hidden: int, inner: int) -> tuple[Shapes, Shapes]:
    once: Shapes = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
    }
    once |= _norm("embeddings.LayerNorm", hidden)
    each: Shapes = {}
    for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
        each |= _linear(f"attention.{part}", hidden, hidden)
    each |= _norm("sa_layer_norm", hidden) | _norm("output_layer_norm", hidden)
    return once, each | _linear("ffn.lin1", hidden, inner) | _linear("ffn.lin2", inner, hidden)


class _PredictionHead(NamedTuple):
    """Where a family's prediction head has its dense layer, its norm, its output bias and its matrix."""

    dense: str
    norm: str
    bias: str
    matrix: str


_WITH_LM_HEAD = _PredictionHead(
    "lm_head.dense", "lm_head.layer_norm", "lm_head.bias", "lm_head.decoder.weight"
)
_PREDICTION_HEADS = {
    "modernbert": _PredictionHead("head.dense", "head.norm", "decoder.bias", "decoder.weight"),
    "bert": _PredictionHead(
        "cls.predictions.transform.dense",
        "cls.predictions.transform.LayerNorm",
        "cls.predictions.bias",
        "cls.predictions.decoder.weight",
    ),
    "roberta": _WITH_LM_HEAD,
    "esm": _WITH_LM_HEAD,
    "distilbert": _PredictionHead(
        "vocab_transform", "vocab_layer_norm", "vocab_projector.bias", "vocab_projector.weight"
    ),
    "electra": _PredictionHead(
        "generator_predictions.dense",
        "generator_predictions.LayerNorm",
        "generator_lm_head.bias",
        "generator_lm_head.weight",
    ),
}


def prediction_head_weights(config: Mapping[str, Any]) -> set[str]:
    """Names of the weights that a masked language model has beyond its backbone."""
    kind = config["model_type"]
    head, known = _PREDICTION_HEADS[kind], {**DEFAULTS[kind], **config}
    names = {f"{head.dense}.weight", f"{head.norm}.weight"}
    with_bias = {"classifier_bias": f"{head.dense}.bias", "norm_bias": f"{head.norm}.bias"}
    with_bias |= {"decoder_bias": head.bias}
    # Only ModernBERT can do without.
    names |= {name for key, name in with_bias.items() if kind != "modernbert" or known[key]}
    # Otherwise the matrix is that of the token embeddings.
    return names if known["tie_word_embeddings"] else names | {head.matrix}


def output_bias(kind: str) -> str:
    """The name of what a family's prediction head adds to the logits, a number per token."""
    return _PREDICTION_HEADS[kind].bias


def read_header(path: Path) -> Shapes:
    """Names and shapes of the weights in a safetensors file; InputError if it is none, or cut short."""
    if not path.is_file():
        raise InputError(f"{path}: no file.{why_absent(str(path))} Fetch it again.")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(size - 8, LONGEST_HEADER_BYTES):
            raise _not_safetensors(path)
        text = file.read(length)
    try:
        header = json.loads(text)
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        shapes = {name: tuple(map(int, entry["shape"])) for name, entry in entries.items()}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, AttributeError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
        raise _not_safetensors(path) from None
    if 8 + length + end != size:
        raise InputError(
            f"{path}: {size:,} bytes, but {8 + length + end:,} by its own account. The file was cut short or "
            "damaged; fetch it again."
        )
    return shapes


def _not_safetensors(path: Path) -> InputError:
    return InputError(f"{path}: not a safetensors file. Fetch it again, or write it with save_pretrained.")


def check_backbone(directory: Path, config: Mapping[str, Any]) -> None:
    """Raise InputError unless a model directory's safetensors files hold the backbone of its config.json.

    Weights may lack the backbone's prefix or have names of older versions, as published checkpoints do.
    """
    place, stored = _stored(directory)
    expected = backbone_shapes(config)
    prefix = FAMILIES[config["model_type"]].backbone + "."
    found = {_present_name(name, prefix, expected): shape for name, shape in stored.items()}
    missing = [name for name in expected if name not in found]
    if len(missing) == len(expected):
        first = f", but {next(iter(stored))} and the like" if stored else ""
        raise InputError(
            f"{place}: no weights of a {config['model_type']} model in it{first}. Give a model of the "
            "model_type that its config.json names."
        )
    if missing:
        raise InputError(
            f"{place}: {len(missing)} weights are missing, among them "
            f"{missing[0]}. Fetch or train the model again."
        )
    for name, shape in expected.items():
        if found[name] != shape:
            raise InputError(
                f"{place}: {name} is {_times(found[name])}, but {_times(shape)} by config.json. The two "
                "files do not belong together; fetch the model again."
            )
    left_over = [
        name
        for name in found
        if name.startswith(prefix)
        and name not in expected
        and not any(word in name for word in (*NOT_NEEDED, UNUSED))
    ]
    if left_over:
        raise InputError(
            f"{place}: {len(left_over)} weights have no place in the model of config.json, among them "
            f"{left_over[0]}. The two files do not belong together; fetch the model again."
        )


def has_prediction_head(directory: Path, config: Mapping[str, Any]) -> bool:
    """Whether a model directory that passed :func:`check_backbone` has the prediction head of its model.

    Raises InputError if it has a part of it only.
    """
    place, stored = _stored(directory)
    needed = prediction_head_weights(config)
    # Older checkpoints have the output bias beside the matrix.
    found = {_present_norm(name).replace("decoder.bias", "bias") for name in stored}
    missing = sorted(name for name in needed if name.replace("decoder.bias", "bias") not in found)
    if missing and len(missing) < len(needed):
        raise InputError(
            f"{place}: a part of the prediction head is missing, among it {missing[0]}. Fetch the model "
            "again, or give a masked language model, or a backbone without any head."
        )
    return not missing


def _stored(directory: Path) -> tuple[Path, Shapes]:
    """The file of weights, or the directory if they are several, and all that is in there."""
    files = sorted(directory.glob("model*.safetensors"))
    stored: Shapes = {}
    for file in files:
        stored |= read_header(file)
    return files[0] if len(files) == 1 else directory, stored


def _present_norm(name: str) -> str:
    """The name that a checkpoint's weight has today: norms had `gamma` and `beta`."""
    if name.endswith(("LayerNorm.gamma", "LayerNorm.beta")):
        return name.replace(".gamma", ".weight").replace(".beta", ".bias")
    return name


def _present_name(name: str, prefix: str, expected: Mapping[str, Any]) -> str:
    """The name that Transformers 5 gives a weight of a checkpoint."""
    name = _present_norm(name)
    return prefix + name if prefix + name in expected else name


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
