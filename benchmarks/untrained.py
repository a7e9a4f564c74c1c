"""What the benchmarks of models share: an untrained model directory and random DNA."""

import random
from pathlib import Path

from tokenizers import Tokenizer, models, trainers
from transformers import PreTrainedTokenizerFast

from dnalm.models.architecture import model_config, new_model, read_architecture
from dnalm.tokenizers.vocabulary import SPECIAL_TOKENS, adjust_for_dna


def untrained_model(directory: Path, architecture: Path, tokenizer_file: Path | None) -> Path:
    """A model directory of random weights, with a tokenizer given or trained on random DNA."""

    if tokenizer_file:
        backend = Tokenizer.from_file(str(tokenizer_file))
    else:
        backend = Tokenizer(models.BPE(unk_token="[UNK]"))
        trainer = trainers.BpeTrainer(
            vocab_size=4096, special_tokens=list(SPECIAL_TOKENS.values()), show_progress=False
        )
        backend.train_from_iterator(random_dna(3000, 1000, seed=1), trainer)
    adjust_for_dna(backend, SPECIAL_TOKENS, "unk")
    names = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, model_input_names=["input_ids", "attention_mask"], **names
    )
    new_model(model_config(read_architecture(architecture), tokenizer), seed=42).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def random_dna(number: int, length: int, seed: int) -> list[str]:
    generator = random.Random(seed)
    return ["".join(generator.choices("ACGT", k=length)) for _ in range(number)]
