"""How much a metric varies when a classifier is trained again with another seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dnalm.running.errors import InputError


def group_repetitions(
    reports: Sequence[Mapping[str, Any]], repetitions: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Mean and spread over seeds of each of `reports` (metrics.json) that has `repetitions`.

    Returns per predictor name, kind, backbone, seeds and `metrics`: of each, and of the loss, what
    :func:`spread` says. Raises InputError for repetitions of something else or with a seed that was had.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {
        (report["name"], report["backbone"]): [report] for report in reports
    }
    for report in repetitions:
        key = (report["name"], report["backbone"])
        if key not in groups:
            raise InputError(f"--repetitions: {report['name']}/{report['backbone']} is not among --metrics.")
        if report["seed"] in [other["seed"] for other in groups[key]]:
            raise InputError(f"--repetitions: {'/'.join(key)} has the seed {report['seed']} twice.")
        groups[key].append(report)
    return [
        {key: group[0][key] for key in ("name", "kind", "backbone")}
        | {"seeds": [report["seed"] for report in group], "metrics": spreads(group)}
        for group in groups.values()
        if len(group) > 1
    ]


def spreads(group: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """:func:`spread` of every metric, and of the loss, that all of the group have."""
    measured = [{**report["metrics"], "loss": report["loss"]} for report in group]
    values = {name: [of[name]["value"] for of in measured] for name in measured[0]}
    return {name: spread(numbers) for name, numbers in values.items() if None not in numbers}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation (n - 1), lowest and highest of two or more values, and the values."""
    numbers = np.asarray(values, dtype=np.float64)
    return {
        "mean": float(numbers.mean()),
        "sd": float(numbers.std(ddof=1)),
        "low": float(numbers.min()),
        "high": float(numbers.max()),
        "values": [float(value) for value in values],
    }
