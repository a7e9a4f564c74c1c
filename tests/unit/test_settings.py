"""The configuration says what is wrong, where, and what was probably meant."""

import json
from pathlib import Path

import pytest
import yaml

import config_docs
from dnalm.config import check_files, is_hub_id, read_config
from dnalm.running.errors import InputError
from settings import read_genomes, read_tasks

SHAPE = {"num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 8, "num_attention_heads": 2}
SHORT = {"tokenizer": "bpe", "architecture": "bert.json", "training": {"steps": 1}}
PREDICTION = {"input": "a.fa", "model": "small", "task": "t"}


@pytest.fixture
def config(tmp_path, monkeypatch) -> dict:
    """The smallest configuration that is right."""
    architecture = tmp_path / "small.json"
    architecture.write_text(json.dumps(SHAPE))
    (tmp_path / "regions.bed").write_text("chr1\t0\t100\n")
    (tmp_path / "a.fa").write_text(">a\nACGT\n")
    (tmp_path / "empty.fa").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "none.json").write_text("{}")
    (tmp_path / "heads.json").write_text(json.dumps(SHAPE | {"num_attention_heads": 5}))
    (tmp_path / "minus.json").write_text(json.dumps(SHAPE | {"hidden_size": -16}))
    (tmp_path / "bert.json").write_text(json.dumps(SHAPE | {"model_type": "bert"}))
    (tmp_path / "gpt.json").write_text(json.dumps(SHAPE | {"model_type": "gpt2"}))
    monkeypatch.chdir(tmp_path)
    return {
        "genomes": "genomes.tsv",
        "tokenizers": {"bpe": {"train": None, "source": "owner/name"}},
        "models": {
            "small": {"tokenizer": "bpe", "architecture": str(architecture), "training": {"steps": 10}}
        },
    }


def edited(config: dict, key: str, value) -> dict:
    *path, last = key.split(".")
    section = config
    for name in path:
        section = section.setdefault(name, {})
    section[last] = value
    return config


def test_defaults_are_filled_in_at_every_depth(config):
    checked = read_config(config, "config.yaml")
    assert checked["extract_windows"]["length"] == 1000
    assert checked["models"]["small"]["masking"] == {
        "probability": 0.5,
        "mask_token": 0.8,
        "random_token": 0.1,
        "span_tokens": 1,
    }
    assert checked["simulate_demo"] is None


def test_a_section_whose_lines_are_commented_out_is_taken_for_empty(config):
    assert read_config(edited(config, "extract_windows", None), "c")["extract_windows"]["stride"] == 1000


@pytest.mark.parametrize("text, number", [("5e-4", 5e-4), ("1E-3", 1e-3), ("0.5", 0.5)])
def test_numbers_may_be_written_as_people_write_them(config, text, number):
    loaded = yaml.safe_load(f"learning_rate: {text}")["learning_rate"]
    edited(config, "models.small.training.learning_rate", loaded)
    assert read_config(config, "c")["models"]["small"]["training"]["learning_rate"] == number


@pytest.mark.parametrize("text, number", [("1e4", 10000), (20.0, 20)])
def test_whole_numbers_may_be_written_with_an_exponent(config, text, number):
    value = read_config(edited(config, "extract_windows.length", text), "c")["extract_windows"]["length"]
    assert value == number and isinstance(value, int)


