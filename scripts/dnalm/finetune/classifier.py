"""Classifiers: a backbone, a head and a linear layer that names the class of a sequence, or its value.

A *classifier directory* loads with `AutoModelForSequenceClassification.from_pretrained(directory)`, without
this repository. What its head is made of stands in `dnalm.models.families`; a ModernBERT's starts as the
language model's head (dense layer, GELU, LayerNorm). The linear layer on top starts random.

With a frozen backbone only head and linear layer learn. The backbone then says the same about a sequence
in every epoch, so it runs once (`scripts/embed.py`) and the head learns from its vectors
(`dnalm.finetune.examples`): the same losses and weights as through the backbone, several times faster. With
the whole model `dnalm.finetune.trained` says what learns.
"""

import shutil
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from dnalm.embed.embedding import read_model_config
from dnalm.finetune.examples import Tokens, predict_logits
from dnalm.models.architecture import check_answers, check_weights, prepared
from dnalm.models.attention_masks import make_masks_ahead
from dnalm.models.directory import quieten, write_max_length
from dnalm.models.families import FAMILIES, count_by_part
from dnalm.models.keys import DEFAULTS
from dnalm.problems.kinds import KINDS
from dnalm.problems.names import SINGLE_LABEL
from dnalm.running.errors import InputError
from dnalm.running.files import write_json
from dnalm.running.hints import either, show
from dnalm.running.weights import save_weights
from dnalm.sequences.names import UNREADABLE
from dnalm.tokenizers.cut import Cut, count_cut
from dnalm.tokenizers.encoding import encode, load_tokenizer, reading_limit

# ----------------------------------------------------------------------------- weights


class Head(nn.Module):
    """What Transformers' sequence classifier of a family has on top of its backbone, and nothing else.

    Written out because loading the Transformers classes takes seconds that training on vectors does not
    need; a test holds both together. Its weights bear the names that they have in the whole classifier.
    Maps pooled vectors float32[n, hidden] to logits float32[n, classes].
    """

    def __init__(self, config: dict[str, Any], classes: int):
        super().__init__()
        parts = FAMILIES[config["model_type"]].classifier_head
        activation = parts.activation
        if "classifier_activation" in DEFAULTS[config["model_type"]]:
            activation = config.get("classifier_activation", activation)
        self.parts, self.activation = parts, activation_of(activation)
        hidden = hidden_size(config)
        bias = config.get("classifier_bias", False) if parts.norm else True
        _place(self, parts.dense, nn.Linear(hidden, hidden, bias=bias))
        if parts.norm:
            norm = nn.LayerNorm(hidden, eps=config.get("norm_eps", 1e-5), bias=config.get("norm_bias", False))
            _place(self, parts.norm, norm)
        _place(self, parts.output, nn.Linear(hidden, classes))
        rates = [config[key] for key in parts.dropout if config.get(key) is not None]
        self.drop = nn.Dropout(rates[0] if rates else parts.default_dropout)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        states = self.drop(vectors) if self.parts.dropout_first else vectors
        states = self.activation(self.get_submodule(self.parts.dense)(states))
        if self.parts.norm:
            states = self.get_submodule(self.parts.norm)(states)
        return self.get_submodule(self.parts.output)(self.drop(states))


