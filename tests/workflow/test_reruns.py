"""Law 2: after an edit exactly the steps that depend on it run again, judged by content.

A copy of the repository is brought to a finished state once; a stand-in makes the outputs in place of the
scripts, which takes seconds and leaves the same records as a real run. Each case copies that state to a new
place (so that every case also tests a moved directory), edits it, and asks `snakemake -n` what it would do.
"""

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import mistakes
import pytest
import yaml
from dry_runs import DryRuns
from snakemake_process import snakemake
from stand_in_conda import stand_in_for_conda
from workflow_jobs import REPOSITORY

pytestmark = pytest.mark.slow

COPIED = ("config", "envs", "resources", "scripts", "slurm", "workflow")

# The rules downstream of a point of the chain.
REPORT = {"report"}
STUDIED = {"study"} | REPORT
COMPARED = {"compare", "publish"} | STUDIED
EXPLORED = {"explore_task"} | REPORT
CLASSIFIED = {"finetune", "stack", "evaluate", "predict"} | COMPARED | EXPLORED
EMBEDDED = {"embed", "combine"} | CLASSIFIED
# What is asked of the first model alone.
ASKED = {"fill_mask", "embed_sequences", "score_variants"}
MODELLED = {"evaluate_language_model"} | ASKED | EMBEDDED
TOKENIZED = {"pretrain"} | MODELLED
WITH_TOKENIZER = {"tokenize_windows", "explore_batch", "untrained_model"} | TOKENIZED
CUT = {"extract_windows", "train_tokenizer", "pretraining_overlap"} | WITH_TOKENIZER
PREPARED = {"prepare_task", "pretraining_overlap", "subset_task", "baseline", "baseline_cnn"} | EMBEDDED
PREPARED |= {"evaluate_baseline"}
SUBSET = {
    "subset_task",
    "baseline",
    "baseline_cnn",
    "evaluate_baseline",
    "embed",
    "finetune",
    "evaluate",
} | STUDIED
TRAIN_ENVIRONMENT = TOKENIZED | {"explore_batch", "untrained_model", "baseline_cnn"}
TRAIN_ENVIRONMENT |= {"evaluate_baseline", "check_input"}
# The pins of the environment files count where conda makes the environments.
CONDA = ("--sdm", "conda")
# A changed configuration is shown by the report.
SHOWN = {"write_configuration"} | STUDIED

CONFIG = {
    "results": "results",
    "genomes": "genomes.tsv",
    "tasks": "tasks.tsv",
    "simulate_demo": {"seed": 1},
    "tokenizers": {
        "learned": {"train": {"vocabulary_size": 100, "sample_lines": 10}},
        "given": {"source": "tokenizer.json"},
    },
    "models": {
        "first": {
            "tokenizer": "learned",
            "architecture": "small.json",
            "training": {"steps": 10},
        },
        "second": {
            "tokenizer": "given",
            "architecture": "other.json",
            "training": {"steps": 10},
        },
    },
    "study": {"model": "first", "vary": {"finetune.seed": [42, 1]}, "train_sequences": [4]},
    "finetune": {"backbones": ["frozen", "lora"]},
    "fill_mask": {"gaps": {"model": "first", "sequences": ["ACGT[MASK]"]}},
    "embed_sequences": {"loose": {"model": "first", "input": "loose.tsv"}},
    "score_variants": {"known": {"model": "first", "input": "known.vcf", "genome": "reference.fa"}},
    "predict": {"new": {"input": "new.tsv", "model": "first", "task": "promoters"}},
    "publish": {"shared": {"model": "second", "task": "promoters"}},
}