WRONG = [
    ("extract_windows.lenght", 5, "unknown key extract_windows.lenght. Did you mean extract_windows.length?"),
    ("tokeniser", {}, "unknown key tokeniser. Did you mean tokenizers?"),
    ("models.small.masking.probabilty", 0.5, "Did you mean models.small.masking.probability?"),
    ("extract_windows.length", "long", 'windows.length is "long", but must be a whole number'),
    ("extract_windows.length", 0.5, "extract_windows.length is 0.5, but must be a whole number"),
    ("extract_windows.length", True, "extract_windows.length is true, but must be a whole number"),
    ("extract_windows.length", 3, "extract_windows.length is 3, but must be at least 10"),
    ("models.small.masking.probability", 0, "must be greater than 0"),
    ("models.small.masking.probability", 1.5, "must be at most 1"),
    ("models.small.masking.probability", float("nan"), "must be a finite number"),
    ("models.small.masking.random_token", 0.3, "add up to 1.1"),
    (
        "models.small.training.schedule",
        "cosin",
        "Did you mean cosine? Use cosine, linear or constant_with_warmup",
    ),
    ("models.small.training.epochs", 3, "needs either 'steps' or 'epochs'"),
    ("models.small.training", {}, "needs either 'steps' or 'epochs'"),
    (
        "models.small.tokenizer",
        "bpee",
        'models.small.tokenizer is "bpee", not under tokenizers. Did you mean bpe?',
    ),
    ("models.small.architecture", "nowhere.json", "architecture: no such file: nowhere.json"),
    ("models.small.checkpoint", "owner/name", "needs either 'architecture' or 'checkpoint'"),
    ("models", {}, "models is empty"),
    ("models.a b", {"tokenizer": "bpe"}, "models.a b is not a usable name"),
    ("models.x-untrained", {"tokenizer": "bpe"}, "is a name of a baseline"),
    ("tokenizers.bpe.train", {"vocabulary_size": 100}, "needs one of 'source', 'train' and 'kmer_length'"),
    ("tokenizers.bpe.source", "tokenizer.json", "no such file or directory: tokenizer.json"),
    ("finetune.backbones", [], "finetune.backbones is an empty list"),
    ("finetune.backbones", ["frozn"], 'finetune.backbones[0] is "frozn". Did you mean frozen?'),
    ("finetune.backbones", ["full", "full"], "names an item twice"),
    ("finetune.backbones", "frozen", "must be a list"),
    ("predict.x", {"input": "a.fa", "model": "smal", "task": "t"}, "Did you mean small?"),
    ("extract_windows.validation_block", 1000, None),
    ("extract_windows", {"length": 2000, "validation_block": 1500}, "shorter than a window"),
    ("extract_windows.validation_fraction", 0, "must be greater than 0"),
    ("extract_windows.validation_fraction", 0.6, "must be at most 0.5"),
    ("models.small.training.learning_rate", float("inf"), "must be a finite number"),
    ("models.small.training.learning_rate", 1e30, "must be at most 1000000000000"),
    ("models.small.training.seed", 2**70, "must be less than 4294967296"),
    ("models.small.training.steps", 10**30, "must be at most 1000000000000"),
    ("models.small", SHORT | {"max_tokens": 600}, "max_tokens is 600, but this bert model reads 512 tokens"),
    ("models." + "m" * 300, {"tokenizer": "bpe"}, "is too long a name (300 letters). Use 64 at most"),
    ("models.kmer", {"tokenizer": "bpe"}, "is a name of a baseline"),
    ("title", 2024, "title is 2024, but must be text. Put it in quotes."),
    ("models.small.tokenizer", True, "must be text. Put it in quotes."),
    ("results", "out/{x}", 'results: "out/{x}" contains "{"'),
    ("results", "out/<i>", 'contains "<"'),
    ("results", "it's", 'contains "\'"'),
    ("results", "-out", "begins with a dash"),
    ("results", "", "results is empty"),
    ("results", "a.fa", 'results is "a.fa", a file. Name a folder.'),
    ("genomes", "{x}.tsv", 'genomes: "{x}.tsv" contains "{"'),
    ("models.small.architecture", "folder", "is a directory: folder. Name a file."),
    ("models.small.architecture", "-a.json", "begins with a dash"),
    ("models.small.architecture", "bad.json", "models.small: bad.json line 1: not valid JSON"),
    ("models.small.architecture", "list.json", "models.small: list.json: an object with the keys"),
    ("models.small.architecture", "none.json", "models.small: none.json: an object with the keys"),
    ("models.small.architecture", "heads.json", "cannot be shared by 5 attention heads"),
    ("models.small.architecture", "minus.json", "hidden_size is -16"),
    ("models.small.architecture", "gpt.json", "gpt2"),
    (
        "models.small",
        {"tokenizer": "bpe", "checkpoint": "a.fa", "training": {"steps": 1}},
        "models.small: a.fa: a file. Give the model's directory",
    ),
    (
        "models.small",
        {"tokenizer": "bpe", "checkpoint": "folder", "training": {"steps": 1}},
        "models.small: folder/config.json: no such file",
    ),
    ("tokenizers.bpe.source", "folder", "the directory folder has no tokenizer.json"),
    ("predict.x", PREDICTION | {"input": "b.fa"}, "predict.x.input: no such file: b.fa. Did you mean a.fa?"),
    ("predict.x", PREDICTION | {"input": "folder"}, "predict.x.input is a directory"),
    ("predict.x", PREDICTION | {"input": "empty.fa"}, "the file is empty"),
    ("predict.x", PREDICTION | {"input": "https://a.org/b.fa"}, "predict.x.input is a URL. Download it"),
    ("predict.x", PREDICTION | {"input": "regions.bed"}, "predict.x needs 'genome'"),
    ("predict.x", PREDICTION | {"genome": "a.fa"}, "the input is a FASTA file. Leave it out"),
    ("predict.x", PREDICTION | {"genome": "folder"}, "predict.x.genome is a directory"),
    ("windows", {"length": 10}, "windows is now called extract_windows"),
    ("task_preparation", {}, "task_preparation is now called prepare_task"),
    ("language_model_evaluation", {}, "is now called evaluate_language_model"),
    ("evaluation", {}, "evaluation is now called evaluate"),
    ("baselines", {}, "baselines is now called baseline"),
    ("predictions", {}, "predictions is now called predict"),
    ("simulation", {}, "simulation is now called simulate_demo"),
]


