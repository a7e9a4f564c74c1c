"""Pretraining as tutorials do it: Transformers' Trainer, lines in random order, padded to the longest.

python benchmarks/plain/pretrain.py model/ tokens/ batch_size steps

`tokens/` is the cache that scripts/pretrain.py reads. Masks as there; logits of every token.
"""

import sys
import tempfile

import datasets
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

model, tokens, batch_size, steps = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder,
        max_steps=int(steps),
        per_device_train_batch_size=int(batch_size),
        learning_rate=1e-4,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        AutoModelForMaskedLM.from_pretrained(model),
        arguments,
        train_dataset=datasets.load_from_disk(tokens),
        data_collator=DataCollatorForLanguageModeling(
            AutoTokenizer.from_pretrained(model), mlm_probability=0.5
        ),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
