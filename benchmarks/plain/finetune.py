"""A classifier on a frozen backbone as tutorials train it: Transformers' Trainer, every sequence padded.

python benchmarks/plain/finetune.py model/ train.tsv validation.tsv max_tokens epochs output.json

Starts from the weights that scripts/finetune.py starts from. Writes the validation loss of each epoch.
"""

import csv
import json
import sys
import tempfile
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from dnalm.finetune import classifier
from dnalm.finetune.examples import Vectors

directory, *tables, max_tokens, epochs, output = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(directory)


def read(path: str) -> list[dict]:
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    inputs = tokenizer(
        [row["seq"] for row in rows], padding="max_length", truncation=True, max_length=int(max_tokens)
    )
    return [
        {"input_ids": ids, "attention_mask": mask, "labels": int(row["label"])}
        for row, ids, mask in zip(rows, inputs["input_ids"], inputs["attention_mask"], strict=True)
    ]


class InOneOrder(Trainer):
    """The batches of scripts/finetune.py, so that the losses can be compared."""

    def get_train_dataloader(self) -> torch.utils.data.DataLoader:
        n = len(self.train_dataset)
        order = Vectors(torch.zeros(n, 1), torch.zeros(n, dtype=torch.int64))
        size, seed = self.args.per_device_train_batch_size, self.args.seed

        class Batches:
            epochs = iter(range(1, int(epochs) + 1))

            def __iter__(self):
                return iter(order.batches(size, seed, next(self.epochs)))

            def __len__(self):
                return -(-n // size)

        return torch.utils.data.DataLoader(
            self.train_dataset, batch_sampler=Batches(), collate_fn=self.data_collator
        )


train, validation = map(read, tables)
weights = classifier.initial_weights(Path(directory), 2, 42)
config = AutoConfig.from_pretrained(directory, num_labels=2, classifier_pooling="mean")
model = AutoModelForSequenceClassification.from_config(config)
model.load_state_dict(weights)
model.model.requires_grad_(False)
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder,
        num_train_epochs=int(epochs),
        per_device_train_batch_size=64,
        per_device_eval_batch_size=64,
        learning_rate=1e-3,
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=42,
    )
    trainer = InOneOrder(model, arguments, train_dataset=train, eval_dataset=validation)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
losses = [record["eval_loss"] for record in trainer.state.log_history if "eval_loss" in record]
Path(output).write_text(json.dumps(losses))
