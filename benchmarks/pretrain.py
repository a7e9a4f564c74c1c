"""Time per training step: plain Hugging Face Trainer against scripts/pretrain.py, side by side.

The plain way pads every line to 250 tokens, masks with DataCollatorForLanguageModeling and computes logits
for every token. Ours puts lines of similar length together, pads to the longest one and computes logits for
masked tokens only. Same network, same batch size, same optimizer. Lines have the lengths of 1000-bp windows
under DNABERT-2's vocabulary (195 to 216 tokens).

    python benchmarks/pretrain.py [--architecture resources/architectures/course.json] [--steps 8]

Prints seconds per step of each way (the fastest of several alternating rounds) and their ratio.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import numpy as np

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

VOCABULARY, MAX_TOKENS = 4096, 250


class Lines:
    """Random lines in place of a token cache."""

    def __init__(self, n_lines: int):
        numbers = np.random.default_rng(0)
        self.lengths = numbers.normal(205, 5, n_lines).round().clip(190, 234).astype(np.int32)
        self.lines = [
            np.concatenate([[1], numbers.integers(5, VOCABULARY, length - 2), [2]]) for length in self.lengths
        ]

    def line(self, index: int) -> np.ndarray:
        return self.lines[index]


class Tokenizer:
    """What a network must know of its tokenizer."""

    pad_token_id, cls_token_id, sep_token_id, mask_token_id = 3, 1, 2, 4

    def __len__(self) -> int:
        return VOCABULARY


class Stopwatch:
    """A Trainer callback that keeps the time of each step but the first."""

    def __init__(self) -> None:
        from transformers import TrainerCallback

        watch = self
        self.last, self.seconds = None, []

        class Callback(TrainerCallback):
            def on_step_end(self, args: object, state: object, control: object, **kwargs: object) -> None:
                now = time.perf_counter()
                if watch.last is not None:
                    watch.seconds.append(now - watch.last)
                watch.last = now

        self.callback = Callback()

    def mean(self) -> float:
        return sum(self.seconds) / len(self.seconds)


def plain(config: object, lines: Lines, steps: int, batch_size: int, scratch: str) -> float:
    """Seconds per step of the plain way."""
    import tokenizers
    from transformers import (
        DataCollatorForLanguageModeling,
        PreTrainedTokenizerFast,
        PrinterCallback,
        Trainer,
        TrainingArguments,
    )

    from dnalm.models.architecture import new_model

    words = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3, "[MASK]": 4}
    words |= {f"t{i}": i for i in range(5, VOCABULARY)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]")),
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        mask_token="[MASK]",
    )
    rows = tokenizer.pad(
        {"input_ids": [line.tolist() for line in lines.lines]}, padding="max_length", max_length=MAX_TOKENS
    )
    rows = [
        {"input_ids": ids, "attention_mask": mask}
        for ids, mask in zip(rows["input_ids"], rows["attention_mask"], strict=True)
    ]
    watch = Stopwatch()
    trainer = Trainer(
        model=new_model(config, 42),
        args=TrainingArguments(
            output_dir=scratch,
            max_steps=steps,
            per_device_train_batch_size=batch_size,
            learning_rate=1e-4,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=rows,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.5),
        callbacks=[watch.callback],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return watch.mean()


def ours(config: object, lines: Lines, steps: int, batch_size: int) -> float:
    """Seconds per step of scripts/pretrain.py, without evaluation and checkpoints."""
    import torch

    from dnalm.models.architecture import new_model
    from dnalm.models.optimization import adamw
    from dnalm.pretrain import batches, training
    from dnalm.pretrain.settings import MaskingSettings
    from dnalm.pretrain.telemetry import TrainingMonitor

    class Steps(TrainingMonitor):
        """Keeps the time of each step but the first."""

        ended: ClassVar[list[float]] = []

        def end_step(self, step: int, all_tokens: int) -> None:
            self.ended.append(time.perf_counter())

    device = torch.device("cpu")
    vocabulary = batches.Vocabulary(VOCABULARY, (0, 1, 2, 3, 4), mask_id=4, pad_id=3, cls_id=1, sep_id=2)
    corpus = batches.Corpus(lines, vocabulary, MaskingSettings(), max_tokens=MAX_TOKENS, seed=42)
    schedule = training.Schedule(steps, 1e-4, "cosine", 0.05, 0.0, 1.0, 10**9, 42)
    network = new_model(config, 42)
    watch = Steps(steps, device=device, quiet=True)
    watch.ended.clear()
    training.train(
        network,
        adamw(network, schedule.learning_rate, schedule.weight_decay),
        batches.TrainingBatches(corpus, steps, batch_size),
        training.HeldOut(corpus, np.arange(1)),
        schedule,
        training.TrainingState(log=[{"event": "evaluation"}]),
        device=device,
        precision="fp32",
        monitor=watch,
    )
    # Before the evaluation after the last step.
    return (watch.ended[-1] - watch.ended[0]) / (steps - 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architecture", type=Path, default=REPOSITORY / "resources/architectures/demo.json")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args()

    import transformers

    from dnalm.models.architecture import model_config, read_architecture

    transformers.logging.set_verbosity_error()
    config = model_config(read_architecture(options.architecture), Tokenizer())
    # As many lines as a pool, so that batches are as even as in a real run.
    lines = Lines(max(options.steps, 100) * options.batch_size)
    best = {"plain": float("inf"), "ours": float("inf")}
    with tempfile.TemporaryDirectory() as scratch:
        # In turn, so that whatever else the machine does hits both.
        for _ in range(options.rounds):
            best["plain"] = min(
                best["plain"], plain(config, lines, options.steps, options.batch_size, scratch)
            )
            best["ours"] = min(best["ours"], ours(config, lines, options.steps, options.batch_size))
    print(
        json.dumps(
            {
                "architecture": options.architecture.name,
                "plain_seconds_per_step": round(best["plain"], 4),
                "ours_seconds_per_step": round(best["ours"], 4),
                "ratio": round(best["plain"] / best["ours"], 3),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
