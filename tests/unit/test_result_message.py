"""The last lines that a person reads after `make run`."""

import json

from result_message import result_message


def test_a_task_that_was_taken_out_of_the_sheet_is_not_told_of(tmp_path):
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    for task in ("kept", "gone"):
        interval = {"value": 0.9, "low": 0.8, "high": 0.95}
        comparison = {
            "task": task,
            "reference": "model",
            "metric": "accuracy",
            "metric_name": "accuracy",
            "n": 100,
            "bootstrap": {"confidence": 0.95},
            "predictors": [{"predictor": "model", "metrics": {"accuracy": interval}}],
        }
        (evaluation / f"{task}.comparison.json").write_text(json.dumps(comparison))
    (evaluation / "summary.tsv").write_text("task\tpredictor\nkept\tmodel\nkept\tkmer\n")
    assert result_message(tmp_path).splitlines() == [
        "Test accuracy on kept: 0.900 (95% interval 0.800 to 0.950, 100 sequences, model)",
        f"Report: {tmp_path / 'report.html'}",
    ]
