"""How much memory and time the rules ask for, as functions of what they work on and of the attempt.

All sizes in MB (10^6 bytes), all times in minutes. The constants were measured on the course preset and
rounded up generously: a job that waits a little longer is better than one that is killed.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dnalm.models.families import count_roughly
from dnalm.running.errors import InputError
from dnalm.running.resources import NO_HYPHENS

# Keys of the configuration that say where jobs go.
QUEUES = ("partition", "gpu_partition", "account")
# PyTorch with Transformers loaded, before any model.
FRAMEWORK_MB = 2000
# Of a byte-pair encoding of a few thousand tokens; single bases and overlapping k-mers have one.
BASES_PER_TOKEN = 5
# AdamW in fp32: weight, gradient and two moments, four bytes each.
TRAINING_BYTES_PER_PARAMETER = 16


def parameters_of(start: str | None, vocabulary_size: int = 4096) -> int:
    """Number of parameters of a model, estimated from its architecture file or its checkpoint's directory.

    A checkpoint that is not at hand (yet to be fetched) is taken for a ModernBERT-large, 400 million.
    """
    path = Path(start) / "config.json" if start and Path(start).is_dir() else start and Path(start)
    if not path or not path.is_file():
        return 400_000_000
    return count_roughly(json.loads(path.read_text()), vocabulary_size)


def tokens_factor(tokenizer: Mapping[str, Any]) -> float:
    """How many times the tokens of a byte-pair encoding this tokenizer makes, by its settings.

    That of a tokenizer from a file, which may be of any kind, is taken for one.
    """
    length = tokenizer["kmer_length"]
    return BASES_PER_TOKEN / (1 if tokenizer["overlapping"] else length or BASES_PER_TOKEN)


def scaled(amount: float, attempt: int) -> int:
    """Double with every attempt, so that a job killed for memory or time fits the next time."""
    return int(amount * 2 ** (attempt - 1))


def gpu(gpus: int, generic_resource: str | None, nodes: int = 1) -> int:
    """What a job asks for by Slurm's --gpus."""
    return 0 if generic_resource or nodes > 1 else gpus


def gres(gpus: int, generic_resource: str | None, nodes: int = 1) -> str | None:
    """What a job asks for by Slurm's --gres: on clusters that do not know --gpus, and on several nodes.

    --gpus counts those of all nodes together, and Slurm may deal them out unequally.
    """
    return f"{generic_resource or 'gpu'}:{gpus}" if gpus and (generic_resource or nodes > 1) else None


def tasks(gpus: int, nodes: int) -> int | None:
    """Slurm's --ntasks where it must be said: a job without GPUs otherwise has one task, on one node."""
    return nodes if nodes > 1 and not gpus else None


def on_gpus(gpus: int | Callable[[Any], int], generic_resource: str | None, nodes: int = 1) -> dict[str, Any]:
    """What a rule asks for to compute on so many GPUs of each node: a number, or a function of wildcards.

    The scheduler is asked for `gpu` or, where it knows only generic resources, for `gres`; scripts are told
    `devices`. How many nodes, tasks and CPUs is said too, because a site's defaults for these would otherwise
    replace threads and mem_mb.
    """

    def asked(by: Callable[[int, str | None, int], Any]) -> Any:
        if callable(gpus):
            return lambda wildcards: by(gpus(wildcards), generic_resource, nodes)
        return by(gpus, generic_resource, nodes)

    return {
        "gpu": asked(gpu),
        "gres": asked(gres),
        "devices": gpus,
        "nodes": nodes,
        "tasks": None if callable(gpus) else tasks(gpus, nodes),
        "cpus_per_task": lambda wildcards, threads: threads,
        "mem_mb_per_cpu": None,
    }


def check_clusters(workflow: Any) -> None:
    """Raise InputError where jobs would go to another Slurm cluster, whose squeue says nothing here.

    They would count as lost after seconds, and be submitted again beside those that run.
    """
    settings = workflow.resource_settings
    given = {"default-resources": settings.default_resources, **(settings.overwrite_resources or {})}
    for name, resources in given.items():
        for key in sorted({"cluster", "clusters", "slurm_cluster"} & set(resources or {})):
            raise InputError(
                f"{name}: {key}: jobs on another Slurm cluster can't be followed from here. Start the "
                f"workflow on a login node of that cluster, without {key}."
            )


