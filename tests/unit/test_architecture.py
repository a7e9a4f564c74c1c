import json
import re
import shutil

import pytest
import torch

from dnalm.models.architecture import count_parameters, load_model, model_config, new_model
from dnalm.models.checks import read_architecture
from dnalm.running.errors import InputError


class Vocabulary4096:
    pad_token_id, cls_token_id, sep_token_id, mask_token_id = 3, 1, 2, 4

    def __len__(self):
        return 4096


def test_course_architecture_is_the_published_one(repository):
    settings = read_architecture(repository / "resources/architectures/course.json")
    config = model_config(settings, Vocabulary4096())
    assert (config.pad_token_id, config.cls_token_id, config.bos_token_id) == (3, 1, 1)
    assert (config.sep_token_id, config.eos_token_id) == (2, 2)
    with torch.device("meta"):
        from transformers import ModernBertForMaskedLM, ModernBertForSequenceClassification

        parameters = count_parameters(ModernBertForMaskedLM(config))
        config.num_labels = 2
        classifier = ModernBertForSequenceClassification(config)
    assert parameters["total"] == parameters["trainable"] == 43_861_504
    assert sum(part["total"] for part in parameters["parts"].values()) == 43_861_504
    classifier.model.requires_grad_(False)
    assert count_parameters(classifier)["trainable"] == 592_130
    assert "other" not in parameters["parts"]


def test_every_architecture_file_is_valid(repository):
    files = sorted((repository / "resources/architectures").glob("*.json"))
    assert files
    for file in files:
        model_config(read_architecture(file), Vocabulary4096())


def test_architecture_files_say_how_many_parameters_they_have(repository):
    for file in (repository / "resources/architectures").glob("*.json"):
        description = json.loads(file.read_text())["description"]
        said, million, size = re.search(
            r"([\d,.]+)( million)? parameters with a vocabulary of (\d+) tokens", description
        ).groups()
        vocabulary = type("Vocabulary", (Vocabulary4096,), {"__len__": lambda self, size=size: int(size)})()
        with torch.device("meta"):
            model = new_model(model_config(read_architecture(file), vocabulary), 1)
        total = count_parameters(model)["total"]
        found = f"{total / 1e6:.{len(said.partition('.')[2])}f}" if million else f"{total:,}"
        assert said == found, file.name


@pytest.mark.parametrize("rope", [7, {"full_attention": {"rope_type": "yarn", "rope_theta": 5.0}}])
def test_what_transformers_refuses_is_one_line(rope):
    with pytest.raises(InputError, match=r"Transformers refuses it \(.*rope.*\)\. Mend it") as error:
        model_config({"rope_parameters": rope}, Vocabulary4096())
    assert "\n" not in str(error.value)


def test_new_model_depends_on_the_seed_only():
    config = model_config(
        {"num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2},
        Vocabulary4096(),
    )
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = new_model(config, 7).state_dict()
    # The caller's random numbers are left alone.
    assert torch.equal(torch.rand(3), expected)
    two, other = new_model(config, 7).state_dict(), new_model(config, 8).state_dict()
    # Weights are drawn in fp32, whatever a copied config.json says.
    config.dtype = torch.bfloat16
    assert all(torch.equal(one[name], weight) for name, weight in new_model(config, 7).state_dict().items())
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["head.dense.weight"], other["head.dense.weight"])


def test_load_model_refuses_what_does_not_fit(tmp_path, tiny_model):
    from dnalm.tokenizers.encoding import load_tokenizer

    tokenizer = load_tokenizer(tiny_model)
    load_model(tiny_model, tokenizer)
    with pytest.raises(InputError, match="vocab_size is 17, the tokenizer's is 4096"):
        load_model(tiny_model, Vocabulary4096())
    (tmp_path / "config.json").write_text((tiny_model / "config.json").read_text())
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        load_model(tmp_path, tokenizer)
    shutil.copyfile(tiny_model / "model.safetensors", tmp_path / "model.safetensors")
    config = json.loads((tiny_model / "config.json").read_text()) | {"mask_token_id": 9}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="mask_token_id is 9, the tokenizer's is 4"):
        load_model(tmp_path, tokenizer)
