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

import logging
import math
from argparse import ArgumentParser
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from dnalm.models.architecture import count_parameters, load_model, model_config, new_model
from dnalm.models.checks import check_start, check_tokenizer_fits, read_architecture
from dnalm.models.directory import quieten, write_model_directory
from dnalm.models.families import check_max_tokens, padding_multiple
from dnalm.pretrain.defaults import usual_micro_batch_size
from dnalm.pretrain.settings import ContextSettings, MaskingSettings, TrainingSettings, check_runs
from dnalm.running.checkpointer import Checkpointer
from dnalm.running.code import sha256_of_modules
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.devices import (
    add_device_flags,
    add_precision_flag,
    check_compiled,
    check_compiler,
    choose_device,
    choose_precision,
    suggest_bf16,
)
from dnalm.running.errors import InputError, Interrupted
from dnalm.running.files import sha256_of_directory, write_json
from dnalm.running.launch import as_node, as_worker, is_node, is_worker, launch, leads, processes_wanted
from dnalm.running.loggers import Loggers, add_logger_flags, check_loggers
from dnalm.running.memory import checkpoint_gradients, kept_lines
from dnalm.running.runlock import check_held
from dnalm.running.versions import versions
from dnalm.tokenize_windows.cache import TokenLines, load_tokens
from dnalm.tokenize_windows.context import ContextLines
from dnalm.tokenizers.encoding import load_tokenizer
from dnalm.tokenizers.special_tokens import overlapping_kmer_length

if TYPE_CHECKING:
    from dnalm.pretrain.training import Schedule

logger = logging.getLogger("dnalm")

# The modules that decide a training's numbers. Their code is part of the fingerprint; mending the others
# leaves running trainings valid.
CODE = (
    "dnalm.models.architecture",
    "dnalm.models.families",
    "dnalm.models.attention_masks",
    "dnalm.models.masked_lm",
    "dnalm.models.matrix_products",
    "dnalm.models.new_token",
    "dnalm.models.optimization",
    "dnalm.models.sharding",
    "dnalm.pretrain.batches",
    "dnalm.pretrain.defaults",
    "dnalm.pretrain.masking",
    "dnalm.pretrain.training",
    "dnalm.running.world",
    "dnalm.tokenize_windows.cache",
    "dnalm.tokenize_windows.context",
    "dnalm.tokenizers.batches",
    "dnalm.tokenizers.encoding",
    "dnalm.tokenizers.special_tokens",
)


def main(**options: Any) -> None:
    """Check everything, then train as one process, or as several. The options are the flags below."""
    with as_worker() if is_worker() else as_node() if is_node() else nullcontext():
        pretrain(SimpleNamespace(**options))


