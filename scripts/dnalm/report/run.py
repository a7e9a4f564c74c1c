"""What a report is made of: everything that was read of a run."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from dnalm.evaluate.predictions import PREDICTORS, identity
from dnalm.problems.kinds import KINDS, Problem
from dnalm.problems.names import METRIC_NAMES
from dnalm.report import words
from dnalm.report.published import PublishedFigure


@dataclass
class Evaluation:
    """One predictor on one task: its metrics, where its predictions are, and its curves."""

    metrics: dict[str, Any]
    predictions: Path | None = None
    curves: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return words.predictor_name(self.metrics)

    @property
    def problem(self) -> Problem:
        """The kind of the task."""
        return KINDS[self.metrics["problem"]]

    @property
    def leading(self) -> dict[str, Any]:
        """The metric that leads the report for tasks of this kind: value, low and high."""
        return self.metrics["metrics"][self.problem.headline]

    @property
    def leading_name(self) -> str:
        """What people call that metric."""
        return METRIC_NAMES[self.problem.headline]

    @property
    def folds(self) -> int | None:
        """Number of folds of a cross-validation; None where there is a test split."""
        crossed = self.metrics.get("cross_validation")
        return len(crossed["sequences"]) if crossed else None

    @property
    def clusters(self) -> int:
        """How many groups of unrelated sequences were tested; as many as sequences where none are related."""
        return self.metrics["bootstrap"]["clusters"]

    @property
    def tested_sequences(self) -> str:
        """What its sequences are called: in a cross-validation there is no test split."""
        return "tested sequences" if self.folds else "test sequences"

    @property
    def how(self) -> str:
        """How the metrics were measured, as stands before their names."""
        return "cross-validated" if self.folds else "test"

    @property
    def leading_value(self) -> float:
        """Its value; of what is not defined less than all others."""
        value = self.leading["value"]
        return -math.inf if value is None else value


@dataclass
class Training:
    """A pretraining or fine-tuning run: its summary and the records of its log."""

    summary: dict[str, Any]
    log: list[dict[str, Any]] = field(default_factory=list)

    def losses(self, place: str, loss: str) -> dict[int, float]:
        """The `loss` of each evaluation by its `place`, `step` or `epoch`, in order."""
        return {record[place]: record[loss] for record in self.log if record["event"] == "evaluation"}


@dataclass
class LanguageModel:
    """What was measured on held-out DNA."""

    metrics: dict[str, Any]
    fill_mask: pd.DataFrame | None = None
    sequence_loss: pd.DataFrame | None = None


@dataclass
class Embedded:
    """Sequences without labels that a language model embedded."""

    summary: dict[str, Any]
    similarities: pd.DataFrame | None = None


@dataclass
class Benchmark:
    """One run of one rule, as Snakemake measured it. `rule` and `job` are taken from the file's name."""

    rule: str
    job: str
    seconds: float
    peak_mb: float | None
    cpu_seconds: float | None


@dataclass
class StepLog:
    """When the log of a step begins and ends (`2026-05-31 14:02:07`), and the machines that it names."""

    began: str
    ended: str
    machines: list[str]


