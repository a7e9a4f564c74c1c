"""How fast classifiers are trained, beside Transformers' Trainer. Same losses (frozen), checked.

    python benchmarks/finetune.py [--architecture demo.json] [--sequences table.tsv] [--epochs 5]

Frozen: the plain way runs every sequence, padded to --max-tokens, through the frozen backbone in every
epoch; here they run through it once (the time is counted) and the head learns from the vectors. Both use the
same batches, so that losses can be compared. Full: the same training of all weights; here in batches of
similar length. CPU seconds, without validation, without loading libraries and model. Without
--sequences random DNA of 150 to 200 bp with random labels is used: speed does not depend on them.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from untrained import random_dna, untrained_model  # noqa: E402

from dnalm.embed.embedding import embed_tokens, load_backbone  # noqa: E402
from dnalm.finetune import classifier  # noqa: E402
from dnalm.finetune import training as finetuning  # noqa: E402
from dnalm.sequences.tables import read_labelled_table, sort_labels  # noqa: E402
from dnalm.tokenizers.encoding import encode, load_tokenizer  # noqa: E402


def plain(
    directory: Path,
    frozen: bool,
    sequences: list[str],
    labels: torch.Tensor,
    max_tokens: int,
    settings: finetuning.Settings,
) -> tuple[float, list[float]]:
    """CPU seconds and the loss of every step with Transformers' Trainer, sequences padded to `max_tokens`."""
    from transformers import PrinterCallback, Trainer, TrainingArguments

    class SameBatches(Trainer):
        """The batches of `dnalm.finetune.classifier.Vectors`, epoch by epoch."""

        def get_train_dataloader(self):
            vectors = classifier.Vectors(torch.zeros(len(labels), 1), labels)
            epochs = range(1, settings.epochs + 1)

            class Batches:
                def __init__(self):
                    self.epoch = iter(epochs)

                def __iter__(self):
                    return iter(vectors.batches(settings.batch_size, settings.seed, next(self.epoch)))

                def __len__(self):
                    return -(-len(labels) // settings.batch_size)

            return torch.utils.data.DataLoader(
                self.train_dataset, batch_sampler=Batches(), collate_fn=self.data_collator
            )

    weights = classifier.initial_weights(directory, int(labels.max()) + 1, settings.seed)
    model = classifier.full_model(directory, weights, int(labels.max()) + 1, "mean")
    model.model.requires_grad_(not frozen)
    start = time.process_time()
    inputs = load_tokenizer(directory)(
        sequences, padding="max_length", truncation=True, max_length=max_tokens
    )
    rows = [
        {"input_ids": ids, "attention_mask": mask, "labels": label}
        for ids, mask, label in zip(
            inputs["input_ids"], inputs["attention_mask"], labels.tolist(), strict=True
        )
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            seed=settings.seed,
        )
        trainer = SameBatches(model, arguments, train_dataset=rows)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    took = time.process_time() - start
    return took, [record["loss"] for record in trainer.state.log_history if "loss" in record]


def ours(
    directory: Path,
    frozen: bool,
    sequences: list[str],
    labels: torch.Tensor,
    max_tokens: int,
    settings: finetuning.Settings,
) -> tuple[float, list[float]]:
    """CPU seconds and the loss of every step as scripts/embed.py and scripts/finetune.py train."""
    classes = int(labels.max()) + 1
    weights = classifier.initial_weights(directory, classes, settings.seed)
    config = classifier.read_model_config(directory)
    tokenizer = load_tokenizer(directory)
    if frozen:
        backbone = load_backbone(directory)
        module: torch.nn.Module = classifier.head_with(config, weights)
    else:
        module = classifier.full_model(directory, weights, classes, "mean")
    start = time.process_time()
    tokens = encode(tokenizer, sequences, max_tokens)
    examples: classifier.Examples = classifier.Tokens(tokens, labels, config["pad_token_id"])
    if frozen:
        vectors = embed_tokens(backbone, tokens, pad_id=config["pad_token_id"])["mean"]
        examples = classifier.Vectors(torch.from_numpy(vectors), labels)
    optimizer = finetuning.optimizer_for(module, settings)
    losses: list[float] = []
    steps = settings.epochs * -(-len(labels) // settings.batch_size)
    module.train()
    for epoch in range(1, settings.epochs + 1):
        for batch in examples.batches(settings.batch_size, settings.seed, epoch):
            for group in optimizer.param_groups:
                group["lr"] = finetuning.learning_rate(len(losses), steps, settings)
            losses.append(finetuning.train_batch(module, examples, batch, optimizer, settings))
    return time.process_time() - start, losses


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "--architecture", type=Path, default=REPOSITORY / "resources/architectures/course.json"
    )
    arguments.add_argument("--tokenizer", type=Path)
    arguments.add_argument("--sequences", type=Path)
    arguments.add_argument("--number", type=int, default=600)
    arguments.add_argument("--epochs", type=int, default=5)
    arguments.add_argument("--batch-size", type=int, default=64)
    arguments.add_argument("--max-tokens", type=int, default=50)
    arguments.add_argument("--backbones", nargs="+", choices=("frozen", "full"), default=["frozen", "full"])
    options = arguments.parse_args()
    if options.sequences:
        table = read_labelled_table(options.sequences)[: options.number]
        names = sort_labels(table["label"])
        sequences, labels = table["seq"].tolist(), torch.tensor([names.index(x) for x in table["label"]])
    else:
        generator = random.Random(3)
        sequences = [dna[: generator.randint(150, 200)] for dna in random_dna(options.number, 200, seed=2)]
        labels = torch.tensor([generator.randint(0, 1) for _ in sequences])
    with tempfile.TemporaryDirectory() as folder:
        directory = untrained_model(Path(folder) / "model", options.architecture, options.tokenizer)
        print(f"{len(sequences)} sequences, {options.epochs} epochs, {torch.get_num_threads()} threads")
        for backbone in options.backbones:
            rate = 1e-3 if backbone == "frozen" else 5e-5
            settings = finetuning.Settings(
                epochs=options.epochs,
                learning_rate=rate,
                batch_size=options.batch_size,
                weight_decay=0.0,
                warmup_fraction=0.0,
                max_gradient_norm=1.0,
                label_smoothing=0.0,
                class_weights="none",
                patience=None,
                seed=42,
            )
            request = (directory, backbone == "frozen", sequences, labels, options.max_tokens, settings)
            plain_seconds, plain_losses = plain(*request)
            our_seconds, our_losses = ours(*request)
            print(
                f"{backbone:6s} plain {plain_seconds:7.1f} CPU s   here {our_seconds:7.1f} CPU s", end="   "
            )
            print(f"ratio {plain_seconds / our_seconds:.1f}", end="   ")
            if backbone == "frozen":
                difference = np.abs(np.array(plain_losses) - np.array(our_losses)).max()
                print(f"largest difference of a step's loss {difference:.1e}")
                assert difference < 1e-3, "the losses differ"
            else:
                last = -(-len(labels) // options.batch_size)
                print(f"mean loss of the last epoch {np.mean(plain_losses[-last:]):.3f}", end=" ")
                print(f"and {np.mean(our_losses[-last:]):.3f} (other batches)")


if __name__ == "__main__":
    main()