def build(folder: Path) -> None:
    """A repository with two genomes, two tasks, two tokenizers and two models, ready to run."""
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "settings.yaml").write_text(yaml.safe_dump(CONFIG))
    (folder / "genomes.tsv").write_text(
        "genome\tfasta\nyeast\tyeast.fa\nsimulated\tresults/simulation/genome.fa.gz\n"
    )
    (folder / "tasks.tsv").write_text(
        "task\ttrain\ttest\npromoters\tpromoters.train.tsv\tpromoters.test.tsv\n"
        "enhancers\tresults/simulation/train.tsv\tresults/simulation/test.tsv\n"
    )
    (folder / "yeast.fa").write_text(">chrI\nACGT\n")
    (folder / "mouse.fa").write_text(">chr1\nTTGA\n")
    for split in ("train", "test"):
        (folder / f"promoters.{split}.tsv").write_text("seq\tlabel\nACGT\t1\n")
    for name in ("new", "loose"):
        (folder / f"{name}.tsv").write_text("seq\nACGT\n")
    (folder / "known.vcf").write_text("##fileformat=VCFv4.3\nchr1\t2\t.\tA\tC\n")
    (folder / "reference.fa").write_text(">chr1\nTACG\n")
    (folder / "tokenizer.json").write_text(json.dumps(mistakes.tokenizer()))
    for name in ("small", "other"):
        shutil.copy(REPOSITORY / "resources/architectures/demo.json", folder / f"{name}.json")
    stand_in = Path(__file__).parents[1] / "support" / "stand_in.py"
    common = folder / "workflow" / "rules" / "common.smk"
    text = common.read_text()
    assert '["exec", PYTHON,' in text
    common.write_text(
        text.replace('["exec", PYTHON,', f'[PYTHON, shlex.quote({str(stand_in)!r}), "{{output}} --",')
    )
    # Time stamps as an old checkout has them.
    for path in folder.rglob("*"):
        os.utime(path, (1.7e9, 1.7e9))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "repository"
    folder.mkdir()
    build(folder)
    done = snakemake(folder, "--configfile", "settings.yaml", "--quiet", "all")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def dry_runs(tmp_path_factory):
    conda = stand_in_for_conda(tmp_path_factory.mktemp("stand_in") / "conda")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{conda / 'bin'}:{os.environ['PATH']}")
        with DryRuns() as server:
            yield server


@pytest.fixture
def repository_copy(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "moved", symlinks=True))


# ---- Edits ----


def code(path: str) -> Callable[[Path], None]:
    """Add a statement to a script or module."""
    return lambda folder: _append(folder / path, "\nADDED_BY_A_TEST = 1\n")


def comment(path: str) -> Callable[[Path], None]:
    return lambda folder: _append(folder / path, "\n# A remark.\n")


def text(path: str, new: str = "\nACGTACGT\n") -> Callable[[Path], None]:
    return lambda folder: _append(folder / path, new)


def replaced_by_an_older_file(path: str) -> Callable[[Path], None]:
    """Other content whose date lies before everything else, as `cp -p` or `mv` leave it."""

    def edit(folder: Path) -> None:
        _append(folder / path, "\nACGTACGT\n")
        os.utime(folder / path, (1e9, 1e9))

    return edit


def setting(key: str, value: object) -> Callable[[Path], None]:
    """Change one key of the configuration, given as `section.key`."""

    def edit(folder: Path) -> None:
        config = yaml.safe_load((folder / "settings.yaml").read_text())
        *path, last = key.split(".")
        section = config
        for name in path:
            section = section.setdefault(name, {})
        assert section.get(last) != value
        section[last] = value
        (folder / "settings.yaml").write_text(yaml.safe_dump(config))

    return edit


def row(sheet: str, cells: str) -> Callable[[Path], None]:
    return lambda folder: _append(folder / sheet, cells + "\n")


def touch_all(*roots: str) -> Callable[[Path], None]:
    """New time stamps in a random order, as `git clone` or `cp` give them."""

    def edit(folder: Path) -> None:
        paths = [p for root in roots for p in (folder / root).rglob("*") if p.is_file()] + [
            folder / root for root in roots if (folder / root).is_file()
        ]
        assert paths
        random.Random(1).shuffle(paths)
        for number, path in enumerate(paths):
            os.utime(path, (1.9e9 + number, 1.9e9 + number))

    return edit


