"""What is told of models without torch is what Transformers does."""

import inspect
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CONFIG_MAPPING, AutoModelForMaskedLM
from transformers.activations import ACT2FN

from dnalm.models.checks import FROM_TOKENIZER
from dnalm.models.families import FAMILIES
from dnalm.models.keys import ACTIVATIONS, COMMON, DEFAULTS, problems
from dnalm.models.tensors import (
    NOT_NEEDED,
    backbone_shapes,
    check_backbone,
    has_prediction_head,
    prediction_head_weights,
    read_header,
)
from dnalm.running.errors import InputError

TOKENS = {"vocab_size": 9, "pad_token_id": 3, "bos_token_id": 1, "eos_token_id": 2}
VARIANTS = [
    ("modernbert", {}),
    (
        "modernbert",
        {"norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True}
        | {"decoder_bias": False},
    ),
    ("bert", {}),
    ("roberta", {"type_vocab_size": 1}),
    ("distilbert", {}),
    ("esm", {}),
    ("esm", {"position_embedding_type": "rotary", "emb_layer_norm_before": True}),
    ("electra", {"embedding_size": 8}),
    ("electra", {"embedding_size": 16, "tie_word_embeddings": False}),
]


def test_every_family_is_among_the_variants():
    assert {kind for kind, _ in VARIANTS} == set(FAMILIES)


def configuration(kind: str, settings: dict):
    sizes = dict(zip(FAMILIES[kind].sizes.all(), (16, 24, 2, 2), strict=True))
    tokens = TOKENS | ({"mask_token_id": 4} if kind == "esm" else {})
    if kind == "modernbert":
        tokens |= {"cls_token_id": 1, "sep_token_id": 2}
    return CONFIG_MAPPING[kind](**sizes, **tokens, **settings)


def model(kind: str, settings: dict, device: str):
    with torch.device(device):
        return AutoModelForMaskedLM.from_config(configuration(kind, settings))


@pytest.mark.parametrize(("kind", "settings"), VARIANTS, ids=[f"{k} {len(s)}" for k, s in VARIANTS])
def test_the_backbone_s_weights_are_those_that_transformers_makes(kind, settings):
    network = model(kind, settings, "meta")
    prefix = FAMILIES[kind].backbone + "."
    made = {
        name: tuple(weight.shape)
        for name, weight in network.state_dict().items()
        if name.startswith(prefix) and not any(word in name for word in NOT_NEEDED)
    }
    # As config.json has it: without the values that are the class's own.
    assert backbone_shapes(network.config.to_diff_dict()) == made
    assert backbone_shapes(network.config.to_dict()) == made
    head = {name for name, _ in network.named_parameters() if not name.startswith(prefix)}
    assert prediction_head_weights(network.config.to_diff_dict()) == head


@pytest.mark.parametrize("kind", FAMILIES)
def test_keys_and_defaults_are_those_of_transformers(kind):
    parameters = inspect.signature(CONFIG_MAPPING[kind].__init__).parameters
    ids = FROM_TOKENIZER - {"vocab_size"}
    own = {n: p.default for n, p in parameters.items() if n not in COMMON | ids | {"self"}}
    assert DEFAULTS[kind] == own
    assert FAMILIES[kind].default_padding == CONFIG_MAPPING[kind]().pad_token_id
    assert not list(problems({"model_type": kind} | {k: v for k, v in own.items() if k != "vocab_size"}))


def test_activations_are_those_of_transformers_that_learn_nothing():
    """Weights of an activation would be weights that no list of a model's knows."""
    made = {name: ACT2FN[name] for name in ACT2FN}
    assert set(ACTIVATIONS) == {name for name, act in made.items() if not list(act.parameters())}


@pytest.mark.parametrize("kind", FAMILIES)
def test_checkpoints_as_they_are_published_pass(kind, tmp_path):
    network = model(kind, {}, "cpu")
    network.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    check_backbone(tmp_path, config)
    assert has_prediction_head(tmp_path, config)
    # A part of the head is not drawn anew in silence.
    whole = {name: weight.clone() for name, weight in load_file(tmp_path / "model.safetensors").items()}
    for name in prediction_head_weights(config):
        save_file({n: w for n, w in whole.items() if n != name}, tmp_path / "model.safetensors")
        with pytest.raises(InputError, match=f"a part of the prediction head is missing, among it {name}"):
            has_prediction_head(tmp_path, config)
    # Saved from the bare backbone, as `AutoModel` does it.
    (tmp_path / "model.safetensors").unlink()
    network.base_model.save_pretrained(tmp_path)
    check_backbone(tmp_path, config)
    assert not has_prediction_head(tmp_path, config)


def test_old_names_and_several_files_are_understood(tmp_path):
    network = model("bert", {}, "cpu")
    weights = {name: weight.clone() for name, weight in network.state_dict().items()}
    del weights["cls.predictions.bias"]
    old = {n.replace("LayerNorm.weight", "LayerNorm.gamma"): w for n, w in weights.items()}
    old = {n.replace("LayerNorm.bias", "LayerNorm.beta"): w for n, w in old.items()}
    old = {n.removeprefix("bert."): w for n, w in old.items()}
    old["embeddings.position_ids"] = torch.arange(512)
    names = sorted(old)
    for part in (0, 1):
        file = tmp_path / f"model-0000{part + 1}-of-00002.safetensors"
        save_file({name: old[name] for name in names[part::2]}, file)
    check_backbone(tmp_path, network.config.to_dict())
    assert has_prediction_head(tmp_path, network.config.to_dict())
    file.unlink()
    with pytest.raises(InputError, match=r"\d+ weights are missing, among them bert\."):
        check_backbone(tmp_path, network.config.to_dict())


def test_a_table_of_positions_that_a_rotary_model_does_not_use_is_passed_over(tmp_path):
    network = model("esm", {"position_embedding_type": "rotary"}, "cpu")
    weights = dict(network.state_dict()) | {
        "esm.embeddings.position_embeddings.weight": torch.zeros(1026, 16)
    }
    save_file({name: weight.clone() for name, weight in weights.items()}, tmp_path / "model.safetensors")
    check_backbone(tmp_path, network.config.to_dict())


def test_a_header_tells_shapes(tmp_path):
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(())}, tmp_path / "x", metadata={"format": "pt"})
    assert read_header(tmp_path / "x") == {"a": (2, 3), "b": ()}