@pytest.mark.parametrize("key, value, message", WRONG, ids=[f"{k}={v}" for k, v, _ in WRONG])
def test_what_is_wrong_is_named_with_key_value_and_nearest(config, key, value, message):
    edited(config, key, value)
    if message is None:
        read_config(config, "my.yaml")
        return
    with pytest.raises(InputError) as error:
        read_config(config, "my.yaml")
    assert message in str(error.value)
    assert str(error.value).startswith("my.yaml: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: a\ntitle: b\n", "c.yaml line 2: title stands in line 1 already. Remove one of them."),
        ("models:\n  a: {max_tokens: 8, max_tokens: 9}\n", "line 2: models.a.max_tokens stands in line 2"),
        ("models: {2024: {}}\n", 'models.2024: YAML reads this name as a number. Put it in quotes: "2024".'),
        ("models: {1.5: {}}\n", "models.1.5: YAML reads this name as a number"),
        ("models: {on: {}}\n", 'models.on: YAML reads this name as true or false. Put it in quotes: "on".'),
        ("models: {2024-01-01: {}}\n", "YAML reads this name as a date"),
        ("models: {null: {}}\n", "models.null: YAML reads this name as nothing"),
    ],
)
def test_what_yaml_passes_over_in_silence_is_refused_with_its_line(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError) as error:
        check_files([tmp_path / "c.yaml"])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_missing_section_is_explained(config):
    del config["genomes"]
    with pytest.raises(InputError, match="lacks the key 'genomes': Sheet of genomes"):
        read_config(config, "c")


@pytest.fixture
def sheet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.fa").write_text(">a\nACGT\n")
    (tmp_path / "empty.fa").touch()

    def write(text: str) -> str:
        Path("sheet.tsv").write_text(text)
        return "sheet.tsv"

    return write


def test_a_genome_sheet_is_read_with_comments_blank_lines_and_windows_line_ends(sheet):
    genomes = read_genomes(
        sheet("\ufeff# mine\r\ngenome\tfasta\tvalidation\r\n\r\nx\ta.fa\tchr1, chr2\r\ny\ta.fa\r\n")
    )
    assert genomes["x"].validation == ("chr1", "chr2")
    assert genomes["y"].validation == () and genomes["y"].sha256 is None