def activation_of(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The activation function that Transformers calls so; the usual ones without importing it."""
    usual: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "gelu": nn.functional.gelu,
        "tanh": torch.tanh,
        "relu": nn.functional.relu,
    }
    if name in usual:
        return usual[name]
    from transformers.activations import ACT2FN

    return ACT2FN[name]


def _place(module: nn.Module, name: str, part: nn.Module) -> None:
    """Register `part` in `module` under a dotted name."""
    *path, last = name.split(".")
    for step in path:
        if not hasattr(module, step):
            module.add_module(step, nn.Module())
        module = getattr(module, step)
    module.add_module(last, part)


class InFp32(nn.Module):
    """A module that computes in fp32 where others compute in bf16."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        with torch.autocast(states.device.type, enabled=False):
            return self.module(states.float())


def compute_head_in_fp32(model: nn.Module) -> None:
    """Have the head of a whole classifier, a Transformers model, compute in fp32 in any case.

    One that learned from standardised features tells features apart that differ by a thousandth of their size
    and less: those of [CLS], above all. bf16 has eight bits, and would round them to the same.
    """
    config: Any = model.config
    parts = FAMILIES[config.model_type].classifier_head
    for name in (parts.dense, parts.norm, parts.output):
        if name is not None:
            _place(model, name, InFp32(model.get_submodule(name)))


def hidden_size(config: dict[str, Any]) -> int:
    """The width of the hidden states."""
    return int(config[FAMILIES[config["model_type"]].sizes.hidden])


def initial_weights(directory: str | Path, classes: int, seed: int) -> dict[str, torch.Tensor]:
    """The weights of a new classifier, float32: those of the model's backbone, and a head.

    What of the head is not the language model's depends on its shape and `seed` alone, so that backbones
    and ways of training are compared from the same start. ModernBERT's dense layer is the language model's;
    its linear layer is drawn as ModernBERT draws it: a normal distribution with standard deviation
    hidden**-0.5, cut at `initializer_cutoff_factor` standard deviations. Of the other families both layers
    are drawn as Transformers does, with standard deviation `initializer_range`.
    """
    path = Path(directory) / "model.safetensors"
    config = read_model_config(directory)
    family = FAMILIES[config["model_type"]]
    parts = family.classifier_head
    try:
        stored = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: damaged ({error}). Fetch or train the model again.") from None
    # Transformers writes ESM's norms under the names of old TensorFlow checkpoints.
    stored = {
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): value
        for name, value in stored.items()
    }
    kept = [family.backbone + "."]
    if parts.from_language_model:
        kept += [f"{parts.dense}.", f"{parts.norm}."]
    weights = {name: value.float() for name, value in stored.items() if name.startswith(tuple(kept))}
    prediction_head = tuple(f"{name}." for name in family.prediction_head)
    if len(weights) < 2 or not any(name.startswith(prediction_head) for name in stored):
        raise InputError(f"{path}: not a masked language model. Give a model made by scripts/pretrain.py.")
    hidden, generator = hidden_size(config), torch.Generator().manual_seed(seed)
    output = torch.empty(classes, hidden)
    if parts.from_language_model:
        deviation, cut = hidden**-0.5, config.get("initializer_cutoff_factor", 2.0) * hidden**-0.5
        nn.init.trunc_normal_(output, std=deviation, a=-cut, b=cut, generator=generator)
    else:
        deviation = config.get("initializer_range", 0.02)
        dense = torch.empty(hidden, hidden).normal_(0.0, deviation, generator=generator)
        weights |= {f"{parts.dense}.weight": dense, f"{parts.dense}.bias": torch.zeros(hidden)}
        output.normal_(0.0, deviation, generator=generator)
    return weights | {f"{parts.output}.weight": output, f"{parts.output}.bias": torch.zeros(classes)}


def head_with(config: dict[str, Any], weights: dict[str, torch.Tensor]) -> Head:
    """A :class:`Head` that holds its share of `weights` (from :func:`initial_weights`)."""
    parts = FAMILIES[config["model_type"]].classifier_head
    head = Head(config, classes=weights[f"{parts.output}.bias"].shape[0])
    head.load_state_dict({name: weights[name] for name in head.state_dict()})
    return head


