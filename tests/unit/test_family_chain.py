"""Every family goes through all steps, script by script: from scratch, and from a checkpoint as published.

A published checkpoint is what Transformers saves: special tokens have the family's names and numbers, and its
tokenizer knows nothing of DNA.
"""

import csv
import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest
from settings_objects import by_flags, grouped
from steps import embed_into

import evaluate_language_model
import fill_mask
import finetune
import import_tokenizer
import predict
import pretrain
import tokenize_windows
from dnalm.evaluate.settings import StrandSettings
from dnalm.evaluate_language_model.settings import EvaluateLanguageModelSettings
from dnalm.fill_mask.settings import GapSettings
from dnalm.models.families import FAMILIES
from dnalm.predict.settings import ScanSettings
from dnalm.pretrain.settings import ContextSettings
from dnalm.report.language_model import language_model_section
from dnalm.report.run import LanguageModel, Run, Training
from dnalm.report.words import TOKEN_BASELINES
from dnalm.running.commandline import parsed_options
from dnalm.running.errors import InputError
from dnalm.tokenizers.settings import ImportTokenizerSettings

SPECIAL_TOKENS = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    "esm": ["<cls>", "<pad>", "<eos>", "<unk>", "<mask>"],
}
ROLES = {
    "bert": ["pad", "unk", "cls", "sep", "mask"],
    "roberta": ["cls", "pad", "sep", "unk", "mask"],
    "esm": ["cls", "pad", "sep", "unk", "mask"],
}
PIECES = ["A", "C", "G", "T", "AA", "CG", "TT", "AATT"]
DEVICE = {"gpus": 0, "allow_cpu": False}
PLAIN = ImportTokenizerSettings()


def sequences(number: int, seed: int) -> list[str]:
    generator = random.Random(seed)
    return ["".join(generator.choices("ACGT", k=generator.randint(20, 45))) for _ in range(number)]