SHEETS = [
    ("", "the sheet is empty"),
    ("genome\tfasta\n", "no row below the header"),
    ("genome\tpath\nx\ta.fa\n", "row 1: unknown column 'path'"),
    ("genome\tfast\nx\ta.fa\n", "unknown column 'fast'. Did you mean fasta?"),
    ("genome fasta\nx a.fa\n", "Columns are separated by tabs"),
    ("genome\nx\n", "row 1: the column 'fasta' is missing"),
    ("genome\tfasta\nx\tb.fa\n", "row 2 (x), column fasta: FASTA not found: b.fa. Did you mean a.fa?"),
    ("genome\tfasta\nx\tno/b.fa\n", "The folder no does not exist"),
    ("genome\tfasta\nx\tempty.fa\n", "row 2 (x), column fasta: the file is empty"),
    ("genome\tfasta\nx\ta.fa\nx\ta.fa\n", "row 3: 'x' stands in row 2 already"),
    ("genome\tfasta\nx y\ta.fa\n", "row 2, column genome: 'x y' is not a usable name"),
    ("genome\tfasta\nx\t\n", "row 2 (x): the column 'fasta' is empty"),
    ("genome\tfasta\nx\ta.fa\tchr1\n", "row 2: 3 cells, but 2 columns"),
    ("genome\tfasta\tsha256\nx\ta.fa\t12\n", "column sha256: '12' is not a SHA-256 checksum"),
]


@pytest.mark.parametrize("text, message", SHEETS, ids=[message for _, message in SHEETS])
def test_a_wrong_sheet_is_named_by_row_and_column(sheet, text, message):
    with pytest.raises(InputError) as error:
        read_genomes(sheet(text))
    assert message in str(error.value) and str(error.value).startswith("sheet.tsv")


def test_files_that_the_workflow_makes_or_downloads_need_not_exist(sheet):
    text = "genome\tfasta\nx\tresults/simulation/g.fa\ny\thttps://example.org/g.fa.gz\n"
    assert set(read_genomes(sheet(text), made_by_workflow="results/simulation")) == {"x", "y"}


def test_tasks_keep_files_and_checksums_by_split(sheet):
    checksum = "a" * 64
    tasks = read_tasks(sheet(f"task\ttrain\ttest\tsha256_test\nt\ta.fa\ta.fa\t{checksum}\n"))
    assert tasks["t"].files == {"train": "a.fa", "test": "a.fa"} and tasks["t"].sha256 == {"test": checksum}
    assert read_tasks(None) == {}


def test_hub_ids_are_told_from_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    assert is_hub_id("zhihan1996/DNABERT-2-117M")
    assert not is_hub_id("data/checkpoint")  # the folder exists: a path with a typing error
    assert not is_hub_id("models/tokenizer.json")


def test_documentation_and_schema_are_those_of_the_settings_classes():
    assert config_docs.README.read_text() == config_docs.documentation(), "run 'make docs'"
    assert config_docs.SCHEMA.read_text() == config_docs.schema_text(), "run 'make docs'"


def test_every_key_of_the_schema_is_described():
    def undescribed(schema, key=""):
        for name, part in schema.get("properties", {}).items():
            if not part.get("description"):
                yield f"{key}.{name}"
            yield from undescribed(part, f"{key}.{name}")
            yield from undescribed(part.get("additionalProperties") or {}, f"{key}.{name}.*")

    assert list(undescribed(config_docs.schema())) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://ann:s3cret@example.org/g.fa.gz", "holds a user or password.*~/.netrc"),
        ("ftp://ann@example.org/g.fa.gz", "holds a user or password"),
        ("https://example.org/g.fa.gz?access_token=s3cret", "holds a secret .'access_token'"),
        ("https://example.org/g.fa.gz?X-Amz-Signature=s3cret", "holds a secret"),
        ("http://example.org/g.fa.gz", "http does not protect what is sent.*sha256"),
        ("ftp://example.org/g.fa.gz", "ftp does not protect what is sent"),
    ],
)
def test_urls_that_tell_a_secret_or_that_nobody_vouches_for(sheet, url, message):
    with pytest.raises(InputError, match=f"row 2 .x., column fasta: .*{message}") as error:
        read_genomes(sheet(f"genome\tfasta\nx\t{url}\n"))
    assert "s3cret" not in str(error.value)


def test_a_checksum_vouches_for_an_unprotected_download(sheet):
    text = f"genome\tfasta\tsha256\nx\thttp://example.org/g.fa.gz\t{'a' * 64}\n"
    assert read_genomes(sheet(text))["x"].sha256 == "a" * 64
