"""How a training used its machine: speed, padding, memory, saving, interruptions.

Everything with a clock in it is here, apart from the results, whose bytes must not depend on the machine.
One file per process that trained; a new process adds up its predecessors'.
"""

import io
import itertools
import logging
import os
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from dnalm.running.files import read_json, write_json
from dnalm.running.loggers import Loggers
from dnalm.running.progress import Progress
from dnalm.running.world import World

logger = logging.getLogger("dnalm")

MB = 1 << 20
GPU_SAMPLE_SECONDS = 10.0
# How often the telemetry of a running process is written, besides every checkpoint.
SESSION_SECONDS = 20.0


class TrainingMonitor:
    """Counts and times what a training does, and shows its progress.

    Padding is counted in this process; the tokens of a step are those of all processes. With `sessions`
    the summary is written there now and then; `loggers` are told what the log is told. `peak_flops`: FLOP/s
    that the GPUs of all processes could do at most (`dnalm.models.flops`).
    """

    def __init__(
        self,
        steps: int,
        *,
        device: torch.device,
        quiet: bool = False,
        sessions: "Sessions | None" = None,
        loggers: Loggers | None = None,
        peak_flops: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.steps, self.device, self.quiet, self.clock = steps, device, quiet, clock
        self.sessions, self.loggers, self.peak_flops = sessions, loggers, peak_flops
        self.started = clock()
        self.seconds = {"evaluation": 0.0, "checkpoints": 0.0}
        self.first_step = self.step = 0
        self.tokens = self.padding = 0
        self.all_tokens, self.all_flops = 0, 0.0
        self.checkpoints = self.checkpoint_bytes = 0
        self.loss: float | None = None
        self.said_at: float | None = None
        # Summed over the processes when they last met.
        self.other_memory_mb = 0.0
        self.training_began: float | None = None
        self.progress = Progress("pretraining", steps, "steps")
        self.gpu = GpuUse(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self.note("running")

    def note(self, ended: str) -> None:
        """Write the summary; `ended` says why the process stopped, or that it still runs."""
        self.noted_at = self.clock()
        if self.sessions is not None:
            self.sessions.write(self.summary(ended))

    def saved(self, ended: str, size: int, seconds: float) -> None:
        """A checkpoint of `size` bytes was written in `seconds`."""
        self.checkpoints += 1
        self.checkpoint_bytes = max(self.checkpoint_bytes, size)
        self.seconds["checkpoints"] += seconds
        self.note(ended)

    def tell(self, record: dict[str, Any]) -> None:
        """A record was added to the log."""
        if self.loggers is not None:
            self.loggers.log(record)

    def begin(self, step: int) -> None:
        """The first training step of this process is about to be made."""
        self.first_step = self.step = step
        self.training_began = self.clock()
        # Only the time of steps counts for speed and ETA.
        self._excluded = sum(self.seconds.values())
        self.progress.resume_at(step)
        # One who is killed before the first checkpoint has told where it began.
        self.note("running")

    def count(self, batch: dict[str, torch.Tensor]) -> None:
        """Note the tokens and the padding of a micro-batch, before it leaves the CPU."""
        mask = batch.get("attention_mask")
        cells = batch["input_ids"].numel()
        used = cells if mask is None else int(mask.sum())
        self.tokens += used
        self.padding += cells - used

    def end_step(self, step: int, all_tokens: int, all_flops: float) -> None:
        """A step is done, of `all_tokens` tokens and `all_flops` operations over all processes."""
        self.step = step
        self.all_tokens += all_tokens
        self.all_flops += all_flops
        if self.sessions is not None:
            self.sessions.reached(step)
        if not self.quiet:
            loss = f"loss {self.loss:.3f}, " if self.loss is not None else ""
            use = f", MFU {self.mfu():.1%}" if self.peak_flops else ""
            self.progress.update(step, f"{loss}{self.tokens_per_second():,.0f} tokens/s{use}")
        if self.clock() - self.noted_at > SESSION_SECONDS:
            self.note("running")

    def training_seconds(self) -> float:
        """Seconds spent in training steps, without evaluation and saving."""
        if self.training_began is None:
            return 0.0
        return self.clock() - self.training_began - (sum(self.seconds.values()) - self._excluded)

    def tokens_per_second(self) -> float:
        return self.all_tokens / max(self.training_seconds(), 1e-9)

    def mfu(self) -> float | None:
        """Model FLOPs utilization, 0 to 1; None where the peak of the hardware is not known."""
        if not self.peak_flops:
            return None
        return self.all_flops / max(self.training_seconds(), 1e-9) / self.peak_flops

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Add the time of the block to `what`."""
        start = self.clock()
        try:
            yield
        finally:
            self.seconds[what] += self.clock() - start

    def gather_memory(self, world: World) -> None:
        """Learn how much memory the other processes have; called by all of them together."""
        own = peak_memory_mb()
        self.other_memory_mb = float(world.all_reduce_sum(torch.tensor(own))) - own

    def log_evaluation(self, step: int, result: dict[str, float]) -> None:
        now = self.clock()
        # Small models evaluate many times a second; the log of the run has every result.
        recent = self.said_at is not None and now - self.said_at < self.progress.interval
        if not self.quiet and (not recent or step in (0, self.steps)):
            self.said_at = now
            logger.info(
                "step %s of %s: held-out loss on [MASK] %.3f, accuracy %.3f",
                f"{step:,}",
                f"{self.steps:,}",
                result["masked_loss"],
                result["masked_accuracy"],
            )

    def summary(self, ended: str) -> dict[str, Any]:
        """What this process did until now."""
        return {
            "ended": ended,
            "first_step": self.first_step,
            "last_step": self.step,
            "tokens": self.all_tokens,
            "flops": self.all_flops,
            "peak_flops": self.peak_flops,
            "seconds": round(self.clock() - self.started, 3),
            "training_seconds": round(self.training_seconds(), 3),
            "evaluation_seconds": round(self.seconds["evaluation"], 3),
            "checkpoint_seconds": round(self.seconds["checkpoints"], 3),
            "checkpoints": self.checkpoints,
            "checkpoint_bytes": self.checkpoint_bytes,
            "padding_fraction": round(self.padding / max(1, self.padding + self.tokens), 6),
            "peak_memory_mb": round(peak_memory_mb() + self.other_memory_mb, 1),
            "peak_gpu_memory_mb": self._peak_gpu_memory_mb(),
            "gpu_use": self.gpu.mean(),
            "device": self._device_name(),
        }

    def _peak_gpu_memory_mb(self) -> float | None:
        if self.device.type != "cuda":
            return None
        # Reserved, not allocated: what the job must be granted.
        return round(torch.cuda.max_memory_reserved(self.device) / MB, 1)

    def _device_name(self) -> str:
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        threads = torch.get_num_threads()
        return f"CPU, {threads} thread{'' if threads == 1 else 's'}"


class GpuUse:
    """Mean share of time in which the GPU computed, sampled through nvidia-smi in the background."""

    def __init__(self, device: torch.device):
        self.samples: list[float] = []
        if device.type == "cuda" and shutil.which("nvidia-smi"):
            identifier = str(torch.cuda.get_device_properties(device).uuid)
            self.command = [
                "nvidia-smi",
                f"--id=GPU-{identifier.removeprefix('GPU-')}",
                "--query-gpu=utilization.gpu",
                "--format=csv,noheader,nounits",
            ]
            threading.Thread(target=self._sample, daemon=True).start()

    def mean(self) -> float | None:
        """0 to 1; None without a GPU or before the first sample."""
        return round(sum(self.samples) / len(self.samples) / 100, 4) if self.samples else None

    def _sample(self) -> None:
        while True:
            time.sleep(GPU_SAMPLE_SECONDS)
            try:
                answer = subprocess.run(self.command, capture_output=True, text=True, timeout=10)
                self.samples.append(float(answer.stdout))
            except (OSError, ValueError, subprocess.TimeoutExpired):
                return


class Sessions:
    """The telemetry files of all processes that worked on one training, in order.

    `training`: the directory of its checkpoints.
    """

    def __init__(self, training: Path):
        self.directory = directory = training / "sessions"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.file = directory / f"{len(list(directory.glob('*.json'))) + 1:04d}.json"
        self._steps: io.FileIO | None = None

    def reached(self, step: int) -> None:
        """Note the newest step, so that one who is killed before the next summary is known to have made it.

        Some microseconds: the file stays open, since on a network's file system opening one takes as long
        as a step. The kernel keeps what was written when the process is killed.
        """
        # No reason to end a training.
        with suppress(OSError):
            if self._steps is None:
                self._steps = open(self.file.with_suffix(".step"), "wb", buffering=0)  # noqa: SIM115
            # Of one width: no number leaves digits of the one before.
            os.pwrite(self._steps.fileno(), b"%020d" % step, 0)

    def write(self, summary: dict[str, Any]) -> None:
        write_json(self.file, {**summary, "slurm_job_id": os.environ.get("SLURM_JOB_ID")})

    def totals(self) -> dict[str, Any]:
        """Everything the processes did together; `steps_repeated` were made twice, after a kill."""
        sessions = [_read_session(file) for file in sorted(self.directory.glob("*.json"))]
        interruptions: dict[str, int] = {}
        for session in sessions[:-1]:
            reason = "killed" if session["ended"] == "running" else session["ended"]
            interruptions[reason] = interruptions.get(reason, 0) + 1
        repeated = sum(
            max(0, before["last_step"] - after["first_step"])
            for before, after in itertools.pairwise(sessions)
        )

        def total(key: str) -> float:
            return sum(session[key] for session in sessions)

        def peak(key: str) -> float | None:
            return max((session[key] for session in sessions if session[key] is not None), default=None)

        seconds = total("training_seconds")
        known = [s for s in sessions if s["peak_flops"] and s["training_seconds"]]
        possible = sum(s["training_seconds"] * s["peak_flops"] for s in known)
        cells = sum(s["tokens"] / max(1e-9, 1 - s["padding_fraction"]) for s in sessions)
        return {
            "tokens_per_second": round(total("tokens") / seconds, 1) if seconds else None,
            "flops_per_second": round(total("flops") / seconds) if seconds else None,
            "mfu": round(sum(s["flops"] for s in known) / possible, 4) if possible else None,
            "tokens": int(total("tokens")),
            "padding_fraction": round(1 - total("tokens") / cells, 6) if cells else 0.0,
            "seconds": round(total("seconds"), 1),
            "training_seconds": round(seconds, 1),
            "evaluation_seconds": round(total("evaluation_seconds"), 1),
            "checkpoint_seconds": round(total("checkpoint_seconds"), 1),
            "checkpoints": int(total("checkpoints")),
            "checkpoint_bytes": peak("checkpoint_bytes"),
            "peak_memory_mb": peak("peak_memory_mb"),
            "peak_gpu_memory_mb": peak("peak_gpu_memory_mb"),
            "gpu_use": sessions[-1]["gpu_use"],
            "processes_started": len(sessions),
            "interruptions": interruptions,
            "steps_repeated": int(repeated),
            "device": sessions[-1]["device"],
            "sessions": sessions,
        }


def _read_session(file: Path) -> dict[str, Any]:
    """The summary of a process, up to the last step that it made."""
    session = read_json(file)
    with suppress(OSError, ValueError):
        # Killed while it wrote: the summary is all that is known.
        session["last_step"] = max(session["last_step"], int(file.with_suffix(".step").read_text()))
    return session


def peak_memory_mb() -> float:
    """The most memory (resident set) this process has had, in MB of 2^20 bytes."""
    # Linux counts in kB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
