"""Put the variants of a study side by side: leaderboards, and learning curves of tokens and of labels.

In:  the configuration with its section `study`; metrics.json and predictions.tsv (scripts/evaluate.py) of
     every variant and baseline on every task, and of the predictor that stacks the study's model and the
     baselines, if there is one, in the same order; the summaries of the language models; the
     checks of every task; for the cost the folder of Snakemake's benchmark files, and of tasks with folds
     what the trainings took (--telemetry of scripts/cross_validate.py).
Out: a TSV with one row per task and variant, and a JSON: reference, tasks (each: its leaderboard),
     over_tasks, token_curves and label_curves (by task: one curve per variant, its points with value, low
     and high).

Variants that differ in seeds only are one row: accuracy is the mean over seeds, its interval is over test
sequences, and the spread over seeds stands beside it. Differences to the reference are paired, sequence by
sequence; p values hold for all rows of a task together (Holm). Cost is that of one seed, as Snakemake
measured it: pretraining, and fine-tuning with its embeddings; in a cross-validation that of all folds
together, without the predictions.
"""

import csv
import logging
from argparse import ArgumentParser
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from dnalm.baseline.settings import STACKED
from dnalm.evaluate.predictions import check_pairs, read_metrics, read_predictions
from dnalm.evaluate.settings import EvaluateSettings
from dnalm.report.measured import read_benchmark
from dnalm.report.run import Benchmark
from dnalm.running.commandline import add_settings_flags, parser, run, words_of_command
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file, read_json, write_json
from dnalm.study.leaderboard import AVERAGED, Entry, leaderboard, over_tasks
from dnalm.study.names import row_name
from dnalm.study.variants import STEPS, Variant, expand, seedless

logger = logging.getLogger("dnalm")

Model = dict[str, Any]
# What the training of each fold took (seconds, cpu_seconds), by model, task and backbone.
Folds = dict[tuple[str, str, str], list[dict[str, float]]]


def main(
    configuration: Path,
    metrics: list[Path],
    predictions: list[Path],
    models: list[Path],
    checks: list[Path],
    benchmarks: Path | None,
    telemetry: list[Path],
    settings: EvaluateSettings,
    output: Path,
    output_json: Path,
) -> None:
    """Compare all variants on all tasks and write table and leaderboards."""
    check_pairs(metrics, predictions)
    config = read_json(configuration)
    variants = expand(config, str(configuration)).variants
    if not variants:
        raise InputError(f"{configuration}: there is no section 'study'.")
    summaries = {summary["model"]: summary for summary in map(read_json, models)}
    train_sizes = {found["task"]: found["rows"]["train"]["kept"] for found in map(read_json, checks)}
    folds = {(of["model"], of["task"], of["backbone"]): of["folds"] for of in map(read_json, telemetry)}
    entries = [
        read_entry(*paths, variants, summaries, benchmarks, folds)
        for paths in zip(metrics, predictions, strict=True)
    ]
    by_task: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_task[entry.task].append(entry)
    whole = {task: of_task for task, of_task in by_task.items() if "," not in task}
    reference = config["study"]["reference"]
    for task, of_task in whole.items():
        if reference not in [entry.name for entry in of_task]:
            raise InputError(
                f"{configuration}: study.reference is {reference!r}, but no metrics of it on task {task} are "
                "given. Evaluate it, or name another."
            )
    boards = {
        task: leaderboard(
            [entry for entry in of_task if entry.name in variants or entry.kind in ("baseline", STACKED)],
            *(reference, settings.bootstrap_samples, settings.seed, settings.confidence),
        )
        for task, of_task in whole.items()
    }
    result = {
        "reference": reference,
        "confidence": settings.confidence,
        "tasks": boards,
        "over_tasks": over_tasks(boards, settings.confidence),
        "token_curves": {task: token_curves(board) for task, board in boards.items()},
        "label_curves": {task: label_curves(task, train_sizes[task], by_task) for task in boards},
    }
    for task, board in boards.items():
        best = board[0]
        logger.info("%s: %s leads with accuracy %.3f", task, row_name(best), best["accuracy"]["value"])
    write_table(output, boards)
    write_json(output_json, result)


def read_entry(
    metrics: Path,
    predictions: Path,
    variants: dict[str, Variant],
    summaries: dict[str, Model],
    benchmarks: Path | None,
    folds: Folds,
) -> Entry:
    """One evaluation, with what makes it and what it cost."""
    report = read_metrics(metrics)
    table = read_predictions(predictions, report["problem"])
    name, backbone = report["name"], report["backbone"]
    # What is stacked is no variant, also where its model is one.
    variant = variants.get(name) if report["kind"] != STACKED else None
    cost: dict[str, float | None] = {}
    if variant:
        summary = summaries[variant.language_model]
        cost = {"parameters": summary["parameters"]["total"], "pretraining_tokens": summary.get("tokens", 0)}
        cost |= hours(benchmarks, variant, report["task"], backbone, folds)
    return Entry(
        task=report["task"],
        name=name,
        backbone=backbone,
        settings=seedless(variant) if variant else {},
        kind=report["kind"],
        metrics={metric: report["metrics"][metric]["value"] for metric in AVERAGED},
        accuracy=report["metrics"]["accuracy"],
        right=(table.outputs.argmax(axis=1) == table.truth).astype(np.float64),
        clusters=table.clusters,
        cost=cost,
    )


