"""Every family of encoders: what is saved loads with Transformers alone and says the same as here."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import pretrain
import published_model
from dnalm.embed.embedding import embed_tokens, load_backbone
from dnalm.evaluate_language_model.scoring import MaskedLine, model_scores
from dnalm.finetune import classifier, trained
from dnalm.finetune import training as finetuning
from dnalm.finetune.objectives import TargetScale
from dnalm.finetune.settings import LoraSettings
from dnalm.models import matrix_products
from dnalm.models.architecture import count_parameters, load_model, model_config, new_model
from dnalm.models.checks import check_model_directory, check_tokenizer_fits, read_architecture
from dnalm.models.families import (
    FAMILIES,
    choose_pooling,
    count_roughly,
    padding_multiple,
    position_limit,
)
from dnalm.models.flops import peak_flops, training_flops
from dnalm.models.masked_lm import hidden_states, token_logits
from dnalm.running.errors import InputError
from dnalm.running.memory import checkpoint_gradients
from dnalm.tokenizers.batches import pad
from dnalm.tokenizers.encoding import encode, load_tokenizer
from dnalm.tokenizers.vocabulary import SPECIAL_TOKENS, adjust_for_dna

SEQUENCES = ["ACGTTGCAACGGATTTACG", "GATTACA", "ACGATCGATTTTAAACGGGCGCGCTTA"]
POSITIONS = 40


def architecture(kind: str) -> dict:
    """A tiny network of the family. Its inner size is that of the vocabulary: shapes alone tell nothing."""
    sizes = dict(zip(FAMILIES[kind].sizes.all(), (16, 18, 2, 2), strict=True))
    # Larger than usual: random weights that tell sequences apart.
    sizes |= {"embedding_size": 8} if kind == "electra" else {}
    return {"model_type": kind, **sizes, "max_position_embeddings": POSITIONS, "initializer_range": 0.3}


@pytest.fixture(scope="module", params=[*FAMILIES, "esm-rotary"])
def checkpoint(request, tmp_path_factory, tiny_model) -> Path:
    """A model directory with the tokenizer's files, as pretraining writes it."""
    folder = tmp_path_factory.mktemp(request.param)
    kind, _, rotary = request.param.partition("-")
    settings = architecture(kind) | ({"position_embedding_type": rotary} if rotary else {})
    (folder / "architecture.json").write_text(json.dumps(settings))
    config = model_config(read_architecture(folder / "architecture.json"), load_tokenizer(tiny_model))
    new_model(config, seed=1).save_pretrained(folder / "model")
    for file in tiny_model.glob("tokenizer*.json"):
        shutil.copyfile(file, folder / "model" / file.name)
    return folder / "model"


def test_logits_of_some_tokens_are_those_of_all(checkpoint):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    model = load_model(checkpoint, load_tokenizer(checkpoint)).eval()
    theirs = AutoModelForMaskedLM.from_pretrained(checkpoint).eval()
    batch = AutoTokenizer.from_pretrained(checkpoint)(SEQUENCES, padding=True, return_tensors="pt")
    masked = (batch["attention_mask"] == 1) & (torch.arange(batch["input_ids"].shape[1]) % 3 == 1)
    with torch.no_grad():
        expected = theirs(**batch).logits[masked]
        hidden = hidden_states(model, batch["input_ids"], batch["attention_mask"])
        assert torch.allclose(token_logits(model, hidden[masked]), expected, atol=1e-5)
    token_logits(model, hidden_states(model, batch["input_ids"])).sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_lines_in_a_batch_are_read_as_alone(checkpoint):
    """Of unequal length, padded, and of one length, without padding or attention mask."""
    model = load_model(checkpoint).eval()
    lines = encode(load_tokenizer(checkpoint), SEQUENCES, 20)
    shortest = min(map(len, lines))
    for batch in (lines, [line[:shortest] for line in lines]):
        padded = pad(batch, 3)
        assert ("attention_mask" in padded) == (batch is lines)
        with torch.no_grad():
            together = hidden_states(model, **padded)
            for line, states in zip(batch, together, strict=True):
                alone = hidden_states(model, **pad([line], 3))[0]
                torch.testing.assert_close(states[: len(line)], alone, atol=1e-5, rtol=1e-4)


