"""Pretrain a masked language model on DNA: hide some tokens of each line and learn to name them.

In:   --tokens               token caches of the training lines (one per genome)
      --validation-tokens    token caches of the held-out lines
      --tokenizer            the tokenizer directory that made them
      --architecture         a JSON file with the size of a new network, or
      --checkpoint           a model directory to go on from (domain adaptation)
Out:  --output               model directory: config.json, model.safetensors, the tokenizer's files,
                             training_log.jsonl (one record per line: "event" is "train" or "evaluation"),
                             training_summary.json (parameters, settings, versions)
      --summary              training_summary.json and the SHA-256 of the model directory
      --telemetry            JSON with speed, memory and interruptions; the only output with a clock in it

A run can be killed at any moment and started again with the same arguments: it goes on from its last
checkpoint and, on a CPU, ends with the same bytes. Checkpoints stand in --checkpoints, in a directory
named by a fingerprint of everything that decides the result. Before the time limit of a Slurm job, and
after SIGTERM, the run saves and ends with exit code 75: start it again.
"""

import argparse
import copy
import json
import logging
import math
import os
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dnalm.models.architecture import count_parameters, load_model, model_config, new_model, read_architecture
from dnalm.models.directory import copy_tokenizer, quieten, versions
from dnalm.running.budget import StopSignals, TimeBudget
from dnalm.running.checkpoints import Checkpoint, CheckpointStore
from dnalm.running.code import sha256_of_modules
from dnalm.running.commandline import parser, run
from dnalm.running.devices import add_device_flags, choose_device, choose_precision
from dnalm.running.errors import InputError, Interrupted
from dnalm.running.files import atomic_directory, sha256_of_directory, write_directory_summary, write_json
from dnalm.running.launch import LAUNCHED, as_worker, is_worker, launch, processes_wanted
from dnalm.running.runlock import RunLock, check_held
from dnalm.tokenize_windows.cache import TokenLines, load_tokens
from dnalm.tokenizers.encoding import load_tokenizer

logger = logging.getLogger("dnalm")

# The modules that decide a training's numbers. Their code is part of the fingerprint.
CODE = (
    "dnalm.pretrain.masking",
    "dnalm.models.architecture",
    "dnalm.pretrain.training",
    "dnalm.tokenizers.encoding",
    "dnalm.tokenize_windows.cache",
)
# How often the telemetry of a running process is written, besides every checkpoint.
SESSION_SECONDS = 20.0


def main(**options: Any) -> None:
    """Train, or go on training, and write the model directory. The options are those of `pretrain`."""
    with as_worker() if is_worker() else nullcontext():
        pretrain(**options)


