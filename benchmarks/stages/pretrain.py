"""Steps of pretraining, beside the Trainer with dynamically padded batches of as many lines, in fp32.

A training takes hours, its start seconds: what a run of one step takes is subtracted on both sides.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from itertools import count

import data
from arithmetic import flops_per_second
from measuring import BF16, PLAIN, REPOSITORY, SCRIPTS, Bench, Limit, Row, Run, has_bf16, python

ARCHITECTURES = REPOSITORY / "resources" / "architectures"
# In the words of the table, and the flags.
WAYS: dict[str, Sequence[str]] = {
    "": (),
    ", compiled": ("--training-compile",),
    ", bf16": BF16,
}


def less(run: Run, start: Run) -> Run:
    """What a run took after its start."""
    return Run(run.seconds - start.seconds, run.wall - start.wall, run.memory_mb)


def measure(bench: Bench) -> Iterator[Row]:
    tokenizer, tokens = data.tokenizer(bench), bench.folder / "tokens"
    python(
        SCRIPTS / "tokenize_windows.py", "--windows", data.lines(bench, "pretrain.txt", 1),
        "--tokenizer", tokenizer, "--output", tokens, "--summary", bench.folder / "tokens.json",
    )  # fmt: skip
    # A run of one step is the start that all others have too.
    batch_size, sizes = (32, [1, 4, 7]) if bench.quick else (32, [1, 3, 6])
    architecture = ARCHITECTURES / f"{data.network(bench.quick)}.json"
    numbers = count()

    def ours(steps: int, kind: str) -> Run:
        output = bench.folder / f"pretrained{next(numbers)}"
        return python(
            SCRIPTS / "pretrain.py", "--tokens", tokens, "--validation-tokens", tokens,
            "--tokenizer", tokenizer, "--architecture", architecture,
            "--training-steps", steps, "--training-batch-size", batch_size, "--training-evaluate-lines", 1,
            "--checkpoints", output.with_suffix(".checkpoints"), "--output", output,
            "--telemetry", bench.folder / f"telemetry{kind}.json", *WAYS[kind],
        )  # fmt: skip

    model, steps = data.model(bench), sizes[-1]

    def plain(steps: int) -> Run:
        return python(PLAIN / "pretrain.py", model, tokens, batch_size, steps)

    able = {"": True, ", compiled": shutil.which("c++") is not None, ", bf16": has_bf16()}
    ways = [""] if bench.quick else [kind for kind in WAYS if able[kind]]
    if ", compiled" in ways:
        # PyTorch keeps what it translates: the run whose time is subtracted must not do it alone.
        ours(steps, ", compiled")
    growth = {kind: [(f"{number} steps", ours(number, kind)) for number in sizes] for kind in ways}
    start = plain(1)
    measured: dict[str, list[tuple[Run, Run]]] = {kind: [] for kind in ways}
    for number in range(bench.repeats):
        slow = less(plain(steps), start)
        for kind in ways:
            fast = ours(steps, kind) if number else growth[kind][-1][1]
            measured[kind].append((slow, less(fast, growth[kind][0][1])))
    for kind in ways:
        told = json.loads((bench.folder / f"telemetry{kind}.json").read_text())
        # Operations of the steps but the first, at the speed of one large product.
        operations = told["flops_per_second"] * told["training_seconds"] * (steps - 1) / steps
        speed = flops_per_second("bfloat16" if kind == ", bf16" else "float32")
        limit = Limit(operations / speed, f"matrix products of the steps at {speed / 1e9:.0f} GFLOP/s")
        words = (
            f"Trainer, {batch_size} lines padded to the longest; padding here {told['padding_fraction']:.1%}"
        )
        stage = f"pretrain, {architecture.stem} network{kind}"
        yield Row(stage, words, measured[kind], 1.25, limit, growth[kind])
