"""The whole chain, run for real on a small network: what a user finds afterwards, and what bad input does."""

import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mistakes
import numpy as np
import pandas as pd
import pytest
import yaml
from snakemake_process import snakemake
from workflow_jobs import workflow_jobs

REPOSITORY = Path(__file__).parents[2]
COPIED = ("config", "envs", "resources", "scripts", "tests", "workflow")
RESULTS = Path("results/short")


def repository_copy(folder: Path) -> Path:
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, warm_python) -> Path:
    """A copy of the repository in which the short configuration has run to the end."""
    folder = repository_copy(tmp_path_factory.mktemp("chain"))
    warm_python.serve(folder)
    config = yaml.safe_load((folder / "tests/short/config.yaml").read_text())
    config["finetune"] |= {"backbones": ["frozen", "full"], "full": {"epochs": 1}}
    asked = {"model": "short", "task": "enhancers"}
    variants = {"input": "variants.vcf", "genome": f"{RESULTS}/simulation/genome.fa.gz"}
    config["predict"] = {
        "new": asked | {"input": "new.tsv", "backbone": "stacked"},
        "variants": asked | variants,
    }
    config["score_variants"] = {"variants": variants | {"model": "short"}}
    config["embed_sequences"] = {"new": {"input": "new.tsv", "model": "short", "layer": 1}}
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    (folder / "new.tsv").write_text(f"id\tseq\nfirst\t{'ACGTTGCA' * 25}\nsecond\t{'GATTACAG' * 25}\n")
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT", "chr1\t25000\tsnp\tN\tA,C,G,T"]
    (folder / "variants.vcf").write_text("".join(f"{line}\n" for line in lines))
    done = snakemake(folder, "--configfile", "run.yaml")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder


def test_a_second_run_does_nothing(finished):
    again = snakemake(finished, "--configfile", "run.yaml")
    assert again.returncode == 0 and "Nothing to be done" in again.stdout + again.stderr


