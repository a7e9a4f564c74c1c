"""The configuration says what is wrong, where, and what was probably meant."""

import json
from pathlib import Path

import pytest
import yaml

import config_docs
from dnalm.config_paths import is_hub_id
from dnalm.config_reading import read_config
from dnalm.running.errors import InputError
from sheets import check_tables, read_genomes, read_tasks, sheet_text

SHAPE = {"num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 8, "num_attention_heads": 2}


@pytest.fixture
def config(tmp_path, monkeypatch) -> dict:
    """The smallest configuration that is right."""
    architecture = tmp_path / "small.json"
    architecture.write_text(json.dumps(SHAPE))
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


@pytest.mark.parametrize("truth", [True, False])
def test_yes_and_no_may_come_from_a_profile_which_makes_text_of_them(config, truth):
    edited(config, "resources.allow_cpu", str(truth))
    assert read_config(config, "c")["resources"]["allow_cpu"] is truth


@pytest.mark.parametrize("text, number", [("5e-4", 5e-4), ("1E-3", 1e-3), ("0.5", 0.5)])
def test_numbers_may_be_written_as_people_write_them(config, text, number):
    loaded = yaml.safe_load(f"learning_rate: {text}")["learning_rate"]
    edited(config, "models.small.training.learning_rate", loaded)
    assert read_config(config, "c")["models"]["small"]["training"]["learning_rate"] == number


@pytest.mark.parametrize("text, number", [("1e4", 10000), (20.0, 20)])
def test_whole_numbers_may_be_written_with_an_exponent(config, text, number):
    value = read_config(edited(config, "extract_windows.length", text), "c")["extract_windows"]["length"]
    assert value == number and isinstance(value, int)


@pytest.fixture
def sheet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.fa", "b.fa"):
        (tmp_path / name).write_text(">a\nACGT\n")
    (tmp_path / "empty.fa").touch()

    def write(text: str) -> str:
        Path("sheet.tsv").write_text(text)
        return "sheet.tsv"

    return write


def test_a_genome_sheet_is_read_with_comments_blank_lines_and_windows_line_ends(sheet):
    genomes = read_genomes(
        sheet("\ufeff# mine\r\ngenome\tfasta\tvalidation\r\n\r\nx\ta.fa\tchr1, chr2\r\ny\tb.fa\r\n")
    )
    assert genomes["x"].validation == ("chr1", "chr2")
    assert genomes["y"].validation == () and genomes["y"].sha256 is None


def test_files_that_the_workflow_makes_or_downloads_need_not_exist(sheet):
    text = "genome\tfasta\nx\tresults/simulation/g.fa\ny\thttps://example.org/g.fa.gz\n"
    assert set(read_genomes(sheet(text), made_by_workflow="results/simulation")) == {"x", "y"}


def test_tasks_keep_files_and_checksums_by_split(sheet):
    checksum = "a" * 64
    tasks = read_tasks(sheet(f"task\ttrain\ttest\tsha256_test\nt\ta.fa\tb.fa\t{checksum}\n"))
    assert tasks["t"].files == {"train": "a.fa", "test": "b.fa"} and tasks["t"].sha256 == {"test": checksum}
    assert read_tasks(None) == {}


def test_a_task_says_its_positive_class_and_what_its_tables_call_their_columns(sheet):
    columns = "task\ttrain\ttest\tpositive\tseq_column\tlabel_column"
    for name in ("t.csv", "u.csv"):
        Path(name).write_text("name,dna,kind\nx,ACGT,enhancer\ny,ACGT,other\n")

    def check(*cells: str) -> None:
        tasks = read_tasks(sheet(columns + "\nt\t" + "\t".join(cells) + "\n"))
        check_tables(tasks, "sheet.tsv")

    check("t.csv", "u.csv", "enhancer", "dna", "kind")
    for cells, message in (
        (("t.csv", "u.csv", "enhanser", "dna", "kind"), "sheet.tsv: positive of task t is 'enhanser'"),
        (("t.csv", "u.csv", "", "DNA", "kind"), "no column 'DNA', which seq_column names"),
        (("t.csv", "u.csv", "", "dna"), "no column 'label' or 'class'; found 'name', 'dna', 'kind'"),
    ):
        with pytest.raises(InputError) as error:
            check(*cells)
        assert message in str(error.value)


def test_text_that_is_no_unicode_is_told_in_one_line(config):
    # As a flag in another encoding is, or "\\ud800" in YAML.
    with pytest.raises(InputError, match=r"run.yaml: title is .*, but must be text in UTF-8\.$"):
        read_config(config | {"title": "caf\udce9"}, "run.yaml")


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


def test_a_checksum_vouches_for_an_unprotected_download(sheet):
    text = f"genome\tfasta\tsha256\nx\thttp://example.org/g.fa.gz\t{'a' * 64}\n"
    assert read_genomes(sheet(text))["x"].sha256 == "a" * 64


def test_a_report_shows_the_rows_of_a_sheet_without_comments(sheet):
    path = sheet("# of the lab\ngenome\tfasta\n\nyeast \tsacCer3.fa\n#old\told.fa\n")
    assert sheet_text(path) == "genome\tfasta\nyeast\tsacCer3.fa"
