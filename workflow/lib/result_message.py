"""Say where the report is and what came out: the last lines a person reads after `make run`."""

import csv
import json
import sys
from pathlib import Path


def result_message(results: Path) -> str:
    """The closing lines for the results in this folder."""
    lines = []
    # Files of a task that was taken out of the sheet stay; the report has what there is now.
    with (results / "evaluation" / "summary.tsv").open(encoding="utf-8", newline="") as summary:
        tasks = dict.fromkeys(row["task"] for row in csv.DictReader(summary, delimiter="\t"))
    for task in tasks:
        comparison = json.loads((results / "evaluation" / f"{task}.comparison.json").read_text())
        model = next(p for p in comparison["predictors"] if p["predictor"] == comparison["reference"])
        value = model["metrics"][comparison["metric"]]
        confidence = comparison["bootstrap"]["confidence"]
        lines.append(
            f"Test {comparison['metric_name']} on {comparison['task']}: {value['value']:.3f} "
            f"({100 * confidence:g}% interval {value['low']:.3f} to {value['high']:.3f}, "
            f"{comparison['n']} sequences, {comparison['reference']})"
        )
    lines.append(f"Report: {results / 'report.html'}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(result_message(Path(sys.argv[1])))
