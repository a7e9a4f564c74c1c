"""The families of encoders that can be trained here: where each keeps its parts.

Every step is written once against this table. Transformers has a masked language model and a sequence
classifier of each, so that what is saved here loads with its Auto classes alone. Nothing heavy is imported:
the workflow asks too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dnalm.models.keys import DEFAULTS
from dnalm.running.errors import InputError


@dataclass(frozen=True)
class SizeKeys:
    """What a family's configuration calls its sizes."""

    hidden: str = "hidden_size"
    inner: str = "intermediate_size"
    layers: str = "num_hidden_layers"
    heads: str = "num_attention_heads"

    def all(self) -> tuple[str, ...]:
        """The four keys."""
        return self.hidden, self.inner, self.layers, self.heads


@dataclass(frozen=True)
class ClassifierHead:
    """What a family's sequence classifier has on top of its backbone: a dense layer and a linear one.

    `dense`, `norm` and `output` are names of modules in the classifier; `dropout`: keys of the configuration,
    the first that is set counts, and if none is `default_dropout`; `dropout_first`: also before the dense
    layer. `from_language_model`: dense layer and norm start as those of the masked language model's
    prediction head.
    """

    dense: str
    output: str
    activation: str
    dropout: tuple[str, ...]
    norm: str | None = None
    default_dropout: float = 0.1
    dropout_first: bool = False
    from_language_model: bool = False


@dataclass(frozen=True)
class Family:
    """One `model_type` of Transformers.

    `backbone`: prefix of the backbone's weights. `layers`: of those of its layers, numbered from the bottom.
    `prediction_head`: the modules of the masked language model that turn hidden states into logits, token by
    token, applied one after the other. `poolings`: how its sequence classifier can make one vector of a
    sequence. `default_positions`: rows of its learned table of positions unless the configuration says
    otherwise; 0: positions are rotary, without a table. `positions_after_padding`: the first rows are not
    used. `default_padding`: the padding token's id unless the configuration says otherwise.
    `feed_forward_matrices`: of hidden x inner size in each layer. `unused`: weights of the backbone that take
    no part in the masked language model.
    """

    backbone: str
    layers: str
    prediction_head: tuple[str, ...]
    classifier_head: ClassifierHead
    poolings: tuple[str, ...] = ("cls",)
    sizes: SizeKeys = SizeKeys()
    default_positions: int = 512
    positions_after_padding: bool = False
    default_padding: int | None = 0
    feed_forward_matrices: int = 2
    unused: tuple[str, ...] = ()


_DENSE_AND_PROJECTION = ClassifierHead(
    dense="classifier.dense",
    output="classifier.out_proj",
    activation="tanh",
    dropout=("classifier_dropout", "hidden_dropout_prob"),
    dropout_first=True,
)

FAMILIES = {
    "modernbert": Family(
        backbone="model",
        layers="model.layers",
        prediction_head=("head", "decoder"),
        classifier_head=ClassifierHead(
            dense="head.dense",
            norm="head.norm",
            output="classifier",
            activation="gelu",
            dropout=("classifier_dropout",),
            default_dropout=0.0,
            from_language_model=True,
        ),
        poolings=("cls", "mean"),
        default_positions=0,
        default_padding=50283,
        feed_forward_matrices=3,
    ),
    "bert": Family(
        backbone="bert",
        layers="bert.encoder.layer",
        prediction_head=("cls",),
        classifier_head=ClassifierHead(
            dense="bert.pooler.dense",
            output="classifier",
            activation="tanh",
            dropout=("classifier_dropout", "hidden_dropout_prob"),
        ),
    ),
    "roberta": Family(
        backbone="roberta",
        layers="roberta.encoder.layer",
        prediction_head=("lm_head",),
        classifier_head=_DENSE_AND_PROJECTION,
        positions_after_padding=True,
        default_padding=1,
    ),
    "distilbert": Family(
        backbone="distilbert",
        layers="distilbert.transformer.layer",
        prediction_head=("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector"),
        classifier_head=ClassifierHead(
            dense="pre_classifier",
            output="classifier",
            activation="relu",
            dropout=("seq_classif_dropout",),
            default_dropout=0.2,
        ),
        sizes=SizeKeys("dim", "hidden_dim", "n_layers", "n_heads"),
    ),
    "esm": Family(
        backbone="esm",
        layers="esm.encoder.layer",
        prediction_head=("lm_head",),
        classifier_head=ClassifierHead(
            dense="classifier.dense",
            output="classifier.out_proj",
            activation="tanh",
            dropout=("hidden_dropout_prob",),
            dropout_first=True,
        ),
        default_positions=1026,
        positions_after_padding=True,
        default_padding=None,
        unused=("contact_head.",),
    ),
    "electra": Family(
        backbone="electra",
        layers="electra.encoder.layer",
        prediction_head=("generator_predictions", "generator_lm_head"),
        classifier_head=ClassifierHead(
            dense="classifier.dense",
            output="classifier.out_proj",
            activation="gelu",
            dropout=("classifier_dropout", "hidden_dropout_prob"),
            dropout_first=True,
        ),
    ),
}


def family_of(config: Mapping[str, Any], place: object) -> Family:
    """The family of a model's configuration. Raises InputError, naming `place`, if it is none of these."""
    kind = config.get("model_type") if isinstance(config, Mapping) else None
    if kind is None:
        raise InputError(f"{place}: it lacks model_type. Write into it which of {', '.join(FAMILIES)} it is.")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise InputError(f"{place}: model_type is {kind!r}. Use one of {', '.join(FAMILIES)}.")
    return FAMILIES[kind]