def test_models_load_without_this_repository(finished):
    program = """
import sys
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer, pipeline
results = sys.argv[1]
model = AutoModelForMaskedLM.from_pretrained(f"{results}/models/short")
tokenizer = AutoTokenizer.from_pretrained(f"{results}/models/short")
assert tokenizer("acgt")["input_ids"] == tokenizer("ACGT")["input_ids"]
assert tokenizer.unk_token_id not in tokenizer("acgt")["input_ids"]
for backbone in ("frozen", "full"):
    directory = f"{results}/classifiers/short/enhancers/{backbone}"
    AutoModelForSequenceClassification.from_pretrained(directory)
    print(pipeline("text-classification", directory)("ACGT" * 50)[0]["label"])
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(finished / RESULTS)],
        cwd=finished.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(done.stdout.split()) <= {"0", "1"}


def test_the_leaks_that_the_simulator_planted_are_found_and_removed(finished):
    results = finished / RESULTS
    planted = json.loads((results / "simulation" / "description.json").read_text())
    checks = json.loads((results / "tasks" / "enhancers" / "checks.json").read_text())
    planted = {kind: len(ids) for kind, ids in planted["task"]["leaked"].items()}
    found = checks["leakage"]["test"]
    assert planted["exact"] > 0 and planted["reverse_complement"] > 0
    assert {kind: found[kind] for kind in planted} == planted

    def both_strands(split):
        table = list(
            csv.DictReader((results / "tasks" / "enhancers" / f"{split}.tsv").open(), delimiter="\t")
        )
        sequences = {row["seq"] for row in table}
        return sequences | {s[::-1].translate(str.maketrans("ACGT", "TGCA")) for s in sequences}

    assert not both_strands("test") & (both_strands("train") | both_strands("validation"))


def test_only_evaluation_reads_the_test_split():
    jobs = workflow_jobs(REPOSITORY / "tests" / "short" / "config.yaml")
    readers = {job.rule.name for job in jobs if any(f.endswith("enhancers/test.tsv") for f in job.input)}
    # The check for leaks sees it too, and that for what pretraining has read.
    assert readers == {"evaluate", "evaluate_baseline", "pretraining_overlap"}


def test_any_split_can_be_embedded_and_opened_in_one_line(finished):
    target = f"{RESULTS}/embeddings/short/enhancers.test.npz"
    done = snakemake(finished, target, "--configfile", "run.yaml")
    assert done.returncode == 0, done.stderr[-2000:]
    embeddings = np.load(finished / target)
    table = (finished / RESULTS / "tasks/enhancers/test.tsv").read_text().splitlines()[1:]
    assert embeddings["mean"].shape == embeddings["cls"].shape == embeddings["max"].shape == (len(table), 16)
    assert embeddings["id"].tolist() == [row.split("\t")[0] for row in table]


def test_sequences_without_labels_are_embedded_and_shown(finished):
    results = finished / RESULTS
    vectors = np.load(results / "embed_sequences/new.npz")
    assert vectors["id"].tolist() == ["first", "second"] and vectors["mean"].shape == (2, 16)
    table = pd.read_parquet(results / "embed_sequences/new.parquet")
    np.testing.assert_array_equal(np.stack(table["mean"]), vectors["mean"])
    assert "Cosine similarities in new" in (results / "report.html").read_text()


def test_every_test_sequence_has_a_prediction_with_probability_and_loss(finished):
    results = finished / RESULTS
    rows = list(
        csv.DictReader((results / "evaluation/short/enhancers/frozen/predictions.tsv").open(), delimiter="\t")
    )
    metrics = json.loads((results / "evaluation/short/enhancers/frozen/metrics.json").read_text())
    assert len(rows) == metrics["n"]
    correct = np.mean([row["predicted"] == row["label"] for row in rows])
    assert correct == pytest.approx(metrics["metrics"]["accuracy"]["value"])
    for row in rows:
        probability = float(row[f"probability_{row['label']}"])
        assert float(row["loss"]) == pytest.approx(-np.log(probability), abs=1e-3)
    assert sum(map(sum, metrics["confusion_matrix"])) == len(rows)


def test_the_report_is_one_file_with_the_test_accuracy(finished):
    page = (finished / RESULTS / "report.html").read_text()
    metrics = json.loads((finished / RESULTS / "evaluation/short/enhancers/frozen/metrics.json").read_text())
    assert f"{metrics['metrics']['accuracy']['value']:.3f}" in page.split("<h2")[0] + page.split("<h2")[1]
    assert "imulated" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "<script src" not in page


def test_new_sequences_are_classified(finished):
    rows = list(csv.DictReader((finished / RESULTS / "predictions/new.tsv").open(), delimiter="\t"))
    assert [row["id"] for row in rows] == ["first", "second"]
    assert all(
        float(row["probability_0"]) + float(row["probability_1"]) == pytest.approx(1, abs=1e-5)
        for row in rows
    )


def test_each_allele_stands_beside_the_reference(finished):
    rows = pd.read_csv(finished / RESULTS / "predictions/variants.tsv", sep="\t")
    assert rows["alternative"].tolist() == list("ACGT") and set(rows["position"]) == {25000}
    changed = rows["alternative_probability_1"] - rows["probability_1"]
    assert (np.sign(rows["log_odds_change_1"]) == np.sign(changed)).all()
    assert (changed == 0).sum() == 1, "of four bases one is that of the genome"
    track = pd.read_csv(finished / RESULTS / "predictions/variants.bedgraph", sep="\t", header=None)
    assert track.iloc[:, :3].values.tolist() == [["chr1", 24999, 25000]]


def test_alleles_are_scored_by_the_language_model_alone(finished):
    rows = pd.read_csv(finished / RESULTS / "score_variants/variants.tsv", sep="\t")
    assert rows["alternative"].tolist() == list("ACGT")
    assert (rows["log_likelihood_ratio"] == 0).sum() == 1, "of four bases one is that of the genome"
    hidden = rows[["reference_tokens", "alternative_tokens"]]
    assert ((hidden > 0).all(axis=1) == (rows["log_likelihood_ratio"] != 0)).all()


def test_the_result_message_says_where_and_what(finished):
    sys.path.insert(0, str(REPOSITORY / "workflow" / "lib"))
    from result_message import result_message

    words = result_message(finished / RESULTS)
    assert "Test accuracy on enhancers: 0." in words and "report.html" in words


# ---- Bad input ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A copy of the repository with a small genome and task of its own that are right."""
    folder = repository_copy(tmp_path_factory.mktemp("bare"))
    generator = np.random.default_rng(0)
    (folder / "genome.fa").write_text(f">one\n{''.join(generator.choice(list('ACGT'), 60_000))}\n")
    for split in ("train", "test"):
        rows = ["".join(generator.choice(list("ACGT"), 50)) + f"\t{i % 2}" for i in range(40)]
        (folder / f"{split}.tsv").write_text("\n".join(["seq\tlabel", *rows]) + "\n")
    (folder / "genomes.tsv").write_text("genome\tfasta\nmine\tgenome.fa\n")
    (folder / "tasks.tsv").write_text("task\ttrain\ttest\nmine\ttrain.tsv\ttest.tsv\n")
    config = {
        "genomes": "genomes.tsv",
        "tasks": "tasks.tsv",
        "extract_windows": {"validation_block": 1000},
        "tokenizers": {"bpe": {"train": {"vocabulary_size": 64}}},
        "models": {
            "small": {
                "tokenizer": "bpe",
                "architecture": "tests/short/architecture.json",
                "training": {"steps": 1},
            }
        },
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    return folder


def truncate_gzip(folder: Path) -> None:
    content = gzip.compress((folder / "genome.fa").read_bytes())
    (folder / "genome.fa").write_bytes(content[: len(content) // 2])


def edit(file: str, old: str, new: str):
    def change(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    return change


WINDOWS, TASK = "results/windows/mine.stats.json", "results/tasks/mine/checks.json"
# One that a script finds, one that the start finds; tests/mistakes/ has hundreds, each in one process.
BAD_INPUT = {
    "truncated gzip": (truncate_gzip, WINDOWS, ["genome.fa"]),
    "a label that training lacks": (edit("test.tsv", "\t1\n", "\tother\n"), "all", ["test.tsv", "other"]),
    "missing file": (lambda f: (f / "train.tsv").unlink(), TASK, ["tasks.tsv row 2", "train.tsv"]),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_ends_with_one_line_and_no_output(bare, tmp_path, name):
    damage, target, expected = BAD_INPUT[name]
    folder = tmp_path / "repository"
    shutil.copytree(bare, folder)
    damage(folder)
    # With one core it shows that labels are read before anything is trained.
    done = snakemake(folder, target, "--configfile", "run.yaml", cores=1)
    assert done.returncode != 0
    messages = [line for line in done.stderr.splitlines() if all(words in line for words in expected)]
    assert messages, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    # Snakemake's own account of a failed job is long; the cause stands below it once more.
    if "Error in rule" in done.stderr:
        end = done.stderr.strip().splitlines()[-5:]
        assert any(line.startswith("error in ") for line in end if all(words in line for words in expected))
    left = [p for p in (folder / "results").rglob("*") if p.is_file() and "logs" not in p.parts]
    assert left == []


# ---- Presets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", sorted(p.name for p in (REPOSITORY / "config").glob("*.yaml")))
def test_every_preset_makes_a_plan(bare, tmp_path, preset, dry_runs):
    folder = tmp_path / "repository"
    shutil.copytree(bare, folder)
    tokenizer = json.dumps(mistakes.tokenizer())
    for file, content in {
        "data/genome.fa.gz": "present\n",
        "data/tokenizer.json": tokenizer,
        "data/enhancers/train.tsv": "seq\tlabel\nACGT\t0\nTTTT\t1\n",
        "data/enhancers/test.tsv": "seq\tlabel\nACGA\t0\nTTTA\t1\n",
        "data/models/checkpoint/tokenizer.json": tokenizer,
    }.items():
        mistakes.write(folder / file, content)
    mistakes.write_checkpoint(folder / "data/models")
    # The laptop's files lie beside the repository.
    for line in (folder / "config/laptop.genomes.tsv").read_text().splitlines()[2:]:
        mistakes.write(folder / line.split("\t")[1], "present\n")
    for line in (folder / "config/laptop.tasks.tsv").read_text().splitlines()[2:]:
        for table in filter(None, line.split("\t")[1:]):
            mistakes.write(folder / table, "seq\tlabel\nACGT\t0\nTTTT\t1\n")
    planned = dry_runs.jobs(folder, "--configfile", f"config/{preset}")
    assert {"extract_windows", "pretrain", "finetune", "evaluate", "report"} <= set(planned)