def pretrain(
    *,
    tokens: list[Path],
    validation_tokens: list[Path],
    tokenizer: Path,
    architecture: Path | None,
    checkpoint: Path | None,
    model: str,
    max_tokens: int,
    masking_probability: float,
    masking_mask_token: float,
    masking_random_token: float,
    masking_span_tokens: int,
    training_steps: int | None,
    training_epochs: float | None,
    training_batch_size: int,
    training_micro_batch_size: int | None,
    training_learning_rate: float,
    training_schedule: str,
    training_warmup_fraction: float,
    training_weight_decay: float,
    training_max_gradient_norm: float,
    training_evaluate_every: int,
    training_evaluate_lines: int,
    training_checkpoint_every_steps: int,
    training_checkpoint_every_minutes: float,
    training_precision: str,
    training_seed: int,
    checkpoints: Path,
    processes: str,
    gpus: int,
    allow_cpu: bool,
    stop_before_minutes: float,
    output: Path,
    summary: Path | None,
    telemetry: Path | None,
) -> None:
    """Check everything, then train as one process, or as several."""
    quieten()
    # Everything that can be wrong is found before the first expensive step.
    check_numbers(locals())
    device = choose_device(gpus, allow_cpu=allow_cpu)
    precision = choose_precision(training_precision, device)

    import torch

    from dnalm.pretrain.training import Masking, Schedule, Share, batches_per_epoch

    vocabulary_source = load_tokenizer(tokenizer)
    if architecture is not None:
        config = model_config(read_architecture(architecture), vocabulary_source)
        start: dict[str, Any] = {"architecture": read_architecture(architecture)}
    else:
        start = {"checkpoint": sha256_of_directory(checkpoint)}
    training_lines = open_corpus(tokens, "--tokens")
    held_out_lines = open_corpus(validation_tokens, "--validation-tokens")
    check_ids(training_lines, len(vocabulary_source))
    check_ids(held_out_lines, len(vocabulary_source))

    masking = Masking(masking_probability, masking_mask_token, masking_random_token, masking_span_tokens)
    per_epoch = batches_per_epoch(len(training_lines), training_batch_size)
    schedule = Schedule(
        steps=training_steps or math.ceil(training_epochs * per_epoch),
        learning_rate=training_learning_rate,
        schedule=training_schedule,
        warmup_fraction=training_warmup_fraction,
        weight_decay=training_weight_decay,
        max_gradient_norm=training_max_gradient_norm,
        evaluate_every=training_evaluate_every,
        seed=training_seed,
    )
    settings = {
        **start,
        "tokenizer": sha256_of_directory(tokenizer),
        "corpus": [sha256_of_directory(directory) for directory in tokens],
        "held_out": [sha256_of_directory(directory) for directory in validation_tokens],
        "max_tokens": max_tokens,
        "masking": asdict(masking),
        "training": {
            **asdict(schedule),
            "batch_size": training_batch_size,
            "evaluate_lines": training_evaluate_lines,
            "precision": training_precision,
        },
        "code": sha256_of_modules(CODE),
        "versions": versions(),
    }
    store = CheckpointStore(checkpoints, settings)

    wanted = processes_wanted(processes, torch.cuda.device_count() if device.type == "cuda" else 0)
    with StopSignals() as signals:
        # The clock of the job runs from here, waiting for the lock included.
        budget = TimeBudget(stop_before_minutes)

        def give_up_waiting() -> None:
            if signals.received or budget.is_over():
                raise Interrupted("stopped while another process was training this model. Start it again.")

        def train() -> None:
            rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
            share = Share.of(
                training_batch_size,
                processes=world,
                rank=rank,
                max_tokens=max_tokens,
                micro_batch_size=training_micro_batch_size,
            )
            if checkpoint is not None:
                network = load_model(checkpoint, vocabulary_source)
            else:
                network = new_model(config, training_seed)
            train_and_write(
                network,
                vocabulary_source,
                training_lines,
                held_out_lines,
                masking=masking,
                schedule=schedule,
                share=share,
                max_tokens=max_tokens,
                evaluate_lines=training_evaluate_lines,
                save_every_steps=training_checkpoint_every_steps,
                save_every_minutes=training_checkpoint_every_minutes,
                device=device,
                precision=precision,
                store=store,
                budget=budget,
                signals=signals,
                model=model,
                tokenizer=tokenizer,
                output=output,
                summary=summary,
                telemetry=telemetry,
            )

        # Workers train under the lock of the process that launched them. Under a torchrun of the user's
        # own (several nodes) the first worker takes it.
        leader = not is_worker() or (LAUNCHED not in os.environ and os.environ["RANK"] == "0")
        with RunLock(store.directory, meanwhile=give_up_waiting) if leader else nullcontext():
            if leader:
                for other in store.differences():
                    logger.info("checkpoints of another training are left alone: %s", other)
                store.prepare()
            if wanted > 1 and not is_worker():
                launch(wanted)
            else:
                train()
        if is_worker():
            torch.distributed.destroy_process_group()