def hours(
    benchmarks: Path | None, variant: Variant, task: str, backbone: str, folds: Folds
) -> dict[str, float | None]:
    """Hours of wall clock and of CPU time for pretraining and for fine-tuning; None where not measured."""
    trainings = folds.get((variant.name, task, backbone))
    files = {
        "pretraining": [f"pretrain/{variant.language_model}.tsv"],
        # The job of a cross-validation also predicts; its trainings say themselves what they took.
        "finetuning": [] if trainings else [f"finetune/{variant.name}/{task}/{backbone}.tsv"],
    }
    if backbone == "frozen":
        splits = ("test",) if trainings else ("train", "validation")
        files["finetuning"] += [f"embed/{variant.language_model}/{task}.{split}.tsv" for split in splits]
    measured = {
        step: [
            read_benchmark(benchmarks / name, Path(name))
            for name in names
            if benchmarks and (benchmarks / name).exists()
        ]
        for step, names in files.items()
    }
    measured["finetuning"] += [
        Benchmark("cross_validate", task, of["seconds"], None, of["cpu_seconds"]) for of in trainings or []
    ]
    found: dict[str, float | None] = {}
    for step, jobs in measured.items():
        found[f"{step}_hours"] = sum(m.seconds for m in jobs) / 3600 if jobs else None
        processor = [m.cpu_seconds for m in jobs if m.cpu_seconds is not None]
        found[f"{step}_cpu_hours"] = sum(processor) / 3600 if processor else None
    return found


def token_curves(board: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Accuracy against tokens of pretraining, one curve per variant, its steps aside.

    Without at least two different lengths of pretraining there is none.
    """
    curves: dict[str, dict[str, Any]] = {}
    for row in board:
        others = {key: value for key, value in row["settings"].items() if key != STEPS}
        if STEPS in row["settings"]:
            key = str((sorted(others.items()), row["backbone"]))
            curve = curves.setdefault(key, {"settings": others, "backbone": row["backbone"], "points": []})
            curve["points"].append({"x": row["cost"]["pretraining_tokens"], **row["accuracy"]})
    # The untrained network is the beginning of every curve of its tokenizer and architecture.
    untrained = [curve for curve in curves.values() if [p["x"] for p in curve["points"]] == [0]]
    for curve in curves.values():
        for start in untrained:
            fits = start["settings"].items() <= curve["settings"].items()
            if curve is not start and fits and start["backbone"] == curve["backbone"]:
                curve["points"] += start["points"]
        curve["points"].sort(key=lambda point: point["x"])
    return [curve for curve in curves.values() if len({p["x"] for p in curve["points"]}) > 1]


def label_curves(task: str, train_size: int, by_task: dict[str, list[Entry]]) -> list[dict[str, Any]]:
    """Accuracy against the number of labelled training sequences; the last point is `train_size`, all of "
    "them."""
    sizes = {name: int(name.rpartition("=")[2]) for name in by_task if name.startswith(f"{task},train=")}
    if not sizes:
        return []
    wanted = {(entry.name, entry.backbone) for name in sizes for entry in by_task[name]}
    curves = []
    for name, backbone in sorted(wanted, key=str):
        points: list[dict[str, Any]] = []
        for subset, size in [*sorted(sizes.items(), key=lambda item: item[1]), (task, train_size)]:
            for entry in by_task[subset]:
                if (entry.name, entry.backbone) == (name, backbone):
                    points.append({"x": size, **entry.accuracy})
        kind = next(e.kind for s in sizes for e in by_task[s] if (e.name, e.backbone) == (name, backbone))
        curves.append({"name": name, "backbone": backbone, "kind": kind, "points": points})
    return curves


def write_table(path: Path, boards: dict[str, list[dict[str, Any]]]) -> None:
    """Write one row per task and variant as TSV; what is not defined stays empty."""
    varied = list(dict.fromkeys(key for board in boards.values() for row in board for key in row["settings"]))
    costs = list(dict.fromkeys(key for board in boards.values() for row in board for key in row["cost"]))
    plain = ["seeds", "seed_spread", "mcc", "auroc"]
    estimates = [name + bound for name in ("accuracy", "difference") for bound in ("", "_low", "_high")]
    header = [
        "task",
        "rank",
        "name",
        "kind",
        "backbone",
        *varied,
        *plain,
        *estimates,
        "p",
        "p_adjusted",
        *costs,
    ]
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(header)
        for task, board in boards.items():
            for rank, row in enumerate(board, 1):
                cells: list[Any] = [task, rank, row["name"], row["kind"], row["backbone"]]
                cells += [row["settings"].get(key) for key in varied] + [row[key] for key in plain]
                for name in ("accuracy", "difference"):
                    cells += [(row[name] or {}).get(bound) for bound in ("value", "low", "high")]
                cells += [row["p"], row["p_adjusted"], *(row["cost"].get(key) for key in costs)]
                writer.writerow([f"{c:.6g}" if isinstance(c, float) else c for c in cells])


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--configuration", type=Path, required=True, help="the complete configuration, JSON")
    add("--metrics", type=Path, nargs="+", required=True, help="metrics.json of every variant and baseline")
    add("--predictions", type=Path, nargs="+", required=True, help="predictions.tsv of each, in this order")
    add("--models", type=Path, nargs="+", required=True, help="summaries of the language models")
    add("--checks", type=Path, nargs="+", required=True, help="checks of prepare_task, JSON, one per task")
    add("--benchmarks", type=Path, help="folder of Snakemake's benchmark files")
    add(
        "--telemetry",
        type=Path,
        nargs="+",
        default=[],
        help="what the trainings of each cross-validation took, JSON (scripts/cross_validate.py)",
    )
    add_settings_flags(arguments, EvaluateSettings)
    add("--output", type=Path, required=True, help="TSV of all leaderboards to write")
    add("--output-json", type=Path, required=True, help="JSON to write")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args(words_of_command()))
