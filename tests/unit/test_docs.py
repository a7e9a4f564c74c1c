"""What the pages name is there: links, headings, keys of the configuration, files, targets of make."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import snakemake.cli
import yaml

import config_docs
from dnalm.config import Config
from dnalm.evaluate.strands import predict_strands
from dnalm.problems.kinds import KINDS
from dnalm.problems.names import METRIC_NAMES
from sheets import GENOME_COLUMNS, TASK_COLUMNS

REPOSITORY = Path(__file__).parents[2]
PAGES = {
    path.relative_to(REPOSITORY).as_posix(): path.read_text()
    for folder in (".", "docs", "config", "benchmarks")
    for path in sorted((REPOSITORY / folder).glob("*.md"))
}
# These tell of keys that are no more, and of misspelt ones.
OLD_OR_WRONG = {"CHANGELOG.md", "docs/errors.md"}
FENCED = re.compile(r"(?ms)^ *```\w*\n(.*?)^ *```")


def anchors(page: str) -> set[str]:
    """The addresses of a page's headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.*)$", FENCED.sub("", page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", PAGES[name])):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = (REPOSITORY / name).parent / file if file else REPOSITORY / name
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text()), target


@pytest.mark.parametrize("name", sorted(PAGES.keys() - OLD_OR_WRONG))
def test_keys_of_the_configuration_are_known(name):
    """Keys may be written from any of their parts on, as in `training.steps`."""
    known = [re.match(r"\| `([^`]+)`", row)[1].split(".") for row in config_docs.rows(config_docs.schema())]
    within = {part for key in known for part in key[:-1]}
    ends = {tuple(key[i:]) for key in known for i in range(len(key))}

    def is_known(key: list[str]) -> bool:
        return any(
            len(end) == len(key) and all(a == b or b == "<name>" for a, b in zip(key, end, strict=True))
            for end in ends
        )

    for word in re.findall(r"`([a-z_]+(?:\.[\w<>-]+)+)(?:: [^`]*)?`", FENCED.sub("", PAGES[name])):
        key = word.split(".")
        if key[0] in within and key[-1] not in ("tsv", "json", "html", "npz"):
            assert is_known(key), word


@pytest.mark.parametrize("sheet, columns", [("genomes", GENOME_COLUMNS), ("tasks", TASK_COLUMNS)])
def test_every_column_of_a_sheet_is_told(sheet, columns):
    name, required, optional = columns
    table = config_docs.INTRODUCTION.split(f"`{sheet}.tsv`, one row per")[1].split("\n\n")[1]
    cells = [row.split("|")[1] for row in table.splitlines()[2:]]
    assert {word for cell in cells for word in re.findall(r"`(\w+)`", cell)} == {name, *required, *optional}
    described = set(re.findall(r"`(\w+)`", Config.model_fields[sheet].description))
    assert described >= {name, *required, *optional}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_problem_is_told_with_the_metric_that_leads(kind):
    (row,) = [line for line in config_docs.INTRODUCTION.splitlines() if line.startswith(f"| `{kind.name}` |")]
    assert row.split("|")[3].strip() == METRIC_NAMES[kind.headline]


def test_the_front_page_tells_results_as_their_page_does():
    results = PAGES["README.md"].split("## Real results")[1].split("\n## ")[0]
    rows = [line for line in results.splitlines() if line.startswith("| ")]
    assert rows and set(rows) <= set(PAGES["docs/laptop.md"].splitlines())


def test_every_folder_of_results_is_told():
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow/rules").glob("*.smk"))
    written = set(re.findall(r"<results>/(\w+)", rules)) | {"logs", "benchmarks", "checkpoints"}
    table = PAGES["README.md"].split("| file below `results/` |")[1].split("\n\n")[0]
    told = {word for row in table.splitlines() for word in re.findall(r"`(\w+)[/.]", row.split(" | ")[0])}
    assert not written - told


@pytest.mark.parametrize("name", sorted(PAGES.keys() - {"CHANGELOG.md"}))
def test_commands_name_what_is_there(name):
    targets = set(re.findall(r"(?m)^([\w.$()-]+):(?!=)", (REPOSITORY / "Makefile").read_text()))
    targets.add(".venv/installed")
    page = PAGES[name]
    commands = "\n".join(FENCED.findall(page) + re.findall(r"`((?:make|snakemake|python) [^`]+)`", page))
    for target in re.findall(r"(?m)^ *make ([a-z][\w-]*|\.[\w/]+)", commands):
        assert target in targets, target
    for path in re.findall(r"\b(?:scripts|benchmarks|tests|workflow|config)/[\w/.-]+", commands):
        assert (REPOSITORY / path).exists(), path


def fenced(name: str, language: str = "") -> list[str]:
    """The blocks of a page in one language."""
    blocks = re.findall(r"(?ms)^ *```(\w*)\n(.*?)^ *```", PAGES[name])
    return [text for told, text in blocks if told == language]


def commands(name: str, program: str) -> list[list[str]]:
    """The words of all commands of a page that begin with this program, without the program."""
    lines = [line for block in fenced(name) for line in block.splitlines() if f"{program} " in line]
    told = lines + re.findall(rf"`({re.escape(program)} [^`]+)`", PAGES[name])
    return [shlex.split(line.partition(program)[2], comments=True) for line in told]


@pytest.mark.parametrize("name", sorted(PAGES.keys() - OLD_OR_WRONG))
def test_configurations_are_parts_of_one(name):
    """Each may name what another part of the configuration defines."""
    smallest = {
        "genomes": "genomes.tsv",
        "tokenizers": {"bpe": {"train": {}}},
        "models": {"small": {"tokenizer": "bpe", "architecture": "a.json", "training": {"steps": 1}}},
    }
    for block in fenced(name, "yaml"):
        Config.model_validate(smallest | yaml.safe_load(block))


@pytest.mark.parametrize("name", sorted(PAGES.keys() - OLD_OR_WRONG))
def test_commands_have_the_flags_that_there_are(name, capsys):
    parsers = [("snakemake", snakemake.cli.get_argument_parser())]
    for script in set(re.findall(r"python scripts/(\w+)\.py", PAGES[name])):
        parsers.append((f"python scripts/{script}.py", importlib.import_module(script).command_line()))
    for program, parser in parsers:
        for words in commands(name, program):
            if words and words != ["--help"]:
                try:
                    parser.parse_args(words)
                except SystemExit:
                    pytest.fail(f"{program} {' '.join(words)}: {capsys.readouterr().err}")


def test_the_code_for_probabilities_says_what_prediction_says(tiny_model, tmp_path):
    from dnalm.finetune.classifier import Classifier, initial_weights, save_classifier

    weights = initial_weights(tiny_model, 2, seed=1)
    save_classifier(tmp_path, tiny_model, weights, ["no", "yes"], "mean", max_tokens=60)
    (code,) = [block for block in fenced("docs/other-tools.md", "python") if "def probabilities" in block]
    names: dict = {}
    exec(code.replace("results/classifiers/demo/enhancers/frozen", str(tmp_path)), names)
    said = predict_strands(Classifier(tmp_path).outputs, names["sequences"], "both")
    assert names["both"].numpy() == pytest.approx(said, abs=1e-6)
