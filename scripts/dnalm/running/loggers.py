"""Where people watch a training beside its log: TensorBoard, Weights & Biases, MLflow.

A logger is told each record of the log when it is written. It decides no number, and one that fails is left
out with a warning: no training ends for it. Nothing leaves the machine unless the logger's own variables of
the environment say so (WANDB_MODE=online, MLFLOW_TRACKING_URI).
"""

import argparse
import importlib
import importlib.util
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from dnalm.running.errors import InputError

logger = logging.getLogger("dnalm")

# Logger -> the package that it needs.
PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow"}


class Logger(Protocol):
    """One of them."""

    def log(self, values: dict[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class Loggers:
    """All loggers of one training.

    `directory`: for what they write, a folder of this training alone. `run`: what they call it. `about`: its
    settings. `first_step`: where this process goes on; what was told of later steps is withdrawn where a
    logger can do so.
    """

    def __init__(
        self, names: Iterable[str], directory: Path, run: str, about: Mapping[str, Any], first_step: int = 0
    ):
        self.active: dict[str, Logger] = {}
        for name in names:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                self.active[name] = LOGGERS[name](directory, run, flat(about), first_step)
            except Exception as error:
                logger.warning("%s cannot be used and is left out: %s", name, _line(error))

    def log(self, record: Mapping[str, Any]) -> None:
        """Hand on the numbers of a record of the log; `event` begins their names."""
        values = {
            f"{record['event']}/{key}": float(value)
            for key, value in record.items()
            if key not in ("event", "step") and isinstance(value, int | float)
        }
        for name in list(self.active):
            try:
                self.active[name].log(values, record["step"])
            except Exception as error:
                logger.warning("%s failed at step %d and is left out: %s", name, record["step"], _line(error))
                del self.active[name]

    def close(self) -> None:
        """Have everything written."""
        for name, one in self.active.items():
            try:
                one.close()
            except Exception as error:
                logger.warning("%s could not finish: %s", name, _line(error))
        self.active = {}


def check_loggers(names: Iterable[str]) -> None:
    """Raise InputError if the package of one is missing."""
    for package in (PACKAGES[name] for name in names):
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"loggers: the package {package} is not installed. Type `pip install {package}`, or take its "
                "logger out."
            )


def add_logger_flags(arguments: argparse.ArgumentParser) -> None:
    """Add `--loggers` and `--events`."""
    add = arguments.add_argument
    add("--loggers", nargs="+", choices=sorted(PACKAGES), default=[], help="show the training here too")
    add("--events", type=Path, default=Path("events"), help="directory for what they write")


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level: `training.steps`."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found


class TensorBoard:
    """Event files, for `tensorboard --logdir results/logs`."""

    def __init__(self, directory: Path, run: str, about: dict[str, Any], first_step: int):
        # Not SummaryWriter: its second thread writes some time later.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        self.writer = EventsWriter(str(directory / "events"), f".{os.getpid()}")
        if first_step:
            # What was told of later steps, before an interruption, is withdrawn.
            self._write(step=first_step + 1, session_log=SessionLog(status=SessionLog.START))

    def log(self, values: dict[str, float], step: int) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step=step, summary=Summary(value=points))

    def _write(self, **event: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self.writer.write_event(Event(wall_time=time.time(), **event))
        # Someone may be watching, and this process may be killed.
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    """Offline unless WANDB_MODE says otherwise; `wandb sync` sends it later."""

    def __init__(self, directory: Path, run: str, about: dict[str, Any], first_step: int):
        wandb = importlib.import_module("wandb")
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "dna-modernbert"),
            name=run,
            # The same training that goes on is the same run.
            id=directory.name,
            resume="allow",
            mode=os.environ.get("WANDB_MODE", "offline"),
            dir=str(directory),
            config=about,
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
        )

    def log(self, values: dict[str, float], step: int) -> None:
        self.run.log(values, step=step)

    def close(self) -> None:
        self.run.finish()


class MLflow:
    """A local database unless MLFLOW_TRACKING_URI says otherwise."""

    def __init__(self, directory: Path, run: str, about: dict[str, Any], first_step: int):
        mlflow = importlib.import_module("mlflow")
        for talkative in ("mlflow", "alembic"):
            logging.getLogger(talkative).setLevel(logging.WARNING)
        uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{directory.absolute()}/mlflow.db")
        self.client = mlflow.MlflowClient(tracking_uri=uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "dna-modernbert")
        experiment = self.client.get_experiment_by_name(name)
        identity = experiment.experiment_id if experiment else self.client.create_experiment(name)
        noted = directory / "mlflow_run_id"
        if noted.exists():
            self.run_id = noted.read_text()
        else:
            self.run_id = self.client.create_run(identity, run_name=run).info.run_id
            noted.write_text(self.run_id)
            for key, value in about.items():
                self.client.log_param(self.run_id, key, value)

    def log(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.client.log_metric(self.run_id, name, value, step=step)

    def close(self) -> None:
        self.client.set_terminated(self.run_id)


LOGGERS: dict[str, Callable[[Path, str, dict[str, Any], int], Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}


def _line(error: Exception) -> str:
    # The address of a server may hold a password.
    return re.sub(r"//[^/\s]*@", "//…@", " ".join(f"{type(error).__name__}: {error}".split()))