def with_bias(
    config: dict[str, Any], weights: dict[str, torch.Tensor]
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Configuration and weights of a new classifier whose dense layer has a bias, as most families' has."""
    bias = f"{FAMILIES[config['model_type']].classifier_head.dense}.bias"
    if bias in weights:
        return config, weights
    return config | {"classifier_bias": True}, weights | {bias: torch.zeros(hidden_size(config))}


@dataclass
class Standardisation:
    """Mean and standard deviation float64[hidden] of the features that a head learned from."""

    mean: torch.Tensor
    deviation: torch.Tensor

    @classmethod
    def of(cls, vectors: torch.Tensor) -> "Standardisation":
        """That of float32[n, hidden]. A feature that is always the same has the deviation 1."""
        deviation, mean = torch.std_mean(vectors.double(), dim=0, correction=0)
        return cls(mean, torch.where(deviation > 1e-7, deviation, 1.0))

    def applied(self, vectors: torch.Tensor) -> torch.Tensor:
        """float32[n, hidden] of mean 0 and standard deviation 1."""
        return ((vectors.double() - self.mean) / self.deviation).float()

    def unfolded(self, config: dict[str, Any], weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weights of a head that says of standardised features what `weights` say of them as they are."""
        dense = FAMILIES[config["model_type"]].classifier_head.dense
        matrix = weights[f"{dense}.weight"].double()
        bias = weights[f"{dense}.bias"].double() + matrix @ self.mean
        return weights | {f"{dense}.weight": (matrix * self.deviation).float(), f"{dense}.bias": bias.float()}

    def folded(self, config: dict[str, Any], weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The inverse: of features as they are what `weights` say of standardised ones."""
        dense = FAMILIES[config["model_type"]].classifier_head.dense
        matrix = weights[f"{dense}.weight"].double() / self.deviation
        bias = weights[f"{dense}.bias"].double() - matrix @ self.mean
        return weights | {f"{dense}.weight": matrix.float(), f"{dense}.bias": bias.float()}


def full_model(
    directory: str | Path,
    weights: dict[str, torch.Tensor],
    classes: int,
    pooling: str,
    problem: str = SINGLE_LABEL,
) -> nn.Module:
    """The whole classifier with `weights` (from :func:`initial_weights`), a Transformers model on the CPU."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    quieten()
    config = AutoConfig.from_pretrained(
        directory,
        local_files_only=True,
        num_labels=classes,
        problem_type=problem,
        **pooling_of(read_model_config(directory), pooling),
    )
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{directory}: config.json does not describe model.safetensors ({error}).") from None
    make_masks_ahead(prepared(model))
    return model


def pooling_of(config: dict[str, Any], pooling: str) -> dict[str, str]:
    """The key of a classifier's configuration that says its pooling, for families that have a choice."""
    return {"classifier_pooling": pooling} if len(FAMILIES[config["model_type"]].poolings) > 1 else {}


def count_parameters(weights: dict[str, torch.Tensor], trainable: Set[str]) -> dict[str, Any]:
    """:func:`dnalm.models.families.count_by_part` of weights, of which those named `trainable` learn."""
    counted = count_by_part((name, value.numel(), name in trainable) for name, value in weights.items())
    order = ["token embeddings", "attention", "feed-forward", "final norm", "contact head", "head"]
    order += ["classifier"]
    return counted | {"parts": {name: counted["parts"][name] for name in order if name in counted["parts"]}}


# ----------------------------------------------------------------------------- classifier directories


def save_classifier(
    directory: Path,
    model: str | Path,
    weights: dict[str, torch.Tensor],
    labels: Sequence[str],
    pooling: str,
    max_tokens: int,
    problem: str = SINGLE_LABEL,
) -> None:
    """Write `config.json`, `model.safetensors` and the tokenizer of `model` into the existing `directory`."""
    model = Path(model)
    config = read_model_config(model) | {
        "architectures": [classifier_class(read_model_config(model))],
        "dtype": "float32",
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        "problem_type": problem,
    }
    config |= pooling_of(config, pooling)
    parts = FAMILIES[config["model_type"]].classifier_head
    if parts.norm and f"{parts.dense}.bias" in weights:
        config["classifier_bias"] = True
    write_json(directory / "config.json", config)
    weights = {name: value.float().contiguous() for name, value in weights.items()}
    save_weights(weights, directory / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "dna_tokenizer.json"):
        if (model / name).is_file():
            shutil.copyfile(model / name, directory / name)
    # So that a pipeline cuts where training cut.
    write_max_length(directory, max_tokens)


def classifier_class(config: dict[str, Any]) -> str:
    """The name of a family's sequence classifier in Transformers."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

    return MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES[config["model_type"]]


def _labels(config: dict[str, Any], place: str) -> list[str]:
    """The names of a classifier's outputs. Raises InputError, beginning `place`, unless each has its own."""
    names = config.get("id2label")
    labels: list[Any] = (
        [names.get(str(number)) for number in range(len(names))] if isinstance(names, dict) else []
    )
    readable = all(isinstance(label, str) and not UNREADABLE.search(label) for label in labels)
    if not labels or not readable or len(set(labels)) < len(labels):
        raise InputError(f"{place}: id2label must name the outputs 0, 1, … each otherwise, in one line.")
    return labels


class Classifier:
    """A classifier directory, loaded once, for any number of sequences.

    `problem`: the kind of its task. `labels`: the names of its outputs, in their order. `cut`: how many of
    the sequences so far had more tokens than the classifier reads.
    """

    def __init__(self, directory: str | Path, device: torch.device | str = "cpu", bf16: bool = False):
        directory = Path(directory)
        self.config = read_model_config(directory)
        if self.config.get("architectures") != [classifier_class(self.config)]:
            raise InputError(f"{directory}: a model, but no classifier. Make one with scripts/finetune.py.")
        kind = self.config.get("problem_type") or SINGLE_LABEL
        if kind not in list(KINDS):
            raise InputError(
                f"{directory}/config.json: problem_type is {show(kind)}; {either([*KINDS])} was expected."
            )
        self.problem = KINDS[kind]
        self.tokenizer = load_tokenizer(directory)
        self.max_tokens = reading_limit(self.tokenizer)
        self.labels = _labels(self.config, f"{directory}/config.json")
        from transformers import AutoModelForSequenceClassification

        quieten()
        try:
            self.model, report = AutoModelForSequenceClassification.from_pretrained(
                directory,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:
            raise InputError(f"{directory}: the classifier cannot be loaded ({error}).") from error
        check_weights(directory, self.model, report)
        make_masks_ahead(prepared(self.model))
        compute_head_in_fp32(self.model)
        self.model.to(device).eval()
        self.device, self.bf16 = device, bf16
        self.cut = Cut(self.max_tokens)
        # How many networks read each sequence; of a stacked predictor there are several.
        self.readers = 1

    def outputs(
        self,
        sequences: Sequence[str],
        batch_tokens: int | None = None,
        on_read: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """What the problem makes of the logits, float64[n, labels]: probabilities or values, in order.

        `on_read` is told how many more sequences were read; None: the log is.
        """
        if not len(sequences):
            return np.zeros((0, len(self.labels)))
        tokens = encode(self.tokenizer, sequences, self.max_tokens)
        examples = Tokens(
            tokens,
            torch.zeros(len(tokens), dtype=torch.int64),
            self.config["pad_token_id"],
            self.device,
            self.bf16,
            batch_tokens,
        )
        self.cut += count_cut(self.tokenizer, sequences, self.max_tokens, tokens)
        logits = predict_logits(self.model, examples, on_read).double().numpy()
        check_answers(self.model, logits)
        return self.problem.outputs(logits)
