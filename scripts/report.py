"""Write the report of a run: one HTML file that opens offline, on a phone too, and is kept with the results.

In:  the small JSON, JSONL and TSV files that the other steps have written (see the flags). Every one may be
     missing: the report then says so, or leaves the chapter out. Files that belong together (log and summary
     of a training; metrics, predictions and curves of a predictor) are given in the same order.
Out: --output, the report. First the answer for every task: test accuracy with its interval, the baselines
     beside it, what was trained on what, and whether test sequences leaked into training. Then learning
     curves, all metrics, confusion matrices, the worst predictions, data, run times, versions, settings.
     --figures (optional), a directory with every figure as an SVG file, for talks and for
     `snakemake --report`.
     --summary (optional), TSV with one row per task and predictor: the metric that leads, with its
     interval.

The page holds no script and asks for no file of the network. Its text and figures follow from its inputs
alone; run times come from Snakemake's benchmark files, dates and machines from the logs.
"""

import csv
import json
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dnalm.report import page
from dnalm.report.measured import read_benchmarks, read_logs
from dnalm.report.published import read_published
from dnalm.report.run import Embedded, Evaluation, LanguageModel, Run, Training
from dnalm.running.commandline import parser, run, words_of_command
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_directory, atomic_file, read_json, read_text


def main(
    title: str,
    simulated: bool,
    simulation: Path | None,
    simulated_tasks: list[str],
    settings: Path | None,
    windows_stats: list[Path],
    tokens: list[Path],
    tokenizers: list[Path],
    training_summaries: list[Path],
    training_logs: list[Path],
    telemetry: list[Path],
    language_models: list[Path],
    fill_mask: list[Path],
    sequence_loss: list[Path],
    filled_gaps: list[Path],
    embedded: list[Path],
    similarities: list[Path],
    checks: list[Path],
    finetuning_summaries: list[Path],
    finetuning_logs: list[Path],
    metrics: list[Path],
    predictions: list[Path],
    curves: list[Path],
    comparisons: list[Path],
    overlaps: list[Path],
    study: Path | None,
    explored_batches: list[Path],
    explored_tasks: list[Path],
    benchmarks: list[Path],
    versions: list[str],
    genome_files: list[str],
    task_files: list[str],
    logs: list[Path],
    output: Path,
    figures: Path | None,
    summary: Path | None,
    published: Path | None = None,
    commit: str = "",
    sheets: Sequence[str] = (),
) -> None:
    """Read everything, arrange it, write the page. Raises InputError naming the file that cannot be read."""
    this_run = Run(
        title=title,
        simulated=simulated or simulation is not None,
        simulation=read_json(simulation) if simulation else None,
        simulated_tasks=simulated_tasks,
        settings=read_json(settings) if settings else {},
        windows=[read_json(path) for path in windows_stats],
        tokens=[read_json(path) for path in tokens],
        tokenizers=[read_json(path / "dna_tokenizer.json" if path.is_dir() else path) for path in tokenizers],
        trainings=read_trainings(training_summaries, training_logs, "--training-logs"),
        telemetry=[read_json(path) for path in telemetry],
        language_models=read_language_models(language_models, fill_mask, sequence_loss),
        filled_gaps={path.stem: table for path in filled_gaps if (table := read_table(path)) is not None},
        embedded=read_embedded(embedded, similarities),
        checks={found["task"]: found for found in map(read_json, checks)},
        finetunings=read_trainings(finetuning_summaries, finetuning_logs, "--finetuning-logs"),
        evaluations=read_evaluations(metrics, predictions, curves),
        comparisons={found["task"]: found for found in map(read_json, comparisons)},
        overlaps={found["task"]: found for found in map(read_json, overlaps)},
        study=read_json(study) if study else None,
        published=read_published(published) if published else [],
        explored_batches=[read_json(path) for path in explored_batches],
        explored_tasks={found["task"]: found for found in map(read_json, explored_tasks)},
        benchmarks=read_benchmarks(benchmarks),
        versions=read_pairs(versions, "--versions", "NAME=VERSION", "torch=2.13.0"),
        commit=commit,
        genome_files=read_pairs(genome_files, "--genome-files", "NAME=FILE", "hg38=hg38.fa.gz"),
        task_files=read_pairs(task_files, "--task-files", "TASK.SPLIT=FILE", "enhancers.test=test.tsv"),
        sheets=read_sheets(sheets),
        logs=read_logs(logs),
    )
    chapters = page.chapters_of(this_run)
    text = page.render(this_run, chapters)
    if figures:
        with atomic_directory(figures) as directory:
            for name, picture in page.figure_files(this_run, chapters).items():
                (directory / name).write_text(picture, encoding="utf-8")
    if summary:
        write_summary(this_run, summary)
    with atomic_file(output) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_summary(this_run: Run, path: Path) -> None:
    """One row per task and predictor, in the order of the report. Narrow: it stands on a landing page."""
    with atomic_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["task", "predictor", "n", "metric", "value", "low", "high"])
        for task in this_run.tasks:
            for evaluation in this_run.of_task(task):
                numbers = [evaluation.leading[key] for key in ("value", "low", "high")]
                known = ["" if number is None else f"{number:.4f}" for number in numbers]
                row = [task, evaluation.name, evaluation.metrics["n"], evaluation.leading_name, *known]
                writer.writerow(row)