def test_vectors_of_any_layer_are_pooled_from_what_transformers_gives(checkpoint):
    from transformers import AutoModel

    lines = encode(load_tokenizer(checkpoint), SEQUENCES, 20)
    backbone, theirs = load_backbone(checkpoint), AutoModel.from_pretrained(checkpoint).eval()
    for layer in (None, 0, 1, 2):
        found = embed_tokens(backbone, lines, pad_id=3, layer=layer)
        for line, mean in zip(lines, found["mean"], strict=True):
            with torch.no_grad():
                states = theirs(**pad([line], 3), output_hidden_states=True).hidden_states
            expected = states[-1 if layer is None else layer][0].mean(dim=0)
            torch.testing.assert_close(torch.from_numpy(mean), expected, atol=1e-5, rtol=1e-4)


def test_a_token_n_gets_a_row_and_changes_no_other(checkpoint, tmp_path):
    """Saved, the model loads alone and says of DNA without N what it said before."""
    tokenizer, batch = load_tokenizer(checkpoint), pad(encode(load_tokenizer(checkpoint), SEQUENCES, 20), 3)
    before = load_model(checkpoint, tokenizer).eval()
    adjust_for_dna(tokenizer.backend_tokenizer, SPECIAL_TOKENS, "token")
    new = len(tokenizer) - 1
    load_model(checkpoint, tokenizer).save_pretrained(tmp_path)
    after = load_model(tmp_path, tokenizer).eval()
    assert after.config.vocab_size == before.config.vocab_size + 1 == len(tokenizer)
    with torch.no_grad():
        old, wider = (token_logits(m, hidden_states(m, **batch)) for m in (before, after))
        assert torch.allclose(old, wider[..., :new], atol=1e-5)
        bases = tokenizer.convert_tokens_to_ids(list("ACGT"))
        assert torch.allclose(wider[..., new], wider[..., bases].mean(dim=-1), atol=1e-4)
    tokenizer.add_tokens(["X"])
    with pytest.raises(InputError, match="Use the checkpoint's own tokenizer"):
        load_model(checkpoint, tokenizer)


def test_a_row_that_nothing_was_learned_in_becomes_that_of_n_once(tiny_model, tmp_path):
    """Published embeddings have more rows than tokens where that is faster."""
    model = load_model(tiny_model)
    model.resize_token_embeddings(24)
    shutil.copytree(tiny_model, tmp_path / "padded")
    model.save_pretrained(tmp_path / "padded")
    tokenizer = load_tokenizer(tiny_model)
    adjust_for_dna(tokenizer.backend_tokenizer, SPECIAL_TOKENS, "token")
    number, bases = len(tokenizer) - 1, tokenizer.convert_tokens_to_ids(list("ACGT"))
    found = load_model(tmp_path / "padded", tokenizer)
    embeddings, before = (m.get_input_embeddings().weight for m in (found, model))
    assert found.config.vocab_size == 24 and torch.equal(embeddings[number], before[bases].mean(dim=0))
    assert torch.equal(embeddings[:number], before[:number])
    # What a model made of it has learned of N stays.
    found.get_input_embeddings().weight.data[number] = 7
    found.save_pretrained(tmp_path / "trained")
    tokenizer.save_pretrained(tmp_path / "trained")
    assert (load_model(tmp_path / "trained", tokenizer).get_input_embeddings().weight[number] == 7).all()


def test_checkpointed_gradients_are_the_same_and_keep_less(checkpoint):
    """Dropout included, bit by bit; the layers' inner tensors are not kept."""
    batch = pad(encode(load_tokenizer(checkpoint), SEQUENCES, 20), 3)

    def gradients(model):
        kept = []
        torch.manual_seed(5)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
            loss = token_logits(model, hidden_states(model.train(), **batch)).square().mean()
        loss.backward()
        return [p.grad for p in model.parameters() if p.requires_grad], sum(kept)

    plain, all_kept = gradients(load_model(checkpoint))
    model = load_model(checkpoint)
    checkpoint_gradients(model)
    again, kept = gradients(model)
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
    assert kept < all_kept / 2


