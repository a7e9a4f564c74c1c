"""Loggers show what the log says, and can do no harm."""

import struct
import sys
import types
from pathlib import Path

import pytest

from dnalm.running.errors import InputError
from dnalm.running.loggers import PACKAGES, Loggers, check_loggers, flat

RECORDS = [
    {"event": "evaluation", "step": 0, "loss": 3.5, "masked_accuracy": 0.1},
    {"event": "train", "step": 10, "loss": 3.0, "learning_rate": 1e-3},
    {"event": "evaluation", "step": 10, "loss": 2.5, "masked_accuracy": 0.2},
]


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """(name, step, value) of every point in the event files of a folder, in order."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.glob("events.out.tfevents.*")):
        content, place = file.read_bytes(), 0
        while place < len(content):
            # https://www.tensorflow.org/tutorials/load_data/tfrecord: length, its checksum, data, checksum.
            [length] = struct.unpack_from("<Q", content, place)
            event = Event.FromString(content[place + 12 : place + 12 + length])
            place += 16 + length
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return found


def test_tensorboard_shows_every_number_of_the_log(tmp_path):
    loggers = Loggers(["tensorboard"], tmp_path / "events", "demo", {})
    for record in RECORDS:
        loggers.log(record)
    # Written at once, for whoever watches.
    assert scalars(tmp_path / "events") == [
        ("evaluation/loss", 0, 3.5),
        ("evaluation/masked_accuracy", 0, pytest.approx(0.1)),
        ("train/loss", 10, 3.0),
        ("train/learning_rate", 10, pytest.approx(1e-3)),
        ("evaluation/loss", 10, 2.5),
        ("evaluation/masked_accuracy", 10, pytest.approx(0.2)),
    ]
    loggers.close()


def test_a_logger_that_fails_is_left_out_with_one_warning_and_the_others_go_on(tmp_path, monkeypatch, caplog):
    def init(**options):
        assert options["mode"] == "offline"
        raise RuntimeError("no such\nproject at https://ann:s3cret@logs.org/api")

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init, Settings=dict))
    caplog.set_level("WARNING", logger="dnalm")
    loggers = Loggers(["wandb", "tensorboard"], tmp_path / "a", "demo", {"seed": 1})
    assert list(loggers.active) == ["tensorboard"]
    monkeypatch.setattr(loggers.active["tensorboard"], "log", lambda *_: 1 / 0)
    for record in RECORDS:
        loggers.log(record)
    loggers.close()
    assert [record.getMessage() for record in caplog.records] == [
        "wandb cannot be used and is left out: RuntimeError: no such project at https://…@logs.org/api",
        "tensorboard failed at step 0 and is left out: ZeroDivisionError: division by zero",
    ]


def test_weights_and_biases_is_offline_unless_the_environment_says_so(tmp_path, monkeypatch):
    told = []
    run = types.SimpleNamespace(log=lambda values, step: told.append((step, values)), finish=lambda: None)
    options = {}
    package = types.SimpleNamespace(init=lambda **given: options.update(given) or run, Settings=dict)
    monkeypatch.setitem(sys.modules, "wandb", package)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    loggers = Loggers(["wandb"], tmp_path / "f00d", "demo", {"training": {"steps": 5}})
    loggers.log(RECORDS[0])
    loggers.close()
    assert options["mode"] == "offline" and options["id"] == "f00d"
    assert options["config"] == {"training.steps": 5}
    assert told == [(0, {"evaluation/loss": 3.5, "evaluation/masked_accuracy": 0.1})]
    monkeypatch.setenv("WANDB_MODE", "online")
    Loggers(["wandb"], tmp_path / "f00d", "demo", {})
    assert options["mode"] == "online"


def test_a_missing_package_is_named_before_the_training(monkeypatch):
    monkeypatch.setitem(PACKAGES, "mlflow", "no_such_package")
    check_loggers(["tensorboard"])
    with pytest.raises(InputError, match="no_such_package is not installed"):
        check_loggers(["tensorboard", "mlflow"])


def test_settings_become_one_level():
    assert flat({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}
