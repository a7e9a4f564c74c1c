"""The first page of Snakemake's own report, `snakemake --report`."""

import html
import re
from pathlib import Path
from types import SimpleNamespace

import yaml
from docutils.core import publish_string
from jinja2 import Template

from dnalm.config_reading import read_config

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "workflow/report/workflow.rst"
SUMMARY = "task\tpredictor\tn\tmetric\tvalue\tlow\thigh\nenhancers\tkmer\t9\taccuracy\t0.9\t0.8\t1.0\n"


def first_page(results, **changes) -> str:
    """What the page of the demo with other sections says. Docutils' errors and warnings are raised."""
    (results / "evaluation").mkdir()
    (results / "evaluation/summary.tsv").write_text(SUMMARY)
    config = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text()) | changes
    read = read_config(config | {"results": str(results)}, "config.yaml")
    words = Template(PAGE.read_text()).render(snakemake=SimpleNamespace(config=read))
    return " ".join(
        publish_string(words, writer="html", settings_overrides={"halt_level": 2}).decode().split()
    )


def test_it_shows_the_table_of_metrics_and_what_was_trained(tmp_path):
    page = first_page(tmp_path, title="酵母 2024")
    assert "pretrained on windows of 400 bp" in page and "the same model without pretraining" in page
    assert "kmer" in page and "0.9" in page


def test_a_title_is_no_markup(tmp_path):
    title = r"a_b_ `c <javascript:alert(1)>`_ *d* |e| \ <script>alert(2)</script>"
    page = first_page(tmp_path, title=title)
    assert html.escape(title, quote=False) in page
    assert re.findall('href="[^"#]+"', page.split("<body>")[1]) == [] and "<script" not in page


def test_it_claims_nothing_that_was_not_done(tmp_path):
    model = {"tokenizer": "demo", "checkpoint": "somebody/model", "revision": 40 * "0"}
    page = first_page(tmp_path, models={"demo": model}, baseline={"untrained": False})
    assert "pretrained" not in page and "without pretraining" not in page
