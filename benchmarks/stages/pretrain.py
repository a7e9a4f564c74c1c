"""Steps of pretraining, beside the Trainer with dynamically padded batches of as many lines.

A training takes hours, its start seconds: what a run of one step takes is subtracted on both sides.
"""

import json
from collections.abc import Iterator
from functools import partial
from itertools import count

import data
from arithmetic import flops_per_second
from measuring import PLAIN, REPOSITORY, SCRIPTS, Bench, Limit, Row, Run, pairs, python

ARCHITECTURE = REPOSITORY / "resources" / "architectures" / "course.json"


def less(run: Run, start: Run) -> Run:
    """What a run took after its start."""
    return Run(run.seconds - start.seconds, run.wall - start.wall, run.memory_mb)


def measure(bench: Bench) -> Iterator[Row]:
    tokenizer, tokens = data.tokenizer(bench), bench.folder / "tokens"
    python(
        SCRIPTS / "tokenize_windows.py", "--windows", data.lines(bench, "pretrain.txt", 1),
        "--tokenizer", tokenizer, "--output", tokens, "--summary", bench.folder / "tokens.json",
    )  # fmt: skip
    batch_size, sizes = (16, [3]) if bench.quick else (32, [3, 5, 9])
    numbers = count()

    def ours(steps: int, name: str = "telemetry") -> Run:
        output = bench.folder / f"pretrained{next(numbers)}"
        return python(
            SCRIPTS / "pretrain.py", "--tokens", tokens, "--validation-tokens", tokens,
            "--tokenizer", tokenizer, "--architecture", ARCHITECTURE,
            "--training-steps", steps, "--training-batch-size", batch_size, "--training-evaluate-lines", 1,
            "--checkpoints", output.with_suffix(".checkpoints"), "--output", output,
            "--telemetry", bench.folder / f"{name}.json",
        )  # fmt: skip

    model, steps = data.model(bench, "course"), sizes[-1]

    def plain(steps: int) -> Run:
        return python(PLAIN / "pretrain.py", model, tokens, batch_size, steps)

    growth = [(f"{number} steps", ours(number)) for number in sizes]
    start, ours_start = plain(1), ours(1, "start")
    measured = [
        (less(slow, start), less(fast, ours_start))
        for slow, fast in pairs(bench, partial(plain, steps), partial(ours, steps), growth)
    ]
    told = json.loads((bench.folder / "telemetry.json").read_text())
    # Operations of the steps but the first, at the speed of one large product.
    operations = told["flops_per_second"] * told["training_seconds"] * (steps - 1) / steps
    seconds = operations / flops_per_second()
    limit = Limit(seconds, f"matrix products of the steps at {flops_per_second() / 1e9:.0f} GFLOP/s")
    words = f"Trainer, {batch_size} lines padded to the longest; padding here {told['padding_fraction']:.1%}"
    yield Row("pretrain, course network", words, measured, 1.25, limit, growth)