def train_and_write(
    network: Any,
    vocabulary_source: Any,
    training_lines: TokenLines,
    held_out_lines: TokenLines,
    *,
    masking: Any,
    schedule: Any,
    share: Any,
    max_tokens: int,
    evaluate_lines: int,
    save_every_steps: int,
    save_every_minutes: float,
    device: Any,
    precision: str,
    store: CheckpointStore,
    budget: TimeBudget,
    signals: StopSignals,
    model: str,
    tokenizer: Path,
    output: Path,
    summary: Path | None,
    telemetry: Path | None,
) -> None:
    """Train from the newest checkpoint to the end, then write the outputs. Interrupted if it stops before."""
    import torch

    from dnalm.pretrain import training
    from dnalm.pretrain.telemetry import Sessions, Watch

    first = share.rank == 0
    arguments = training.training_arguments(
        schedule, share, scratch=str(store.directory), device=device, precision=precision
    )
    # Votes and messages go over the CPU, so that no GPU has to wait for them.
    group = torch.distributed.new_group(backend="gloo") if share.processes > 1 else None

    found = newest_checkpoint(store, share, group)
    state = training.RunState()
    moments: dict[str, torch.Tensor] = {}
    if found is not None:
        state = training.RunState(found.step, found.state["tokens"], found.state["losses"], found.log())
        training.load_weights(network, found.weights())
        if not found.finished:
            moments = found.moments()
            logger.info("going on at step %s of %s", f"{found.step:,}", f"{schedule.steps:,}")

    configuration = copy.deepcopy(network.config)
    if found is None or not found.finished:
        watch = Watch(schedule.steps, device=arguments.device, quiet=not first)
        sessions = Sessions(store.directory / "sessions") if first else None
        corpus = {
            "vocabulary": training.Vocabulary.of(vocabulary_source),
            "masking": masking,
            "max_tokens": max_tokens,
            "seed": schedule.seed,
            # Attention on GPUs is fastest where lengths are multiples of 8.
            "pad_to_multiple_of": 8 if device.type == "cuda" else 1,
        }
        held_out = training.Corpus(held_out_lines, **corpus)
        saver = Saver(
            store,
            sessions,
            watch,
            budget,
            signals,
            schedule.steps,
            save_every_steps,
            save_every_minutes,
            group,
        )
        trainer = training.PretrainingTrainer(
            network,
            arguments,
            schedule=schedule,
            batches=training.MicroBatches(training.Corpus(training_lines, **corpus), share, schedule.steps),
            held_out=held_out,
            held_out_lines=training.evaluation_lines(len(held_out_lines), evaluate_lines),
            run=state,
            moments=moments,
            after_step=saver.after_step,
            watch=watch,
            # Masking beside a fast GPU needs a hand; on a CPU every core is busy with the network.
            workers=2 if device.type == "cuda" else 0,
        )
        trainer.train()
        if saver.reason:
            raise Interrupted(
                f"{saver.reason}: saved at step {state.step:,} of {schedule.steps:,}. "
                "Start it again to go on."
            )
    else:
        logger.info("this training has ended before; writing its results from %s", found.path)
    if first:
        write_results(
            network,
            configuration,
            state,
            schedule,
            model=model,
            tokenizer=tokenizer,
            lines=len(training_lines),
            settings=store.settings,
            fingerprint=store.fingerprint,
            precision=precision,
            output=output,
        )
        if summary is not None:
            write_directory_summary(summary, output, "training_summary.json")
        if telemetry is not None:
            totals = Sessions(store.directory / "sessions").totals()
            write_json(
                telemetry, {"model": model, "processes": share.processes, "precision": precision, **totals}
            )
    if group is not None:
        torch.distributed.barrier(group)


class Saver:
    """Decides after each step, together with the other processes, whether to save and whether to leave."""

    def __init__(
        self,
        store: CheckpointStore,
        sessions: Any,
        watch: Any,
        budget: TimeBudget,
        signals: StopSignals,
        steps: int,
        every_steps: int,
        every_minutes: float,
        group: Any,
    ):
        self.store, self.sessions, self.watch = store, sessions, watch
        self.budget, self.signals, self.steps = budget, signals, steps
        self.every_steps, self.every_seconds, self.group = every_steps, 60 * every_minutes, group
        self.saved_at = self.noted_at = time.monotonic()
        self.save_seconds = 0.0
        self.tokens_before: int | None = None
        # Why the training stops early, in words; None while it does not.
        self.reason: str | None = None
        if sessions is not None:
            sessions.write(watch.summary("running"))

    def after_step(self, trainer: Any) -> bool:
        run, now = trainer.run, time.monotonic()
        self.watch.end_step(run.step, trainer.batches.tokens(run.step - 1))
        finished = run.step >= self.steps
        out_of_time = self.budget.is_over(self.watch.seconds_per_step() + self.save_seconds)
        stop = not finished and (self.signals.received is not None or out_of_time)
        save = (
            finished
            or stop
            or (self.every_steps > 0 and run.step % self.every_steps == 0)
            or (self.every_seconds > 0 and now - self.saved_at >= self.every_seconds)
        )
        if self.group is not None:
            import torch

            # One process that must leave takes all with it, and all save at the same step.
            votes = torch.tensor([int(stop), int(save)])
            torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX, group=self.group)
            stop, save = bool(votes[0]), bool(votes[1])
        if save:
            self._save(trainer, finished)
        if stop:
            self.reason = (
                f"received {self.signals.received}" if self.signals.received else "the time is nearly over"
            )
        if self.sessions is not None and (stop or finished or save or now - self.noted_at > SESSION_SECONDS):
            ended = (
                "finished" if finished else ("time limit" if out_of_time else "signal") if stop else "running"
            )
            self.sessions.write(self.watch.summary(ended))
            self.noted_at = now
        if stop and self.group is not None:
            import torch

            # Leave together: a process that ends early makes torchrun end the others, also while they save.
            torch.distributed.barrier(self.group)
        return stop

    def _save(self, trainer: Any, finished: bool) -> None:
        from dnalm.pretrain.training import moments, weights

        run = trainer.run
        losses = trainer.gather_losses()
        if not all(math.isfinite(loss) for loss in losses):
            raise InputError(
                f"the training loss is not a finite number at step {run.step:,}. Lower the learning rate "
                f"(now {trainer.schedule.learning_rate:g}) or lengthen the warm-up."
            )
        self.watch.gather_memory(self.group)
        self.saved_at = time.monotonic()
        if trainer.batches.share.rank > 0:
            return
        with self.watch.measure("checkpoints"):
            size = self.store.save(
                {"step": run.step, "tokens": run.tokens, "losses": losses},
                run.log,
                weights(trainer.model),
                None if finished else moments(trainer.model, trainer.optimizer),
            )
        self.save_seconds = time.monotonic() - self.saved_at
        self.watch.checkpoints += 1
        self.watch.checkpoint_bytes = max(self.watch.checkpoint_bytes, size)