@dataclass
class Run:
    """Everything that was read."""

    title: str
    simulated: bool
    simulation: dict[str, Any] | None = None
    simulated_tasks: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    windows: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[dict[str, Any]] = field(default_factory=list)
    tokenizers: list[dict[str, Any]] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)
    telemetry: list[dict[str, Any]] = field(default_factory=list)
    language_models: list[LanguageModel] = field(default_factory=list)
    filled_gaps: dict[str, pd.DataFrame] = field(default_factory=dict)
    embedded: dict[str, Embedded] = field(default_factory=dict)
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)
    finetunings: list[Training] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    comparisons: dict[str, dict[str, Any]] = field(default_factory=dict)
    overlaps: dict[str, dict[str, Any]] = field(default_factory=dict)
    study: dict[str, Any] | None = None
    published: list[PublishedFigure] = field(default_factory=list)
    explored_batches: list[dict[str, Any]] = field(default_factory=list)
    explored_tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    benchmarks: list[Benchmark] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    commit: str = ""
    genome_files: dict[str, str] = field(default_factory=dict)
    task_files: dict[str, str] = field(default_factory=dict)
    sheets: dict[str, str] = field(default_factory=dict)
    logs: list[StepLog] = field(default_factory=list)

    @property
    def genomes(self) -> list[dict[str, Any]]:
        """Statistics of the genomes, which were cut into windows."""
        return [stats for stats in self.windows if "source" not in stats]

    @property
    def corpora(self) -> list[dict[str, Any]]:
        """Statistics of the corpora that are no genomes."""
        return [stats for stats in self.windows if "source" in stats]

    @property
    def all_versions(self) -> dict[str, str]:
        """Versions of software by name; those that trainings and evaluations noted are theirs."""
        versions = dict(self.versions)
        for training in [*self.trainings, *self.finetunings]:
            versions |= training.summary.get("versions", {})
        for evaluation in self.evaluations:
            versions |= evaluation.metrics.get("versions", {})
        return versions

    @property
    def tasks(self) -> list[str]:
        """Tasks in the order of the evaluations."""
        return list(dict.fromkeys(e.metrics["task"] for e in self.evaluations))

    @property
    def real_tasks(self) -> list[str]:
        """Tasks that no simulator made."""
        return [task for task in self.tasks if task not in self.simulated_tasks]

    def simulated_task(self, task: str) -> dict[str, Any] | None:
        """What the simulator says about a task; None of one that it did not make."""
        return self.simulation["task"] if self.simulation and task in self.simulated_tasks else None

    @property
    def confidence(self) -> float:
        """Coverage of the intervals of the classification metrics, as their files say."""
        return self.evaluations[0].metrics["bootstrap"]["confidence"]

    @cached_property
    def _by_task(self) -> dict[str, list[Evaluation]]:
        """The evaluations of each task, in the order of `of_task`."""
        # Asked for a hundred times for each task.
        by_task: dict[str, list[Evaluation]] = {}
        for evaluation in sorted(
            self.evaluations,
            key=lambda e: (PREDICTORS.index(e.metrics["kind"]), e.metrics["name"] == "majority"),
        ):
            by_task.setdefault(evaluation.metrics["task"], []).append(evaluation)
        return by_task

    def of_task(self, task: str) -> list[Evaluation]:
        """Evaluations of a task: models, then untrained ones, then baselines, the majority class last."""
        return self._by_task.get(task, [])

    def headline(self, task: str) -> Evaluation:
        """The predictor that leads: the reference of the comparison, else the first model that was given.

        Both follow the order of the configuration. Choosing the best one by its test accuracy would make
        that accuracy too good.
        """
        reference = self.comparisons.get(task, {}).get("reference", "")
        return self.by_identity(task).get(reference) or self.of_task(task)[0]

    def by_identity(self, task: str) -> dict[str, Evaluation]:
        """Evaluations of a task by the identity of the predictor."""
        return {identity(e.metrics): e for e in self.of_task(task)}

    def baselines(self, task: str) -> list[Evaluation]:
        """Evaluations of the predictors of a task that know no language model."""
        return [e for e in self.of_task(task) if e.metrics["kind"] == "baseline"]

    def asked(self, task: str, question: str) -> list[dict[str, Any]]:
        """What the comparison of a task says of a question; differences with their metric and confidence."""
        return [
            asked | {"difference": asked["difference"] | self._measured(asked["metric"])}
            for asked in self.comparisons.get(task, {}).get("questions", [])
            if asked["question"] == question
        ]

    def difference_to(self, task: str, other: Evaluation) -> dict[str, Any] | None:
        """Paired difference in the leading metric, leading model minus `other`, with its interval."""
        metric = other.problem.headline
        for row in self.comparisons.get(task, {}).get("predictors", []):
            if row["predictor"] == identity(other.metrics):
                found = row[f"{metric}_difference"]
                return found and found | self._measured(metric)
        return None

    def _measured(self, metric: str) -> dict[str, Any]:
        return {"metric": metric, "confidence": self.confidence}
