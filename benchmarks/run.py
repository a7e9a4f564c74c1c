"""Every stage beside the plain way, on the same data, in turn: a table, and benchmarks/results.json.

    make bench [QUICK=1] [DATA=../shared/data] [STAGES="extract_windows embed"]
    python benchmarks/run.py [--quick] [--data FOLDER] [--stages NAME …]

Each run is a process of its own with one thread, from its start to its end, imports included. What counts is
CPU time. The ratio is that of each pair of neighbouring runs; the median of the pairs is shown, with the
smallest and the largest. Where both ways compute the same, the outputs are compared.

With --quick sizes and the network are small: most of the time is the start of Python and its libraries, on
both sides, and ratios are lower.
With --data real genomes are used (FOLDER/genomes/*.fa.gz, FOLDER/*/*/train.tsv), otherwise simulated ones.
"""

import argparse
import importlib
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import data
import results
from measuring import Bench

STAGES = (
    "extract_windows",
    "train_tokenizer",
    "tokenize_windows",
    "pretrain",
    "embed",
    "finetune",
    "predict",
    "nothing_to_do",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick = "small sizes, a small network, one pair each: about five minutes"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--data", type=Path, help="folder of real data (simulated data)")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, help="only these (all)")
    parser.add_argument("--repeats", type=int, help="pairs of runs (3; 1 with --quick)")
    parser.add_argument("--results", type=Path, default=results.RESULTS, help="file to write (%(default)s)")
    options = parser.parse_args()
    repeats = options.repeats or (1 if options.quick else 3)
    real = options.data and options.data.resolve()
    rows = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as shared:
        for stage in options.stages:
            start = time.perf_counter()
            with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
                bench = Bench(Path(folder), Path(shared), options.quick, real, repeats)
                for row in importlib.import_module(f"stages.{stage}").measure(bench):
                    # Under a name of its own: it takes no full-size row's place in the results.
                    rows.append(replace(row, stage=f"quick: {row.stage}") if options.quick else row)
                    print(" | ".join(results.cells(rows[-1])), flush=True)
            print(f"  ({stage}: {time.perf_counter() - start:.0f} s)", file=sys.stderr, flush=True)
    results.write(rows, options.results)
    measured = f"{'real' if real else 'simulated'} data, {data.network(options.quick)} network"
    print(f"\n{results.machine()}; {measured}\n\n{results.table(rows)}")


if __name__ == "__main__":
    main()
