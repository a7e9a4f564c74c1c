"""The report: the answer first, true to its inputs, complete in one file, honest about what is missing."""

import html
import json
import logging
import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from dnalm.report.classification import guessing_precision
from dnalm.report.data import genome_parts, tokenizer_parts, tokenizer_table
from dnalm.report.exploring import task_parts
from dnalm.report.language_model import place_among_motifs, sequence_loss_parts
from dnalm.report.learning import finetuning_table
from dnalm.report.measured import read_benchmark, read_log
from dnalm.report.methods import as_yaml
from dnalm.report.paper import statistics, tasks
from dnalm.report.parts import MOST_COLUMNS, metrics_by_predictor
from dnalm.report.references import REFERENCES
from dnalm.report.resources import seconds
from dnalm.report.run import Evaluation, Run, Training
from dnalm.report.study import board_table, study_figures
from dnalm.report.styles import MOST_CURVES, drawn_as_curves
from dnalm.running.commandline import processor
from dnalm.running.files import sha256_of_file

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "scripts" / "report.py"
sys.path.insert(0, str(REPOSITORY / "tests" / "fixtures"))

import report_inputs  # noqa: E402  the fixtures' folder is put on the path above


@pytest.fixture(scope="session")
def flags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    return report_inputs.make_inputs(tmp_path_factory.mktemp("report"))


def make(flags: dict[str, list[str]], output: Path, *more: str) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        str(SCRIPT),
        *report_inputs.as_arguments(flags),
        "--output",
        str(output),
        *more,
    ]
    return subprocess.run(command, capture_output=True, text=True)


def page(flags: dict[str, list[str]], output: Path, *more: str) -> str:
    """The report, made in this process: a new one would import pandas each time."""
    logger = logging.getLogger("dnalm")
    before = (logger.handlers[:], logger.level, logger.propagate)
    command = [str(SCRIPT), *report_inputs.as_arguments(flags), "--output", str(output), *more]
    try:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
            patch.setattr(sys, "argv", command)
            runpy.run_path(str(SCRIPT), run_name="__main__")
    finally:
        logger.handlers[:], logger.level, logger.propagate = before
    assert end.value.code == 0
    return output.read_text()


