"""How fast lines are tokenized, beside `datasets.map` as tutorials write it. Same ids out, checked.

    python benchmarks/tokenize_windows.py [--windows lines.txt] [--source tokenizer.json] [--threads 1]

Without --windows, random lines of 1000 bp are made; without --source, a vocabulary of 4096 is trained on
some of them. The plain way pads every line to the longest one, as a fixed `max_length` does. Each way runs
in a process of its own, alternating; the fastest of --repeats runs counts. Printed: wall and CPU seconds,
Mbp per CPU second, peak memory, size on disk, and the ratios. Python's start is included.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]

PLAIN = """
import sys
from datasets import load_dataset
from transformers import AutoTokenizer
windows, directory, max_length, processes, output = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(directory)
lines = load_dataset("text", data_files=windows)["train"]
tokens = lines.map(
    lambda batch: tokenizer(batch["text"], padding="max_length", truncation=True, max_length=int(max_length)),
    batched=True, remove_columns=["text"], num_proc=int(processes) if processes != "1" else None,
)
tokens.save_to_disk(output)
"""

COMPARE = """
import sys
from datasets import load_from_disk
ours, plain = (load_from_disk(path) for path in sys.argv[1:])
assert len(ours) == len(plain)
for a, b in zip(ours.iter(1000), plain.iter(1000)):
    for ids, padded, mask in zip(a["input_ids"], b["input_ids"], b["attention_mask"]):
        assert ids == padded[: sum(mask)]
"""


@dataclass
class Measure:
    """What one run took: seconds of the clock, seconds of all its processes, peak MB, MB on disk."""

    wall: float
    cpu: float
    memory: float
    disk: float = 0.0


def run(command: list, environment: dict[str, str]) -> Measure:
    """Run a command, in a fork of its own."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in command],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status != 0:
        sys.exit(f"this command failed: {command}")
    # Linux gives kilobytes, macOS bytes. Of several processes, only the largest one is seen.
    memory = usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)
    return Measure(wall, usage.ru_utime + usage.ru_stime, memory)


def size_mb(directory: Path) -> float:
    """Size of all files below `directory`."""
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) / 1e6


def write_random_lines(path: Path, megabases: int) -> None:
    """Lines of 1000 random bases."""
    letters = random.Random(42)
    with open(path, "w") as file:
        for _ in range(megabases * 1000):
            file.write("".join(letters.choices("ACGT", k=1000)) + "\n")


def compare(windows: Path, tokenizer: Path, folder: Path, threads: int, repeats: int) -> None:
    """Measure both ways, check that the ids agree, print."""
    script = REPOSITORY / "scripts" / "tokenize_windows.py"
    summary = folder / "summary.json"
    ours = [sys.executable, script, "--windows", windows, "--tokenizer", tokenizer, "--threads", threads]
    ours += ["--output", folder / "ours", "--summary", summary]
    environment = {"RAYON_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    results: dict[str, list[Measure]] = {"this repository": [], "datasets.map": []}
    for repeat in range(repeats):
        results["this repository"].append(run(ours, environment))
        longest = json.loads(summary.read_text())["tokens_per_line"]["longest"]
        plain = [sys.executable, "-c", PLAIN, windows, tokenizer, longest, threads, folder / "plain"]
        # An empty cache each time, or datasets would find its earlier result.
        cache = {"HF_HOME": str(folder / f"cache{repeat}")}
        results["datasets.map"].append(run(plain, {**environment, **cache}))
    subprocess.run([sys.executable, "-c", COMPARE, folder / "ours", folder / "plain"], check=True)

    megabases = json.loads(summary.read_text())["bases"] / 1e6
    print(f"{windows.name}: {megabases:.1f} Mbp, {threads} thread{'s' if threads > 1 else ''}; ids agree")
    best = {}
    for (name, runs), directory in zip(results.items(), ("ours", "plain"), strict=True):
        best[name] = Measure(
            min(r.wall for r in runs),
            min(r.cpu for r in runs),
            max(r.memory for r in runs),
            size_mb(folder / directory),
        )
        measure = best[name]
        print(
            f"  {name:16s} {measure.wall:7.2f} s  {measure.cpu:7.2f} CPU s  {megabases / measure.cpu:6.2f} "
            f"Mbp/CPU s  {measure.memory:6.0f} MB peak  {measure.disk:8.1f} MB on disk"
        )
    one, other = best["this repository"], best["datasets.map"]
    print(
        f"  ratio            {other.wall / one.wall:7.1f}    {other.cpu / one.cpu:7.1f}        "
        f"{'':6s}            {other.memory / one.memory:6.1f}          {other.disk / one.disk:8.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=Path, help="one sequence per line; without it, random ones")
    parser.add_argument("--source", type=Path, help="tokenizer.json; without it, one is trained")
    parser.add_argument("--megabases", type=int, default=20, help="size of the random lines (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads, or processes of the plain way")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        windows = arguments.windows or folder / "random.txt"
        if not arguments.windows:
            write_random_lines(windows, arguments.megabases)
        command = [
            sys.executable,
            REPOSITORY / "scripts" / "import_tokenizer.py",
            "--source",
            arguments.source,
        ]
        if not arguments.source:
            command = [sys.executable, REPOSITORY / "scripts" / "train_tokenizer.py", "--windows", windows]
            command += ["--sample-lines", "2000"]
        command += ["--output", folder / "tokenizer", "--summary", folder / "tokenizer.summary.json"]
        subprocess.run([str(word) for word in command], check=True)
        compare(windows, folder / "tokenizer", folder, arguments.threads, arguments.repeats)


if __name__ == "__main__":
    main()
