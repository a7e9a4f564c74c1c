"""Pretraining as its users see it: results, interruptions, several processes, mistakes."""

import filecmp
import json
import math
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from pretraining_server import REPOSITORY, PretrainingServer, tiny_corpus, wait_until
from safetensors.numpy import load_file

STEPS = 120


@pytest.fixture(scope="module")
def server() -> Iterator[PretrainingServer]:
    server = PretrainingServer()
    yield server
    server.close()


class Place:
    """A folder with inputs for a tiny training, and the arguments for it."""

    def __init__(self, folder: Path, tokenizer: Path):
        self.folder, self.tokenizer = folder, tokenizer
        tiny_corpus(folder / "train_a", 150, seed=1)
        tiny_corpus(folder / "train_b", 101, seed=2)
        tiny_corpus(folder / "held_out", 40, seed=3)
        sizes = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
        # Dropout, so that an inexact resume of random numbers would show.
        sizes |= {"local_attention": 8, "attention_dropout": 0.1, "mlp_dropout": 0.1}
        (folder / "architecture.json").write_text(json.dumps(sizes))
        self.runs = 0

    def arguments(self, name: str, **changes) -> list[str]:
        """Arguments of a run that writes to `name`; changes as in `training_steps=5`, None leaves out."""
        options = {
            "tokens": [self.folder / "train_a", self.folder / "train_b"],
            "validation_tokens": [self.folder / "held_out"],
            "tokenizer": self.tokenizer,
            "architecture": self.folder / "architecture.json",
            "model": "tiny",
            "max_tokens": 16,
            "masking_probability": 0.3,
            "training_steps": STEPS,
            "training_batch_size": 6,
            "training_learning_rate": 0.003,
            "training_evaluate_every": 25,
            "training_checkpoint_every_steps": 10,
            "checkpoints": self.folder / "checkpoints" / name,
            "output": self.folder / name,
            "telemetry": self.folder / f"{name}.telemetry.json",
        } | changes
        result = []
        for option, value in options.items():
            if value is True:
                result.append(f"--{option.replace('_', '-')}")
            elif value is not None:
                values = value if isinstance(value, list) else [value]
                result += [f"--{option.replace('_', '-')}", *map(str, values)]
        return result

    def log(self, name: str) -> Path:
        """Where a run's messages go; there from the beginning, so that it can be watched."""
        path = self.folder / f"{name}.log"
        path.touch()
        return path

    def checkpoints(self, name: str) -> list[Path]:
        return sorted((self.folder / "checkpoints" / name).glob("*/step-*"))

    def records(self, name: str) -> list[dict]:
        return [
            json.loads(line) for line in (self.folder / name / "training_log.jsonl").read_text().splitlines()
        ]

    def pieces(self, name: str) -> int:
        """Pieces that a run's training lines were read in."""
        summary = json.loads((self.folder / name / "training_summary.json").read_text())
        return summary["cut"]["train"]["pieces"]

    def same(self, one: str, other: str) -> bool:
        """Whether two model directories hold the same files, byte by byte."""
        names = [sorted(f.name for f in (self.folder / name).iterdir()) for name in (one, other)]
        equal, *_ = filecmp.cmpfiles(self.folder / one, self.folder / other, names[0], shallow=False)
        return names[0] == names[1] == sorted(equal)


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_model) -> Place:
    folder = tmp_path_factory.mktemp("pretrain")
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tiny_model / file, tokenizer / file)
    return Place(folder, tokenizer)


@pytest.fixture(scope="module")
def undisturbed(server, place) -> str:
    """Name of a run that nothing disturbed."""
    assert server.run(place.arguments("undisturbed"), place.log("undisturbed")) == 0, place.log(
        "undisturbed"
    ).read_text()
    return "undisturbed"


# ----------------------------------------------------------------------------- results