@pytest.fixture(scope="session")
def whole(flags, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("page")
    more = ["--simulated", "--figures", str(folder / "figures"), "--summary", str(folder / "summary.tsv")]
    return page(flags, folder / "report.html", *more)


def text_of(page: str) -> str:
    """What a reader sees, blanks made single."""
    body = re.sub(r"<(style|svg).*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


class Structure(HTMLParser):
    """Checks that tags are balanced, and collects ids, links and sources."""

    VOID = frozenset({"meta", "link", "br", "img", "hr", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.headings: list[int] = []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if "id" in found:
            self.ids.append(found["id"])
        self.links += [found[name] for name in ("href", "src", "data", "action", "srcset") if name in found]
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def test_the_answer_comes_first_with_interval_baselines_and_leaks(flags, whole):
    metrics = json.loads(Path(flags["--metrics"][0]).read_text())
    accuracy = metrics["metrics"]["accuracy"]
    first = text_of(whole).split("Classification in detail")[0]
    assert f"{accuracy['value']:.3f}" in first
    assert f"95% interval {accuracy['low']:.3f} to {accuracy['high']:.3f}" in first
    right = sum(metrics["confusion_matrix"][i][i] for i in range(2))
    assert f"{right} of {metrics['n']} test sequences classified correctly" in first
    assert "2 of 200 test sequences also stood in the training file" in first
    assert "made-up" in first and "Simulated demo." in first
    chart = re.search(r'aria-label="Test accuracy[^"]+"', whole)[0]
    for name in ("demo pretrained, frozen", "demo untrained, frozen", "k-mer regression", "majority class"):
        assert name in chart


def test_a_cross_validation_is_said_to_be_one(flags, tmp_path):
    """The same run, as if its test sequences had been predicted in five folds."""
    crossed = {
        "sequences": [40] * 5,
        "metrics": {"accuracy": {"mean": 0.9, "sd": 0.02, "low": 0.875, "high": 0.925, "values": [0.9] * 5}},
    }
    by_fold = {
        "n_validation": [16, 15, 16, 17, 16],
        "temperature": [1.25, 0.8, 1.5, 20.1, 1.1],
        "threshold": [0.5, 0.31, 0.5, 0.62, 0.5],
    }
    changed: dict[str, list[str]] = {"--metrics": [], "--checks": []}
    for flag, more in (
        ("--metrics", {"cross_validation": crossed}),
        ("--checks", {"folds": {"sequences": [40] * 5, "clusters": 190, "largest_cluster": 4}}),
    ):
        for number, path in enumerate(flags[flag]):
            file = tmp_path / f"{flag.strip('-')}{number}.json"
            content = json.loads(Path(path).read_text()) | more
            if flag == "--metrics":
                fitted = {"n_validation": 15, "temperature": 1.25, "by_fold": by_fold}
                fitted["threshold"] = content["calibration"]["threshold"] | {"value": 0.5}
                content["calibration"] |= fitted
            file.write_text(json.dumps(content))
            changed[flag].append(str(file))
    report = page(flags | changed, tmp_path / "report.html")
    first, _, details = text_of(report).partition("Classification in detail")
    assert "Cross-validated accuracy of demo pretrained, frozen" in first
    assert (
        "5-fold cross-validation, 95% interval" in first and "of 200 sequences classified correctly" in first
    )
    assert "Fold by fold the accuracy is 0.900 ± 0.020 (0.875 to 0.925)." in first
    assert "Bengio & Grandvalet 2004" in first and "the saved classifier itself was not tested" in first
    assert "190 groups were dealt out, the largest of 4 sequences" in first
    # Nothing is said of a test split that there is not.
    assert "test sequence" not in first and "test split" not in first
    assert "test sequence" not in details.split("All metrics of the 5-fold")[1].split("Fine-tuning")[0]
    assert "Fold by fold: mean ± standard deviation of 5 (lowest to highest)" in details
    assert "All metrics of the 5-fold cross-validation, with 95% intervals" in details
    assert "Ten groups of equally many sequences each." in details
    assert "1.25 (0.8 to 20.1)" in details and "0.500 (0.310 to 0.620)" in details
    assert (
        "Temperature and threshold are fitted in every fold on its own validation sequences, 15 or more, so "
        "few that they say little, and judged on what it left out; shown are the median over the folds and "
        "the lowest and highest. Scaled"
    ) in details


def test_the_leading_model_is_the_first_one_not_the_best_one(flags, whole):
    """In these inputs full fine-tuning is better; the configuration names the frozen backbone first."""
    values = [
        json.loads(Path(path).read_text())["metrics"]["accuracy"]["value"] for path in flags["--metrics"]
    ]
    assert values[1] > values[0]
    assert "Test accuracy of demo pretrained, frozen" in text_of(whole)


def test_the_spread_over_seeds_is_told_apart_from_the_interval(flags, whole):
    (group,) = json.loads(Path(flags["--comparisons"][0]).read_text())["repetitions"]
    accuracy = group["metrics"]["accuracy"]
    told = f"{accuracy['mean']:.3f} ± {accuracy['sd']:.3f}"
    assert f"trained with 3 seeds, the accuracy is {told} (mean and standard deviation)" in whole
    assert "Spread over seeds: mean ± standard deviation of 3 trainings (lowest to highest)" in whole
    assert f"{told} {accuracy['low']:.3f} to {accuracy['high']:.3f}" in text_of(whole)
    assert "Seeds 42, 43 and 44" in whole


def test_the_numbers_of_a_fine_tuning_are_called_what_they_are():
    log = [{"event": "evaluation", "epoch": 0, "loss": 0.7, "accuracy": 0.6}]
    for problem, name in (
        ("multi_label_classification", "Validation labels right"),
        ("single_label_classification", "Validation accuracy"),
    ):
        training = Training({"task": "t", "problem": problem, "kept": {"epoch": 0}}, log)
        assert finetuning_table(training, "demo")["columns"][-1] == name


def test_the_data_are_shown_in_words_and_pictures(whole):
    words = text_of(whole)
    chapter = words.split("What the models read, what the labelled sequences look like")[1]
    assert "4 (67%) are asked for: 2 as [MASK], 1 as a random token, 1 unchanged" in chapter
    assert '<span class="masked">[MASK]<small><span class="unseen">truth </span>ACG</small></span>' in whole
    assert "attention_mask" in chapter and "special_tokens_mask" in chapter
    assert "The sequences of enhancers by class and split" in chapter
    for picture in ("Loss per test sequence by class", "GC by class, task", "PCA of the embeddings of demo"):
        assert f'aria-label="{picture}' in whole
    assert "Do neighbours share a class?" in chapter


def test_learning_curves_are_there_as_numbers_too(flags, whole):
    words = text_of(whole)
    last = json.loads(Path(flags["--training-logs"][0]).read_text().splitlines()[-1])
    assert f"{last['step']:,} {last['epoch']:.2f}" in words
    assert (
        f"{last['masked_loss']:.4f} {last['masked_perplexity']:,.1f} {last['masked_accuracy']:.2%}" in words
    )
    assert f"{last['selected_loss']:.4f}" in words
    assert "On [MASK] positions, 50% of the tokens being selected: held-out loss" in words
    assert "epoch by epoch: the numbers" in words
    assert "The checkpoint of demo had no prediction head. A new one was drawn at random." in words


def test_the_page_is_complete_and_asks_for_nothing(whole):
    structure = Structure()
    structure.feed(whole)
    assert structure.open == []
    assert len(structure.ids) == len(set(structure.ids))
    assert all(link == "data:," or link[1:] in structure.ids for link in structure.links), structure.links
    assert "<script" not in whole and "@import" not in whole
    assert not re.search(r"url\((?!data:)", whole)
    assert "default-src 'none'" in whole
    assert structure.headings[0] == 1 and structure.headings.count(1) == 1
    steps = [b - a for a, b in zip(structure.headings, structure.headings[1:], strict=False)]
    assert max(steps) <= 1


def test_nothing_is_undefined_or_infinite(whole):
    text = text_of(whole)
    for word in ("None", "nan", "NaN", "Undefined", "{{", "}}"):
        assert not re.search(
            rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z])", text.split("Words used here")[0]
        ) or (word == "None" and "None of the" in text), word


def test_every_chapter_of_the_issue_is_there(whole):
    text = text_of(whole)
    for what in (
        "All metrics on the test split",
        "Confusion matrices",
        "Worst predictions of demo pretrained, frozen",
        "Learning curve: demo",
        "Fill in the gap: demo",
        "Parameters of demo by part",
        "Tokens per line: bpe",
        "Checks of task enhancers",
        "Which test sequences leaked",
        "What the rules needed",
        "Pretraining as it ran",
        "The complete configuration",
        "transformers",
    ):
        assert what in text, what


def test_a_study_has_leaderboards_and_curves(whole):
    chapter = whole[whole.index('id="study"') :]
    chapter = chapter[: chapter.index('id="classification"')]
    assert "6 variants, each against the k-mer regression" in chapter
    assert "All tasks together" in chapter and "Leaderboard of task promoters" in chapter
    # Two seeds are one row.
    # In both leaderboards and over all tasks; no variant, hence without seeds.
    assert text_of(chapter).count("stacked with demo") == 3
    assert chapter.count("tokenizer letters, steps 2000, frozen") >= 3 and "seed=2" not in chapter
    assert chapter.count("Accuracy against pretraining, task") == 2
    assert chapter.count("Accuracy against labelled sequences, task") == 2


def test_of_a_study_of_very_many_variants_the_best_are_shown():
    accuracy = {"value": 0.5, "low": 0.4, "high": 0.6}
    kmer = {"name": "kmer", "kind": "baseline", "backbone": None, "settings": {}, "accuracy": accuracy}
    kmer |= {"seeds": 1, "seed_spread": None, "difference": None, "p_adjusted": None, "cost": {}}
    points = [{"x": 10, **accuracy}, {"x": 20, **accuracy, "high": 0.7}]
    named = [
        {"name": f"m{n}", "kind": "model", "backbone": "frozen", "settings": {"steps": n}} for n in range(50)
    ]
    curves = [variant | {"points": points} for variant in named]
    board = [kmer | variant for variant in named] + [kmer]
    study = {"tasks": {"t": board}, "token_curves": {"t": curves}, "label_curves": {"t": curves}}
    best, against_tokens, against_labels = study_figures(study | {"confidence": 0.95}, "t")
    # Numbers tell apart what is cut to the same letters.
    assert "1. steps 0, frozen" in best["svg"] and "51. k-mer regression" in best["svg"]
    assert against_tokens["svg"].count("<polyline") == 10
    assert "Drawn are the 10 of 50 curves with the most accurate rows" in against_tokens["caption"]
    assert "known to about ±0.150 (95% interval over test sequences)" in against_labels["caption"]
    assert against_labels["svg"].count("<polyline") == 50
    shown = board_table("t", board, "kmer", 0.95)
    assert shown["rows"][1]["cells"][0] == "2. steps 1, frozen" and "11 more rows" in shown["note"]


def test_worst_predictions_are_those_with_the_highest_loss(flags, whole):
    table = pd.read_csv(flags["--predictions"][0], sep="\t", dtype={"id": str}).sort_values(
        "loss", ascending=False
    )
    after = text_of(whole).split("Worst predictions of")[1]
    places = [after.index(f"{name} ") for name in table["id"].head(5)]
    assert places == sorted(places)
    assert table["seq"].iloc[0] in after
    wrong = (table["label"] != table["predicted"]).sum()
    assert f"odd sequences. {wrong} of {len(table)} are classified wrongly." in after


def test_figures_and_summary_are_written_beside(flags, tmp_path):
    page(
        flags,
        tmp_path / "r.html",
        "--figures",
        str(tmp_path / "figures"),
        "--summary",
        str(tmp_path / "s.tsv"),
    )
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"enhancers.accuracy.svg", "enhancers.roc.svg", "demo.learning_curve.svg"} <= names
    rows = [line.split("\t") for line in (tmp_path / "s.tsv").read_text().splitlines()]
    assert rows[0] == ["task", "predictor", "n", "metric", "value", "low", "high"]
    assert [row[1] for row in rows[1:]][:2] == [
        "demo pretrained, frozen",
        "demo pretrained, fine-tuned in full",
    ]
    assert len(rows) == 1 + len(flags["--metrics"])


def test_the_same_inputs_give_the_same_bytes(flags, tmp_path):
    assert page(flags, tmp_path / "a.html") == page(flags, tmp_path / "b.html")


def test_several_classes(tmp_path):
    text = text_of(page(report_inputs.make_inputs(tmp_path / "in", classes=3), tmp_path / "r.html"))
    assert "Tell 3 classes of DNA sequences apart: 0, 1 and 2." in text
    assert "are means over the classes" in text
    assert "predicted 2" in text


def test_a_simulation_tells_what_it_planted(flags, tmp_path):
    made = {
        "task": {
            "labels": {"0": "other", "1": "enhancer"},
            "leaked": {"exact": ["test_1"], "reverse_complement": ["test_2"]},
            "accuracy_of_informed_reader": 0.987,
        },
        "motifs": {"enhancer": ["ACGTTGCA"], "other": ["TTTTGGGG"]},
    }
    (tmp_path / "made.json").write_text(json.dumps(made))
    simulation = ("--simulation", str(tmp_path / "made.json"))
    real = text_of(page(flags, tmp_path / "real.html", *simulation))
    assert "Partly simulated." in real and "(other)" not in real and "simulated motifs" not in real
    text = text_of(page(flags, tmp_path / "r.html", *simulation, "--simulated-tasks", "enhancers"))
    assert "Simulated demo." in text and "0 (other) and 1 (enhancer)" in text
    assert "The simulator had planted 2." in text and "would reach 0.987" in text
    assert "Of the tokens inside a motif 0 of 0 are guessed first" in text and "between motifs 6 of 6" in text


@pytest.mark.parametrize(
    ("left", "token", "right", "place"),
    [
        ("AAAC", "CATT", "GAAA", "inside"),
        ("AAAT", "CAAT", "GGAA", "inside"),  # the opposite strand
        ("AA", "CCATTG", "AA", "inside"),
        ("AAAC", "CATTGA", "AA", "edge"),
        ("AACCATTG", "AA", "CCATTG", "between"),
        ("CCATT", "GCCA", "TTG", "edge"),
        ("", "CATTG", "AA", "between"),
    ],
)
def test_examples_tell_where_among_the_motifs_a_token_stands(left, token, right, place):
    assert place_among_motifs(left, token, right, ["CCATTG"]) == place


def test_several_tasks_begin_with_an_overview(flags, tmp_path):
    both = dict(flags)
    crossed = {
        "--metrics": {"cross_validation": {"sequences": [100, 100], "metrics": {}}},
        "--checks": {"folds": {"sequences": [100, 100], "clusters": 200, "largest_cluster": 1}},
    }
    for flag in ("--metrics", "--curves", "--checks", "--comparisons", "--finetuning-summaries"):
        copies = []
        for i, path in enumerate(flags[flag]):
            copy = json.loads(Path(path).read_text()) | {"task": "promoters"} | crossed.get(flag, {})
            copies.append(str(tmp_path / f"{flag[2:]}.{i}.json"))
            Path(copies[-1]).write_text(json.dumps(copy))
        both[flag] = [*flags[flag], *copies]
    for flag in ("--predictions", "--finetuning-logs"):
        both[flag] = 2 * flags[flag]
    written = page(both, tmp_path / "r.html")
    text = text_of(written)
    assert text.index("All tasks") < text.index("Task: enhancers") < text.index("Task: promoters")
    assert "Cross-validated or on the test split" in text and "200 in 2 folds" in text
    assert "Best baseline: that with the highest value on the same sequences" in text
    # The chapters are named where the page begins, not behind the answers of all tasks.
    assert text.index("Below:") < text.index("All tasks") and text.count("Below:") == 1
    # From a task's first screen to the rest of it, far below.
    assert written.count('<a href="#details-promoters">') == written.count('<h3 id="details-promoters">') == 1
    assert "<h4>Confusion matrices</h4>" in written
    structure = Structure()
    structure.feed(written)
    assert all(link == "data:," or link[1:] in structure.ids for link in structure.links)


def test_hundreds_of_genomes_are_folded_under_their_sum(flags):
    stats = json.loads(Path(flags["--windows-stats"][0]).read_text())
    genomes = [stats | {"genome": f"g{number}", "bases": 1_000_000} for number in range(200)]
    total, table = genome_parts(Run("title", False, windows=genomes))
    assert total["text"].startswith("200 genomes of 200 Mb: ") and table["fold"]
    assert f"{200 * stats['windows']['train']:,} training windows" in total["text"]
    (table,) = genome_parts(Run("title", False, windows=genomes[:2]))
    assert not table["fold"]


def test_blocks_of_genomes_of_all_sizes_are_told(flags):
    stats = json.loads(Path(flags["--windows-stats"][0]).read_text())

    def note(*settings):
        genomes = [stats | {"settings": stats["settings"] | one} for one in settings]
        return genome_parts(Run("title", False, windows=genomes))[0]["note"]

    small, large = {"validation_block": 800}, {"validation_block": 100_000}
    named = {"validation_sequences": ["chr20"]}
    assert "Blocks of 800 bp are held out, evenly spaced over the genome" in note(small, small)
    assert "Blocks of 800 bp (in the smallest genome) to 100 kb are held out" in note(large, small)
    assert note(named).endswith("Whole sequences are held out by name.")
    assert "Of 1 genome whole sequences are held out by name. Blocks of 100 kb" in note(named, large)
    assert "evenly spaced over the others," in note(named, large)


def test_many_predictors_have_a_row_each():
    """A page of paper or of a phone has no room for two dozen columns."""
    few = metrics_by_predictor("c", ["a", "b"], ["accuracy", "MCC"], [["1", "2"], ["3", "4"]], "")
    assert few["columns"] == ["Metric", "a", "b"] and few["rows"][1]["cells"] == ["MCC", "3", "4"]
    names = [f"p{i}" for i in range(MOST_COLUMNS + 1)]
    many = metrics_by_predictor("c", names, ["accuracy", "MCC"], [names, [*"0123456789"]], "")
    assert many["columns"] == ["Predictor", "accuracy", "MCC"]
    assert many["rows"][1]["cells"] == ["p1", "p1", "1"] and many["rows"][0]["strong"]


def test_without_tasks_the_language_model_leads(flags, tmp_path):
    of_tasks = (
        "--metrics",
        "--predictions",
        "--curves",
        "--checks",
        "--comparisons",
        "--finetuning-summaries",
    )
    kept = {flag: values for flag, values in flags.items() if flag not in (*of_tasks, "--finetuning-logs")}
    text = text_of(page(kept, tmp_path / "r.html"))
    assert "Held-out perplexity" in (first := text.split("Classification in detail")[0])
    assert re.search(r"nats per \[MASK\]; [\d,]+ hidden tokens of [\d,]+ held-out lines\)", first)
    assert "No classification task is configured" in text


def test_without_anything_the_page_still_says_so(tmp_path):
    text = text_of(page({"--title": ["Empty"]}, tmp_path / "r.html"))
    assert "No benchmark files are at hand." in text and "No training log is at hand." in text


@pytest.mark.parametrize(
    "missing", ["--comparisons", "--checks", "--curves", "--predictions", "--training-logs", "--settings"]
)
def test_one_missing_kind_of_input_is_survived(flags, missing, tmp_path):
    page({flag: values for flag, values in flags.items() if flag != missing}, tmp_path / "r.html")


def test_names_from_files_cannot_break_the_page(flags, tmp_path):
    hostile = json.loads(Path(flags["--checks"][0]).read_text())
    hostile["warnings"] = ["<script>alert(1)</script>"]
    (tmp_path / "checks.json").write_text(json.dumps(hostile))
    changed = flags | {
        "--checks": [str(tmp_path / "checks.json")],
        "--title": ["<img src=x onerror=alert(1)>"],
    }
    written = page(changed, tmp_path / "r.html")
    assert "<script" not in written and "<img" not in written


def test_benchmarks_can_be_a_folder(flags, tmp_path):
    folder = str(Path(flags["--benchmarks"][-1]).parent)
    text = text_of(page(flags | {"--benchmarks": [folder]}, tmp_path / "r.html"))
    assert "those of tasks and models too that have left the configuration since" in text
    table = text.split("What the rules needed")[1]
    assert "extract_windows 1 " in table and "finetune 2 " in table
    assert "set-resources: extract_windows: mem_mb: 2000 * 2 ** (attempt - 1) runtime:" in table
    # In a storage they are elsewhere.
    text = text_of(page(flags | {"--benchmarks": [str(tmp_path / "benchmarks")]}, tmp_path / "r.html"))
    assert "No benchmark files are at hand." in text


@pytest.mark.parametrize(
    ("flag", "content", "message"),
    [
        ("--metrics", "{not json", "bad.json line 1: not valid JSON"),
        ("--training-logs", '{"event": "train"}\n{broken\n', "bad.json line 2: not valid JSON"),
        ("--checks", None, "bad.json: no such file"),
        ("--benchmarks", "a\tb\n1\t2\n", "bad.json: not a benchmark file"),
    ],
)
def test_a_bad_input_is_named_in_one_line_and_leaves_nothing(flags, flag, content, message, tmp_path):
    bad, output = tmp_path / "bad.json", tmp_path / "out" / "report.html"
    if content is not None:
        bad.write_text(content)
    finished = make(flags | {flag: [str(bad), *flags[flag][1:]]}, output)
    assert finished.returncode == 1
    assert message in finished.stderr and finished.stderr.count("\n") == 1
    assert not output.parent.exists() or not list(output.parent.iterdir())


def test_lists_of_different_length_are_refused(flags, tmp_path):
    finished = make(flags | {"--curves": flags["--curves"][:2]}, tmp_path / "r.html")
    assert finished.returncode == 1 and "--curves has 2 files for 6 leading ones" in finished.stderr


def test_what_snakemake_never_measured_is_not_shown_as_zero(tmp_path):
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    file = tmp_path / "extract_windows.tsv"
    file.write_text(header + "0.23\t0:00:00\t0.00\t0.13\t0.00\t0.00\t0.00\t0.00\t0.00\t0.00\n")
    found = read_benchmark(file, Path("extract_windows.tsv"))
    assert found.seconds == 0.23 and found.peak_mb is None and found.cpu_seconds is None


def test_the_memory_of_a_shell_is_not_taken_for_that_of_a_rule(tmp_path):
    file = tmp_path / "extract_windows.tsv"
    file.write_text("s\tmax_rss\tcpu_time\n0.36\t2.31\t0.00\n")
    found = read_benchmark(file, Path("extract_windows.tsv"))
    assert found.seconds == 0.36 and found.peak_mb is None and found.cpu_seconds is None
    # What Snakemake could not count is not what was none.
    file.write_text("s\tmax_rss\tcpu_time\n36\t231.0\tNA\n")
    found = read_benchmark(file, Path("extract_windows.tsv"))
    assert found.peak_mb == 231 and found.cpu_seconds is None


def test_what_took_a_moment_is_not_said_to_have_taken_no_time():
    assert [seconds(value) for value in (0.0, 0.004, 0.05, 9.94, 61)] == [
        "0.0 s",
        "<0.1 s",
        "0.1 s",
        "9.9 s",
        "1 min 01 s",
    ]


def test_the_words_of_the_page_are_explained(whole):
    words = text_of(whole)
    explained = words[words.index("Words used here") :]
    for word in ("Token", "[CLS]", "[MASK]", "epoch", "pooling", "Frozen", "Checkpoint", "Logits", "nats"):
        assert word in explained, word


def test_tokenizers_stand_side_by_side_with_what_their_models_never_read():
    def cache(tokenizer, split, histogram, used):
        lines, tokens = sum(n for _, n in histogram), sum(length * n for length, n in histogram)
        return {
            "tokenizer": tokenizer,
            "genome": "g",
            "split": split,
            "lines": lines,
            "bases": 600,
            "tokens": tokens,
            "unknown_tokens": 2,
            "vocabulary_used": used,
            "vocabulary_size": 32,
            "tokens_per_line": {"histogram": histogram},
        }

    models = {
        "whole": {"tokenizer": "bpe", "max_tokens": 30, "truncate": False},
        "cut": {"tokenizer": "bpe", "max_tokens": 16, "truncate": True},
        "pieces": {"tokenizer": "kmer", "max_tokens": 16, "truncate": False},
    }
    caches = [cache("bpe", "train", [[12, 5], [22, 5]], 30), cache("bpe", "validation", [[99, 1]], 9)]
    caches.append(cache("kmer", "train", [[42, 10]], 20))
    run = Run("title", False, settings={"models": models}, tokens=caches)
    rows = [row["cells"] for row in tokenizer_table(run)["rows"]]
    bpe = ["bpe", "30 of 32", "4.00", "1.33%", "12", "12", "22", "22"]
    assert rows[0] == [*bpe, "whole", "30", "0.0%", "0.0%"]
    # Five lines of 22 tokens lose 6 each, of 170 in all.
    assert rows[1] == [*bpe, "cut", "16", "50.0%", "17.6%"]
    assert rows[2][-4:] == ["pieces", "16", "100.0%", "0.0%"]


def test_a_vocabulary_that_the_data_did_not_fill_is_named():
    def note(asked):
        summary = {
            "tokenizer": "bpe",
            "source": "trained",
            "settings": {"vocabulary_size": asked},
            "vocabulary_size": 585,
            "longest_token_bp": 19,
            "n_policy": "unk",
            "n_policy_meaning": "every N becomes one [UNK]",
            "probes": [],
        }
        (shown,) = tokenizer_parts(summary)
        return shown["note"]

    assert "4,096 tokens were asked for" in note(4096)
    assert "asked for" not in note(585)


def test_of_few_held_out_lines_none_is_both_hard_and_easy():
    columns = {
        "loss": 5.0,
        "source": "g",
        "line": 1,
        "start_bp": 0,
        "tokens": 9,
        "masked": 2,
        "perplexity": 9.0,
    }
    for n in (1, 4, 30):
        losses = pd.DataFrame([columns | {"line": line, "loss": 5.0 + line / 100} for line in range(n)])
        shown = [row["cells"] for row in sequence_loss_parts(losses, "dna")[1]["rows"]]
        kinds, lines = [row[0] for row in shown], [row[2] for row in shown]
        assert len(set(lines)) == len(lines) == min(n, 10)
        assert kinds[0] == "hardest" and kinds.count("hardest") - kinds.count("easiest") in (0, 1)


def test_of_very_many_predictors_those_beside_the_leading_one_are_drawn():
    """Two dozen lines in one figure cannot be told apart."""

    def evaluation(name, kind, backbone):
        return Evaluation({"task": "t", "name": name, "kind": kind, "backbone": backbone})

    few = [evaluation("a", "model", "frozen"), evaluation("a", "stacked", "stacked")]
    few += [evaluation("a", "combined", "combined"), evaluation("kmer", "baseline", None)]
    more = [
        evaluation(f"{name}{end}", kind, backbone)
        for name in "abc"
        for backbone in ("frozen", "full")
        for end, kind in (("", "model"), ("-untrained", "untrained"))
    ]
    run = Run("title", False, evaluations=few)
    assert drawn_as_curves(run, "t") == (run.of_task("t"), "")
    run = Run("title", False, evaluations=[*more, *few[1:], evaluation("majority", "baseline", None)])
    drawn, said = drawn_as_curves(run, "t")
    assert len(drawn) <= MOST_CURVES and said
    names = [(e.metrics["name"], e.metrics["backbone"]) for e in drawn]
    assert names[0] == ("a", "frozen") and ("a-untrained", "frozen") in names and ("kmer", None) in names
    assert not any(name.startswith(("b", "c", "majority")) for name, _ in names)


def test_guessing_labels_is_as_precise_as_those_that_have_a_curve_are_frequent():
    counts = {"a": 48, "b": 50, "nobody": 0}
    metrics = {"problem": "multi_label_classification", "n": 100, "label_counts": counts}
    assert guessing_precision(metrics) == pytest.approx(0.49)
    two = {"problem": "single_label_classification", "n": 102, "positive_label": "open"}
    assert guessing_precision(two | {"label_counts": {"closed": 100, "open": 2}}) == pytest.approx(2 / 102)


def test_labelled_sequences_are_described_in_words_of_their_kind_of_task():
    box = {"n": 2, "low": 1, "q1": 1, "median": 2, "q3": 3, "high": 3, "smallest": 1, "largest": 3}
    box |= {"outliers": [], "mean": 2}
    group = {"split": "train", "label": "", "n": 2, "length": box, "gc": box, "tokens": {}, "unknown": {}}
    task = {"task": "t", "labels": ["", "a"], "groups": [group], "maps": []}
    task["losses"] = [{"predictor": "demo/frozen", "label": "", "loss": box}]
    several = task | {"problem": "multi_label_classification"}
    _, table, figures = task_parts(several, {"demo/frozen": "demo pretrained, frozen"}, crossed=True)
    assert table["columns"][:2] == ["Split", "Labels"] and table["rows"][0]["cells"][1] == "no label"
    assert "each tested once by a predictor that had not learned from it" in table["note"]
    loss = figures["rows"][-1]
    assert loss["title"] == "Loss per tested sequence" and "demo pretrained, frozen" in loss["svg"]
    assert "The further right, the harder." in loss["caption"]
    values = task | {"problem": "regression"}
    assert task_parts(values, {})[1]["columns"][1] == "Quarter of the values"


def test_who_has_only_the_page_can_tell_data_versions_and_how_to_repeat_it(flags, tmp_path):
    more = ["--genome-files", "made-up=data/made=up.fa.gz"]
    more += ["--sheets", "my=own/genomes.tsv=genome\tfasta\nmade-up\tdata/made=up.fa.gz"]
    changed = flags | {"--versions": ["dna-modernbert=9.8.7", "python=3.11.9"]}
    text = text_of(page(changed, tmp_path / "r.html", *more))
    given = json.loads(Path(flags["--checks"][0]).read_text())["inputs"]["test"]["sha256"]
    assert f"200 raw.test.tsv {given[:16]}" in text
    assert "data/made=up.fa.gz" in text and "dna-modernbert 9.8.7" in text
    genome = json.loads(Path(flags["--windows-stats"][0]).read_text())["input"]
    fasta = Path(flags["--windows-stats"][0]).with_name("genome.fa")
    assert genome == {"file": "genome.fa", "sha256": sha256_of_file(fasta)} and genome["sha256"] in text
    assert "The sheet my=own/genomes.tsv genome fasta made-up data/made=up.fa.gz" in text
    assert "saved as run.yaml: snakemake --configfile run.yaml" in text
    assert "and the test of 6 predictors and of those of the study; how often other runs looked" in text


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]*", fullmatch=True)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]))
)


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=20))
@example(
    {name: {name: [name]} for name in ("1", "on", "No", "null", "1e5", "0x1f", "1_000", "2024-01-02", "y")}
)
def test_the_configuration_of_the_report_reads_back_as_it_was(settings):
    assert yaml.safe_load(as_yaml(settings)) == settings