def test_operations_are_those_that_pytorch_counts(checkpoint, monkeypatch):
    # PyTorch counts its own operators only.
    monkeypatch.setattr(matrix_products, "is_slow_by_default", lambda: False)
    model = load_model(checkpoint)
    # Spelled out, so that each matrix product is counted.
    model.set_attn_implementation("eager")
    lengths = np.full(4, 30)
    with FlopCounterMode(display=False) as counted:
        token_logits(model, hidden_states(model, torch.randint(5, 17, (4, 30)))).sum().backward()
    config = model.config.to_dict()
    # Local attention, which is computed whole and masked, is counted as if it were spared.
    config["layer_types"] = None
    flops = training_flops(config, 17, lengths, 1.0)
    assert flops.sum() == pytest.approx(counted.get_total_flops(), rel=0.12)


def test_every_parameter_belongs_to_a_named_part(checkpoint):
    model = load_model(checkpoint)
    counted = count_parameters(model)
    assert "other" not in counted["parts"] and "attention" in counted["parts"]
    estimate = count_roughly(json.loads((checkpoint / "config.json").read_text()), 18)
    assert estimate == pytest.approx(counted["total"], rel=0.35)


@pytest.mark.parametrize("how", ["frozen", "full"])
def test_a_classifier_loads_with_transformers_alone(checkpoint, tmp_path, how):
    from transformers import pipeline

    config = classifier.read_model_config(checkpoint)
    pooling = choose_pooling(config, "mean")
    assert pooling == ("mean" if config["model_type"] == "modernbert" else "cls")
    weights = classifier.initial_weights(checkpoint, 3, seed=5)
    assert all(torch.equal(w, classifier.initial_weights(checkpoint, 3, 5)[n]) for n, w in weights.items())
    tokenizer = load_tokenizer(checkpoint)
    if how == "frozen":
        # The head alone, on vectors, says what the whole classifier says.
        module = classifier.head_with(config, weights).eval()
        vectors = embed_tokens(load_backbone(checkpoint), encode(tokenizer, SEQUENCES), pad_id=3)
        logits = module(torch.from_numpy(vectors[pooling]))
    else:
        module = classifier.full_model(checkpoint, weights, 3, pooling).eval()
        batch = [torch.tensor(ids[None].astype(np.int64)) for ids in encode(tokenizer, SEQUENCES)]
        logits = torch.cat([module(input_ids=ids).logits for ids in batch])
    counted = classifier.count_parameters(weights, trainable=set(module.state_dict()))
    assert sum(part["total"] for part in counted["parts"].values()) == counted["total"]
    labels = ["a", "b", "c"]
    (tmp_path / "classifier").mkdir()
    classifier.save_classifier(tmp_path / "classifier", checkpoint, weights, labels, pooling, None)
    ours = classifier.Classifier(tmp_path / "classifier").outputs(SEQUENCES)
    assert ours == pytest.approx(torch.softmax(logits.double(), 1).detach().numpy(), abs=1e-5)
    theirs = pipeline("text-classification", str(tmp_path / "classifier"), top_k=None)(SEQUENCES)
    for row, answers in zip(ours, theirs, strict=True):
        assert row == pytest.approx(
            [{a["label"]: a["score"] for a in answers}[name] for name in labels], abs=1e-5
        )


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_head_has_transformers_defaults_where_the_configuration_is_silent(kind):
    """Norm, biases and dropout: a published config.json need not name them."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    family = FAMILIES[kind]
    sizes = dict(zip(family.sizes.all(), (16, 24, 2, 2), strict=True))
    with torch.device("meta"):
        theirs = AutoModelForSequenceClassification.from_config(
            AutoConfig.for_model(kind, **sizes, vocab_size=18, pad_token_id=3, num_labels=3)
        )
    ours, norm = classifier.Head({"model_type": kind, **sizes}, 3), family.classifier_head.norm
    for name, value in ours.state_dict().items():
        assert theirs.state_dict()[name].shape == value.shape
    above = [
        m for n, m in theirs.named_modules() if not n.startswith((f"{family.backbone}.encoder", "model."))
    ]
    assert ours.drop.p in {m.p for m in above if isinstance(m, torch.nn.Dropout)}
    assert norm is None or ours.get_submodule(norm).eps == theirs.get_submodule(norm).eps
    pooled = classifier.pooling_of({"model_type": kind}, "cls")
    assert (pooled == {"classifier_pooling": "cls"}) is hasattr(theirs.config, "classifier_pooling")


@pytest.mark.parametrize(("kind", "counts"), [("modernbert", True), ("bert", False), ("electra", False)])
def test_a_head_has_the_activation_that_transformers_gives_it(kind, counts):
    """Of a ModernBERT the configuration's; others have their own, whatever else the file says."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = architecture(kind) | {"classifier_activation": "silu", "vocab_size": 18, "pad_token_id": 3}
    theirs = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(**config)).eval()
    ours, vectors = classifier.Head(config, 2).eval(), torch.randn(5, 16)
    ours.load_state_dict({name: theirs.state_dict()[name] for name in ours.state_dict()})
    plain = classifier.Head({k: v for k, v in config.items() if k != "classifier_activation"}, 2).eval()
    plain.load_state_dict(ours.state_dict())
    if kind == "bert":
        expected = theirs.classifier(theirs.bert.pooler(vectors[:, None]))
    else:
        above = theirs.head if kind == "modernbert" else (lambda v: v)
        expected = theirs.classifier(above(vectors if kind == "modernbert" else vectors[:, None]))
    torch.testing.assert_close(ours(vectors), expected)
    assert torch.allclose(ours(vectors), plain(vectors)) is not counts


