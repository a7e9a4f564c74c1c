"""A tiny language model that several tests share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory as pretraining writes it: 2 layers, 32 dimensions, 18 tokens, random weights.

    The vocabulary is the specials, A C G T, and a few merges, so that sequences of one length in bp
    differ in tokens. The window of the local layer is short enough to matter.
    """
    import torch
    from tokenizers import Tokenizer, models
    from transformers import ModernBertConfig, ModernBertForMaskedLM, PreTrainedTokenizerFast

    from dnalm.tokenizers.vocabulary import SPECIAL_TOKENS, adjust_for_dna

    merges = [
        ("A", "A"),
        ("C", "G"),
        ("T", "T"),
        ("G", "A"),
        ("A", "C"),
        ("AA", "TT"),
        ("CG", "GA"),
        ("T", "C"),
    ]
    tokens = [*SPECIAL_TOKENS.values(), "A", "C", "G", "T", *(a + b for a, b in merges)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="[UNK]"))
    adjust_for_dna(backend, SPECIAL_TOKENS, "unk")
    names = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=8192,
        **names,
    )
    config = ModernBertConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        local_attention=16,
        # Larger than usual: random weights that tell sequences apart.
        initializer_range=0.3,
        pad_token_id=3,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ModernBertForMaskedLM(config)
    directory = tmp_path_factory.mktemp("model") / "tiny"
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