def test_where_and_when_it_was_made_is_what_the_logs_say(flags, tmp_path):
    logs = tmp_path / "logs"
    (logs / "pretrain").mkdir(parents=True)
    computed = "2026-03-01 23:59:58 $ scripts/pretrain.py\n2026-03-01 23:59:58 computer: Xeon 8481C\n"
    computed += "2026-03-01 23:59:59 computer: NVIDIA H200, CUDA 13.0\nTraceback\n2026-03-02 04:00:00 done\n"
    (logs / "pretrain" / "demo.log").write_text(computed)
    (logs / "compare.log").write_text("2026-03-02 04:01:00 $ x\n2026-03-02 04:01:01 computer: Xeon 8481C\n")
    (logs / "report.log").write_text("2027-01-01 00:00:00 computer: a laptop\n")
    (logs / "empty.log").write_text("")
    text = text_of(page(flags, tmp_path / "r.html", "--logs", str(logs), "--commit", "0123abcd"))
    assert "2026-03-01 23:59:58 to 2026-03-02 04:01:01" in text and "0123abcd" in text
    assert "NVIDIA H200, CUDA 13.0; Xeon 8481C" in text and "laptop" not in text
    without = text_of(page(flags, tmp_path / "s.html", "--logs", str(tmp_path / "deleted")))
    assert "Dates of the logs" not in without