def published_tokenizer(style: str, folder: Path):
    """A tokenizer as it comes with a checkpoint: its own names and numbers, lower case unknown."""
    from tokenizers import Tokenizer, models, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate([*SPECIAL_TOKENS[style], *PIECES])}
    names = dict(zip(ROLES[style], SPECIAL_TOKENS[style], strict=True))
    merges = [("A", "A"), ("C", "G"), ("T", "T"), ("AA", "TT")]
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token=names["unk"]))
    cls, sep = names["cls"], names["sep"]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}", special_tokens=[(name, vocabulary[name]) for name in (cls, sep)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, **{f"{role}_token": name for role, name in names.items()}
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Lines of two splits, and a labelled table of each."""
    folder = tmp_path_factory.mktemp("data")
    for seed, split in enumerate(("train", "validation")):
        found = sequences(24, seed)
        (folder / f"{split}.txt").write_text("\n".join(found) + "\n")
        rows = [f"{s}\t{'yes' if s.count('G') > len(s) / 4 else 'no'}\n" for s in found]
        (folder / f"{split}.tsv").write_text("seq\tlabel\n" + "".join(rows))
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def kind(request) -> str:
    return request.param


def start(kind: str, how: str, folder: Path) -> tuple[Path, list[str]]:
    """The tokenizer's source, and pretraining's flag for where a network comes from."""
    from dnalm.models.architecture import model_config, new_model
    from dnalm.models.checks import read_architecture

    sizes = dict(zip(FAMILIES[kind].sizes.all(), (16, 24, 2, 2), strict=True))
    shape = {"model_type": kind, **sizes, "max_position_embeddings": 60, "initializer_range": 0.3}
    path = folder / "architecture.json"
    path.write_text(json.dumps(shape))
    if how == "scratch":
        published_tokenizer("bert", folder / "vocabulary")
        return folder / "vocabulary", ["--architecture", str(path)]
    directory = folder / "published"
    tokenizer = published_tokenizer(kind if kind in SPECIAL_TOKENS else "bert", directory)
    new_model(model_config(read_architecture(path), tokenizer), seed=1).save_pretrained(directory)
    return directory, ["--checkpoint", str(directory)]


def pretrained(
    source: Path | None, words: list[str], data: Path, folder: Path, settings: ImportTokenizerSettings = PLAIN
) -> Path:
    """A model directory after two steps, and its held-out loss measured."""
    import_tokenizer.main(source, settings, folder / "tokenizer", folder / "tokenizer.json")
    for split in ("train", "validation"):
        tokenize_windows.main(
            windows=data / f"{split}.txt",
            tokenizer=folder / "tokenizer",
            genome="g",
            split=split,
            threads=1,
            output=folder / split,
            summary=folder / f"{split}.json",
        )
    flags = {
        "tokens": folder / "train",
        "validation-tokens": folder / "validation",
        "tokenizer": folder / "tokenizer",
        "max-tokens": 40,
        "training-steps": 2,
        "training-batch-size": 8,
        "training-evaluate-every": 2,
        "checkpoints": folder / "checkpoints",
        "output": folder / "model",
    }
    words = [*words, *(str(word) for flag, value in flags.items() for word in (f"--{flag}", value))]
    pretrain.main(**parsed_options(pretrain.command_line(), words))
    evaluate_language_model.main(
        model=folder / "model",
        tokens=[folder / "validation"],
        training_tokens=[folder / "train"],
        published=source if words[0] == "--checkpoint" else None,
        name="tiny",
        context=ContextSettings(max_tokens=40),
        settings=EvaluateLanguageModelSettings(max_lines=10, examples=2),
        metrics=folder / "metrics.json",
        sequence_loss=folder / "loss.tsv",
        fill_mask=folder / "examples.tsv",
        **DEVICE,
    )
    return folder / "model"


def classifier(model: Path, backbone: str, data: Path, folder: Path) -> Path:
    """A classifier directory after two epochs; a frozen one learns from embeddings."""
    tables = {split: data / f"{split}.tsv" for split in ("train", "validation")}
    embeddings: dict[str, Path | None] = dict.fromkeys(tables)
    if backbone == "frozen":
        embeddings |= embed_into(folder, model, tables, precision="auto", **DEVICE)
    finetune.main(
        **by_flags(
            finetune,
            model=model,
            train_sequences=tables["train"],
            validation_sequences=tables["validation"],
            train_embeddings=embeddings["train"],
            validation_embeddings=embeddings["validation"],
            backbone=backbone,
            epochs=2,
            name="tiny",
            task="toy",
            output=folder / "classifier",
        )
    )
    return folder / "classifier"


def predicted(directory: Path, found: list[str], folder: Path) -> list[dict[str, str]]:
    (folder / "new.tsv").write_text("seq\n" + "\n".join(found) + "\n")
    options = {
        "classifier": directory,
        "input": folder / "new.tsv",
        "genome": None,
        "strands": "forward",
        "batch_tokens": None,
        "bedgraph_label": None,
        "precision": "auto",
        "output": folder / "predicted.tsv",
        "bedgraph": None,
        **DEVICE,
    }
    predict.main(**grouped(options, settings=ScanSettings, strands=StrandSettings))
    with open(folder / "predicted.tsv") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.mark.parametrize("how, backbone", [("scratch", "frozen"), ("checkpoint", "full")])
def test_a_family_runs_the_whole_chain_and_transformers_alone_says_the_same(
    kind, how, backbone, data, tmp_path
):
    from transformers import AutoModelForMaskedLM, pipeline

    source, words = start(kind, how, tmp_path)
    model = pretrained(source, words, data, tmp_path)
    assert AutoModelForMaskedLM.from_pretrained(model).config.model_type == kind
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert np.isfinite(metrics["metrics"]["loss"]["value"])
    assert bool(metrics["published"]) == (how == "checkpoint")

    # A gap is filled as the pipeline fills it, lower case included.
    mask = "[MASK]" if how == "scratch" or kind not in SPECIAL_TOKENS else SPECIAL_TOKENS[kind][-1]
    gap = GapSettings(sequences=(f"acgt{mask}ACGT",), top=2)
    fill_mask.main(model=model, settings=gap, output=tmp_path / "gap.tsv")
    with open(tmp_path / "gap.tsv") as file:
        answers = [(row["token"], float(row["probability"])) for row in csv.DictReader(file, delimiter="\t")]
    theirs = pipeline("fill-mask", str(model), top_k=2)(gap.sequences[0])
    assert answers == [(answer["token_str"], pytest.approx(answer["score"], abs=1e-5)) for answer in theirs]

    says_the_same_as_transformers(model, backbone, data, tmp_path)


def says_the_same_as_transformers(model: Path, backbone: str, data: Path, folder: Path) -> None:
    """Fine-tune the model, and compare its predictions with those of the pipeline."""
    from transformers import AutoModelForSequenceClassification, pipeline

    directory = classifier(model, backbone, data, folder)
    kind = json.loads((model / "config.json").read_text())["model_type"]
    assert AutoModelForSequenceClassification.from_pretrained(directory).config.model_type == kind
    found = sequences(5, seed=9)
    theirs = pipeline("text-classification", str(directory), top_k=None)(found)
    for row, said in zip(predicted(directory, found, folder), theirs, strict=True):
        for answer in said:
            assert float(row[f"probability_{answer['label']}"]) == pytest.approx(answer["score"], abs=1e-5)


def reported(model: Path, metrics: dict) -> Run:
    """What the report reads of a pretraining and its evaluation."""
    log = [json.loads(line) for line in (model / "training_log.jsonl").read_text().splitlines()]
    summary = json.loads((model / "training_summary.json").read_text()) | {"model": "tiny"}
    return Run("title", False, trainings=[Training(summary, log)], language_models=[LanguageModel(metrics)])


@pytest.mark.parametrize("how", ["scratch", "checkpoint"])
def test_overlapping_kmers_run_the_whole_chain(how, data, tmp_path):
    """As the first DNABERT: made here, or from a checkpoint whose tokenizer reads words between blanks."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast, pipeline

    _, words = start("bert", "scratch", tmp_path)
    source, settings = None, ImportTokenizerSettings(kmer_length=3, overlapping=True)
    if how == "checkpoint":
        from dnalm.models.architecture import model_config, new_model
        from dnalm.models.checks import read_architecture

        # Its words stand in another order.
        kmers = map("".join, itertools.product("ATCG", repeat=3))
        ids = {token: number for number, token in enumerate([*SPECIAL_TOKENS["bert"], *kmers])}
        backend = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        names = {
            f"{role}_token": name for role, name in zip(ROLES["bert"], SPECIAL_TOKENS["bert"], strict=True)
        }
        source, settings = tmp_path / "published", ImportTokenizerSettings(n_policy="token")
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **names)
        tokenizer.save_pretrained(source)
        new_model(model_config(read_architecture(Path(words[1])), tokenizer), 1).save_pretrained(source)
        words = ["--checkpoint", str(source)]
    with pytest.raises(InputError, match=r"--masking-span-tokens is 1, .* Set it to 3 or more"):
        pretrained(source, words, data, tmp_path, settings)
    model = pretrained(source, [*words, "--masking-span-tokens", "3"], data, tmp_path, settings)

    tokenizer = AutoTokenizer.from_pretrained(model)
    assert tokenizer.tokenize("acgtt") == tokenizer.tokenize("ACG CGT GTT") == ["ACG", "CGT", "GTT"]
    assert len(tokenizer) == 5 + 64 + (how == "checkpoint")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    # Whoever sees the bases around draws among four for each hidden one.
    assert metrics["baselines"]["uniform"]["bits_per_base"]["value"] == 2
    assert metrics["overlapping_kmers"] == 3
    shown = json.dumps(language_model_section(reported(model, metrics)))
    assert "runs of 3 or more" in shown and "know token frequencies and the visible bases" in shown
    # What counting reaches depends on how much is visible: no line through the curve of other masks.
    other = {key: value for key, value in metrics.items() if key != "overlapping_kmers"}
    for found, lines in ((metrics, False), (other, True)):
        curve = str(language_model_section(reported(model, found))["parts"][0]["rows"][0])
        assert "Learning curve of tiny" in curve and (TOKEN_BASELINES["uniform"] in curve) == lines
    summary = json.loads((tmp_path / "train.json").read_text())
    lines = (data / "train.txt").read_text().split()
    assert summary["tokens"] == sum(len(line) - 2 + 2 for line in lines)
    for row in csv.DictReader((tmp_path / "examples.tsv").read_text().splitlines(), delimiter="\t"):
        line = (data / "validation.txt").read_text().split()[int(row["line"]) - 1]
        begin = int(row["position_bp"]) - 1
        assert line[begin : begin + 3] == row["token"]
        assert line[:begin].endswith(row["left"]) and line[begin + 3 :].startswith(row["right"])

    gap = GapSettings(sequences=(f"acgt{'[MASK]' * 3}ACGT",), top=2)
    fill_mask.main(model=model, settings=gap, output=tmp_path / "gap.tsv")
    with open(tmp_path / "gap.tsv") as file:
        answers = [(row["token"], float(row["probability"])) for row in csv.DictReader(file, delimiter="\t")]
    theirs = itertools.chain(*pipeline("fill-mask", str(model), top_k=2)(gap.sequences[0]))
    assert answers == [(answer["token_str"], pytest.approx(answer["score"], abs=1e-5)) for answer in theirs]
    says_the_same_as_transformers(model, "full", data, tmp_path)
