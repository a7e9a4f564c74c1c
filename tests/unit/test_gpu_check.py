"""The checks of a machine's GPUs, on the CPU: all that need no other process, and what is made of them."""

import gc
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import gpu_check
from gpu_checks import finetuning as checks_of_finetuning
from gpu_checks import memory as checks_of_memory
from gpu_checks import plain
from gpu_checks.findings import Finding
from gpu_checks.interruptions import check_kill, check_kill_finetuning
from gpu_checks.memory import MB, Kept, half_of
from gpu_checks.place import ON_CPU, ON_GPU, Place
from gpu_checks.pretraining import Speed, Stopwatch, check_precision, check_several

from dnalm.finetune import trained, training
from dnalm.models.architecture import new_model
from dnalm.models.directory import copy_tokenizer
from dnalm.pretrain.defaults import usual_micro_batch_size
from dnalm.tokenizers.encoding import encode


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    place = Place(tmp_path_factory.mktemp("check"), ON_CPU, torch.device("cpu"))
    new_model(place.config, 1).save_pretrained(place.model)
    copy_tokenizer(place.tokenizer, place.model)
    return place


def test_the_cpu_passes(place, monkeypatch):
    starting_processes = (check_kill, check_several, check_kill_finetuning)
    alone = [check for check in gpu_check.CHECKS if check not in starting_processes]
    monkeypatch.setattr(gpu_check, "CHECKS", alone)
    found = {finding.check: finding for finding in gpu_check.findings(place)}
    assert [finding for finding in found.values() if finding.good is False] == []
    judged = [name for name, finding in found.items() if finding.good]
    assert {"held-out loss in fp32", "loss in bf16", "gradient checkpointing"} <= set(judged)
    assert {"memory runs out", "embeddings in bf16 beside the CPU's"} <= set(judged)
    assert {"gradient in bf16 beside the CPU's, of its length"} <= set(judged)
    assert {"language model's evaluation beside the CPU's", "fine-tuning: memory runs out"} <= set(judged)
    for precision in ("fp32", "bf16"):
        assert f"held-out loss in fp32 beside the Trainer in {precision}" in judged
        speed = found[f"speed in fp32 beside the Trainer in {precision}"]
        assert "tokens/s there" in speed.measured and speed.good is None
    for way in ("full", "partial", "lora"):
        assert {
            f"fine-tuning, {way}: loss by epoch",
            f"{way}: fp32 beside the CPU's",
            f"{way}: bf16 beside fp32",
            f"{way}: interrupted and resumed",
            f"{way}: saved, read here",
            f"{way}: saved, read on the CPU",
        } <= set(judged)
        assert "sequences/s" in found[f"{way}: speed in fp32"].measured
    assert "full: gradients checkpointed" in judged
    assert "tokens/s" in found["speed in bf16"].measured and "MFU unknown" in found["speed in bf16"].measured


def test_what_follows_a_training_does_not_slow_it(place):
    """Its speed is that of its steps, whenever it is asked for."""
    now = iter(range(10**9))
    watch = Stopwatch(4, device=place.device, quiet=True, clock=lambda: next(now))
    watch.begin(0)
    for step in range(1, 5):
        watch.count({"input_ids": torch.ones(2, 3, dtype=torch.int64)})
        watch.end_step(step, all_tokens=6, all_flops=1.0)
    speed = watch.speed
    watch.end_step(4, all_tokens=0, all_flops=0.0)
    assert speed.tokens_per_second > watch.tokens_per_second() and speed.padding == 0


def test_a_fine_tuning_that_goes_wrong_is_told(place, monkeypatch):
    """The optimizer's state is lost with an interruption, the low-rank matrices with the merge."""
    lora = checks_of_finetuning.ways_to_learn(place)["lora"]
    monkeypatch.setattr(checks_of_finetuning, "ways_to_learn", lambda place: {"wrong": lora})
    monkeypatch.setattr(training, "load_optimizer_state", lambda *_: None)
    monkeypatch.setattr(trained, "merged", lambda weights, module: weights)
    bad = {finding.check for finding in checks_of_finetuning.check_finetuning(place) if finding.good is False}
    assert bad == {
        "wrong: interrupted and resumed",
        "wrong: saved, read here",
        "wrong: saved, read on the CPU",
    }


