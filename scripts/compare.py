"""Put the predictors of a task side by side, and say which differences are more than chance.

In:  metrics.json and predictions.tsv of every predictor (scripts/evaluate.py), in the same order, all of the
     same test split; and metrics.json of classifiers that repeat some of them with other seeds.
Out: a TSV with one row per predictor: task, predictor, name, kind, backbone, n, every metric and the loss
     with `_low` and `_high`, and the differences in some metrics (accuracy, MCC and AUROC of classes;
     reference minus this predictor) with their intervals; and a JSON: task, problem, metric (that leads),
     metric_name, reference, n, bootstrap, predictors (the same rows; each difference is value, low, high and
     sequences_to_settle, or null for the reference itself), questions and repetitions (per predictor with
     several seeds: the seeds, and of each metric and the loss mean, sd, low, high, values; in the TSV
     `seeds`, `_mean` and `_sd`).

A difference is *paired*: both predictors are judged on the same bootstrap samples of the same test sequences,
in which related sequences are drawn together.
So its interval is usually narrower than those of the two metrics suggest. The questions are: does pretraining
help (every model against the same model untrained, NAME-untrained, with the same backbone), does adaptation
help (against the model as published, NAME-published), does the language model know what k-mers do not (k-mers
and embeddings together against k-mers alone), does stacking help (against k-mers, the convolutional
network and the member that is the best one on the validation split), and does the reference beat the
baselines. Each has the difference in the metric that leads (accuracy of classes, macro AUROC of several
labels, R² of values), an answer (`yes`, `no`: the whole interval lies on one side of zero; else `cannot
tell`) and a sentence.
"""

import logging
import math
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnalm.baseline.settings import BASELINES, COMBINED, STACKED, UNTRAINED
from dnalm.compare import questions
from dnalm.evaluate.predictions import Predictions, check_pairs, identity, read_metrics, read_predictions
from dnalm.evaluate.repetitions import group_repetitions
from dnalm.evaluate.settings import EvaluateSettings
from dnalm.pretrain.settings import PUBLISHED
from dnalm.problems.intervals import bootstrap_metrics, interval
from dnalm.problems.kinds import KINDS, Problem
from dnalm.problems.names import METRIC_NAMES
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_file, write_json

logger = logging.getLogger("dnalm")

# What the comparison of a model with its reference NAME-… asks.
REFERENCE_MODELS = {PUBLISHED: questions.ADAPTATION, UNTRAINED: questions.PRETRAINING}


@dataclass
class Predictor:
    """One evaluated predictor: its metrics.json, and its metrics on the bootstrap samples that all share."""

    report: dict
    values: dict[str, float]
    samples: dict[str, np.ndarray]  # float64[n_samples] each

    @property
    def name(self) -> str:
        """NAME/BACKBONE, or NAME for a baseline."""
        return identity(self.report)