def position_limit(config: Mapping[str, Any]) -> int | None:
    """The longest line in tokens, [CLS] and [SEP] included, that a model can read; None: no such limit.

    RoBERTa and ESM number positions from the padding token's id + 1 on.
    """
    family = FAMILIES[config["model_type"]]
    rotary = config.get("position_embedding_type") == "rotary"
    if rotary or not family.default_positions:
        return None
    positions = int(config.get("max_position_embeddings") or family.default_positions)
    if family.positions_after_padding:
        return positions - (config.get("pad_token_id", family.default_padding) or 0) - 1
    return positions


def token_limit(config: Mapping[str, Any], max_tokens: int | None = None) -> int:
    """How many tokens of a sequence are read: as many as the model has positions for, or fewer if asked."""
    # Transformers leaves out what is ModernBERT's own.
    usual = DEFAULTS[config["model_type"]]["max_position_embeddings"]
    positions: int = position_limit(config) or config.get("max_position_embeddings", usual)
    return positions if max_tokens is None else min(max_tokens, positions)


def check_max_tokens(config: Mapping[str, Any], max_tokens: int | None, place: str) -> None:
    """Raise InputError, naming `place`, for more tokens than the model can read at once."""
    limit = position_limit(config)
    if limit is not None and max_tokens is not None and max_tokens > limit:
        raise InputError(
            f"{place} is {max_tokens}, but this {config['model_type']} model reads {limit} tokens at most. "
            "Lower it."
        )


def padding_multiple(config: Mapping[str, Any], max_tokens: int) -> int:
    """To a multiple of what lines are padded for a GPU: 8, with which its attention is fastest.

    1 where lines of `max_tokens` would be longer then than the model's table of positions.
    """
    padded = -(-max_tokens // 8) * 8
    limit = position_limit(config)
    # Families that number positions after the padding token's id give padding none.
    if limit is None or FAMILIES[config["model_type"]].positions_after_padding or padded <= limit:
        return 8
    return 1


def check_layers(config: Mapping[str, Any], layers: int, place: str) -> int:
    """How many layers the backbone has. Raises InputError, naming `place`, if `layers` are more than that."""
    family = FAMILIES[config["model_type"]]
    there: int = config[family.sizes.layers]
    if layers > there:
        counted = f"{there} layer{'s' if there > 1 else ''}"
        raise InputError(f"{place} is {layers}, but this model has {counted}. Lower it.")
    return there


def choose_pooling(config: Mapping[str, Any], pooling: str) -> str:
    """The wished pooling where the family's classifier in Transformers knows it, else its own: [CLS]."""
    poolings = FAMILIES[config["model_type"]].poolings
    return pooling if pooling in poolings else poolings[0]


def count_roughly(config: Mapping[str, Any], vocabulary_size: int) -> int:
    """Number of parameters of a model, estimated from its configuration or architecture file."""
    family = FAMILIES[config.get("model_type", "modernbert")]
    hidden, inner, layers = (
        config.get(key, default) for key, default in zip(family.sizes.all()[:3], (768, 3072, 12), strict=True)
    )
    layer = 4 * hidden * hidden + family.feed_forward_matrices * hidden * inner + 2 * hidden
    positions = config.get("max_position_embeddings", family.default_positions)
    table = positions * hidden if family.default_positions else 0
    return layers * layer + config.get("vocab_size", vocabulary_size) * hidden + hidden * hidden + table


def part_of_model(parameter: str) -> str:
    """Which part of a model a parameter belongs to, in words; `parameter` is its name in the model."""
    for word, part in _PARTS:
        if word in f".{parameter}":
            return part
    return "other"


def count_by_part(parameters: Iterable[tuple[str, int, bool]]) -> dict[str, Any]:
    """Numbers of parameters by part of the model, from the name, the size and whether it learns of each.

    Returns `{"total": n, "trainable": n, "parts": {part: {"total": n, "trainable": n}}}`, parts in the order
    in which they come.
    """
    parts: dict[str, dict[str, int]] = {}
    for name, size, learns in parameters:
        part = parts.setdefault(part_of_model(name), {"total": 0, "trainable": 0})
        part["total"] += size
        part["trainable"] += size if learns else 0
    total, trainable = (sum(part[key] for part in parts.values()) for key in ("total", "trainable"))
    return {"total": total, "trainable": trainable, "parts": parts}


# The first that occurs in the name, which here begins with a dot, decides.
_PARTS = (
    (".contact_head.", "contact head"),
    (".emb_layer_norm_after.", "final norm"),
    (".final_norm.", "final norm"),
    (".embeddings", "token embeddings"),
    # The matrix of a prediction head is the token embeddings' and is counted there.
    (".decoder.", "output bias"),
    (".cls.predictions.bias", "output bias"),
    (".lm_head.bias", "output bias"),
    (".vocab_projector.", "output bias"),
    (".generator_lm_head.", "output bias"),
    (".classifier.dense.", "head"),
    (".classifier.", "classifier"),
    (".attn", "attention"),
    (".attention.", "attention"),
    (".sa_layer_norm.", "attention"),
    (".layers.", "feed-forward"),
    (".layer.", "feed-forward"),
    (".head.", "head"),
    (".pooler.", "head"),
    (".pre_classifier.", "head"),
    (".cls.", "head"),
    (".lm_head.", "head"),
    (".vocab_", "head"),
    (".generator_predictions.", "head"),
)


def check_rank(config: Mapping[str, Any], rank: int, place: str) -> None:
    """Raise InputError, naming `place`, for low-rank matrices (LoRA) of a rank that the model has not."""
    hidden: int = config[FAMILIES[config["model_type"]].sizes.hidden]
    if rank > hidden:
        raise InputError(
            f"{place} is {rank}, but the matrices of this model have a rank of {hidden} at most (its hidden "
            "size). Lower it."
        )
