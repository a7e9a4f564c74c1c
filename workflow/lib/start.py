"""All that a run is told, read and checked before anything is computed: configuration and both sheets.

Only light packages are imported, because every cluster job reads the Snakefile again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnalm.baseline.settings import STACKED
from dnalm.config_paths import Made, made_by_none, with_paths
from dnalm.config_reading import check_files, read_config
from dnalm.problems.names import SINGLE_LABEL
from dnalm.report.published import read_published
from dnalm.running.errors import InputError
from dnalm.running.hints import nearest, show
from sheets import Genome, Task, check_tables, read_genomes, read_tasks


@dataclass(frozen=True)
class Run:
    """What is to be done. `source` names the configuration in messages; `simulation` is the folder of the
    demo's own data, if it makes any."""

    source: str
    config: dict[str, Any]
    simulation: str | None
    genomes: dict[str, Genome]
    tasks: dict[str, Task]


def read_run(
    config: Mapping[str, Any],
    files: Sequence[str | Path],
    found: Callable[[Any], Any] = lambda path: path,
    look_into_tables: bool = True,
    section: Sequence[str] | None = (),
    made: Made = made_by_none,
) -> Run:
    """The run that the configuration `config`, read from `files`, describes.

    `found` says where a path of the configuration really is. `look_into_tables`: read the headers of labelled
    tables too. `section`: the keys that lead to `config` in these files; None if it is no part of them.
    `made`: whether other rules make a file, which then need not exist yet. Raises InputError for the first
    thing that is wrong.
    """
    try:
        return _read_run(config, files, found, look_into_tables, section, made)
    except OSError as error:
        # Of folders that one may not look into, even the question whether a file is there is an error.
        # Where reading fails, and not opening, no file is named.
        place = error.filename or " + ".join(map(str, files))
        raise InputError(
            f"{place}: {error.strerror}. Ask its owner for the right to read it, or name another."
        ) from None


def _read_run(
    config: Mapping[str, Any],
    files: Sequence[str | Path],
    found: Callable[[Any], Any],
    look_into_tables: bool,
    section: Sequence[str] | None,
    made: Made,
) -> Run:
    if section is None:
        source = "configuration of a module"
    else:
        check_files(files, section)
        source = ": ".join([" + ".join(map(str, files)), *([".".join(section)] if section else [])])
    checked = read_config(with_paths(dict(config), found), source, made)
    simulation = f"{checked['results']}/simulation" if checked["simulate_demo"] is not None else None
    genomes = read_genomes(checked["genomes"], simulation, made)
    tasks = read_tasks(checked["tasks"], simulation, made)
    if checked["published"]:
        read_published(Path(checked["published"]))
    if look_into_tables:
        check_tables(tasks, checked["tasks"], simulation, made)
    for name in genomes.keys() & checked["corpora"].keys():
        raise InputError(
            f"{source}: corpora.{name}: a genome of {checked['genomes']} has that name. Choose another."
        )
    for asking in ("corpora", "predict", "publish"):
        for name, settings in checked[asking].items():
            task = settings["task"]
            if task is not None and task not in tasks:
                raise InputError(
                    f"{source}: {asking}.{name}.task is {show(task)}, which {checked['tasks']} does not "
                    f"list.{nearest(task, tasks) or f' Name one of {_some(tasks)}, or take {name} out.'}"
                )
    for name, settings in checked["predict"].items():
        if settings["backbone"] == STACKED and tasks[settings["task"]].problem != SINGLE_LABEL:
            raise InputError(
                f"{source}: predict.{name}.backbone is {show(STACKED)}, but task '{settings['task']}' has no "
                "classes, and only probabilities of classes are stacked. Choose another backbone."
            )
    _check_folds(checked, tasks, source)
    # Leaderboards count which test sequences are right.
    other = next((task for task in tasks.values() if task.problem != SINGLE_LABEL), None)
    if checked["study"] and other:
        raise InputError(
            f"{source}: a study compares accuracies, but task '{other.task}' of {checked['tasks']} is of the "
            f"problem {other.problem}. Take it out of the sheet, or take out the section study."
        )
    return Run(source, checked, simulation, genomes, tasks)


def _some(names: Mapping[str, Any]) -> str:
    """The first of these names."""
    shown = list(names)[:5]
    return ", ".join(shown + ["…"] * (len(names) > len(shown)))


def _check_folds(config: Mapping[str, Any], tasks: Mapping[str, Task], source: str) -> None:
    """Raise InputError for what a task with folds cannot be asked for."""
    for name, corpus in config["corpora"].items():
        if corpus["task"] is not None and tasks[corpus["task"]].folds:
            raise InputError(
                f"{source}: corpora.{name}.task is {show(corpus['task'])}, which is cross-validated: a model "
                "that learned from its sequences would have read all that it is tested on. Take the corpus "
                "out, or give the task a test table."
            )
    crossed = next((task.task for task in tasks.values() if task.folds), None)
    if crossed and config["study"] and config["study"]["train_sequences"]:
        raise InputError(
            f"{source}: study.train_sequences makes training splits smaller, but task '{crossed}' is "
            "cross-validated and has none. Leave train_sequences out, or give the task a test table."
        )
