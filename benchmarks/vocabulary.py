"""What a vocabulary does to real DNA before and after it is adjusted. The numbers of docs/vocabulary.md.

    python benchmarks/vocabulary.py --source tokenizer.json --fasta human.fa.gz yeast.fa.gz \
        [--task softmasked.tsv]

Printed, as Markdown tables: how many letters of each genome are lower case or not A, C, G, T; which share
of the tokens becomes [UNK] with the vocabulary as it comes and as scripts/import_tokenizer.py adjusts it;
how long the tokens of the given vocabulary, and of vocabularies trained on each genome, are on each
genome; how many rows the embedding of a model has that no DNA ever reads; and, for a labelled set with
lower case, how well case alone and the number of [UNK] tell the classes apart.
"""

import argparse
import csv
import gzip
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import import_tokenizer
import train_tokenizer
from dnalm.tokenizers import vocabulary
from dnalm.tokenizers.settings import ImportTokenizerSettings, TrainTokenizerSettings, UnknownBaseSettings

WINDOW_BP = 1000
# ModernBERT-base as published: tokens of its text vocabulary, size of a hidden state.
TEXT_VOCABULARY, HIDDEN_SIZE = 50_368, 768


def read_sequences(path: Path) -> list[str]:
    """The sequences of a small FASTA file, letters as they are."""
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    sequences: list[list[str]] = []
    with gzip.open(path, "rt") if compressed else open(path) as file:
        for line in file:
            if line.startswith(">"):
                sequences.append([])
            else:
                sequences[-1].append(line.strip())
    return ["".join(parts) for parts in sequences]


def cut(sequences: list[str]) -> list[str]:
    """Windows of 1000 letters, letters as they are."""
    return [
        sequence[start : start + WINDOW_BP]
        for sequence in sequences
        for start in range(0, len(sequence) - WINDOW_BP + 1, WINDOW_BP)
    ]


def encode(tokenizer: Tokenizer, windows: list[str]) -> list[np.ndarray]:
    """Ids of each window, without [CLS] and [SEP]."""
    encodings = []
    for start in range(0, len(windows), 1000):
        batch = tokenizer.encode_batch_fast(windows[start : start + 1000], add_special_tokens=False)
        encodings.extend(np.array(encoding.ids, np.int64) for encoding in batch)
    return encodings