def test_memory_held_in_reserve_does_not_escape_the_limit(monkeypatch):
    told = []
    gpu = SimpleNamespace(total_memory=1000 * MB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpu)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: told.append("emptied"))
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda fraction, device: told.append(fraction)
    )
    with pytest.raises(ValueError), half_of(torch.device("cuda"), 300):
        told.append("work")
        raise ValueError
    assert told == ["emptied", 0.15, "work", 1.0]


def test_a_pass_that_is_given_up_keeps_no_memory():
    with Kept().hooks():
        # Both keep what they return.
        result = torch.ones(3, requires_grad=True).exp().tanh()
    kept = weakref.ref(result)
    del result
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize(
    ("usual", "checkpointed", "good"),
    [([2.0, 8.0], [1.0, 3.0], True), ([2.0, None], [1.0, None], True), ([2.0, 8.0], [1.0, 8.0], False)],
)
def test_gradient_checkpointing_is_judged_by_what_fits(place, monkeypatch, usual, checkpointed, good):
    megabytes = iter([*usual, *checkpointed])
    monkeypatch.setattr(checks_of_memory, "memory_of_pass", lambda *_: next(megabytes))
    *_, judged = checks_of_memory.check_memory(place)
    assert judged.good is good


@pytest.mark.parametrize(("usual", "good"), [("bf16", False), ("fp32", None)])
def test_only_in_bf16_a_step_shall_be_much_faster_than_the_trainers(monkeypatch, usual, good):
    gpu = SimpleNamespace(device=torch.device("cuda"), usual=usual, bf16=usual == "bf16")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(plain, "train", lambda *_: ([1.0], Speed(120.0, None, 0.0)))
    monkeypatch.setattr(plain, "train_plainly", lambda *_: (1.0, 100.0))
    found = {finding.check: finding.good for finding in plain.check_plain(gpu)}
    assert found[f"speed in {usual} beside the Trainer in fp32"] is good


def test_lines_for_a_gpu_are_as_long_as_real_ones(tmp_path):
    """And as many at once as a training takes."""
    place = Place(tmp_path, replace(ON_GPU, lines=400), torch.device("cpu"))
    lengths = place.corpus("train").lengths
    read = sorted(map(len, encode(place.vocabulary, place.sequences, 512)))
    # In local attention, padding behind a short one sees no token.
    assert read[0] + place.config.local_attention // 2 < read[-1]
    assert 200 < lengths.mean() < 260
    assert usual_micro_batch_size(place.longest, "cuda") >= ON_GPU.batch_size


def test_gpus_without_bf16_are_checked_in_fp32(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    place = Place(tmp_path, ON_CPU, torch.device("cuda"))
    assert place.usual == "fp32"
    # A stand-in: there is no GPU to compute on.
    place.device = torch.device("cpu")
    found = {finding.check: finding.measured for finding in check_precision(place)}
    assert "left out" in found.pop("bf16")
    assert [name for name in found if "bf16" in name] == []
    assert "speed in fp32, lengths as they are" in found


def test_a_gpu_that_cannot_be_used_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (7, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Tesla V100")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_80"])
    monkeypatch.setattr(sys, "argv", ["gpu_check.py"])
    enabled = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        with pytest.raises(SystemExit, match=r"Tesla V100\) has compute capability 7\.0"):
            gpu_check.main()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(enabled)


def test_a_gpu_that_was_granted_but_is_not_seen_is_told(monkeypatch):
    """Such as one whose driver is older than PyTorch's CUDA."""
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    monkeypatch.setattr(sys, "argv", ["gpu_check.py"])
    with pytest.raises(SystemExit, match="this job asked for 1 GPU, but torch sees 0"):
        gpu_check.main()


def test_what_is_bad_ends_with_an_error(monkeypatch, capsys):
    def fine(place):
        yield Finding("a", "1 | 2", "1", True)

    def wrong(place):
        yield Finding("b", "3", "4", False)

    def broken(place):
        yield Finding("c", "first")
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(gpu_check, "Place", lambda *_: None)
    monkeypatch.setattr(gpu_check, "CHECKS", (fine,))
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--cpu"])
    gpu_check.main()
    monkeypatch.setattr(gpu_check, "CHECKS", (fine, wrong, broken))
    with pytest.raises(SystemExit, match="2 of the checks failed"):
        gpu_check.main()
    table = capsys.readouterr().out
    assert "no GPU was measured" in table
    assert "| a | 1 / 2 | 1 | good |" in table and "| b | 3 | 4 | **bad** |" in table
    assert "| broken | RuntimeError: CUDA error | no error | **bad** |" in table