def newest_checkpoint(store: CheckpointStore, share: Any, group: Any) -> Checkpoint | None:
    """The newest whole checkpoint, the same one in all processes; only the first one checks and cleans up."""
    found = store.newest() if share.rank == 0 else None
    if group is None:
        return found
    import torch

    step = torch.tensor([-1 if found is None else found.step])
    torch.distributed.broadcast(step, 0, group=group)
    if share.rank == 0 or step.item() < 0:
        return found
    return store.at(int(step.item()))


def write_results(
    network: Any,
    configuration: Any,
    state: Any,
    schedule: Any,
    *,
    model: str,
    tokenizer: Path,
    lines: int,
    settings: dict[str, Any],
    fingerprint: str,
    precision: str,
    output: Path,
) -> None:
    """Write the model directory, whole or not at all."""
    evaluations = [record for record in state.log if record["event"] == "evaluation"]
    summary = {
        "model": model,
        "parameters": count_parameters(network),
        "steps": schedule.steps,
        "tokens": state.tokens,
        "lines": lines,
        "evaluation": {"before": evaluations[0], "after": evaluations[-1]},
        "precision": precision,
        "settings": {key: value for key, value in settings.items() if key != "versions"},
        "fingerprint": fingerprint,
        "versions": settings["versions"],
    }
    network.config = configuration
    with atomic_directory(output, check_held) as directory:
        network.to("cpu").save_pretrained(directory)
        copy_tokenizer(tokenizer, directory)
        (directory / "training_log.jsonl").write_text(
            "".join(json.dumps(record) + "\n" for record in state.log)
        )
        write_json(directory / "training_summary.json", summary)
    logger.info(
        "model %s: held-out loss %.3f before and %.3f after %s steps; written to %s",
        model,
        evaluations[0]["loss"],
        evaluations[-1]["loss"],
        f"{schedule.steps:,}",
        output,
    )


def open_corpus(directories: list[Path], flag: str) -> TokenLines:
    """The lines of several token caches. Raises InputError when there are none."""
    lines = load_tokens(*directories)
    if len(lines) == 0:
        names = ", ".join(str(directory) for directory in directories)
        raise InputError(f"{flag} {names}: no lines. Check the window settings and the held-out share.")
    return lines