def table(title: str, rows: list[list]) -> None:
    """Print a Markdown table; the first row is the header."""
    print(f"\n### {title}\n")
    for number, row in enumerate(rows):
        print("| " + " | ".join(str(cell) for cell in row) + " |")
        if number == 0:
            print("|" + " --- |" * len(row))


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.2f}%"


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve: probability that a case of class 1 scores higher than one of class 0."""
    from scipy.stats import rankdata

    positive = labels == 1
    wins = rankdata(scores)[positive].sum() - positive.sum() * (positive.sum() + 1) / 2
    return float(wins / (positive.sum() * (~positive).sum()))


def letters(genomes: dict[str, list[str]]) -> None:
    rows = [["genome", "letters", "lower case", "N", "other IUPAC letters"]]
    for name, sequences in genomes.items():
        text = "".join(sequences)
        upper = text.upper()
        n = upper.count("N")
        other = len(text) - n - sum(upper.count(base) for base in vocabulary.BASES)
        lower = sum(text.count(letter) for letter in "acgtn")
        rows.append([name, f"{len(text):,}", percent(lower, len(text)), percent(n, len(text)), other])
    table("Letters of the genomes", rows)


def unknown(genomes: dict[str, list[str]], plain: Tokenizer, adjusted: dict[str, Tokenizer]) -> None:
    """Tokens per window and the share of [UNK], all windows, N and lower case included."""
    rows = [["genome", "tokenizer", "tokens per 1000 bp", "[UNK] of all tokens", "letters lost in [UNK]"]]
    for name, sequences in genomes.items():
        windows = cut(sequences)
        for label, tokenizer in (
            ("as it comes", plain),
            *((f"N policy `{policy}`", adjusted[policy]) for policy in adjusted),
        ):
            ids = np.concatenate(encode(tokenizer, windows))
            lost = int((ids == tokenizer.token_to_id("[UNK]")).sum())
            bases = len(windows) * WINDOW_BP
            per_window = f"{len(ids) / len(windows):.1f}"
            rows.append([name, label, per_window, percent(lost, len(ids)), percent(lost, bases)])
    table("[UNK] before and after", rows)


def train(name: str, windows: Path, seed: int, folder: Path, vocabulary_size: int) -> Tokenizer:
    """A vocabulary learnt from 1.5 Mbp of the file `windows`."""
    train_tokenizer.main(
        windows=[windows],
        settings=TrainTokenizerSettings(vocabulary_size=vocabulary_size, sample_lines=1500, seed=seed),
        unknown_bases=UnknownBaseSettings(),
        output=folder / name,
        summary=folder / f"{name}.json",
    )
    return Tokenizer.from_file(str(folder / name / "tokenizer.json"))


def lengths(genomes: dict[str, list[str]], given: Tokenizer, folder: Path) -> None:
    """Bases per token and shared tokens, of the given vocabulary and of ones trained on each genome."""
    held_out, tokenizers = {}, {"given": given}
    for number, (name, sequences) in enumerate(genomes.items()):
        clean = [w.upper() for w in cut(sequences) if set(w.upper()) <= set(vocabulary.BASES)]
        # The last tenth is not seen in training.
        held_out[name] = clean[len(clean) * 9 // 10 :]
        windows = folder / f"{name}.txt"
        windows.write_text("\n".join(clean[: len(clean) * 9 // 10]) + "\n")
        tokenizers[name] = train(name, windows, 42, folder, given.get_vocab_size())
        if number == 0:
            again = f"{name}, other lines"
            tokenizers[again] = train(again, windows, 43, folder, given.get_vocab_size())
    rows = [["vocabulary", *genomes]]
    for label, tokenizer in tokenizers.items():
        row = [label]
        for name in genomes:
            ids = np.concatenate(encode(tokenizer, held_out[name]))
            row.append(f"{len(held_out[name]) * WINDOW_BP / len(ids):.2f}")
        rows.append(row)
    table("Bases per token on the last tenth of each genome; vocabularies learnt from 1.5 Mbp", rows)
    vocabularies = {label: set(tokenizer.get_vocab()) for label, tokenizer in tokenizers.items()}
    rows = [["vocabulary", *vocabularies]]
    for label, own in vocabularies.items():
        rows.append(
            [label, *(f"{100 * len(own & other) / len(own):.0f}%" for other in vocabularies.values())]
        )
    table("Tokens that two vocabularies share", rows)
    rows = [["vocabulary", "its first merges"]]
    for label, tokenizer in tokenizers.items():
        merges = json.loads(tokenizer.to_str())["model"]["merges"][:12]
        rows.append(
            [label, " ".join("".join(m) if isinstance(m, list) else m.replace(" ", "") for m in merges)]
        )
    table("First merges", rows)


def symbols(source: Path, plain: Tokenizer, adjusted: Tokenizer) -> None:
    """What becomes of [MASK] typed into a sequence, and how many rows of an embedding are of use."""
    bare = vocabulary.copy(plain)
    # The same vocabulary without the entries that make special tokens special.
    settings = json.loads(bare.to_str())
    settings["added_tokens"], settings["post_processor"] = [], None
    bare = Tokenizer.from_str(json.dumps(settings))
    text = "ACGT[MASK]acgt"
    rows = [["tokenizer", f"tokens of `{text}`"]]
    for label, tokenizer in (("no special tokens", bare), ("as it comes", plain), ("adjusted", adjusted)):
        rows.append([label, " ".join(tokenizer.encode(text).tokens)])
    table("Special symbols", rows)
    size = adjusted.get_vocab_size()
    rows = [
        ["vocabulary", "rows", "parameters of embedding and output bias", "ln(rows), loss of a blind guess"]
    ]
    for label, count in (("ModernBERT's, of text", TEXT_VOCABULARY), (source.name, size)):
        rows.append([label, f"{count:,}", f"{count * (HIDDEN_SIZE + 1):,}", f"{np.log(count):.3f}"])
    table("Rows of the embedding", rows)


def leak(path: Path, plain: Tokenizer, adjusted: Tokenizer) -> None:
    """How well letter case tells the classes apart."""
    with open(path, newline="") as file:
        records = list(csv.DictReader(file, delimiter="\t"))
    labels = np.array([int(record["label"]) for record in records])
    sequences = [record["seq"] for record in records]
    lower = np.array([sum(letter.islower() for letter in seq) / len(seq) for seq in sequences])
    rows = [["what is known of a sequence", "class 0", "class 1", "AUC"]]
    measures = {"share of lower-case letters": lower}
    for label, tokenizer in (("as it comes", plain), ("adjusted", adjusted)):
        ids = encode(tokenizer, sequences)
        unknown_id = tokenizer.token_to_id("[UNK]")
        measures[f"share of [UNK], tokenizer {label}"] = np.array([(i == unknown_id).mean() for i in ids])
    for label, values in measures.items():
        means = [f"{values[labels == value].mean():.3f}" for value in (0, 1)]
        area = auc(values, labels)
        rows.append([label, *means, f"{max(area, 1 - area):.3f}"])
    table(f"Letter case and label, {path.name}", rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, required=True, help="tokenizer.json of a DNA vocabulary")
    parser.add_argument("--fasta", type=Path, nargs="+", required=True, help="small genomes, plain or gzip")
    parser.add_argument("--task", type=Path, help="TSV with seq (lower case kept) and label (0 or 1)")
    arguments = parser.parse_args()
    genomes = {path.name.split(".fa")[0]: read_sequences(path) for path in arguments.fasta}
    plain = import_tokenizer.read_tokenizer(arguments.source)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        adjusted = {}
        for policy in vocabulary.N_POLICIES:
            import_tokenizer.main(
                source=arguments.source,
                settings=ImportTokenizerSettings(n_policy=policy),
                output=folder / policy,
                summary=folder / f"{policy}.json",
            )
            adjusted[policy] = Tokenizer.from_file(str(folder / policy / "tokenizer.json"))
        letters(genomes)
        unknown(genomes, plain, adjusted)
        symbols(arguments.source, plain, adjusted["unk"])
        lengths(genomes, adjusted["unk"], folder)
        if arguments.task:
            leak(arguments.task, plain, adjusted["unk"])


if __name__ == "__main__":
    main()
