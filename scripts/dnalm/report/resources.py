"""Chapter on run time and memory, and what to ask a scheduler for next time."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

from dnalm.report import words
from dnalm.report.parts import table, text
from dnalm.report.run import Benchmark, Run
from dnalm.running.progress import duration


def resources_section(run: Run) -> dict[str, Any]:
    """Run times, memory, and what to ask a scheduler for next time."""
    parts: list[dict[str, Any]] = []
    if run.benchmarks:
        parts += benchmark_parts(run)
    else:
        parts.append(text("No benchmark files are at hand."))
    if run.telemetry:
        parts.append(telemetry_table(run))
    return {"id": "resources", "title": "Run time and memory", "parts": parts}


def by_rule(run: Run) -> dict[str, list[Benchmark]]:
    """What was measured, with what pretraining says of itself."""
    measured: dict[str, list[Benchmark]] = defaultdict(list)
    for benchmark in run.benchmarks:
        measured[benchmark.rule].append(with_telemetry(benchmark, run))
    return measured


def suggestion(of_rule: list[Benchmark]) -> dict[str, int]:
    """What would fit all jobs of a rule: `mem_mb`, where memory was seen, and `runtime` in minutes."""
    peaks = [b.peak_mb for b in of_rule if b.peak_mb is not None]
    memory = {"mem_mb": words.suggested_memory_mb(max(peaks))} if peaks else {}
    return memory | {"runtime": words.suggested_runtime_min(max(b.seconds for b in of_rule))}


def profile_lines(run: Run) -> str:
    """The suggestions as lines of a profile; a job that failed asks for twice as much, as the rules do."""
    lines = ["set-resources:"]
    for rule, of_rule in by_rule(run).items():
        lines.append(f"  {rule}:")
        lines += [
            f"    {name}: {amount} * 2 ** (attempt - 1)" for name, amount in suggestion(of_rule).items()
        ]
    return "\n".join(lines)


def benchmark_parts(run: Run) -> list[dict[str, Any]]:
    """One row per rule, and the resources that would fit it, as lines for a profile."""
    rows = []
    for rule, of_rule in by_rule(run).items():
        peak = max((b.peak_mb for b in of_rule if b.peak_mb is not None), default=None)
        cores = [b.cpu_seconds / b.seconds for b in of_rule if b.cpu_seconds is not None and b.seconds > 0]
        suggested = suggestion(of_rule)
        rows.append(
            [
                rule,
                len(of_rule),
                seconds(max(b.seconds for b in of_rule)),
                seconds(sum(b.seconds for b in of_rule)),
                f"{peak:,.0f} MB" if peak is not None else "",
                f"{max(cores):.1f}" if cores else "",
                f"{suggested['mem_mb']:,} MB" if "mem_mb" in suggested else "",
                f"{suggested['runtime']} min",
            ]
        )
    columns = ["Rule", "Jobs", "Longest", "Together", "Peak memory", "Cores kept busy"]
    columns += ["Ask for memory", "Ask for time"]
    return [
        table(
            "What the rules needed, and what to ask for on a machine like this one",
            columns,
            rows,
            note=f"All jobs together: {duration(sum(b.seconds for b in run.benchmarks))}, those of tasks "
            "and models too that have left the configuration since, as long as they have files in the folder "
            "benchmarks. Snakemake looks at a job's memory at growing intervals and can miss short peaks; so "
            "twice the largest value is suggested, and twice the longest time. Larger inputs need more.",
        ),
        {
            "kind": "code",
            "text": profile_lines(run),
            "fold": "The same as lines for slurm/config.yaml; `make resources` writes them there",
        },
    ]


def with_telemetry(benchmark: Benchmark, run: Run) -> Benchmark:
    """Pretraining knows its own peak of memory, and its time over all jobs that worked on it."""
    own = next((t for t in run.telemetry if t.get("model") == benchmark.job), None)
    if benchmark.rule != "pretrain" or own is None:
        return benchmark
    return replace(
        benchmark,
        seconds=max(benchmark.seconds, own["seconds"]),
        peak_mb=max(benchmark.peak_mb or 0, own["peak_memory_mb"]),
    )


def seconds(value: float) -> str:
    """A run time; below ten seconds with one decimal, and `<0.1 s` rather than none."""
    if 0 < value < 0.05:
        return "<0.1 s"
    return f"{value:.1f} s" if value < 9.95 else duration(value)


def telemetry_table(run: Run) -> dict[str, Any]:
    """Speed, padding, memory, checkpoints and interruptions of pretraining: one column per model."""

    def megabytes(value: float | None) -> str:
        return "" if value is None else f"{value:,.0f} MB" if value >= 10 else f"{value:.2g} MB"

    def interruptions(record: dict[str, Any]) -> str:
        kinds = [f"{times:,} × {reason}" for reason, times in record["interruptions"].items()]
        return words.listing(kinds) or "none"

    def shown(record: dict[str, Any]) -> list[str]:
        speed, use = record["tokens_per_second"], record["gpu_use"]
        flops, mfu = record["flops_per_second"], record["mfu"]
        return [
            record["device"],
            f"{speed:,.0f}" if speed else "",
            words.significant(flops / 1e9) if flops else "",
            f"{mfu:.1%}" if mfu is not None else "",
            f"{record['padding_fraction']:.2%}",
            seconds(record["training_seconds"]),
            seconds(record["evaluation_seconds"]),
            f"{record['checkpoints']:,} in {seconds(record['checkpoint_seconds'])}",
            megabytes(record["checkpoint_bytes"] and record["checkpoint_bytes"] / 2**20),
            megabytes(record["peak_memory_mb"]),
            megabytes(record["peak_gpu_memory_mb"]),
            f"{use:.0%}" if use is not None else "",
            f"{record['processes_started']:,}",
            interruptions(record),
            f"{record['steps_repeated']:,}",
        ]

    names = ["Device", "Tokens per second", "GFLOP/s of the model", "Of the GPUs' peak (MFU)", "Padding"]
    names += ["Time in training steps", "Time in evaluations"]
    names += ["Checkpoints", "Size of a checkpoint", "Peak memory, host", "Peak memory, GPU", "GPU use"]
    names += ["Started", "Interruptions", "Steps made twice"]
    columns = [shown(record) for record in run.telemetry]
    return table(
        "Pretraining as it ran",
        ["", *[record.get("model", "model") for record in run.telemetry]],
        [[name, *cells] for name, *cells in zip(names, *columns, strict=True)],
        note="An interrupted training continues from its last checkpoint as if it had never stopped.",
    )
