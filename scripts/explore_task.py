"""Describe the labelled sequences of a task for people to look at, and draw maps of their embeddings.

In:   --sequences, --splits          tables with id, seq and label, and the name of each one's split
      --predictions, --predictors    predictions of classifiers on the test split (scripts/evaluate.py), and
                                     their names; the test split is known from them alone
      --tokenizers, --tokenizer-names
      --embeddings, --models         embeddings of training sequences (scripts/embed.py), and whose they are
Out:  --output    JSON: task, problem, labels, groups (per split and label: number, boxes of length, GC share
                  and tokens, share of unknown tokens), losses (per classifier and label: box of the loss on
                  the test split), maps (per model: points of each label by method, how often
                  neighbours share a label)

Values of a regression are parted into quarters, by those of the training sequences, which stand as labels.
Everything is small: boxes instead of values, at most some hundred points. The report draws it.
"""

import csv
import logging
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnalm.explore import maps
from dnalm.explore.sequences import MOST_LABELS, box, gc_content, grouped
from dnalm.explore.settings import TaskSettings
from dnalm.problems.flags import add_problem_flag
from dnalm.problems.kinds import sort_labels
from dnalm.problems.names import REGRESSION, SINGLE_LABEL
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import write_json
from dnalm.sequences.tables import read_labelled_table
from dnalm.tokenizers.encoding import encode, load_tokenizer

logger = logging.getLogger("dnalm")


def main(
    task: str,
    sequences: list[Path],
    splits: list[str],
    predictions: list[Path],
    predictors: list[str],
    tokenizers: list[Path],
    tokenizer_names: list[str],
    embeddings: list[Path],
    models: list[str],
    pooling: str,
    settings: TaskSettings,
    output: Path,
    problem: str = SINGLE_LABEL,
) -> None:
    """Describe the splits, the losses and the embeddings of one task."""
    tables = {
        split: read_labelled_table(path, problem=None) for split, path in pairs(splits, sequences, "--splits")
    }
    predicted = [(name, read_losses(path)) for name, path in pairs(predictors, predictions, "--predictors")]
    if predicted:
        tables["test"] = predicted[0][1]
    drawn = [read_vectors(path, pooling) for path in embeddings]
    if problem == REGRESSION:
        borders = quarters(tables.get("train", next(iter(tables.values())))["label"])

        def in_quarters(table: pd.DataFrame) -> pd.DataFrame:
            return table.assign(label=quarter_names(table["label"], borders))

        # Copies: the first predictions stand for the test split too.
        tables = {split: in_quarters(table) for split, table in tables.items()}
        predicted = [(name, in_quarters(table)) for name, table in predicted]
        drawn = [(quarter_names(values, borders), vectors) for values, vectors in drawn]
    labels = sort_labels(label for table in tables.values() for label in table["label"])
    loaded = {
        name: load_tokenizer(path) for name, path in pairs(tokenizer_names, tokenizers, "--tokenizer-names")
    }
    pairs(models, embeddings, "--models")
    maps_of = [draw(name, *of, pooling, settings) for name, of in zip(models, drawn, strict=True)]
    result: dict[str, Any] = {
        "task": task,
        "problem": problem,
        "labels": labels if len(labels) <= MOST_LABELS else None,
        "groups": [
            group for split, table in tables.items() for group in describe(split, table, labels, loaded)
        ],
        "losses": [
            {"predictor": name, "label": label, "loss": box(part["loss"].to_numpy())}
            for name, table in predicted
            for label, part in grouped(table, labels)
        ],
        "maps": maps_of,
    }
    write_json(output, result)
    logger.info("task %s: %d maps, %d splits described", task, len(maps_of), len(tables))


def pairs(names: list[str], paths: list[Path], flag: str) -> list[tuple[str, Path]]:
    """Names with their files. Raises InputError if one is missing."""
    if len(names) != len(paths):
        raise InputError(f"{flag}: {len(names)} names for {len(paths)} files. Give one each, in order.")
    return list(zip(names, paths, strict=True))


def read_losses(path: Path) -> pd.DataFrame:
    """id, seq, label and loss of every test sequence."""
    try:
        table = pd.read_csv(
            path,
            sep="\t",
            dtype={"id": str, "seq": str, "label": str},
            keep_default_na=False,
            quoting=csv.QUOTE_NONE,
        )
        return table[["id", "seq", "label", "loss"]]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not a table of predictions by scripts/evaluate.py ({error}).") from None