def test_new_layers_are_drawn_as_transformers_draws_them(checkpoint, tmp_path):
    """Where the configuration is silent, with a standard deviation of 0.02, or cut at two of them."""
    shutil.copytree(checkpoint, tmp_path / "model")
    config = json.loads((checkpoint / "config.json").read_text())
    drawn, defaults = [], {"initializer_range": 0.02, "initializer_cutoff_factor": 2.0}
    for written in (defaults, {}):
        silent = {key: value for key, value in config.items() if key not in defaults}
        (tmp_path / "model" / "config.json").write_text(json.dumps(silent | written))
        drawn.append(classifier.initial_weights(tmp_path / "model", 200, seed=5))
    assert all(torch.equal(drawn[0][name], value) for name, value in drawn[1].items())
    head = FAMILIES[config["model_type"]].classifier_head
    output, dense = (drawn[0][f"{part}.weight"] for part in (head.output, head.dense))
    assert not drawn[0][f"{head.output}.bias"].any()
    if head.from_language_model:
        stored = classifier.load_file(checkpoint / "model.safetensors")
        assert torch.equal(dense, stored[f"{head.dense}.weight"])
        # A normal distribution of deviation 16 ** -0.5 without what is beyond two of them.
        assert 0.45 < output.abs().max() <= 0.5
        assert output.std() == pytest.approx(0.25 * 0.8796, rel=0.05)
    else:
        assert output.std() == pytest.approx(0.02, rel=0.05) and dense.std() == pytest.approx(0.02, rel=0.2)
        assert abs(dense.mean()) < 0.005 and not drawn[0][f"{head.dense}.bias"].any()
    assert abs(output.mean()) < 5 * output.std() / output.numel() ** 0.5


def test_what_takes_no_part_does_not_learn(checkpoint):
    weights = classifier.initial_weights(checkpoint, 2, seed=5)
    kind = json.loads((checkpoint / "config.json").read_text())["model_type"]
    module = classifier.full_model(checkpoint, weights, 2, "cls")
    resting = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    assert {name.split(".")[1] for name in resting} == ({"contact_head"} if kind == "esm" else set())