def test_a_log_begins_with_the_command_and_the_computer(tmp_path):
    log = tmp_path / "step.log"
    finished = subprocess.run(
        [sys.executable, str(SCRIPT), "--log", str(log), "--output", str(tmp_path / "r.html")],
        capture_output=True,
    )
    assert finished.returncode == 0, finished.stderr
    found = read_log(log)
    assert found is not None and found.machines == [processor()] and found.machines[0]


def methods_of(*evaluations: dict) -> str:
    """How metrics of these evaluations, which are given in part, are said to be measured."""
    common = {
        "kind": "model",
        "name": "m",
        "backbone": "full",
        "bootstrap": {"samples": 100, "seed": 1, "confidence": 0.9},
    }
    run = Run("title", False, evaluations=[Evaluation(common | evaluation) for evaluation in evaluations])
    return statistics(run)


def test_methods_tell_which_strands_and_metrics_belong_to_which_task():
    classes = {"task": "classes", "problem": "single_label_classification", "strands": "both"}
    values = {"task": "values", "problem": "regression", "strands": "forward"}
    both = methods_of(classes, values)
    assert "mean over both strands of a sequence; of values those of the strand that is given." in both
    assert "The leading metrics are accuracy and R²." in both
    alone = methods_of(values)
    assert alone.startswith("Predictions are those of the strand that is given. The leading metric is R².")
    assert "Wilson" not in alone and "at 90%" in alone