def substitute(path: str, pattern: str, replacement: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        before = (folder / path).read_text()
        after = re.sub(pattern, replacement, before, count=1)
        assert after != before, f"{path} has nothing like {pattern}"
        (folder / path).write_text(after)

    return edit


def architecture(path: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        shape = json.loads((folder / path).read_text())
        shape["num_hidden_layers"] += 1
        (folder / path).write_text(json.dumps(shape))

    return edit


def renamed_import(path: str, name: str, new: str) -> Callable[[Path], None]:
    """Call an imported function by another name: `from … import name as new`."""

    def edit(folder: Path) -> None:
        lines = (folder / path).read_text().splitlines()
        renamed = [
            re.sub(rf"\b{name}\b", f"{name} as {new}" if "import" in line else new, line) for line in lines
        ]
        assert renamed != lines
        (folder / path).write_text("\n".join(renamed) + "\n")

    return edit


def deleted(*names: str) -> Callable[[Path], None]:
    """Make room: folders of results that are gone."""

    def edit(folder: Path) -> None:
        for name in names:
            shutil.rmtree(folder / "results" / name, ignore_errors=name == "checkpoints")

    return edit


def behind_a_link(folder: Path) -> None:
    (folder / "results").rename(folder / "large disk")
    (folder / "results").symlink_to(folder / "large disk")


def together(*edits: Callable[[Path], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        for one in edits:
            one(folder)

    return edit


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


# ---- The table ----


@dataclass
class Case:
    """An edit, the rules that run again, and for some of them which jobs (a part of their wildcards)."""

    edit: Callable[[Path], None]
    rules: set[str]
    only: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()


NEW_TASK = row("tasks.tsv", "third\tpromoters.train.tsv\tpromoters.test.tsv")

CASES = {
    # Nothing that counts.
    "moved directory": Case(lambda folder: None, set()),
    "touched scripts and workflow": Case(touch_all("scripts", "workflow", "envs", "config"), set()),
    "touched inputs": Case(
        touch_all("yeast.fa", "promoters.train.tsv", "tokenizer.json", "small.json", "settings.yaml"), set()
    ),
    "fresh checkout": Case(
        touch_all(*COPIED, "yeast.fa", "promoters.train.tsv", "tokenizer.json", "small.json"), set()
    ),
    "touched intermediate results": Case(touch_all("results/windows", "results/tasks"), set()),
    "results on another disk": Case(behind_a_link, set()),
    # docs/shared.md says what may be deleted, and what for.
    "deleted for room": Case(deleted("checkpoints", "logs", "benchmarks"), set()),
    "deleted though a new task needs it": Case(
        together(deleted("windows"), NEW_TASK), CUT | PREPARED, {"prepare_task": "third"}
    ),
    "deleted for room, and a new task": Case(
        together(deleted("checkpoints", "logs", "benchmarks", "embeddings"), NEW_TASK),
        PREPARED - {"predict", "publish"},
        {"embed": "third", "finetune": "third"},
    ),
    "comment in a script": Case(comment("scripts/pretrain.py"), set()),
    "comment in a library module": Case(comment("scripts/dnalm/running/files.py"), set()),
    "comment in an environment": Case(comment("envs/train.yaml"), set()),
    "a package that only measures": Case(
        substitute("envs/train.yaml", "psutil =.*", "psutil =1.0"), set(), arguments=CONDA
    ),
    "a pin, where the installed packages are used": Case(
        substitute("envs/train.yaml", "numpy =.*", "numpy =1.0"), set()
    ),
    "conda in place of the same installed packages": Case(lambda folder: None, set(), arguments=CONDA),
    "five words in an error message": Case(
        substitute(
            "scripts/dnalm/tokenizers/encoding.py", r"(raise InputError\(\s*f?\")", r"\1I am sorry to say "
        ),
        set(),
    ),
    "docstring of a module": Case(
        substitute("scripts/dnalm/running/files.py", '"""', '"""In other words: '), set()
    ),
    "docstring of progress": Case(
        substitute("scripts/dnalm/running/progress.py", '"""', '"""In other words: '), set()
    ),
    "code of progress, of errors, of the command line": Case(
        together(
            code("scripts/dnalm/running/progress.py"),
            code("scripts/dnalm/running/errors.py"),
            code("scripts/dnalm/running/commandline.py"),
        ),
        set(),
    ),
    "a log line": Case(
        text("scripts/dnalm/tokenizers/encoding.py", '\nlogging.getLogger("dnalm").info("read")\n'), set()
    ),
    "another log line": Case(text("scripts/embed.py", '\nlogger.info("embedded")\n'), set()),
    "a renamed local import": Case(
        renamed_import("scripts/embed.py", "read_labelled_table", "read_sequences"), set()
    ),
    "comment in the configuration": Case(comment("settings.yaml"), set()),
    "hours and GPUs": Case(
        setting("resources", {"pretrain_gpus": 4, "pretrain_hours": 2, "gres": "gpu", "tasks_per_job": 2}),
        set(),
    ),
    "threads in the configuration": Case(setting("resources.pretrain_threads", 3), set()),
    "threads in a rule": Case(
        substitute("workflow/rules/tokenize_windows.smk", r"threads: \d", "threads: 7"), set()
    ),
    "threads on the command line": Case(
        lambda folder: None, set(), arguments=("--set-threads", "pretrain=3")
    ),
    "resources on the command line": Case(
        lambda folder: None, set(), arguments=("--set-resources", "pretrain:mem_mb=99")
    ),
    "the Slurm profile": Case(
        substitute("slurm/config.yaml", "retries: 3", "retries: 9"),
        set(),
        arguments=("--profile", "slurm", "--sdm", "env-modules"),
    ),
    "deployment by other means": Case(lambda folder: None, set(), arguments=("--sdm", "env-modules")),
    # Code.
    "script of the simulation": Case(
        code("scripts/simulate_demo.py"), {"simulate_demo"} | CUT | PREPARED, {"extract_windows": "simulated"}
    ),
    "script of extract_windows": Case(code("scripts/extract_windows.py"), CUT),
    "script of train_tokenizer": Case(
        code("scripts/train_tokenizer.py"),
        {"train_tokenizer"} | WITH_TOKENIZER,
        {"pretrain": "first", "tokenize_windows": "learned"},
    ),
    "script of import_tokenizer": Case(
        code("scripts/import_tokenizer.py"),
        ({"import_tokenizer"} | WITH_TOKENIZER) - {"predict", "study"} - ASKED,
        {"pretrain": "second", "tokenize_windows": "given"},
    ),
    "script of tokenize_windows": Case(
        code("scripts/tokenize_windows.py"), {"tokenize_windows", "explore_batch"} | TOKENIZED
    ),
    # The untrained baseline takes its network and seeds from the same module.
    "script of pretrain": Case(code("scripts/pretrain.py"), TOKENIZED),
    "script of untrained_model": Case(
        code("scripts/untrained_model.py"),
        ({"untrained_model"} | EMBEDDED) - {"predict", "combine", "stack"},
        {"embed": "-untrained"},
    ),
    "script of evaluate_language_model": Case(
        code("scripts/evaluate_language_model.py"), {"evaluate_language_model", "publish"} | REPORT
    ),
    "script of prepare_task": Case(code("scripts/prepare_task.py"), PREPARED),
    "script of pretraining_overlap": Case(
        code("scripts/pretraining_overlap.py"), {"pretraining_overlap"} | REPORT
    ),
    "script of embed": Case(code("scripts/embed.py"), EMBEDDED, {"finetune": "frozen"}),
    "script of finetune": Case(code("scripts/finetune.py"), CLASSIFIED),
    "script of baseline": Case(
        code("scripts/baseline.py"),
        {"baseline", "evaluate_baseline", "combine", "stack", "evaluate"} | COMPARED,
    ),
    "script of baseline_cnn": Case(
        code("scripts/baseline_cnn.py"),
        {"baseline_cnn", "evaluate_baseline", "stack", "evaluate"} | COMPARED,
        {"evaluate_baseline": "cnn", "evaluate": "stacked"},
    ),
    "script of combine": Case(code("scripts/combine.py"), {"combine", "stack", "evaluate"} | COMPARED),
    "script of stack": Case(
        code("scripts/stack.py"), {"stack", "evaluate"} | COMPARED, {"evaluate": "stacked"}
    ),
    "script of evaluate": Case(
        code("scripts/evaluate.py"), {"evaluate", "evaluate_baseline"} | COMPARED | EXPLORED
    ),
    "script of explore_batch": Case(code("scripts/explore_batch.py"), {"explore_batch"} | REPORT),
    "script of explore_task": Case(code("scripts/explore_task.py"), EXPLORED),
    "script of compare": Case(code("scripts/compare.py"), COMPARED - {"study"}),
    "script of study": Case(code("scripts/study.py"), STUDIED),
    "script of subset_task": Case(code("scripts/subset_task.py"), SUBSET, {"embed": "train=4"}),
    "script of check_input": Case(code("scripts/check_input.py"), {"check_input"}),
    "script of predict": Case(code("scripts/predict.py"), {"predict"}),
    "script of report": Case(code("scripts/report.py"), REPORT),
    "module of one rule": Case(code("scripts/dnalm/report/charts.py"), REPORT),
    "file of a package that Python runs first": Case(
        code("scripts/dnalm/tokenize_windows/__init__.py"), {"tokenize_windows", "explore_batch"} | TOKENIZED
    ),
    "page of the report": Case(text("scripts/dnalm/report/report.html.j2", "<p>\n"), REPORT),
    # Packages.
    "a new pin of transformers": Case(
        substitute("envs/train.yaml", "transformers =.*", "transformers =9.9"),
        TRAIN_ENVIRONMENT,
        arguments=CONDA,
    ),
    "a new pin of LoRA": Case(
        substitute("envs/finetune.yaml", "peft =.*", "peft =9.9"), CLASSIFIED, arguments=CONDA
    ),
    "a new pin of the report's templates": Case(
        substitute("envs/analyse.yaml", "jinja2 =.*", "jinja2 =9.9"),
        PREPARED,
        arguments=CONDA,
    ),
    "module of several rules": Case(code("scripts/dnalm/pretrain/masking.py"), {"explore_batch"} | TOKENIZED),
    "a new pin of UMAP": Case(
        substitute("envs/explore.yaml", "umap-learn =.*", "umap-learn =9.9"), EXPLORED, arguments=CONDA
    ),
    # Inputs.
    "one genome's file": Case(text("yeast.fa"), CUT, {"extract_windows": "yeast", "tokenize_windows": ""}),
    "an older file in place of one genome's": Case(
        replaced_by_an_older_file("yeast.fa"), CUT, {"extract_windows": "yeast", "tokenize_windows": ""}
    ),
    "one task's training file": Case(
        text("promoters.train.tsv"), PREPARED, {"prepare_task": "promoters", "evaluate": "promoters"}
    ),
    "one task's test file": Case(
        text("promoters.test.tsv"), PREPARED, {"prepare_task": "promoters", "embed": "promoters"}
    ),
    "tokenizer file": Case(
        text("tokenizer.json", "\n"),
        ({"import_tokenizer"} | WITH_TOKENIZER) - {"predict", "study"} - ASKED,
        {"pretrain": "second", "tokenize_windows": "given"},
    ),
    "architecture": Case(
        architecture("other.json"),
        (TOKENIZED | {"untrained_model"}) - {"predict", "study"} - ASKED,
        {"pretrain": "second", "untrained_model": "second"},
    ),
    "sequences to predict": Case(text("new.tsv"), {"check_input", "predict"}),
    "variants to score": Case(substitute("known.vcf", "A\tC", "A\tG"), {"check_input", "score_variants"}),
    "sequences to embed": Case(text("loose.tsv"), {"check_input", "embed_sequences"} | REPORT),
    # Sheets.
    "a new task": Case(
        NEW_TASK,
        PREPARED - {"predict", "publish"},
        {
            "prepare_task": "third",
            "embed": "third",
            "finetune": "third",
            "evaluate": "third",
            "compare": "third",
        },
    ),
    # A study has no subsets of it.
    "a new task with folds": Case(
        together(
            substitute(
                "tasks.tsv",
                r"(?s).*",
                "task\ttrain\ttest\tfolds\npromoters\tpromoters.train.tsv\tpromoters.test.tsv\t\n"
                "enhancers\tresults/simulation/train.tsv\tresults/simulation/test.tsv\t\n"
                "third\tpromoters.train.tsv\t\t3\n",
            ),
            setting("study", {"model": "first", "vary": {"finetune.seed": [42, 1]}}),
        ),
        {"prepare_task", "pretraining_overlap", "embed", "finetune", "compare"}
        | {"cross_validate", "cross_validate_baseline", "cross_validate_combined", "cross_validate_stacked"}
        | EXPLORED
        | SHOWN,
        {"prepare_task": "third", "embed": "third", "finetune": "third", "cross_validate": "third"},
    ),
    # The tokenizer that is given does not change, so its caches of the other genomes stay.
    "a new genome": Case(
        row("genomes.tsv", "mouse\tmouse.fa"), CUT, {"extract_windows": "mouse", "train_tokenizer": "learned"}
    ),
    "held-out sequences of a genome": Case(
        substitute(
            "genomes.tsv",
            r"(?s).*",
            "genome\tfasta\tvalidation\nyeast\tyeast.fa\tchrI\n"
            "simulated\tresults/simulation/genome.fa.gz\t\n",
        ),
        CUT,
        {"extract_windows": "yeast"},
    ),
    # Each section of the configuration.
    "title": Case(setting("title", "Another"), SHOWN),
    "published": Case(setting("published", "resources/published.tsv"), SHOWN),
    "simulate_demo": Case(
        setting("simulate_demo.seed", 2),
        {"simulate_demo"} | CUT | PREPARED | SHOWN,
        {"extract_windows": "simulated"},
    ),
    "extract_windows": Case(setting("extract_windows.length", 500), CUT | SHOWN),
    "tokenizers": Case(
        setting("tokenizers.learned.train.vocabulary_size", 99),
        {"train_tokenizer"} | WITH_TOKENIZER | SHOWN,
        {"pretrain": "first"},
    ),
    "models: masking": Case(
        setting("models.second.masking", {"probability": 0.3}),
        (TOKENIZED | {"explore_batch"} | SHOWN) - {"predict"} - ASKED,
        {"pretrain": "second", "explore_batch": "second"},
    ),
    "models: training": Case(
        setting("models.first.training.steps", 11), TOKENIZED | SHOWN, {"pretrain": "first"}
    ),
    "models: max_tokens": Case(
        setting("models.first.max_tokens", 99),
        TOKENIZED | {"explore_batch"} | SHOWN,
        {"pretrain": "first"},
    ),
    "evaluate_language_model": Case(
        setting("evaluate_language_model.max_lines", 9), {"evaluate_language_model", "publish"} | SHOWN
    ),
    "prepare_task": Case(setting("prepare_task.drop_leaked", False), PREPARED | SHOWN),
    "prepare_task: homologs": Case(setting("prepare_task.homologs", "drop"), PREPARED | SHOWN),
    "finetune: frozen": Case(
        setting("finetune.frozen", {"epochs": 9}),
        CLASSIFIED | SHOWN,
        {"finetune": "frozen"},
    ),
    "finetune: lora": Case(
        setting("finetune.lora", {"rank": 9}),
        (CLASSIFIED | SHOWN) - {"predict"},
        {"finetune": "lora"},
    ),
    "finetune: a way that is not used": Case(setting("finetune.partial", {"layers": 1}), SHOWN),
    "finetune: backbones": Case(
        setting("finetune.backbones", ["frozen", "lora", "partial"]),
        (CLASSIFIED | SHOWN) - {"predict"},
        {"finetune": "partial"},
    ),
    "finetune: repetitions": Case(
        setting("finetune.repetitions", 2),
        {"finetune", "evaluate"} | COMPARED | SHOWN,
        {"finetune": "-seed43", "evaluate": "-seed43"},
    ),
    "finetune: max_tokens": Case(setting("finetune.max_tokens", 99), EMBEDDED | SHOWN),
    "baseline": Case(
        setting("baseline.kmer_lengths", [2]),
        {"baseline", "evaluate_baseline", "combine", "stack", "evaluate"} | COMPARED | SHOWN,
    ),
    "baseline: cnn": Case(
        setting("baseline.cnn_width", 9),
        {"baseline_cnn", "evaluate_baseline", "stack", "evaluate"} | COMPARED | SHOWN,
        {"evaluate": "stacked"},
    ),
    "evaluate": Case(
        setting("evaluate.bootstrap_samples", 123),
        {"evaluate", "evaluate_baseline"} | COMPARED | EXPLORED | SHOWN,
    ),
    "script of embed_sequences": Case(code("scripts/embed_sequences.py"), {"embed_sequences"} | REPORT),
    "embed_sequences": Case(setting("embed_sequences.loose.layer", 0), {"embed_sequences"} | SHOWN),
    "script of score_variants": Case(code("scripts/score_variants.py"), {"score_variants"}),
    "score_variants": Case(setting("score_variants.known.window", 500), {"score_variants"} | SHOWN),
    "script of fill_mask": Case(code("scripts/fill_mask.py"), {"fill_mask"} | REPORT),
    "fill_mask": Case(setting("fill_mask.gaps.top", 3), {"fill_mask"} | SHOWN),
    "strands of a task": Case(
        substitute(
            "tasks.tsv",
            r"(?s).*",
            "task\ttrain\ttest\tstrands\npromoters\tpromoters.train.tsv\tpromoters.test.tsv\tforward\n"
            "enhancers\tresults/simulation/train.tsv\tresults/simulation/test.tsv\t\n",
        ),
        # The other strand is a repeat no longer.
        PREPARED,
        {"prepare_task": "promoters", "evaluate": "promoters", "baseline_cnn": "promoters"},
    ),
    "script of publish": Case(code("scripts/publish.py"), {"publish"}),
    "page of the model card": Case(text("scripts/dnalm/publish/model_card.md.j2", "<p>\n"), {"publish"}),
    "study": Case(setting("study.reference", "majority"), SHOWN),
    "publish": Case(setting("publish.shared.licence", "mit"), {"publish"} | SHOWN),
    "corpora": Case(
        setting("corpora", {"unlabelled": {"task": "promoters"}, "reads": {"lines": "new.tsv"}}),
        {"corpus_from_task", "corpus_from_lines", "train_tokenizer", "pretraining_overlap"}
        | WITH_TOKENIZER
        | SHOWN,
        {"train_tokenizer": "learned"},
    ),
    "loggers": Case(setting("loggers", []), set()),
    "explore: maps": Case(setting("explore.maps", ["pca"]), EXPLORED | SHOWN),
    "explore: batch": Case(setting("explore.batch_lines", 2), {"explore_batch"} | SHOWN),
    "predict": Case(setting("predict.new.stride", 50), {"predict"} | SHOWN),
    "positive class of a task": Case(
        substitute("tasks.tsv", r"(?s)test\n(promoters[^\n]*)\n", r"test\tpositive\n\1\t1\n"),
        {"evaluate", "evaluate_baseline", "predict"} | COMPARED | EXPLORED,
        {"evaluate": "promoters", "predict": "new"},
    ),
    "columns of a task": Case(
        substitute("tasks.tsv", r"(?s)test\n(promoters[^\n]*)\n", r"test\tseq_column\n\1\tseq\n"),
        PREPARED,
        {"prepare_task": "promoters"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_exactly_what_depends_on_an_edit_runs_again(name, repository_copy, dry_runs):
    case = CASES[name]
    case.edit(repository_copy)
    jobs = dry_runs.jobs(repository_copy, "--configfile", "settings.yaml", *case.arguments)
    jobs.pop("all", None)
    assert set(jobs) == case.rules
    for rule, part in case.only.items():
        assert all(part in wildcards for wildcards in jobs[rule]), f"{rule}: {jobs[rule]}"


def test_the_reason_names_the_file_that_changed(repository_copy):
    code("scripts/dnalm/pretrain/masking.py")(repository_copy)
    done = snakemake(repository_copy, "-n", "--configfile", "settings.yaml")
    reasons = {line for line in (done.stdout + done.stderr).splitlines() if "Params have changed" in line}
    assert len(reasons) == 1
    digest = r"'scripts/dnalm/pretrain/masking\.py [0-9a-f]{10}'"
    assert re.search(rf"before: {digest} now: {digest}\s*$", reasons.pop())


def test_the_reason_names_the_setting_that_changed(repository_copy):
    setting("explore.batch_lines", 2)(repository_copy)
    done = snakemake(repository_copy, "-n", "results/configuration.json", "--configfile", "settings.yaml")
    assert "before: 'explore.batch_lines: 3' now: 'explore.batch_lines: 2'" in done.stdout + done.stderr


def test_a_run_and_an_installation_may_move_apart(tmp_path, dry_runs):
    """What a run takes from the installation, an architecture, counts by its content, wherever both are."""
    installed, run = tmp_path / "opt/v1", tmp_path / "home/run"
    for folder in (installed, run):
        folder.mkdir(parents=True)
    build(installed)
    for name in ("yeast.fa", "promoters.train.tsv", "promoters.test.tsv"):
        shutil.move(installed / name, run)
    (run / "genomes.tsv").write_text("genome\tfasta\nyeast\tyeast.fa\n")
    (run / "tasks.tsv").write_text("task\ttrain\ttest\np\tpromoters.train.tsv\tpromoters.test.tsv\n")
    first = CONFIG["models"]["first"] | {"architecture": "resources/architectures/demo.json"}
    config = {key: CONFIG[key] for key in ("results", "genomes", "tasks", "tokenizers")}
    (run / "settings.yaml").write_text(
        yaml.safe_dump(config | {"tokenizers": {"learned": {"train": {}}}, "models": {"first": first}})
    )
    made = ("results/models/first.json", "results/configuration.json")
    wanted = (*made, "--configfile", "settings.yaml", "-s")
    done = snakemake(run, *wanted, installed / "workflow/Snakefile")
    assert done.returncode == 0, done.stderr
    run = Path(shutil.copytree(run, tmp_path / "scratch/somebody/else/run"))
    newer = Path(shutil.copytree(installed, tmp_path / "opt/of/all/v2"))
    assert not dry_runs.jobs(run, *wanted, str(newer / "workflow/Snakefile"))
    architecture("resources/architectures/demo.json")(newer)
    assert set(dry_runs.jobs(run, *wanted, str(newer / "workflow/Snakefile"))) == {"pretrain"}


@pytest.mark.parametrize(
    "edit",
    [
        together(
            substitute("genomes.tsv", "yeast.fa", "moved.fa"),
            lambda f: (f / "yeast.fa").rename(f / "moved.fa"),
        ),
        lambda folder: shutil.rmtree(folder / ".snakemake"),
    ],
    ids=["a genome under another path", "notes left behind"],
)
def test_what_is_there_is_taken_as_made_once_it_is_touched(repository_copy, dry_runs, edit):
    """docs/shared.md says so, of whom paths are all that changed."""
    touch_all("results/windows", "results/tasks")(repository_copy)
    edit(repository_copy)
    wanted = ("--configfile", "settings.yaml")
    assert "pretrain" in dry_runs.jobs(repository_copy, *wanted)
    done = snakemake(repository_copy, *wanted, "--touch", "--forceall", "--quiet", "all")
    assert done.returncode == 0, done.stderr
    assert not dry_runs.jobs(repository_copy, *wanted)
    setting("models.second.training.steps", 11)(repository_copy)
    assert "pretrain" in dry_runs.jobs(repository_copy, *wanted)


def test_a_library_module_used_by_all_reruns_all(repository_copy, dry_runs):
    code("scripts/dnalm/running/files.py")(repository_copy)
    jobs = dry_runs.jobs(repository_copy, "--configfile", "settings.yaml")
    assert set(jobs) >= CUT | PREPARED | REPORT | {"simulate_demo", "import_tokenizer"}


def test_every_section_of_the_configuration_is_in_the_table():
    schema = yaml.safe_load((REPOSITORY / "workflow/schemas/config.schema.yaml").read_text())
    # Where results stand is another run; sheets are edited above; resources are among what does not count.
    sections = set(schema["properties"]) - {"results", "genomes", "tasks", "resources"}
    assert sections <= {name.split(":")[0] for name in CASES}


def test_every_script_is_in_the_table():
    scripts = {
        name
        for path in (REPOSITORY / "workflow/rules").glob("*.smk")
        for name in re.findall(r'command(?:_of_many)?\(\s*"(\w+)"', path.read_text())
    }
    # What was downloaded or pushed stays, whatever happens to the script that did it.
    scripts -= {"fetch", "fetch_hub", "push_to_hub", "simulate_demo"}
    # Need a checkpoint or a corpus, which this run has not. tests/unit/test_names.py sees that they name
    # their code.
    scripts -= {"published_model", "corpus_from_task", "corpus_from_lines"}
    # Needs a task with folds, of which a study has no subsets.
    scripts -= {"cross_validate"}
    assert {f"script of {name}" for name in scripts} <= set(CASES)