# ----------------------------------------------------------------------------- reading


def read_trainings(summaries: list[Path], logs: list[Path], flag: str) -> list[Training]:
    """Summaries with their logs, which stand in the same order; no log at all is fine."""
    return [
        Training(read_json(summary), read_jsonl(log) if log else [])
        for summary, log in zip(summaries, _beside(summaries, logs, flag), strict=True)
    ]


def read_language_models(
    metrics: list[Path], fill_mask: list[Path], sequence_loss: list[Path]
) -> list[LanguageModel]:
    """Held-out metrics with their tables."""
    return [
        LanguageModel(read_json(path), read_table(examples), read_table(losses))
        for path, examples, losses in zip(
            metrics,
            _beside(metrics, fill_mask, "--fill-mask"),
            _beside(metrics, sequence_loss, "--sequence-loss"),
            strict=True,
        )
    ]


def read_embedded(summaries: list[Path], similarities: list[Path]) -> dict[str, Embedded]:
    """Summaries of embed_sequences by name, with their similarities."""
    return {
        path.stem: Embedded(read_json(path), read_table(table))
        for path, table in zip(summaries, _beside(summaries, similarities, "--similarities"), strict=True)
    }


def read_evaluations(metrics: list[Path], predictions: list[Path], curves: list[Path]) -> list[Evaluation]:
    """Metrics with the place of their predictions (read later, if they lead) and their curves."""
    return [
        Evaluation(read_json(path), table, read_json(curve) if curve else None)
        for path, table, curve in zip(
            metrics,
            _beside(metrics, predictions, "--predictions"),
            _beside(metrics, curves, "--curves"),
            strict=True,
        )
    ]


def _beside(leading: list[Path], others: list[Path], flag: str) -> list[Path | None]:
    """`others` if there is one per `leading` file, None for each if there are none."""
    if not others:
        return [None] * len(leading)
    if len(others) != len(leading):
        raise InputError(
            f"{flag} has {len(others)} files for {len(leading)} leading ones. Give one each, in order."
        )
    return list(others)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """One JSON object per line."""
    records = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path} line {number}: not valid JSON ({error.msg}). Make the file again."
            ) from None
    return records