def test_methods_tell_of_a_test_split_only_where_there_is_one():
    prepared = {"validation_fraction": 0.125, "drop_leaked": True, "homologs": "report", "seed": 1}
    prepared |= {"homolog_word_bp": 16, "homolog_fraction": 0.2}
    common = {"kind": "model", "name": "m", "backbone": "full", "problem": "single_label_classification"}
    folds = common | {"task": "folds", "cross_validation": {"sequences": [25] * 4}}
    split = common | {"task": "split"}
    checks = {"settings": prepared, "sequences": {"train": 70, "validation": 10, "test": 100}}
    checks |= {"rows": {"train": {}}, "leakage": {"test": {"count": 3}}}
    run = Run("title", False, settings={"prepare_task": prepared})
    run.checks = {"folds": checks, "split": checks}
    run.evaluations = [Evaluation(folds)]
    alone = tasks(run)
    assert (
        "4-fold cross-validation of 100 sequences" in alone and "12.5% of those that a fold does not" in alone
    )
    assert "est sequences" not in alone
    both = Run("title", False, settings=run.settings, checks=run.checks)
    both.evaluations = [Evaluation(folds), Evaluation(split)]
    assert "also stood in training or validation, on either strand, were dropped from these" in tasks(both)


def test_methods_for_a_paper_say_the_numbers_of_the_run(flags, tmp_path):
    settings = json.loads(Path(flags["--settings"][0]).read_text())
    model = settings["models"]["demo"]
    model["masking"] |= {"probability": 0.375, "mask_token": 0.7, "random_token": 0.3, "span_tokens": 4}
    model["training"] |= {"schedule": "warmup_stable_decay", "decay_fraction": 0.21, "adam_beta2": 0.987}
    settings["finetune"]["full"] |= {"learning_rate": 0.00123, "patience": 17}
    settings["prepare_task"]["homologs"] = "drop"
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    text = text_of(page(flags | {"--settings": [str(tmp_path / "settings.json")]}, tmp_path / "r.html"))
    text = text[text.index("Methods, for a paper") : text.index("Words used here")]
    for said in (
        "37.5% of the tokens of a line were selected in runs of 4 neighbours; of these 70% became [MASK] and",
        "30% a token drawn at random; the loss",
        "fell to 0 as 1 − √x over the last 21% (Hägele et al. 2024)",
        "β2 0.987",
        "4 layers, a hidden size of 128, 12 attention heads and feed-forward layers of 1,152",
        "ended after 17 epochs without a lower validation loss",
        "with a peak of 0.00123",
        "training and validation sequences that are related to test sequences were dropped",
        "bootstrap (Efron 1987) of 300 samples (seed 42), at 95%",
    ):
        assert said in text
    cited = set(re.findall(r"(?:[\w-]+ et al\.|[\w]+ & [\w]+|Efron|Newcombe|Wilson|Wolpert) \d{4}", text))
    assert cited <= set(REFERENCES)
    assert "Kelley" not in text and "Devlin et al. 2019 BERT" in text


