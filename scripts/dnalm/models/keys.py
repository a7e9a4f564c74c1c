"""The keys of a model's configuration in Transformers, family by family, and what they may be.

Written down here because the workflow asks when it starts, and Transformers takes seconds to import. A test
compares the table with the installed version.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from dnalm.running.hints import either

# What every configuration may have.
COMMON = {
    "architectures",
    "chunk_size_feed_forward",
    "dtype",
    "id2label",
    "is_encoder_decoder",
    "label2id",
    "model_type",
    "output_hidden_states",
    "problem_type",
    "return_dict",
    "transformers_version",
}
# Keys that are no parameter of the class, but understood by it, and their defaults.
ALSO_KNOWN: dict[str, dict[str, Any]] = {"modernbert": {"global_attn_every_n_layers": 3}}
# Names of activation functions, as Transformers knows them, but for those that have weights of their own.
ACTIVATIONS = (
    "gelu",
    "gelu_10",
    "gelu_accurate",
    "gelu_fast",
    "gelu_new",
    "gelu_python",
    "gelu_python_tanh",
    "gelu_pytorch_tanh",
    "hardswish",
    "laplace",
    "leaky_relu",
    "linear",
    "mish",
    "quick_gelu",
    "relu",
    "relu2",
    "relu6",
    "sigmoid",
    "silu",
    "sqrtsoftplus",
    "swish",
    "tanh",
)

# What BERT has, and its descendants with few changes.
BERT: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "use_cache": True,
    "classifier_dropout": None,
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}

# The keys of each family and their defaults, without the ids of special tokens.
DEFAULTS: dict[str, dict[str, Any]] = {
    "modernbert": {
        "vocab_size": 50368,
        "hidden_size": 768,
        "intermediate_size": 1152,
        "num_hidden_layers": 22,
        "num_attention_heads": 12,
        "hidden_activation": "gelu",
        "max_position_embeddings": 8192,
        "initializer_range": 0.02,
        "initializer_cutoff_factor": 2.0,
        "norm_eps": 1e-05,
        "norm_bias": False,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "layer_types": None,
        "rope_parameters": None,
        "local_attention": 128,
        "embedding_dropout": 0.0,
        "mlp_bias": False,
        "mlp_dropout": 0.0,
        "decoder_bias": True,
        "classifier_pooling": "cls",
        "classifier_dropout": 0.0,
        "classifier_bias": False,
        "classifier_activation": "gelu",
        "deterministic_flash_attn": False,
        "sparse_prediction": False,
        "sparse_pred_ignore_index": -100,
        "tie_word_embeddings": True,
    },
    "bert": BERT,
    "roberta": BERT | {"vocab_size": 50265},
    "distilbert": {
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "sinusoidal_pos_embds": False,
        "n_layers": 6,
        "n_heads": 12,
        "dim": 768,
        "hidden_dim": 3072,
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "activation": "gelu",
        "initializer_range": 0.02,
        "qa_dropout": 0.1,
        "seq_classif_dropout": 0.2,
        "tie_word_embeddings": True,
    },
    "esm": {
        "vocab_size": None,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 1026,
        "rope_theta": 10000.0,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "position_embedding_type": "absolute",
        "use_cache": True,
        "emb_layer_norm_before": None,
        "token_dropout": False,
        "is_folding_model": False,
        "esmfold_config": None,
        "vocab_list": None,
        "is_decoder": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
    },
    "electra": BERT
    | {
        "embedding_size": 128,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "summary_type": "first",
        "summary_use_proj": True,
        "summary_activation": "gelu",
        "summary_last_dropout": 0.1,
    },
}

# Keys with one value here whatever Transformers allows, and how it is called: a decoder does not see what
# stands behind the token that it has to name, outputs are asked for by name, and lines have all lengths.
_ENCODER = "false (an encoder, which reads both sides of a token)"
FIXED = {
    "add_cross_attention": (False, _ENCODER),
    "chunk_size_feed_forward": (0, "0"),
    "is_decoder": (False, _ENCODER),
    "is_encoder_decoder": (False, _ENCODER),
    "return_dict": (True, "true"),
}
# Transformers 5 knows no other positions of these: it would pass over the key and compute another model.
POSITIONS = {
    "position_embedding_type": ("absolute", "absolute, the only one that Transformers 5 knows of these,")
}
# Kinds of layers of a ModernBERT.
LAYER_TYPES = ("full_attention", "sliding_attention")

# Beyond this a size is a typing error: the largest models in use have tens of thousands.
LARGEST_SIZE = 1_000_000
# Of layers, each of which is a step in a computation, the deepest have some hundreds.
MOST_LAYERS = 1000
_LAYERS = ("num_hidden_layers", "n_layers")
CHOICES = {
    "position_embedding_type": ("absolute", "rotary"),
    "classifier_pooling": ("cls", "mean"),
}


def known_keys(kind: str) -> set[str]:
    """All keys that an architecture file of this `model_type` may have, those of the tokenizer too."""
    return COMMON | set(DEFAULTS[kind]) | set(ALSO_KNOWN.get(kind, {}))


def problems(settings: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the values of a model's configuration, which has a `model_type`; other keys pass."""
    kind = settings["model_type"]
    defaults = {"output_hidden_states": False} | DEFAULTS[kind] | ALSO_KNOWN.get(kind, {})
    fixed = FIXED | (POSITIONS if kind in ("bert", "roberta", "electra") else {})
    for key, value in settings.items():
        if key in fixed and value != fixed[key][0]:
            yield f"{key} is {value!r}; {fixed[key][1]} was expected."
        elif key in defaults and (expected := _expected(key, value, defaults[key])):
            yield f"{key} is {value!r}; {expected} was expected."
    kinds = settings.get("layer_types") if "layer_types" in defaults else None
    layers = settings.get("num_hidden_layers", defaults.get("num_hidden_layers"))
    if kinds is not None and not (
        isinstance(kinds, list) and len(kinds) == layers and all(kind in LAYER_TYPES for kind in kinds)
    ):
        yield f"layer_types is {kinds!r}; {either(LAYER_TYPES)} for each layer ({layers}) was expected."


def _expected(key: str, value: Any, default: Any) -> str:
    """What the value of a key had to be; empty if it is that."""
    if value is None and default is None:
        return ""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if "dropout" in key and not isinstance(default, bool):
        return "" if number and 0 <= value <= 1 else "a share from 0 to 1"
    if key.endswith(("activation", "hidden_act")):
        known = isinstance(value, str) and value in ACTIVATIONS
        return "" if known else "the name of an activation function, such as gelu,"
    if key in CHOICES:
        return "" if value in CHOICES[key] else either(CHOICES[key])
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(default, int) and key != "sparse_pred_ignore_index":
        largest = MOST_LAYERS if key in _LAYERS else LARGEST_SIZE
        whole = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= largest
        return "" if whole else f"a whole number from 1 to {largest}"
    if key.startswith("initializer_"):
        return "" if number and value > 0 else "a number above 0"
    if isinstance(default, float):
        return "" if number and value >= 0 else "a number of 0 or more"
    return ""