def test_the_model_directory_is_enough_by_itself(place, undisturbed):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    directory = place.folder / undisturbed
    model = AutoModelForMaskedLM.from_pretrained(directory)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    # Users get logits for every token, though training computed those of masked tokens only.
    assert model.config.sparse_prediction is False
    logits = model(**tokenizer("ACGTACGT", return_tensors="pt")).logits
    assert logits.ndim == 3 and logits.shape[2] == len(tokenizer)
    cut = tokenizer("ACGT" * 10000, truncation=True)["input_ids"]
    assert len(cut) == model.config.max_position_embeddings
    # A colleague can read it.
    assert stat.S_IMODE((directory / "model.safetensors").stat().st_mode) & 0o044 == 0o044 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_log_tells_the_course(place, undisturbed):
    records = place.records(undisturbed)
    evaluations = [r for r in records if r["event"] == "evaluation"]
    assert [r["step"] for r in evaluations] == [0, 25, 50, 75, 100, STEPS]
    assert evaluations[-1]["masked_loss"] < evaluations[0]["masked_loss"] - 0.3
    assert evaluations[-1]["masked_perplexity"] == pytest.approx(np.exp(evaluations[-1]["masked_loss"]))
    training = [r for r in records if r["event"] == "train"]
    assert [r["step"] for r in training] == list(range(1, STEPS + 1))
    assert training[-1]["epoch"] == pytest.approx(STEPS / (place.pieces(undisturbed) // 6), abs=1e-6)
    rates = [r["learning_rate"] for r in training]
    # Warm-up over 5% of the steps, then a cosine down to nearly nothing.
    assert rates[0] == 0 and rates[6] == pytest.approx(0.003) and rates[-1] < 1e-5
    assert sum("seconds" in key or "time" in key for record in records for key in record) == 0


def test_the_summary_describes_the_run(place, undisturbed):
    text = (place.folder / undisturbed / "training_summary.json").read_text()
    assert str(place.folder) not in text
    summary = json.loads(text)
    assert summary["parameters"]["total"] == sum(p["total"] for p in summary["parameters"]["parts"].values())
    # Lines longer than the model reads are read to their end, in pieces.
    cut = summary["cut"]["train"]
    assert cut["lines"] == 251 and cut["longer"] > 0 and cut["pieces"] > 251 and cut["unread_tokens"] == 0
    assert summary["steps"] == STEPS and summary["precision"] == "fp32"
    assert (
        summary["evaluation"]["after"]
        == [r for r in place.records(undisturbed) if r["event"] == "evaluation"][-1]
    )
    assert {"torch", "transformers"} <= summary["versions"].keys()


def test_telemetry_is_kept_apart(place, undisturbed):
    telemetry = json.loads((place.folder / f"{undisturbed}.telemetry.json").read_text())
    assert telemetry["tokens"] == place.records(undisturbed)[-1]["tokens"]
    assert telemetry["tokens_per_second"] > 0 and telemetry["peak_memory_mb"] > 50
    assert 0 <= telemetry["padding_fraction"] < 0.5
    assert telemetry["checkpoints"] == STEPS / 10
    assert telemetry["interruptions"] == {} and telemetry["processes_started"] == 1


def test_training_starts_from_the_untrained_model(place, undisturbed):
    import untrained_model

    untrained_model.main(
        tokenizer=place.tokenizer,
        architecture=place.folder / "architecture.json",
        checkpoint=None,
        model="untrained",
        seed=42,
        output=place.folder / "untrained",
        summary=None,
    )
    from transformers import AutoModelForMaskedLM

    from dnalm.pretrain.batches import Corpus, Vocabulary, evaluation_lines
    from dnalm.pretrain.settings import MaskingSettings
    from dnalm.pretrain.training import MaskedTokenLoss, evaluate
    from dnalm.tokenize_windows.cache import load_tokens
    from dnalm.tokenize_windows.context import ContextLines
    from dnalm.tokenizers.encoding import load_tokenizer

    model = AutoModelForMaskedLM.from_pretrained(place.folder / "untrained")
    vocabulary = Vocabulary.of(load_tokenizer(place.tokenizer))
    corpus = Corpus(
        ContextLines(load_tokens(place.folder / "held_out"), 16),
        vocabulary,
        MaskingSettings(probability=0.3),
        seed=42,
    )
    result = evaluate(MaskedTokenLoss(model), corpus, evaluation_lines(len(corpus.lengths), 2000))
    assert place.records(undisturbed)[0] | result == place.records(undisturbed)[0]


def test_domain_adaptation_goes_on_from_a_checkpoint(server, place, undisturbed):
    arguments = place.arguments(
        "adapted", architecture=None, checkpoint=place.folder / undisturbed, training_steps=5
    )
    assert server.run(arguments, place.log("adapted")) == 0
    before, after = place.records("adapted")[0], place.records(undisturbed)[-1]
    assert before["masked_loss"] == pytest.approx(after["masked_loss"], abs=1e-5)


def test_epochs_and_summary_file(server, place):
    arguments = place.arguments(
        "epochs",
        training_steps=None,
        training_epochs=0.5,
        summary=place.folder / "epochs.json",
        training_checkpoint_every_minutes=0,
        training_max_gradient_norm=0,
        training_schedule="linear",
    )
    assert server.run(arguments, place.log("epochs")) == 0
    assert place.records("epochs")[-1]["step"] == math.ceil(0.5 * (place.pieces("epochs") // 6))
    assert len(json.loads((place.folder / "epochs.json").read_text())["sha256"]) == 64


def test_small_micro_batches_train_the_same(server, place, undisturbed):
    assert (
        server.run(place.arguments("micro", training_micro_batch_size=4, training_steps=30), place.log("p"))
        == 0
    )
    assert server.run(place.arguments("whole", training_steps=30), place.log("w")) == 0
    assert not place.same("micro", "whole")
    # Dropout is drawn anew for each micro-batch, so only the start can be compared.
    micro, whole = place.records("micro"), place.records("whole")
    assert micro[0]["selected_loss"] == pytest.approx(whole[0]["selected_loss"], abs=1e-5)
    assert micro[-1]["selected_loss"] == pytest.approx(whole[-1]["selected_loss"], abs=0.1)


# ----------------------------------------------------------------------------- interruptions


def test_random_kills_change_nothing(server, place, undisturbed):
    kill_at_random(server, place, "killed", kills=6, seed=random.randrange(10**6))
    assert place.same("killed", undisturbed)
    telemetry = json.loads((place.folder / "killed.telemetry.json").read_text())
    assert telemetry["processes_started"] > sum(telemetry["interruptions"].values())


@pytest.mark.slow
def test_many_random_kills_change_nothing(server, place):
    long = {"training_steps": 4000, "training_evaluate_every": 300, "masking_span_tokens": 2}
    assert server.run(place.arguments("long", **long), place.log("long")) == 0
    kills = kill_at_random(server, place, "long_killed", kills=25, seed=random.randrange(10**6), **long)
    assert kills >= 20
    assert place.same("long_killed", "long")


def kill_at_random(server, place, name, *, kills, seed, **changes) -> int:
    """Start, SIGKILL, start again …, then let it end. A third of the kills hit a checkpoint being written.

    Returns how many kills came before the end.
    """
    print("seed", seed)
    numbers = random.Random(seed)
    done = 0
    folder = place.folder / "checkpoints" / name
    while done < kills:
        # How often a run saves does not belong to its identity.
        every = numbers.choice([1, 2, 5, 9])
        pid = server.start(
            place.arguments(name, training_checkpoint_every_steps=every, **changes), place.log(name)
        )
        if done % 3 == 0:
            end = time.monotonic() + 10
            seen = set(folder.glob("*/.step-*.part"))
            while not (set(folder.glob("*/.step-*.part")) - seen) and time.monotonic() < end:
                time.sleep(0.0005)
            time.sleep(numbers.uniform(0, 0.01))
        else:
            time.sleep(numbers.uniform(0.2, 1.5))
        os.kill(pid, signal.SIGKILL)
        if server.wait(pid) != -signal.SIGKILL:
            break
        done += 1
    assert server.run(place.arguments(name, **changes), place.log(name)) == 0, place.log(name).read_text()
    return done


def test_a_kill_while_the_results_are_written_changes_nothing(server, place, undisturbed):
    pid = server.start(place.arguments("late"), place.log("late"))
    wait_until(lambda: any(place.folder.glob(".late.*.part")))
    os.kill(pid, signal.SIGKILL)
    server.wait(pid)
    assert server.run(place.arguments("late"), place.log("late")) == 0
    assert place.same("late", undisturbed)


def test_a_finished_training_is_not_repeated(server, place):
    arguments = place.arguments("twice", training_steps=10)
    assert server.run(arguments, place.log("twice")) == 0
    shutil.move(place.folder / "twice", place.folder / "once")
    assert server.run(arguments, place.log("twice again")) == 0
    assert "this training has ended before" in place.log("twice again").read_text()
    assert place.same("once", "twice")
    # What remains is enough to write the results again, and no more.
    assert [f.name for f in place.checkpoints("twice")] == ["step-00000010"]
    assert not (place.checkpoints("twice")[0] / "optimizer.safetensors").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves(server, place, undisturbed, number):
    name = f"signal{number.value}"
    arguments = place.arguments(name, training_checkpoint_every_steps=0)
    pid = server.start(arguments, place.log(name))
    wait_until(lambda: "step 0 of" in place.log(name).read_text())
    time.sleep(0.05)
    os.kill(pid, number)
    assert server.wait(pid) == 75
    assert f"stopped: received {number.name}: saved after step" in place.log(name).read_text()
    assert not (place.folder / name).exists()
    assert len(place.checkpoints(name)) == 1
    assert server.run(arguments, place.log(name)) == 0
    assert place.same(name, undisturbed)
    telemetry = json.loads((place.folder / f"{name}.telemetry.json").read_text())
    assert telemetry["interruptions"] == {"signal": 1}


def test_the_time_limit_is_asked_from_slurm(server, place, undisturbed):
    programs = place.folder / "bin"
    programs.mkdir()
    # The first job has no time at all, the others 2 s each: training leaves when a quarter is left.
    (programs / "squeue").write_text('#!/bin/sh\ncat "$(dirname "$0")/left"\n')
    (programs / "squeue").chmod(0o755)
    (programs / "left").write_text("0:00\n")
    slurm = {"SLURM_JOB_ID": "17", "PATH": f"{programs}:{os.environ['PATH']}"}
    arguments = place.arguments("limited", gpus=0)
    codes = [server.run(arguments, place.log("limited"), slurm)]
    (programs / "left").write_text("0:02\n")
    while codes[-1] == 75:
        codes.append(server.run(arguments, place.log("limited"), slurm))
        assert len(codes) < 200, place.log("limited").read_text()
    assert codes[-1] == 0 and codes.count(75) >= 1
    assert "the job's time is nearly over" in place.log("limited").read_text()
    assert place.same("limited", undisturbed)


def test_a_damaged_checkpoint_is_replaced_by_the_one_before(server, place, undisturbed):
    pid = server.start(place.arguments("damaged"), place.log("damaged"))
    wait_until(lambda: len(place.checkpoints("damaged")) == 2)
    os.kill(pid, signal.SIGKILL)
    server.wait(pid)
    newest = place.checkpoints("damaged")[-1] / "optimizer.safetensors"
    content = bytearray(newest.read_bytes())
    content[-5] ^= 1
    newest.write_bytes(content)
    assert server.run(place.arguments("damaged"), place.log("damaged")) == 0
    assert "is damaged (checksum of optimizer.safetensors)" in place.log("damaged").read_text()
    assert place.same("damaged", undisturbed)


def test_two_jobs_do_not_train_into_one_directory(server, place):
    arguments = place.arguments("locked", training_steps=2000, training_checkpoint_every_steps=1)
    first = server.start(arguments, place.log("locked"))
    wait_until(lambda: len(place.checkpoints("locked")) > 0)
    second = server.start(arguments, place.log("second"))
    wait_until(lambda: "is training this model; waiting" in place.log("second").read_text())
    os.kill(first, signal.SIGKILL)
    server.wait(first)
    # The owner is dead: the second one takes over, and goes on where the first one was.
    wait_until(lambda: "going on at step" in place.log("second").read_text())
    assert f"process {first} has ended" in place.log("second").read_text()
    os.kill(second, signal.SIGTERM)
    assert server.wait(second) == 75
    assert not list((place.folder / "checkpoints" / "locked").glob("*/lock"))


@pytest.mark.parametrize(
    "change",
    [
        {"masking_probability": 0.4},
        {"training_learning_rate": 0.001},
        {"training_seed": 43},
        {"training_steps": 3, "max_tokens": 12},
        {"tokens": ["train_b", "train_a"]},
    ],
)
def test_checkpoints_of_another_training_are_never_picked_up(server, place, change):
    if "tokens" in change:
        change = {"tokens": [place.folder / name for name in change["tokens"]]}
    shutil.rmtree(place.folder / "checkpoints" / "other", ignore_errors=True)
    assert server.run(place.arguments("other", training_steps=3), place.log("other")) == 0
    log = place.log(f"other {len(list(place.folder.iterdir()))}")
    assert server.run(place.arguments("other", **{"training_steps": 3} | change), log) == 0
    assert "left alone" in log.read_text()
    assert "ended before" not in log.read_text() and "going on" not in log.read_text()


# ----------------------------------------------------------------------------- several processes


def start_two(server, place, name, changes) -> list[int]:
    """Two processes of one training, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        server.start(
            place.arguments(name, **changes),
            place.log(f"{name}{rank}"),
            {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "LOCAL_WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "GLOO_SOCKET_IFNAME": "lo",
            },
        )
        for rank in range(2)
    ]


@pytest.mark.parametrize("gpus", [1, 4])
def test_of_the_gpus_of_a_server_as_many_are_used_as_were_asked_for(place, monkeypatch, gpus):
    import torch

    import pretrain
    from dnalm.running.commandline import parsed_options
    from dnalm.running.world import World

    class Alone(Exception):
        pass

    def alone(device: torch.device) -> World:
        raise Alone

    launched = []
    monkeypatch.setattr(pretrain, "choose_device", lambda *_, **__: torch.device("cuda"))
    monkeypatch.setattr(pretrain, "choose_precision", lambda *_: "fp32")
    monkeypatch.setattr(pretrain, "launch_until_it_fits", lambda processes, *_: launched.append(processes))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(World, "join", alone)
    options = parsed_options(pretrain.command_line(), place.arguments("server", gpus=gpus))
    with pytest.raises(Alone) if gpus == 1 else nullcontext():
        pretrain.main(**options)
    assert launched == ([] if gpus == 1 else [4])


def test_two_processes_train_like_one(server, place, tmp_path):
    # Without dropout, which each process draws for itself.
    sizes = json.loads((place.folder / "architecture.json").read_text())
    (tmp_path / "plain.json").write_text(
        json.dumps({key: value for key, value in sizes.items() if "dropout" not in key})
    )
    changes = {"architecture": tmp_path / "plain.json", "training_steps": 40, "training_batch_size": 7}
    assert server.run(place.arguments("one", **changes), place.log("one")) == 0
    pids = start_two(server, place, "two", changes)
    assert [server.wait(pid) for pid in pids] == [0, 0], place.log("two0").read_text()
    # Weights, gradients and optimizer spread over both; killed in between.
    sharded = changes | {"training_fsdp": True, "training_micro_batch_size": 2}
    pids = start_two(server, place, "sharded", sharded)
    wait_until(lambda: place.checkpoints("sharded"))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert [server.wait(pid) for pid in pids] == [-signal.SIGKILL] * 2
    pids = start_two(server, place, "sharded", sharded)
    assert [server.wait(pid) for pid in pids] == [0, 0], place.log("sharded0").read_text()
    assert "going on at step" in place.log("sharded0").read_text()

    one = place.records("one")
    for name in ("two", "sharded"):
        several = place.records(name)
        assert [r["step"] for r in one] == [r["step"] for r in several]
        assert [r["tokens"] for r in one] == [r["tokens"] for r in several]
        for value in ("masked_loss", "selected_loss"):
            assert [r[value] for r in several] == pytest.approx([r[value] for r in one], abs=2e-4)
        # One writer, one voice.
        assert place.log(f"{name}1").read_text() == ""
        assert json.loads((place.folder / f"{name}.telemetry.json").read_text())["processes"] == 2
        whole, joint = (load_file(place.folder / n / "model.safetensors") for n in ("one", name))
        assert whole.keys() == joint.keys()
        assert all(np.abs(joint[key] - whole[key]).max() < 2e-3 for key in whole)


@pytest.mark.slow
def test_torchrun_inside_the_script(place):
    """Two real processes: SIGTERM saves, a dead worker fails with its own message, the result is the same."""
    changes = {"processes": 2, "training_steps": 600, "training_checkpoint_every_steps": 5}
    script = [sys.executable, str(REPOSITORY / "scripts/pretrain.py")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def start(name):
        with place.log(name).open("a") as log:
            return subprocess.Popen(
                [*script, *place.arguments(name, **changes)], stdout=log, stderr=log, env=environment
            )

    whole = start("torchrun")
    assert whole.wait(180) == 0, place.log("torchrun").read_text()

    def newest(name):
        return max((p.name for p in place.checkpoints(name)), default="")

    def wait_for_progress(name):
        before = newest(name)
        wait_until(lambda: newest(name) > before, 90)

    process = start("disturbed")
    wait_for_progress("disturbed")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75, place.log("disturbed").read_text()
    assert "stopped: received SIGTERM: saved after step" in place.log("disturbed").read_text()

    import psutil

    process = start("disturbed")
    wait_for_progress("disturbed")
    psutil.Process(process.pid).children()[-1].kill()
    assert process.wait(60) == 1
    assert "was ended by SIGKILL. Perhaps it ran out of memory." in place.log("disturbed").read_text()

    process = start("disturbed")
    wait_for_progress("disturbed")
    workers = psutil.Process(process.pid).children()
    process.kill()
    process.wait()
    # No orphans train on.
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    assert start("disturbed").wait(180) == 0, place.log("disturbed").read_text()
    assert place.same("disturbed", "torchrun")


# ----------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": ["nowhere"]}, "nowhere: not a token cache"),
        ({"tokenizer": "nowhere"}, "nowhere: no such directory"),
        ({"architecture": "nowhere.json"}, "nowhere.json: no such file"),
        ({"architecture": None}, "either --architecture"),
        ({"masking_probability": 1.5}, "--masking-probability is 1.5"),
        ({"masking_mask_token": 0.95}, "add up to 1.05"),
        ({"training_steps": None}, "either --training-steps"),
        ({"training_learning_rate": float("nan")}, "--training-learning-rate is NaN"),
        ({"processes": "many"}, "--processes is many"),
        ({"checkpoint": "nowhere", "architecture": None}, "nowhere: no such directory"),
        ({"training_learning_rate": 1e12, "training_max_gradient_norm": 0}, "Lower the learning rate"),
    ],
)
def test_mistakes_end_in_one_line(server, place, changes, message):
    log = place.log(f"mistake {place.runs}")
    place.runs += 1
    assert server.run(place.arguments("mistake", **changes), log) == 1
    lines = [line for line in log.read_text().splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and message in lines[0]
    assert "Traceback" not in log.read_text()
    assert not (place.folder / "mistake").exists()
    assert not list(place.folder.glob(".mistake*"))


def test_compiling_without_a_compiler_ends_in_one_line(server, place):
    log = place.log("no compiler")
    arguments = place.arguments("no compiler", training_compile=True)
    assert server.run(arguments, log, environment={"CXX": "no-such-compiler"}) == 1
    assert "error: --training-compile needs a C++ compiler" in log.read_text()
    assert not list((place.folder / "checkpoints").glob("no compiler"))


def test_tokens_of_another_tokenizer_are_refused(server, place):
    from dnalm.tokenize_windows.cache import write_tokens

    foreign = place.folder / "foreign"
    foreign.mkdir(exist_ok=True)
    write_tokens(foreign, [[np.array([1, 4000, 2], np.uint16)]], 4096)
    assert server.run(place.arguments("foreign_run", tokens=[foreign]), place.log("foreign")) == 1
    assert "token id 4000 lies outside of the tokenizer's 17 tokens" in place.log("foreign").read_text()