def check_gpu_models(workflow: Any, generic_resource: str | None, pretrain_nodes: int) -> None:
    """Raise InputError for a `gpu_model` that Slurm would refuse, after hours of other steps.

    The plugin makes `--gpus=MODEL:N` of it, also beside --gres, where N is 0.
    """
    settings = workflow.resource_settings
    if "gpu_model" in (settings.default_resources or {}):
        raise InputError(
            "default-resources: gpu_model makes every job ask for a GPU. Set resources.gres to gpu:MODEL "
            "or --set-resources RULE:gpu_model=MODEL."
        )
    for name, given in (settings.overwrite_resources or {}).items():
        if "gpu_model" not in given:
            continue
        model = str(given["gpu_model"].raw).strip("'\"")
        asked = f"--set-resources {name}:gpu_model={model}"
        if "-" in model:
            raise InputError(f"{asked}, {NO_HYPHENS}")
        if generic_resource:
            raise InputError(
                f"{asked}, but resources.gres is {generic_resource}. Write the model there: "
                f"{generic_resource.split(':')[0]}:{model}."
            )
        if name == "pretrain" and pretrain_nodes > 1:
            raise InputError(
                f"{asked}, but GPUs of several nodes are asked for by --gres. Set resources.gres to "
                f"gpu:{model} for all rules, or --set-resources pretrain:gres=gpu:{model}:N, N GPUs per node."
            )


def check_replaced(rules: Iterable[Any]) -> None:
    """Raise InputError where `use rule ... with: resources:` left out what a rule's command needs of them."""
    for rule in rules:
        if "{resources.devices}" in (rule.shellcmd or "") and "devices" not in rule.resources:
            raise InputError(
                f"use rule ... with: resources: replaces all resources of {rule.name}, its GPUs too. Take it "
                f"out, and set single ones by --set-resources {rule.name}:mem_mb=... or in a profile."
            )


def name_queues(
    workflow: Any,
    rules: Iterable[Any],
    partition: str | None,
    gpu_partition: str | None,
    account: str | None,
) -> None:
    """Give these rules Slurm's partition and account; what --set-resources says of a rule stays.

    A rule's resource `devices` is the number of its GPUs, maybe by wildcards.
    """
    for rule in rules:
        devices = rule.resources.get("devices")
        queue: dict[str, Any] = {"slurm_account": account} if account else {}
        if devices is not None and gpu_partition:
            queue["slurm_partition"] = _partition_by(devices, partition, gpu_partition)
        elif partition:
            queue["slurm_partition"] = partition
        given = (workflow.resource_settings.overwrite_resources or {}).get(rule.name, {})
        for key in queue.keys() - given.keys():
            rule.resources[key] = queue[key]


def _partition_by(devices: Any, partition: str | None, gpu_partition: str) -> Any:
    return lambda wildcards: gpu_partition if devices.evaluate(wildcards).value else partition


def genome_memory_mb(input_mb: float, path: str, attempt: int) -> int:
    """Windows are cut from a stream; memory does not depend on the genome.

    But a record of GenBank and EMBL stands in memory as a whole, 5 bytes per base; compressed, a byte of the
    file holds up to 5 bases.
    """
    annotated = re.search(r"\.(gb|gbk|gbff|genbank|embl|dat|seq)(\.\w+)?$", path, re.IGNORECASE)
    bytes_per_byte = 0 if not annotated else 25 if annotated[2] else 5
    return scaled(1000 + bytes_per_byte * input_mb, attempt)


def genome_runtime_min(input_mb: float, attempt: int) -> int:
    """Reading a genome: at least 5 MB of input per second, gzip included."""
    return scaled(10 + input_mb / (5 * 60), attempt)


def tokenizer_memory_mb(sample_lines: int, window_length: int, attempt: int) -> int:
    """BPE training holds every line as one word: 53 bytes per base were measured, 80 are asked for."""
    return scaled(1500 + 80e-6 * sample_lines * window_length, attempt)


def tokenizer_runtime_min(sample_lines: int, window_length: int, attempt: int) -> int:
    """BPE training: 1.6 s per Mb were measured, 10 s are asked for."""
    return scaled(10 + 10 / 60 * sample_lines * window_length / 1e6, attempt)


def tokens_memory_mb(attempt: int) -> int:
    """Lines are encoded in bounded batches and written as they come."""
    return scaled(3000, attempt)


def tokens_runtime_min(input_mb: float, attempt: int) -> int:
    """Encoding: at least 1 Mb per second."""
    return scaled(10 + input_mb / 60, attempt)


def pretrain_memory_mb(parameters: int, gpus: int, attempt: int) -> int:
    """Host memory: every process holds the state once, and a second copy while it writes a checkpoint."""
    state = parameters * TRAINING_BYTES_PER_PARAMETER / 1e6
    return scaled(max(1, gpus) * (FRAMEWORK_MB + 2 * state) + 4000, attempt)


def pretrain_runtime_min(
    tokens: float | None, parameters: int, gpus: int, threads: int, hours: float, attempt: int
) -> int:
    """Time for `tokens` training tokens, at most `hours`; None: not known yet.

    Six FLOP per parameter and token. A CPU core computes 50 GFLOP/s or more, the slowest GPUs in use
    5 TFLOP/s; twice the time is asked for. A job that is too short saves its state, and the next goes on.
    """
    longest = int(60 * hours)
    if tokens is None:
        return longest
    flop_per_second = 5e12 * gpus if gpus else 5e10 * threads
    return min(longest, scaled(30 + 2 * 6 * parameters * tokens / flop_per_second / 60, attempt))