def pretrain(options: SimpleNamespace) -> None:
    """Train from the newest checkpoint to the end and write the outputs, or have workers do so."""
    quieten()
    # Everything that can be wrong is found before the first expensive step.
    check_options(options)
    masking: MaskingSettings = options.masking
    recipe: TrainingSettings = options.training
    max_tokens = options.context.max_tokens
    device = choose_device(options.gpus, allow_cpu=options.allow_cpu)
    precision = choose_precision(options.precision, device)
    if recipe.compile:
        check_compiler(device)
        check_compiled()

    import torch

    from dnalm.models.flops import peak_flops
    from dnalm.models.masked_lm import compile_layers
    from dnalm.models.optimization import adamw, load_optimizer_state
    from dnalm.models.sharding import is_sharded, shard
    from dnalm.pretrain import batches, training
    from dnalm.pretrain.telemetry import Sessions, TrainingMonitor
    from dnalm.running.world import World

    # ----------------------------------------------------------------- settings and data
    tokenizer = load_tokenizer(options.tokenizer)
    check_runs(masking, overlapping_kmer_length(tokenizer.get_vocab()), "--masking-span-tokens")
    start, config, shape, new_head = read_start(options, tokenizer)
    lines, held_out_lines = (
        ContextLines(
            open_corpus(directories, flag, len(tokenizer)), max_tokens, truncated=options.context.truncate
        )
        for directories, flag in (
            (options.tokens, "--tokens"),
            (options.validation_tokens, "--validation-tokens"),
        )
    )
    schedule = schedule_of(recipe, len(lines))
    pad_to_multiple_of = padding_multiple(shape, max_tokens) if device.type == "cuda" else 1
    fingerprinted = decisive(options, start, schedule, pad_to_multiple_of)
    checkpointer = Checkpointer(
        options.checkpoints,
        fingerprinted,
        every_steps=recipe.checkpoint_every_steps,
        every_minutes=recipe.checkpoint_every_minutes,
        stop_before_minutes=options.stop_before_minutes,
        take_lock=leads(),
    )

    # ----------------------------------------------------------------- processes
    gpus_seen = torch.cuda.device_count() if device.type == "cuda" else 0
    wanted = processes_wanted(options.processes, options.gpus, gpus_seen)
    with checkpointer:
        if wanted * options.nodes > 1 and not is_worker():
            # They train under the lock of this process.
            launch_until_it_fits(wanted, options.nodes, checkpointer)
            return
        world = World.join(device)

        # ------------------------------------------------------------- model, optimizer, resume
        def network_at_start() -> Any:
            if options.checkpoint is not None:
                return load_model(options.checkpoint, tokenizer, new_head=True)
            return new_model(config, schedule.seed)

        network = network_at_start()
        if recipe.gradient_checkpointing:
            checkpoint_gradients(network)
        if recipe.compile:
            compile_layers(network)
        state = training.TrainingState()
        found = checkpointer.newest(world)
        if found is not None:
            state = training.TrainingState(
                found.step, found.state["tokens"], found.state["sums"], found.log()
            )
            training.load_weights(network, found.weights())
        suggest_bf16(options.precision, device, network)
        model = training.MaskedTokenLoss(network)
        if recipe.fsdp and world.size > 1:
            shard(model, device, world.size)
        else:
            model.to(device)
        optimizer = adamw(network, schedule.learning_rate, schedule.weight_decay, schedule.adam_beta2)
        if found is not None and not found.finished:
            load_optimizer_state(network, optimizer, found.optimizer())
            logger.info("going on at step %s of %s", f"{state.step:,}", f"{schedule.steps:,}")

        # ------------------------------------------------------------- batches, loop
        peak = None
        if device.type == "cuda":
            peak = peak_flops(torch.cuda.get_device_name(device), precision)
        loggers = Loggers(
            options.loggers if world.is_first else (),
            options.events / checkpointer.store.fingerprint,
            options.model,
            fingerprinted,
            state.step,
        )

        def corpus(lines: ContextLines) -> batches.Corpus:
            return batches.Corpus(
                lines,
                batches.Vocabulary.of(tokenizer),
                masking,
                seed=schedule.seed,
                pad_to_multiple_of=pad_to_multiple_of,
            )

        if found is not None and found.finished:
            logger.info("this training has ended before; writing its results from %s", found.path)
        else:
            training.train(
                model,
                optimizer,
                batches.TrainingBatches(
                    corpus(lines),
                    schedule.steps,
                    recipe.batch_size,
                    recipe.micro_batch_size or usual_micro_batch_size(max_tokens, device.type),
                    world,
                ),
                training.HeldOut(
                    corpus(held_out_lines),
                    batches.evaluation_lines(len(held_out_lines), recipe.evaluate_lines),
                ),
                schedule,
                state,
                device=device,
                precision=precision,
                monitor=TrainingMonitor(
                    schedule.steps,
                    device=device,
                    quiet=not world.is_first,
                    sessions=Sessions(checkpointer.store.directory) if world.is_first else None,
                    loggers=loggers,
                    peak_flops=peak and peak * world.size,
                ),
                checkpointer=checkpointer,
                world=world,
            )

        # ------------------------------------------------------------- outputs
        loggers.close()
        if world.is_first:
            if is_sharded(model):
                # The last checkpoint has its tensors whole.
                network = network_at_start()
                training.load_weights(network, checkpointer.store.at(schedule.steps).weights())
            cut = {"train": lines.counts(), "validation": held_out_lines.counts()}
            write_results(network, state, schedule, cut, new_head, precision, checkpointer.store, options)
            if options.telemetry is not None:
                about = {"model": options.model, "processes": world.size, "precision": precision}
                write_json(options.telemetry, about | Sessions(checkpointer.store.directory).totals())
        world.leave()


def check_options(options: SimpleNamespace) -> None:
    """Raise InputError for flags that do not go together, and for numbers that are too low."""
    check_loggers(options.loggers)
    if (options.architecture is None) == (options.checkpoint is None):
        raise InputError("give either --architecture (a new network) or --checkpoint (one to go on from).")
    for name, value, least in (
        ("--stop-before-minutes", options.stop_before_minutes, 0),
        ("--gpus", options.gpus, 0),
        ("--nodes", options.nodes, 1),
    ):
        if not value >= least:
            raise InputError(f"{name} is {value}; at least {least} was expected.")


def read_start(options: SimpleNamespace, tokenizer: Any) -> tuple[dict[str, Any], Any, dict[str, Any], bool]:
    """Where training starts: what the fingerprint says of it, a new network's configuration, the network's
    shape, is its head new?

    Of a checkpoint there is no configuration here, but in itself. Raises InputError where --max-tokens are
    more than the network can read.
    """
    config, new_head = None, False
    start: dict[str, Any]
    if options.checkpoint is None:
        start = {"architecture": read_architecture(options.architecture)}
        config = model_config(start["architecture"], tokenizer)
        shape = config.to_dict()
    else:
        shape, has_head = check_start(options.checkpoint)
        check_tokenizer_fits(options.checkpoint, shape, options.tokenizer)
        start, new_head = {"checkpoint": sha256_of_directory(options.checkpoint)}, not has_head
    check_max_tokens(shape, options.context.max_tokens, "--max-tokens")
    return start, config, shape, new_head