def main(
    task: str,
    metrics: list[Path],
    predictions: list[Path],
    repetitions: list[Path],
    reference: str,
    settings: EvaluateSettings,
    output: Path,
    output_json: Path,
) -> None:
    """Compare all predictors of one task and write table and answers."""
    check_pairs(metrics, predictions)
    reports = read_reports(metrics, task)
    names = [identity(report) for report in reports]
    if reference not in names:
        raise InputError(f"--reference {reference}: no such predictor. There are {', '.join(names)}.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"--metrics: two predictors are called {twice}. Evaluate one under another --name.")

    problem = KINDS[reports[0]["problem"]]
    tables = [read_predictions(path, problem.name) for path in predictions]
    for table, path in zip(tables, predictions, strict=True):
        check_same_sequences(tables[0], table, predictions[0], path)
    samples, confidence, seed = settings.bootstrap_samples, settings.confidence, settings.seed
    predictors = [
        Predictor(
            report,
            *bootstrap_metrics(table.truth, table.outputs, table.clusters, samples, seed, problem.measures),
        )
        for report, table in zip(reports, tables, strict=True)
    ]
    leader = predictors[names.index(reference)]
    rows = [predictor_row(problem, leader, predictor, confidence) for predictor in predictors]
    repeated = group_repetitions(reports, read_reports(repetitions, task))
    answers = compare_pairs(problem, leader, predictors, confidence)
    for answered in answers:
        logger.info("%s: %s", task, answered["words"])
    result = {
        "task": task,
        "problem": problem.name,
        "metric": problem.headline,
        "metric_name": METRIC_NAMES[problem.headline],
        "reference": reference,
        "n": reports[0]["n"],
        "bootstrap": {"samples": samples, "confidence": confidence, "seed": seed},
        "predictors": rows,
        "questions": answers,
        "repetitions": repeated,
    }
    write_table(output, task, problem, rows, repeated)
    write_json(output_json, result)


def read_reports(paths: list[Path], task: str) -> list[dict]:
    """Read every metrics.json. Raises InputError if one is something else or of another task."""
    reports: list[dict] = []
    for path in paths:
        report = read_metrics(path)
        if report["task"] != task:
            raise InputError(f"{path}: metrics of task {report['task']!r}, not of {task!r}.")
        if reports and report["problem"] != reports[0]["problem"]:
            raise InputError(
                f"{path}: metrics of the problem {report['problem']}, those before of "
                f"{reports[0]['problem']}."
            )
        reports.append(report)
    return reports


def check_same_sequences(first: Predictions, other: Predictions, first_path: Path, path: Path) -> None:
    """Raise InputError unless both hold the same ids, labels, classes and clusters in the same order."""
    arrays = ((first.truth, other.truth), (first.clusters, other.clusters))
    if (
        first.ids != other.ids
        or first.labels != other.labels
        or not all(np.array_equal(*pair) for pair in arrays)
    ):
        raise InputError(
            f"{path}: not the same test sequences, labels and order as {first_path}. Evaluate both on one "
            "test table."
        )


def difference(one: Predictor, other: Predictor, metric: str, confidence: float) -> dict[str, float | None]:
    """Paired difference `one` minus `other`: value, low, high, and how many sequences would settle it."""
    found = interval(
        one.values[metric] - other.values[metric], one.samples[metric] - other.samples[metric], confidence
    )
    return found | {"sequences_to_settle": sequences_to_settle(found, one.report["n"])}


def sequences_to_settle(found: dict[str, float | None], n: int) -> int | None:
    """About how many test sequences would move zero out of the interval, if the difference stayed as it is.

    The width of an interval falls with the root of the number of sequences. None where the `n` sequences
    settle it already, where there is no difference at all, or where the interval is not defined. Two digits,
    and more than `n`.
    """
    value, low, high = found["value"], found["low"], found["high"]
    if not value or low is None or high is None or low > 0 or high < 0:
        return None
    needed = max(n + 1, n * ((value - low if value > 0 else high - value) / value) ** 2)
    step = 10 ** max(0, math.floor(math.log10(needed)) - 1)
    return math.ceil(needed / step) * step


def predictor_row(problem: Problem, leader: Predictor, predictor: Predictor, confidence: float) -> dict:
    """One row of the comparison."""
    report = predictor.report
    row = {"predictor": predictor.name} | {key: report[key] for key in ("name", "kind", "backbone", "n")}
    row |= {"metrics": report["metrics"], "loss": report["loss"]}
    for metric in problem.differences:
        same = predictor is leader
        row[f"{metric}_difference"] = None if same else difference(leader, predictor, metric, confidence)
    return row


def compare_pairs(
    problem: Problem, leader: Predictor, predictors: list[Predictor], confidence: float
) -> list[dict]:
    """The questions that people have, with answers in words."""
    pairs: list[tuple[str, Predictor, Predictor]] = []
    for model in predictors:
        for other in predictors:
            same_backbone = other.report["backbone"] == model.report["backbone"]
            if model.report["kind"] != "model" or not same_backbone:
                continue
            for reference, question in REFERENCE_MODELS.items():
                if other.report["name"] == model.report["name"] + reference:
                    pairs.append((question, model, other))
    kmers = next((p for p in predictors if p.report["name"] == "kmer"), None)
    for combined in predictors:
        if kmers and combined.report["kind"] == COMBINED:
            pairs.append((questions.COMBINATION, combined, kmers))
    for stacked in predictors:
        if stacked.report["kind"] == STACKED:
            pairs += [
                (questions.STACKING, stacked, other) for other in members_to_compare(stacked, predictors)
            ]
    for other in predictors:
        if other.report["kind"] == "baseline" and other is not leader:
            pairs.append((questions.BASELINE, leader, other))
    return [answer(question, one, other, problem.headline, confidence) for question, one, other in pairs]


def members_to_compare(stacked: Predictor, predictors: list[Predictor]) -> list[Predictor]:
    """Of what is stacked: the best one on the validation split, then the other baselines."""
    best = stacked.report["stacked"]["best_single"]
    names = [best, *(member["name"] for member in stacked.report["stacked"]["members"])]
    by_name = {p.name: p for p in predictors}
    found = []
    for name in dict.fromkeys(names):
        other = by_name.get(name if name in BASELINES else f"{stacked.report['name']}/{name}")
        if other and (name == best or name in BASELINES):
            found.append(other)
    return found


def answer(question: str, one: Predictor, other: Predictor, metric: str, confidence: float) -> dict:
    """Compare the `metric` of `one` with that of `other`; say what can be said."""
    found = difference(one, other, metric, confidence)
    numbers = f"{METRIC_NAMES[metric]} {one.values[metric]:.3f} against {other.values[metric]:.3f}"
    if found["low"] is not None:
        numbers += (
            f", difference {found['value']:+.3f}, {100 * confidence:g}% interval {found['low']:+.3f} to "
            f"{found['high']:+.3f}"
        )
    if found["low"] is not None and found["low"] > 0:
        verdict, words = "yes", f"{one.name} is better than {other.name}"
    elif found["high"] is not None and found["high"] < 0:
        verdict, words = "no", f"{one.name} is worse than {other.name}"
    else:
        here = "in this cross-validation" if one.report.get("cross_validation") else "on this test split"
        verdict, words = "cannot tell", f"{one.name} and {other.name} cannot be told apart {here}"
    needed = found["sequences_to_settle"]
    settle = f" About {needed:,} tested sequences would settle it, if it stays as it is." if needed else ""
    unfinished = [p.name for p in (one, other) if p.report.get("still_improving")]
    caveat = ""
    if unfinished:
        was = "was" if len(unfinished) == 1 else "were"
        caveat = (
            f" {' and '.join(unfinished)} {was} still improving when fine-tuning ended; "
            "with more epochs the difference may change."
        )
    return {
        "question": question,
        "predictor": one.name,
        "compared_with": other.name,
        "metric": metric,
        "difference": found,
        "answer": verdict,
        "still_improving": unfinished,
        "words": f"{words} ({numbers}).{settle}{caveat}",
    }


def write_table(path: Path, task: str, problem: Problem, rows: list[dict], repeated: list[dict]) -> None:
    """Write the rows as TSV; what is not defined stays empty."""
    columns = ["predictor", "name", "kind", "backbone", "n"]
    values = [*problem.measures.names, "loss", *(f"{name}_difference" for name in problem.differences)]
    header = ["task", *columns, *(name + end for name in values for end in ("", "_low", "_high"))]
    over_seeds = [*problem.measures.names, "loss"] if repeated else []
    header += ["seeds"] if repeated else []
    header += [f"{name}_{end}" for name in over_seeds for end in ("mean", "sd")]
    by_predictor = {identity(group): group for group in repeated}
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(header) + "\n")
        for row in rows:
            cells = [task, *("" if row[column] is None else str(row[column]) for column in columns)]
            for name in values:
                found = row["metrics"].get(name) or row.get(name) or {}
                cells += [number_cell(found.get(bound)) for bound in ("value", "low", "high")]
            group = by_predictor.get(row["predictor"], {"seeds": [None], "metrics": {}})
            cells += [str(len(group["seeds"]))] if repeated else []
            for name in over_seeds:
                cells += [number_cell(group["metrics"].get(name, {}).get(end)) for end in ("mean", "sd")]
            file.write("\t".join(cells) + "\n")


def number_cell(number: float | None) -> str:
    """A number of the table; empty where it is not defined."""
    return "" if number is None else f"{number:.6g}"


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    arguments.add_argument("--task", required=True, help="name of the task")
    arguments.add_argument("--metrics", type=Path, nargs="+", required=True, help="metrics.json of each")
    arguments.add_argument(
        "--predictions", type=Path, nargs="+", required=True, help="predictions.tsv of each, in this order"
    )
    arguments.add_argument(
        "--repetitions",
        type=Path,
        nargs="*",
        default=[],
        help="metrics.json of the same classifiers trained with other seeds (default: none)",
    )
    arguments.add_argument(
        "--reference", required=True, help="NAME/BACKBONE of the predictor that the others are compared with"
    )
    add_settings_flags(arguments, EvaluateSettings)
    arguments.add_argument("--output", type=Path, required=True, help="TSV to write")
    arguments.add_argument("--output-json", type=Path, required=True, help="JSON to write")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