def test_a_genome_file_without_a_name_is_refused(flags, tmp_path):
    finished = make(flags | {"--genome-files": ["genome.fa"]}, tmp_path / "r.html")
    assert finished.returncode == 1
    assert "--genome-files 'genome.fa': give NAME=FILE, such as hg38=hg38.fa.gz." in finished.stderr


def test_what_pretraining_has_read_is_said(flags, tmp_path):
    counts = {"task": "enhancers", "n": 1000, "word_bp": 32, "whole": 3, "half": 14, "any": 20}
    (tmp_path / "overlap.json").write_text(json.dumps(counts))
    changed = flags | {"--overlaps": [str(tmp_path / "overlap.json")]}
    text = text_of(page(changed, tmp_path / "r.html"))
    assert "14 of them (1.4%) stood in the pretraining lines by half or more, 3 whole" in text
    assert "What its checkpoint had read" not in text
    summary = json.loads(Path(flags["--training-summaries"][0]).read_text())
    summary["settings"]["checkpoint"] = "sha256"
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    changed |= {"--training-summaries": [str(tmp_path / "summary.json")]}
    settings = json.loads(Path(flags["--settings"][0]).read_text())
    settings["models"]["demo"]["checkpoint"] = "lab/dna-model"
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    text = text_of(page(changed | {"--settings": [str(tmp_path / "settings.json")]}, tmp_path / "s.html"))
    assert "What its checkpoint had read before is not known." in text
    assert "was trained on from a checkpoint (lab/dna-model) for 200 steps" in text