def read_table(path: Path | None) -> pd.DataFrame | None:
    """A TSV with a header; text stays text (an `NA` is no missing value here)."""
    if path is None:
        return None
    try:
        return pd.read_csv(path, sep="\t", dtype={"id": str}, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a table ({error}). Make the file again.") from None


def read_pairs(texts: Sequence[str], flag: str, form: str, example: str) -> dict[str, str]:
    """The `NAME=VALUE` of a flag, by name; `form` and `example` are for the message."""
    pairs = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name or not value:
            raise InputError(f"{flag} {text!r}: give {form}, such as {example}.")
        pairs[name] = value
    return pairs


def read_sheets(texts: Sequence[str]) -> dict[str, str]:
    """The `FILE=TEXT` of --sheets, by file, whose name may hold `=`; names of columns hold none."""
    sheets = {}
    for text in texts:
        header, *rows = text.split("\n")
        path, separator, columns = header.rpartition("=")
        if not separator or not path or not columns:
            raise InputError(f"--sheets {text!r}: give FILE=TEXT, such as genomes.tsv='genome fasta'.")
        sheets[path] = "\n".join([columns, *rows])
    return sheets


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--title", default="DNA language model", help="title of the report")
    add("--simulated", action="store_true", help="say that genome and labels were made by a simulator")
    add("--simulation", type=Path, help="what the simulator made, JSON; implies --simulated")
    add("--simulated-tasks", nargs="*", default=[], metavar="TASK", help="tasks that the simulator made")
    add("--settings", type=Path, help="the complete configuration, JSON")
    several: dict[str, Any] = {"type": Path, "nargs": "*", "default": [], "metavar": "FILE"}
    add("--windows-stats", **several, help="counts of extract_windows, JSON, one per genome")
    add("--tokens", **several, help="summaries of tokenize_windows, JSON")
    add("--tokenizers", **several, help="dna_tokenizer.json of each tokenizer, or the tokenizer directories")
    add("--training-summaries", **several, help="training_summary.json of each pretrained model")
    add("--training-logs", **several, help="training_log.jsonl of each, in the same order")
    add("--telemetry", **several, help="telemetry of pretraining, JSON, one per model")
    add("--language-models", **several, help="metrics of evaluate_language_model, JSON, one per model")
    add("--fill-mask", **several, help="its fill-mask examples, TSV, in the same order")
    add("--sequence-loss", **several, help="its losses per line, TSV, in the same order")
    add("--filled-gaps", **several, help="tables of fill_mask, TSV")
    add("--embedded", **several, help="summaries of embed_sequences, JSON")
    add("--similarities", **several, help="its cosine similarities, TSV, in the same order")
    add("--checks", **several, help="checks of prepare_task, JSON, one per task")
    add("--finetuning-summaries", **several, help="finetuning_summary.json of each classifier")
    add("--finetuning-logs", **several, help="finetuning_log.jsonl of each, in the same order")
    add("--metrics", **several, help="metrics of evaluate, JSON; the first model of a task leads the report")
    add("--predictions", **several, help="its predictions, TSV, in the same order")
    add("--curves", **several, help="its curves, JSON, in the same order")
    add("--comparisons", **several, help="comparisons of predictors, JSON, one per task")
    add("--overlaps", **several, help="counts of pretraining_overlap, JSON, one per task")
    add("--study", type=Path, help="leaderboards of a study, JSON")
    add("--published", type=Path, help="figures of papers to show beside the results, TSV")
    add("--explored-batches", **several, help="descriptions of masked batches, JSON, one per model")
    add("--explored-tasks", **several, help="descriptions of labelled sequences, JSON, one per task")
    add("--benchmarks", **several, help="benchmark files of Snakemake, or the directory that holds them all")
    add("--logs", **several, help="logs of the steps, or the directory that holds them all")
    add("--versions", nargs="*", default=[], metavar="NAME=VERSION", help="versions of further software")
    add("--sheets", nargs="*", default=[], metavar="FILE=TEXT", help="the sheets of genomes and tasks")
    add("--commit", default="", help="commit of the workflow")
    add("--genome-files", nargs="*", default=[], metavar="NAME=FILE", help="the file of each genome")
    add("--task-files", nargs="*", default=[], metavar="TASK.SPLIT=FILE", help="the tables of each task")
    add("--output", type=Path, required=True, help="the report, HTML")
    add("--figures", type=Path, help="directory for every figure as an SVG file")
    add("--summary", type=Path, help="TSV with one row per task and predictor")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args(words_of_command()))
