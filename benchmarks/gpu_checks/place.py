"""What is checked with: a tokenizer, a corpus and a task in a folder, and commands that learn from them."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import train_tokenizer
from dnalm.finetune.examples import Tokens
from dnalm.models.architecture import model_config
from dnalm.models.checks import read_architecture
from dnalm.pretrain import batches
from dnalm.pretrain.settings import MaskingSettings
from dnalm.running.devices import choose_precision
from dnalm.tokenize_windows.cache import load_tokens, write_tokens
from dnalm.tokenize_windows.context import ContextLines
from dnalm.tokenizers.encoding import encode, load_tokenizer
from dnalm.tokenizers.settings import TrainTokenizerSettings, UnknownBaseSettings

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "scripts"
TINY = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
CPU = torch.device("cpu")
LABELS = ["no", "yes"]


@dataclass(frozen=True)
class Sizes:
    """How much is computed. `micro_batches`: lines at once whose memory is measured; `sequences_at_once`: in
    fine-tuning, where memory and speed are measured; `fine_tuning`: settings of all ways.
    """

    architecture: Path | None
    vocabulary: int
    lines: int
    line_bp: int
    batch_size: int
    steps: int
    micro_batches: tuple[int, ...]
    sequences: int
    sequences_at_once: int
    lines_judged: int
    fine_tuning: dict[str, Any]


ON_GPU = Sizes(
    architecture=REPOSITORY / "resources/architectures/course.json",
    vocabulary=4096,
    lines=4000,
    # About 230 tokens, as 1,000 bp of real DNA have: shorter lines would keep a fast GPU waiting.
    line_bp=1700,
    batch_size=128,
    steps=60,
    micro_batches=(16, 64, 256, 1024),
    sequences=64,
    sequences_at_once=1024,
    lines_judged=64,
    fine_tuning={"epochs": 3, "batch_size": 8},
)


ON_CPU = Sizes(
    architecture=None,
    vocabulary=64,
    lines=160,
    line_bp=120,
    batch_size=8,
    steps=24,
    micro_batches=(2, 8),
    sequences=12,
    sequences_at_once=16,
    lines_judged=8,
    # At the usual rates a tiny network learns nothing in so few steps.
    fine_tuning={"epochs": 3, "batch_size": 8, "learning_rate": 5e-4},
)


def write_in(words: list[str], bp: int, numbers: np.random.Generator) -> str:
    """`bp` bases of these words, all of the same length, in random order."""
    return "".join(words[i] for i in numbers.integers(0, len(words), bp // len(words[0])))


def motifs_among_bases(motifs: list[str], bp: int, numbers: np.random.Generator) -> str:
    """`bp` bases: a motif and as many random bases in turn."""
    length = len(motifs[0])
    pairs = range(bp // (2 * length))
    return "".join(write_in(words, length, numbers) for _ in pairs for words in (motifs, list("ACGT")))


def labelled_sequences(motifs: list[str], count: int, numbers: np.random.Generator) -> pd.DataFrame:
    """A table of a task, 120 bp each, labels in turn: each has four motifs of its own among random bases."""
    rows = []
    for i in range(count):
        own = motifs[4 * (i % 2) :][:4]
        rows.append((str(i), motifs_among_bases(own, 120, numbers), LABELS[i % 2]))
    return pd.DataFrame(rows, columns=["id", "seq", "label"])


class Place:
    """A folder with tokenizer, corpus, task and architecture, and the device to check."""

    def __init__(self, folder: Path, sizes: Sizes, device: torch.device):
        self.folder, self.sizes, self.device = folder, sizes, device
        numbers = np.random.default_rng(42)
        letters = np.array(list("ACGT"))
        motifs = ["".join(motif) for motif in letters[numbers.integers(0, 4, (40, 20))]]
        lines = [motifs_among_bases(motifs, sizes.line_bp, numbers) for _ in range(sizes.lines)]
        # Long and short ones: in a batch of both, some padding is so far from all tokens that it sees none.
        self.sequences = [line if i % 2 else line[:200] for i, line in enumerate(lines[: sizes.sequences])]
        self.task = {
            name: labelled_sequences(motifs, count, numbers)
            for name, count in (("learned", 64), ("validation", 16))
        }
        for name, table in self.task.items():
            table.to_csv(folder / f"{name}.tsv", sep="\t", index=False)
        (folder / "lines.txt").write_text("\n".join(lines[:1000]) + "\n")
        self.tokenizer = folder / "tokenizer"
        train_tokenizer.main(
            windows=[folder / "lines.txt"],
            settings=TrainTokenizerSettings(vocabulary_size=sizes.vocabulary),
            unknown_bases=UnknownBaseSettings(),
            output=self.tokenizer,
            summary=folder / "tokenizer.json",
        )
        self.vocabulary = load_tokenizer(self.tokenizer)
        tokens = encode(self.vocabulary, lines, 10_000)
        held_out = len(lines) // 10
        for name, part in (("train", tokens[held_out:]), ("held_out", tokens[:held_out])):
            (folder / name).mkdir()
            write_tokens(folder / name, [part], len(self.vocabulary))
        self.architecture = sizes.architecture or folder / "tiny.json"
        if sizes.architecture is None:
            self.architecture.write_text(json.dumps(TINY))
        self.config = model_config(read_architecture(self.architecture), self.vocabulary)
        # What trainings and predictions take on this device.
        self.usual = choose_precision("auto", device)
        # On a CPU it is slow, but a test of the checks.
        self.bf16 = device.type == "cpu" or self.usual == "bf16"

    def corpus(self, name: str, multiple_of: int = 1) -> batches.Corpus:
        lines = ContextLines(load_tokens(self.folder / name), self.longest)
        return batches.Corpus(
            lines,
            batches.Vocabulary.of(self.vocabulary),
            MaskingSettings(),
            seed=42,
            pad_to_multiple_of=multiple_of,
        )

    @property
    def longest(self) -> int:
        return int(load_tokens(self.folder / "train").lengths.max())

    def examples(self, name: str, device: torch.device, precision: str) -> Tokens:
        """A split of the task."""
        table = self.task[name]
        return Tokens(
            encode(self.vocabulary, table["seq"].tolist(), 512),
            torch.tensor(table["label"].map(LABELS.index).to_numpy()),
            self.config.pad_token_id,
            device,
            precision == "bf16",
        )

    def pretraining(self, name: str, *words: object) -> list[str]:
        """scripts/pretrain.py on this corpus, writing to `name`."""
        options = {
            "tokens": self.folder / "train",
            "validation-tokens": self.folder / "held_out",
            "tokenizer": self.tokenizer,
            "architecture": self.architecture,
            "max-tokens": self.longest,
            "training-steps": self.sizes.steps,
            "training-batch-size": self.sizes.batch_size,
            "training-learning-rate": 5e-4,
            "training-evaluate-every": max(1, self.sizes.steps // 4),
            "training-checkpoint-every-steps": max(1, self.sizes.steps // 4),
            "telemetry": self.folder / f"{name}.telemetry.json",
            "gpus": torch.cuda.device_count() if self.device.type == "cuda" else 0,
            "processes": 1,
        }
        return self.command("pretrain.py", name, options, *words)

    def finetuning(self, name: str) -> list[str]:
        """scripts/finetune.py with LoRA on this task, writing to `name`."""
        options = {
            "model": self.model,
            "train-sequences": self.folder / "learned.tsv",
            "validation-sequences": self.folder / "validation.tsv",
            "backbone": "lora",
            **{key.replace("_", "-"): value for key, value in self.sizes.fine_tuning.items()},
            # After every step.
            "checkpoint-every-minutes": 1e-6,
            "gpus": 1 if self.device.type == "cuda" else 0,
            "name": "check",
            "task": "check",
        }
        return self.command("finetune.py", name, options)

    def command(self, script: str, name: str, options: Mapping[str, object], *words: object) -> list[str]:
        """A script that writes to `name` and can be interrupted."""
        options = {
            **options,
            "checkpoints": self.folder / "checkpoints" / name,
            "output": self.folder / name,
        }
        words_of_options = [word for key, value in options.items() for word in (f"--{key}", value)]
        return [str(w) for w in (sys.executable, SCRIPTS / script, *words_of_options, *words)]

    @property
    def model(self) -> Path:
        """The language model that `interruptions.check_kill` pretrains, from which later checks start."""
        return self.folder / "undisturbed"

    def losses(self, name: str) -> list[float]:
        """Held-out losses of a training by one of the scripts, in the order of steps."""
        (log,) = (self.folder / name).glob("*_log.jsonl")
        records = map(json.loads, log.read_text().splitlines())
        return [
            record["masked_loss" if "masked_loss" in record else "loss"]
            for record in records
            if record["event"] == "evaluation"
        ]
