"""Figures of papers beside the results: the table that users keep, and the table of the report."""

import pytest

from dnalm.report.classification import published_table
from dnalm.report.published import PublishedFigure, read_published
from dnalm.report.run import Evaluation, Run
from dnalm.running.errors import InputError

HEADER = "task\tpredictor\tmetric\tvalue\tsource\n"


def test_the_table_of_the_repository_names_a_source_for_every_figure(repository):
    figures = read_published(repository / "resources/published.tsv")
    assert len({figure.task for figure in figures}) == 48
    assert all("doi:10." in figure.source and 0 <= figure.value <= 1 for figure in figures)
    # Two papers may differ about one predictor.
    assert len({(f.task, f.predictor, f.metric, f.source) for f in figures}) == len(figures)
    network = next(f for f in figures if f.task == "human_enhancers_cohn" and "CNN" in f.predictor)
    assert (network.metric, network.value) == ("accuracy", 0.696)
    hyena = [f for f in figures if f.task == "H3K79me3" and f.predictor == "HyenaDNA (1.6M)"]
    assert {f.source.split()[0]: (f.metric, f.value) for f in hyena} == {
        "Schiff": ("mcc", 0.672),
        "Nguyen": ("mcc", 0.716),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task\tvalue\n", "no column predictor, metric or source"),
        (HEADER + "tf_0\tX\tauc\t0.9\tpaper\n", 'line 2: metric is "auc", not one of accuracy'),
        (HEADER + "tf_0\tX\tauroc\tgood\tpaper\n", 'line 2: value is "good". Give a number.'),
        (HEADER + "# a remark\n\ntf_0\tX\tauroc\tnan\tpaper\n", 'line 4: value is "nan". Give a number.'),
        (HEADER + "tf_0\tX\tauroc\t0.9\t\n", "line 2: source is empty"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    (tmp_path / "papers.tsv").write_text(text)
    with pytest.raises(InputError) as error:
        read_published(tmp_path / "papers.tsv")
    assert message in str(error.value)


def test_the_best_predictor_in_the_same_metric_stands_beside_a_figure():
    def evaluation(name, accuracy):
        interval = {"value": accuracy, "low": accuracy - 0.1, "high": accuracy + 0.1}
        about = {"task": "tf_0", "name": name, "kind": "baseline", "backbone": None}
        return Evaluation(
            about | {"problem": "single_label_classification", "metrics": {"accuracy": interval}}
        )

    figures = [
        PublishedFigure("tf_0", "a big model", metric, 0.9, "a paper") for metric in ("accuracy", "mcc")
    ]
    run = Run("", False, evaluations=[evaluation("kmer", 0.7), evaluation("cnn", 0.8)], published=figures)
    accuracy, mcc = (row["cells"] for row in published_table(run, "tf_0")["rows"])
    assert accuracy[:3] == ["a big model", "accuracy", "0.900"] and accuracy[-1] == "a paper"
    assert accuracy[3]["number"] == "0.800" and accuracy[4] == "convolutional network"
    assert mcc[3:5] == ["", ""]
    assert published_table(run, "tf_1") is None