def check_ids(lines: TokenLines, vocabulary_size: int) -> None:
    """Raise InputError if the first or last lines hold ids that the tokenizer does not have."""
    for index in {0, len(lines) // 2, len(lines) - 1}:
        highest = int(lines.line(index).max())
        if highest >= vocabulary_size:
            cache, line = lines.source(index)
            raise InputError(
                f"{lines.directories[cache]} line {line + 1}: token id {highest} lies outside of the "
                f"tokenizer's {vocabulary_size} tokens. Tokenize again with this tokenizer."
            )


def check_numbers(options: dict[str, Any]) -> None:
    """Raise InputError naming the first option whose value makes no sense."""
    if (options["architecture"] is None) == (options["checkpoint"] is None):
        raise InputError("give either --architecture (a new network) or --checkpoint (one to go on from).")
    if (options["training_steps"] is None) == (options["training_epochs"] is None):
        raise InputError("give either --training-steps or --training-epochs.")
    at_least = {
        "max_tokens": 3,
        "masking_span_tokens": 1,
        "training_steps": 1,
        "training_batch_size": 1,
        "training_micro_batch_size": 1,
        "training_evaluate_every": 1,
        "training_evaluate_lines": 1,
        "training_checkpoint_every_steps": 0,
        "training_checkpoint_every_minutes": 0,
        "training_weight_decay": 0,
        "training_max_gradient_norm": 0,
        "training_seed": 0,
        "stop_before_minutes": 0,
        "gpus": 0,
    }
    for name, least in at_least.items():
        value = options[name]
        if value is not None and not value >= least:
            raise InputError(f"{_flag(name)} is {value}; at least {least} was expected.")
    for name in ("training_learning_rate", "training_epochs", "masking_probability"):
        value = options[name]
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{_flag(name)} is {value}; a number above 0 was expected.")
    for name in (
        "masking_probability",
        "masking_mask_token",
        "masking_random_token",
        "training_warmup_fraction",
    ):
        if not 0 <= options[name] <= 1:
            raise InputError(f"{_flag(name)} is {options[name]}; a share between 0 and 1 was expected.")
    if options["masking_mask_token"] + options["masking_random_token"] > 1 + 1e-9:
        raise InputError("--masking-mask-token and --masking-random-token add up to more than 1.")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def add_arguments(arguments: argparse.ArgumentParser) -> None:
    add = arguments.add_argument
    add("--tokens", type=Path, nargs="+", required=True, help="token caches of the training lines")
    add("--validation-tokens", type=Path, nargs="+", required=True, help="token caches of the held-out lines")
    add("--tokenizer", type=Path, required=True, help="tokenizer directory")
    add("--architecture", type=Path, help="JSON file with the size of a new network")
    add("--checkpoint", type=Path, help="model directory to go on from, instead of --architecture")
    add("--model", default="model", help="name of the model, for summaries")
    add(
        "--max-tokens",
        type=int,
        default=250,
        help="longer lines are cut to this many tokens, [CLS] and [SEP] included",
    )
    add("--masking-probability", type=float, default=0.5, help="share of the tokens to be predicted")
    add("--masking-mask-token", type=float, default=0.8, help="share of these that become [MASK]")
    add("--masking-random-token", type=float, default=0.1, help="share of these that become a random token")
    add("--masking-span-tokens", type=int, default=1, help="length of the masked runs, in tokens")
    add("--training-steps", type=int, help="number of optimizer steps")
    add("--training-epochs", type=float, help="number of passes over the lines, instead of --training-steps")
    add("--training-batch-size", type=int, default=32, help="lines per optimizer step, over all processes")
    add(
        "--training-micro-batch-size",
        type=int,
        help="lines per forward pass and process (default: about 32,000 tokens)",
    )
    add("--training-learning-rate", type=float, default=1e-4, help="highest learning rate")
    add(
        "--training-schedule",
        default="cosine",
        choices=["cosine", "linear", "constant_with_warmup"],
        help="course of the learning rate after the warm-up",
    )
    add(
        "--training-warmup-fraction",
        type=float,
        default=0.05,
        help="share of the steps in which the learning rate rises",
    )
    add("--training-weight-decay", type=float, default=0.0, help="AdamW's weight decay")
    add(
        "--training-max-gradient-norm",
        type=float,
        default=1.0,
        help="gradients are clipped to this norm; 0: never",
    )
    add("--training-evaluate-every", type=int, default=10, help="steps between evaluations on held-out lines")
    add("--training-evaluate-lines", type=int, default=2000, help="held-out lines per evaluation, at most")
    add(
        "--training-checkpoint-every-steps",
        type=int,
        default=1000,
        help="steps between checkpoints; 0: by time only",
    )
    add(
        "--training-checkpoint-every-minutes",
        type=float,
        default=10.0,
        help="minutes between checkpoints; 0: by steps only",
    )
    add(
        "--training-precision",
        default="auto",
        choices=["auto", "fp32", "bf16"],
        help="auto: bf16 on GPUs that have it",
    )
    add("--training-seed", type=int, default=42, help="seed of weights, order and masks")
    add(
        "--checkpoints",
        type=Path,
        default=Path("checkpoints"),
        help="directory for checkpoints, kept apart from the output",
    )
    add("--processes", default="auto", help="processes to train with; auto: one per GPU")
    add_device_flags(arguments)
    add(
        "--stop-before-minutes",
        type=float,
        default=10.0,
        help="minutes before the end of the Slurm job at which to save and leave",
    )
    add("--output", type=Path, required=True, help="model directory to write")
    add("--summary", type=Path, help="JSON file: training_summary.json and the model directory's SHA-256")
    add("--telemetry", type=Path, help="JSON file for speed, memory and interruptions")


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_arguments(arguments)
    run(main, arguments.parse_args(sys.argv[1:]))