def describe(
    split: str, table: pd.DataFrame, labels: list[str], tokenizers: dict[str, Any]
) -> list[dict[str, Any]]:
    """One entry per label of a split: how long, how rich in GC, how many tokens."""
    groups = []
    for label, part in grouped(table, labels):
        sequences = part["seq"].tolist()
        group: dict[str, Any] = {"split": split, "label": label, "n": len(part)}
        group["length"] = box(part["seq"].str.len().to_numpy())
        group["gc"] = box(gc_content(sequences))
        group["tokens"], group["unknown"] = {}, {}
        for name, tokenizer in tokenizers.items():
            ids = encode(tokenizer, sequences)
            lengths = np.array([len(line) for line in ids])
            unknown = sum(int((line == tokenizer.unk_token_id).sum()) for line in ids)
            group["tokens"][name] = box(lengths)
            group["unknown"][name] = round(unknown / int(lengths.sum()), 6)
        groups.append(group)
    return groups


# From here on three digits would be told in powers of ten.
LARGE = 999.5


def quarters(values: Iterable[str]) -> np.ndarray:
    """The quartiles of values, float64[3]: they part them for pictures."""
    return np.quantile(np.array(list(values), dtype=float), [0.25, 0.5, 0.75])


def quarter_names(values: Iterable[str], borders: np.ndarray) -> np.ndarray:
    """What the quarter of each value is called, text[n]; names sort by value."""
    numbers = np.array(list(values), dtype=float)
    low, middle, high = (f"{border:,.0f}" if abs(border) >= LARGE else f"{border:.3g}" for border in borders)
    names = [f"1: to {low}", f"2: to {middle}", f"3: to {high}", f"4: above {high}"]
    return np.array(names)[np.searchsorted(borders, numbers, side="left")]


def draw(
    model: str, labels: np.ndarray, vectors: np.ndarray, pooling: str, settings: TaskSettings
) -> dict[str, Any]:
    """The maps of one model's embeddings float32[n, hidden]; `labels` text[n]."""
    chosen = maps.choose(labels, settings.max_points, settings.seed)
    labels, vectors = labels[chosen], vectors[chosen]
    names = sort_labels(labels.tolist())
    result: dict[str, Any] = {"model": model, "pooling": pooling, "points": len(labels)}
    if len(names) <= MOST_LABELS and len(labels) > 2:
        result["agreement"] = maps.neighbour_agreement(vectors, labels, settings.neighbours)
    else:
        labels, names = np.full(len(labels), "all"), ["all"]
    if "pca" in settings.maps:
        points, shares = maps.pca(vectors)
        result["variance"] = [round(share, 6) for share in shares]
        result["pca"] = maps.by_label(points, labels, names)
    if "umap" in settings.maps and len(labels) >= maps.FEWEST_FOR_UMAP:
        logger.info("drawing a map by UMAP, which takes some 20 s to start")
        points = maps.umap(vectors, settings.neighbours, settings.seed)
        result["umap"] = maps.by_label(points, labels, names)
    return result


def read_vectors(path: Path, pooling: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels text[n] and vectors float32[n, hidden] of an embeddings file."""
    try:
        with np.load(path) as data:
            return data["label"], data[pooling]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: no embeddings ({error}). Make them with scripts/embed.py.") from None


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    several: dict[str, Any] = {"nargs": "*", "default": []}
    add("--task", required=True, help="name of the task")
    add_problem_flag(arguments)
    add("--sequences", type=Path, **several, help="tables of training and validation sequences")
    add("--splits", **several, help="the split of each table")
    add("--predictions", type=Path, **several, help="predictions.tsv of classifiers")
    add("--predictors", **several, help="what each classifier is called")
    add("--tokenizers", type=Path, **several, help="tokenizer directories")
    add("--tokenizer-names", **several, help="what each tokenizer is called")
    add("--embeddings", type=Path, **several, help="embeddings of training sequences (.npz)")
    add("--models", **several, help="the model of each")
    add("--pooling", choices=("cls", "mean", "max"), default="mean", help="which vectors are drawn")
    add_settings_flags(arguments, TaskSettings)
    add("--output", type=Path, required=True, help="JSON file to write")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