def schedule_of(recipe: TrainingSettings, n_lines: int) -> "Schedule":
    """The steps of a training on so many lines, and what is done in them."""
    from dnalm.pretrain.batches import batches_per_epoch
    from dnalm.pretrain.training import Schedule

    decided = {field.name for field in fields(Schedule)} - {"steps"}
    steps = recipe.steps or math.ceil((recipe.epochs or 0) * batches_per_epoch(n_lines, recipe.batch_size))
    return Schedule(steps=steps, **recipe.model_dump(include=decided))


def decisive(
    options: SimpleNamespace, start: dict[str, Any], schedule: "Schedule", pad_to_multiple_of: int
) -> dict[str, Any]:
    """Everything that the result depends on, so that a checkpoint of another training is never picked up."""
    return {
        **start,
        "tokenizer": sha256_of_directory(options.tokenizer),
        "corpus": [sha256_of_directory(directory) for directory in options.tokens],
        "held_out": [sha256_of_directory(directory) for directory in options.validation_tokens],
        **options.context.model_dump(),
        "pad_to_multiple_of": pad_to_multiple_of,
        "masking": options.masking.model_dump(),
        "training": {
            **asdict(schedule),
            "batch_size": options.training.batch_size,
            "evaluate_lines": options.training.evaluate_lines,
            "precision": options.precision,
        },
        "code": sha256_of_modules(CODE),
        "versions": versions(),
    }


def launch_until_it_fits(processes: int, nodes: int, checkpointer: Checkpointer) -> None:
    """Run this script in several processes, again as often as they leave because memory ran out."""
    training = checkpointer.store.directory
    while True:
        fitting = kept_lines(training)
        try:
            launch(processes, nodes, training)
            return
        except Interrupted:
            # The launchers of nodes hand on what happened; the first process starts all of them again.
            found = kept_lines(training)
            if is_node() or checkpointer.signals.received or found == fitting:
                raise
            logger.warning("memory ran out on a GPU: beginning again with at most %d lines at once", found)


def write_results(
    network: Any,
    state: Any,
    schedule: "Schedule",
    cut: dict[str, dict[str, int]],
    new_head: bool,
    precision: str,
    store: Any,
    options: SimpleNamespace,
) -> None:
    """Write the model directory, whole or not at all, and its summary."""
    evaluations = [record for record in state.log if record["event"] == "evaluation"]
    before, after = evaluations[0], evaluations[-1]
    description = {
        "model": options.model,
        "parameters": count_parameters(network),
        "steps": schedule.steps,
        "tokens": state.tokens,
        "lines": cut["train"]["lines"],
        "cut": cut,
        "new_head": new_head,
        "evaluation": {"before": before, "after": after},
        "precision": precision,
        "settings": {key: value for key, value in store.settings.items() if key != "versions"},
        "fingerprint": store.fingerprint,
        "versions": store.settings["versions"],
    }
    write_model_directory(
        options.output,
        network.to("cpu"),
        options.tokenizer,
        description,
        log=state.log,
        summary=options.summary,
        check=check_held,
    )
    logger.info(
        "model %s: held-out loss on [MASK] %.3f before and %.3f after %s steps; written to %s",
        options.model,
        before["masked_loss"],
        after["masked_loss"],
        f"{schedule.steps:,}",
        options.output,
    )


def open_corpus(directories: list[Path], flag: str, vocabulary_size: int) -> TokenLines:
    """The lines of several token caches. Raises InputError when there are none, or of another tokenizer."""
    lines = load_tokens(*directories)
    if len(lines) == 0:
        names = ", ".join(str(directory) for directory in directories)
        raise InputError(f"{flag} {names}: no lines. Check the window settings and the held-out share.")
    check_ids(lines, vocabulary_size)
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


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--tokens", type=Path, nargs="+", required=True, help="token caches of the training lines")
    add("--validation-tokens", type=Path, nargs="+", required=True, help="token caches of the held-out lines")
    add("--tokenizer", type=Path, required=True, help="tokenizer directory")
    add("--architecture", type=Path, help="JSON file with the size of a new network")
    add("--checkpoint", type=Path, help="model directory to go on from, instead of --architecture")
    add("--model", default="model", help="name of the model, for summaries")
    add_settings_flags(arguments, ContextSettings, "context")
    add_settings_flags(arguments, MaskingSettings, "masking", "masking-")
    add_settings_flags(arguments, TrainingSettings, "training", "training-")
    add(
        "--checkpoints",
        type=Path,
        default=Path("checkpoints"),
        help="directory for checkpoints, kept apart from the output",
    )
    add_logger_flags(arguments)
    add(
        "--processes",
        default="auto",
        help="processes to train with on each node; auto: one per GPU asked for",
    )
    add(
        "--nodes",
        type=int,
        default=1,
        help="nodes of this Slurm job, with --gpus on each (default %(default)s)",
    )
    add_precision_flag(arguments)
    add_device_flags(arguments)
    add(
        "--stop-before-minutes",
        type=float,
        default=10.0,
        help="minutes before the end of the Slurm job at which to save and leave (default %(default)g)",
    )
    add("--output", type=Path, required=True, help="model directory to write")
    add("--summary", type=Path, help="JSON file: training_summary.json and the model directory's SHA-256")
    add("--telemetry", type=Path, help="JSON file for speed, memory and interruptions")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