def test_low_rank_matrices_are_merged_and_kept(checkpoint, tmp_path):
    """LoRA: what was trained, the merged classifier, and language model with adapter say the same.

    The adapter of a regression, which learned from values of mean 0, says them as they were measured.
    """
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, pipeline

    config = classifier.read_model_config(checkpoint)
    pooling = choose_pooling(config, "mean")
    weights = classifier.initial_weights(checkpoint, 2, seed=5)
    settings = LoraSettings(rank=2, target_modules="all-linear")
    module = trained.prepare(classifier.full_model(checkpoint, weights, 2, pooling), settings, seed=3)
    tokens = [
        torch.tensor(ids[None].astype(np.int64)) for ids in encode(load_tokenizer(checkpoint), SEQUENCES)
    ]

    def logits(model) -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([model.eval()(input_ids=ids).logits for ids in tokens])

    before = logits(module)
    torch.testing.assert_close(before, logits(classifier.full_model(checkpoint, weights, 2, pooling)))
    linear = 4 if config["model_type"] == "modernbert" else 6
    learning = finetuning.learning_weights(module)
    assert sum("lora_" in name for name in learning) == 2 * 2 * linear, "two matrices, two layers"
    for number, parameter in enumerate(learning.values()):
        parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
    after = logits(module)
    assert (after - before).abs().max() > 0.01
    counted = trained.count_trained(weights, module)
    assert counted["trainable"] == sum(p.numel() for p in learning.values())
    assert counted["total"] == sum(w.numel() for w in weights.values())

    trained.save_adapter(tmp_path / "adapter", module)
    trained.save_adapter(tmp_path / "of_values", module, TargetScale(mean=30.0, deviation=2.0))
    merged = trained.merged(weights, module)
    (tmp_path / "classifier").mkdir()
    classifier.save_classifier(tmp_path / "classifier", checkpoint, merged, ["a", "b"], pooling, None)
    alone = AutoModelForSequenceClassification.from_pretrained(tmp_path / "classifier")
    torch.testing.assert_close(logits(alone), after, atol=1e-5, rtol=1e-4)
    answers = pipeline("text-classification", str(tmp_path / "classifier"))(SEQUENCES)
    assert [answer["label"] for answer in answers] == ["ab"[i] for i in after.argmax(1)]
    for adapter, expected in (("adapter", after), ("of_values", 30 + 2 * after)):
        base = AutoModelForSequenceClassification.from_pretrained(
            checkpoint, num_labels=2, **classifier.pooling_of(config, pooling)
        )
        with_adapter = PeftModel.from_pretrained(base, tmp_path / adapter)
        torch.testing.assert_close(logits(with_adapter), expected, atol=1e-4, rtol=1e-4)


def test_a_head_computes_in_fp32_on_a_backbone_in_bf16(checkpoint, tmp_path):
    """Features that differ by a thousandth are one number in bf16, and two for a head that learned them."""
    config = classifier.read_model_config(checkpoint)
    pooling = choose_pooling(config, "mean")
    weights = classifier.initial_weights(checkpoint, 2, seed=5)
    classifier.save_classifier(tmp_path, checkpoint, weights, ["a", "b"], pooling, 20)
    found = classifier.Classifier(tmp_path, bf16=True)
    for sequence in SEQUENCES:
        [ids] = encode(found.tokenizer, [sequence], 20)
        with torch.no_grad():
            with torch.autocast("cpu", torch.bfloat16):
                states = found.model.base_model(input_ids=torch.from_numpy(ids[None].astype(np.int64)))[0]
            pooled = states.float().mean(dim=1) if pooling == "mean" else states.float()[:, 0]
            logits = classifier.head_with(config, weights).eval()(pooled)
        expected = torch.softmax(logits.double(), dim=1).numpy()
        np.testing.assert_allclose(found.outputs([sequence]), expected, atol=1e-6)


def test_as_many_tokens_as_positions_and_no_more(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    limit = position_limit(config)
    model = load_model(checkpoint).eval()
    line = torch.full((1, (limit or 60) + 1), 5)
    hidden_states(model, line[:, :-1])
    if limit is None:
        hidden_states(model, line)
    else:
        assert limit == (
            POSITIONS if config["model_type"] in ("bert", "distilbert", "electra") else POSITIONS - 4
        )
        with pytest.raises((IndexError, RuntimeError)):
            hidden_states(model, line)


def test_transformers_cuts_what_is_longer_than_a_model_reads(checkpoint, tmp_path):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    published_model.main(
        tokenizer=checkpoint, checkpoint=checkpoint, model="m", output=tmp_path / "m", summary=None
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "m")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "m")
    cut = tokenizer("ACGT" * 1000, truncation=True, return_tensors="pt")
    config = model.config.to_dict()
    assert cut["input_ids"].shape == (1, position_limit(config) or config["max_position_embeddings"])
    model(**cut)