def model_memory_mb(parameters: int, table_mb: float, attempt: int) -> int:
    """Embedding or evaluating: the weights, the activations of a batch, the table and its features."""
    return scaled(FRAMEWORK_MB + 4000 + 8e-6 * parameters + 20 * table_mb, attempt)


def embedding_memory_mb(input_mb: float, parameters: int, attempt: int) -> int:
    """Embedding any sequences: the model, and all vectors twice, while their parts are put together.

    A vector of 1024 dimensions by three poolings has 12 kB. A million bases in windows of 1000 bp, every
    500, make 2,000 of them, and a compressed FASTA holds four bases per byte.
    """
    return model_memory_mb(parameters, 10 * input_mb, attempt)


def overlap_memory_mb(table_mb: float, attempt: int) -> int:
    """5,000 lines at a time with 100 bytes per base, and the same of the table."""
    return scaled(2500 + 150 * table_mb, attempt)


def overlap_runtime_min(lines_mb: float, attempt: int) -> int:
    """12 Mb of lines per second were measured; 3 are asked for."""
    return scaled(10 + lines_mb / (3 * 60), attempt)


def finetune_memory_mb(parameters: int, trained: int, table_mb: float, attempt: int) -> int:
    """Of the parameters that are trained, what pretraining holds; of the others, the weights."""
    state = 2 * TRAINING_BYTES_PER_PARAMETER * trained + 8 * (parameters - trained)
    return scaled(FRAMEWORK_MB + 6000 + 1e-6 * state + 20 * table_mb, attempt)


def model_runtime_min(sequence_mb: float, parameters: int, gpus: int, attempt: int) -> int:
    """One pass of the model over `sequence_mb` million bases, BASES_PER_TOKEN of them in each token.

    A CPU core computes 50 GFLOP/s or more; two FLOP per parameter and token make 8 s per million bases and
    million parameters, and 20 are asked for. The slowest GPUs in use are 100 times faster.
    """
    seconds_per_mb = parameters / 1e6 * (0.2 if gpus else 20)
    return scaled(20 + sequence_mb * seconds_per_mb / 60, attempt)


def language_model_runtime_min(
    lines: int, window_length: float, parameters: int, gpus: int, attempt: int
) -> int:
    """Judging a language model: one masked pass over held-out lines, and the baselines."""
    return model_runtime_min(lines * window_length / 1e6, parameters, gpus, attempt) + scaled(20, attempt)


def prediction_runtime_min(
    input_mb: float,
    window: int | None,
    stride: int | None,
    strands: int,
    parameters: int,
    gpus: int,
    attempt: int,
) -> int:
    """Predicting new sequences: overlapping windows and a second strand multiply the bases.

    The form of the input is not known here. A compressed FASTA holds four bases per byte, a BED file about
    ten per byte with windows of 200 bp, a VCF file as many without samples and few with them; four are taken,
    and later attempts take more. Where window or stride follow from the classifier, every base is read twice.
    """
    overlap = max(1, window / stride) if window and stride else 2
    bases_mb = 4 * input_mb * overlap * strands
    return model_runtime_min(bases_mb, parameters, gpus, attempt)


def scoring_runtime_min(input_mb: float, window: int, parameters: int, gpus: int, attempt: int) -> int:
    """Scoring variants: either allele on both strands.

    A line of a VCF file has 40 bytes or more, ten of them where it is compressed, and thousands with many
    samples; 25 are taken.
    """
    return model_runtime_min(4 * window * input_mb / 25, parameters, gpus, attempt)


def finetune_runtime_min(table_mb: float, parameters: int, epochs: int, gpus: int, attempt: int) -> int:
    """An epoch of full fine-tuning costs about three passes."""
    return scaled(20 + 3 * epochs * (model_runtime_min(table_mb, parameters, gpus, 1) - 20), attempt)


def head_runtime_min(table_mb: float, epochs: int, attempt: int) -> int:
    """Training a head on embeddings: 5000 sequences of 200 bp per MB.

    62 microseconds per sequence and epoch were measured at 768 dimensions, 150 are asked for.
    """
    return scaled(20 + 5000 * table_mb * epochs * 150e-6 / 60, attempt)


def network_runtime_min(table_mb: float, epochs: int, attempt: int) -> int:
    """Training the convolutional baseline: 6 s per epoch and Mb were measured, 30 are asked for."""
    return scaled(20 + 0.5 * epochs * table_mb, attempt)


def table_memory_mb(table_mb: float, attempt: int) -> int:
    """Tables of sequences in pandas, and their k-mer counts.

    Measured on sequences of 200 bp: 0.3 GB, and per MB 54 for k-mers (10 and 31 MB), 22 to 27 for
    `prepare_task` (203 and 51 MB). Shorter sequences have more counts per base.
    """
    return scaled(1000 + 100 * table_mb, attempt)


def table_runtime_min(table_mb: float, attempt: int) -> int:
    """Preparing a task or fitting a baseline.

    Measured per MB of sequences: 5 s for k-mers, 1 s for `prepare_task`. 30 are asked for.
    """
    return scaled(20 + 0.5 * table_mb, attempt)