@pytest.mark.parametrize("kind", FAMILIES)
def test_lines_that_are_padded_for_a_gpu_have_positions(kind, tiny_model):
    shape = architecture(kind) | {"max_position_embeddings": 50}
    model = new_model(model_config(shape, load_tokenizer(tiny_model)), seed=1).eval()
    config = model.config.to_dict()
    limit = position_limit(config) or 50
    found = {length: padding_multiple(config, length) for length in (limit - 3, limit, 40)}
    for length, multiple in found.items():
        lines = [np.full(length, 5), np.full(length - 2, 6)]
        hidden_states(model, **pad(lines, 3, multiple_of=multiple))
    assert found[40] == 8
    assert found[limit] == (1 if kind in ("bert", "distilbert", "electra") else 8)


def change_weights(checkpoint: Path, folder: Path, change) -> Path:
    """A copy of the checkpoint whose weights `change` has had its hands on."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoint, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_incomplete_and_damaged_weights_are_refused(checkpoint, tmp_path):
    prefix = FAMILIES[json.loads((checkpoint / "config.json").read_text())["model_type"]].backbone + "."

    def without_half(weights):
        for name in [n for n in sorted(weights) if "layer" in n][::2]:
            del weights[name]

    def with_nan(weights):
        weights[min(n for n in weights if n.startswith(prefix) and "layer" in n)].fill_(float("nan"))

    def with_more(weights):
        weights[f"{prefix}layer.77.weight"] = torch.zeros(2)

    for number, (change, message) in enumerate(
        {
            without_half: "weights are missing",
            with_nan: "holds NaN",
            with_more: "no place in the model",
        }.items()
    ):
        folder = change_weights(checkpoint, tmp_path / str(number), change)
        with pytest.raises(InputError, match=message):
            load_model(folder)

    def too_large(weights):
        for values in weights.values():
            values.fill_(torch.finfo(values.dtype).max)

    network = load_model(change_weights(checkpoint, tmp_path / "large", too_large)).eval()
    line = MaskedLine(0, ids := np.arange(6), ids, np.array([2]))
    with pytest.raises(InputError, match=f"{tmp_path}/large: what the network says of a sequence is NaN"):
        model_scores(network, [line], 0, torch.device("cpu"))
    with pytest.raises(InputError, match="lower learning rate"):
        embed_tokens(getattr(network, network.base_model_prefix), [ids], pad_id=0)

    def headless(weights):
        for name in [n for n in weights if not n.startswith(prefix)]:
            del weights[name]

    folder = change_weights(checkpoint, tmp_path / "headless", headless)
    with pytest.raises(InputError, match="no weights for the head"):
        load_model(folder)
    one, two = load_model(folder, new_head=True), load_model(folder, new_head=True)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    for start, new in ((folder, True), (checkpoint, False)):
        output = tmp_path / f"taken-{new}"
        published_model.main(tokenizer=start, checkpoint=start, model="m", output=output, summary=None)
        assert json.loads((output / "training_summary.json").read_text())["new_head"] is new


@pytest.mark.parametrize(
    ("kind", "own", "older"),
    [
        ("bert", "cls.predictions.decoder.bias", "cls.predictions.bias"),
        ("roberta", "lm_head.decoder.bias", "lm_head.bias"),
    ],
)
def test_an_output_bias_where_transformers_4_had_it_is_taken(kind, own, older, tiny_model, tmp_path):
    shape = architecture(kind) | {"tie_word_embeddings": False}
    model = new_model(model_config(shape, load_tokenizer(tiny_model)), seed=1).eval()
    torch.nn.init.normal_(model.get_parameter(own))
    model.save_pretrained(tmp_path / "now")

    def as_before(weights):
        weights[older] = weights.pop(own)

    before = load_model(change_weights(tmp_path / "now", tmp_path / "before", as_before)).eval()
    batch = pad(encode(load_tokenizer(tiny_model), SEQUENCES, 20), 3)
    with torch.no_grad():
        expected, found = (token_logits(m, hidden_states(m, **batch)) for m in (model, before))
    torch.testing.assert_close(found, expected)


def test_what_a_published_configuration_asks_for_or_lacks(checkpoint, tmp_path):
    """One that gives attentions can be trained and saved; one without a padding token is another model."""
    folder = tmp_path / "model"
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"output_attentions": True, "auto_map": [1], "output_hidden_states": True})
    )
    load_model(folder, load_tokenizer(folder)).save_pretrained(tmp_path / "saved")
    load_model(tmp_path / "saved", load_tokenizer(folder))
    del config["pad_token_id"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        InputError, match=r"it lacks pad_token_id.*but 3 by the tokenizer|Padding_idx must be"
    ):
        load_model(folder, load_tokenizer(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "t5"}, "model_type is 't5'. Use one of modernbert, bert"),
        ({"auto_map": {"AutoModelForMaskedLM": "modeling.Own"}}, "program code of its own"),
        (None, "only pytorch_model.bin, which can run code"),
    ],
)
def test_checkpoints_that_cannot_work_are_refused_without_torch(tiny_model, tmp_path, change, message):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    if change is None:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    else:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError, match=message):
        check_model_directory(folder)
    with pytest.raises(InputError, match="a file"):
        check_model_directory(folder / "config.json")


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused_without_torch(tiny_model):
    config = check_model_directory(tiny_model)
    check_tokenizer_fits(tiny_model, config, tiny_model)
    with pytest.raises(InputError, match="Use the checkpoint's own tokenizer"):
        check_tokenizer_fits(tiny_model, config | {"vocab_size": 9}, tiny_model / "tokenizer.json")


def test_no_step_reads_a_checkpoint_with_another_vocabulary_of_the_same_size(tiny_model, tmp_path):
    """As one learnt here beside a checkpoint, which is there only when other jobs have run."""
    shutil.copytree(tiny_model, tmp_path / "other")
    file = tmp_path / "other/tokenizer.json"
    text = file.read_text()
    file.write_text(text.replace('"AA": 9', '"AA": 10').replace('"CG": 10', '"CG": 9'))
    assert file.read_text() != text
    options = {"tokenizer": tmp_path / "other", "checkpoint": tiny_model}
    with pytest.raises(InputError, match=r'token "CG", 9 in .*, is 10 by the tokenizer\.json'):
        pretrain.read_start(SimpleNamespace(**options), None)
    with pytest.raises(InputError, match="Use the checkpoint's own tokenizer"):
        published_model.main(**options, model="m", output=tmp_path / "model", summary=None)


def test_local_attention_costs_what_a_token_sees():
    config = {"model_type": "modernbert", "hidden_size": 10, "intermediate_size": 1}
    config |= {"num_hidden_layers": 1, "num_attention_heads": 1, "local_attention": 8}

    def pairs(kind: str, length: int) -> float:
        whole = training_flops(config | {"layer_types": [kind]}, 5, np.array([length]), 0.0)
        return (float(whole[0]) - 6 * length * (4 * 100 + 3 * 10)) / (12 * 10)

    for length in (1, 3, 5, 9, 40):
        seen = sum(abs(i - j) <= 4 for i in range(length) for j in range(length))
        assert pairs("sliding_attention", length) == pytest.approx(seen)
        assert pairs("full_attention", length) == pytest.approx(length**2)


def test_the_peak_is_of_this_gpu_and_precision():
    assert peak_flops("NVIDIA H100 80GB HBM3", "bf16") == 989e12
    assert peak_flops("NVIDIA H100 PCIe", "bf16") == 756e12
    assert peak_flops("NVIDIA A100-SXM4-80GB", "bf16") == 312e12
    assert peak_flops("NVIDIA A100-SXM4-80GB", "fp32") is None
    assert peak_flops("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bf16") is None
    assert peak_flops("NVIDIA GH200 480GB", "bf16") == 989e12
    assert (peak_flops("NVIDIA L40", "bf16"), peak_flops("NVIDIA L40S", "bf16")) == (181e12, 362e12)
    assert peak_flops("NVIDIA A1000", "bf16") is None and peak_flops("NVIDIA A4000", "bf16") is None
