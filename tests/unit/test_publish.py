"""Sharing: a folder with an honest card, and a way to the Hub on which the token is never seen."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import yaml
from web_server import WebServer, send

import publish
import push_to_hub
from dnalm.models.families import FAMILIES
from dnalm.publish.card import Facts, model_card, usage, with_interval
from dnalm.publish.settings import CardSettings
from dnalm.report import words
from dnalm.report.references import FAMILY_NAMES, cited
from dnalm.running.errors import InputError
from dnalm.sequences.strands import reverse_complement

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_secret_of_the_lab"


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def predictor(name: str, kind: str, backbone: str | None, accuracy: float) -> dict:
    identity = f"{name}/{backbone}" if backbone else name
    metrics = {"accuracy": interval(accuracy), "auroc": {"value": None, "low": None, "high": None}}
    return {"predictor": identity, "name": name, "kind": kind, "backbone": backbone, "metrics": metrics}


GENOME = {
    "genome": "yeast",
    "bases": 12_000_000,
    "sequences": 16,
    "gc_content": 0.38,
    "windows": {"train": 11_000, "validation": 600},
    "input": {"file": "sacCer3.fa.gz", "sha256": "c0ffee"},
    "settings": {
        "length": 1000,
        "stride": 1000,
        "max_non_acgt": 0,
        "validation_sequences": [],
        "validation_block": 100_000,
    },
}
LEAKED = {"sequences": 200, "count": 3, "exact": 2, "reverse_complement": 1}
FACTS = Facts(
    name="promoters",
    architecture={"model_type": "modernbert"},
    pretraining={
        "steps": 50,
        "parameters": {"total": 1234},
        "settings": {"architecture": {"hidden_size": 16}, "corpus": ["digest"], "training": {"steps": 50}},
        "versions": {"torch": "2.13.0"},
    },
    tokenizer={
        "vocabulary_size": 512,
        "longest_token_bp": 8,
        "source": "trained",
        "n_policy": "unk",
        "n_policy_meaning": "N becomes [UNK]",
        "special_tokens": {"mask": {"token": "[MASK]", "id": 4}},
    },
    genomes=[GENOME],
    language_model={
        "model": "small",
        "lines": 20,
        "hidden_tokens": 300,
        "metrics": {key: interval(2) for key in ("loss", "perplexity", "masked_accuracy")},
        "baselines": {"unigram": {key: interval(3) for key in ("loss", "perplexity", "masked_accuracy")}},
    },
)
CLASSIFIER = replace(
    FACTS,
    finetuning={
        "parameters": {"total": 1300},
        "labels": ["no", "yes | <b>"],
        "backbone": "frozen",
        "pooling": "mean",
        "task": "promoters",
        "median_length": 100,
        "max_tokens": 64,
        "settings": {"epochs": 3},
        "kept": {"epoch": 2, "still_improving": True},
    },
    evaluation={"task": "promoters", "strands": "both", **predictor("small", "model", "frozen", 0.8)},
    comparison={
        "n": 200,
        "bootstrap": {"confidence": 0.9},
        "predictors": [
            predictor("kmer", "baseline", None, 0.9),
            predictor("small", "model", "frozen", 0.8),
        ],
        "questions": [
            {
                "question": "does the model beat the baseline",
                "predictor": "small/frozen",
                "compared_with": "kmer",
                "answer": "no",
                "words": "small/frozen is worse than kmer.",
            }
        ],
    },
    checks={
        "labels": ["no", "yes | <b>"],
        "label_counts": {"train": {"no": 50, "yes | <b>": 60}, "test": {"no": 100, "yes | <b>": 100}},
        "lengths": {"train": {"min": 90, "max": 110}},
        "leakage": {"test": LEAKED, "dropped_from_training": False},
        "warnings": ["3 of 200 test sequences leaked."],
        "inputs": {"test": {"file": "held_out.tsv", "sha256": "decaf"}},
    },
)


def head(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_a_classifiers_card_tells_metrics_baselines_leaks_limits_and_licence():
    card = model_card(CLASSIFIER, CardSettings(licence="cc-by-4.0", repository="lab/promoters"))
    about = head(card)
    assert about["license"] == "cc-by-4.0" and about["pipeline_tag"] == "text-classification"
    [result] = about["model-index"][0]["results"]
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [("accuracy", 0.8)]
    rows = [line for line in card.splitlines() if line.startswith("|")]
    own, baseline = (next(r for r in rows if name in r) for name in ("small pretrained", "k-mer regression"))
    assert rows.index(own) < rows.index(baseline)
    assert "0.800 (0.700 to 0.900)" in own and "0.900 (0.800 to 1.000)" in baseline
    assert "90% intervals" in card
    assert "small/frozen is worse than kmer." in card and "better than k-mer regression." in card
    assert "3 of 200 test sequences also stood in the training data" in card
    assert "left in training, so the test metrics are too good" in card
    assert "sequences of 90 to 110 bp" in card and "validation loss was still falling" in card
    assert 'pipeline("text-classification", "lab/promoters")' in card
    # What is longer is cut where training cut.
    assert "top_k=None, truncation=True)" in card
    assert "epochs: 3" in card and "hidden_size: 16" in card and "digest" not in card


def test_a_card_tells_files_workflow_what_it_is_for_and_what_to_cite():
    card = model_card(replace(CLASSIFIER, workflow="dna-modernbert 9.8.7, commit abc"), CardSettings())
    assert "- genome yeast: sacCer3.fa.gz, SHA-256 `c0ffee`" in card
    assert "- labelled, test: held\\_out.tsv, SHA-256 `decaf`" in card
    assert "With the Snakemake workflow dna-modernbert 9.8.7, commit abc; torch 2.13.0." in card
    assert "for sequences like those that it learned from" in card
    cited = card[card.index("## Citation") :]
    assert "- Warner et al. 2024. ModernBERT." in cited and "- Mölder et al. 2021. Snakemake." in cited
    # As the Hub calls them.
    assert head(card)["metrics"] == ["accuracy"]
    assert "metrics" not in head(model_card(FACTS, CardSettings()))


def test_a_card_tells_what_was_held_out_of_each_genome():
    named = GENOME | {"genome": "fly", "settings": GENOME["settings"] | {"validation_sequences": ["chr2_L"]}}
    card = model_card(replace(FACTS, genomes=[GENOME, named]), CardSettings())
    assert "Held out: whole sequences (chr2\\_L) and evenly spaced blocks of 100 kb." in card


def test_every_family_can_be_cited():
    assert FAMILY_NAMES.keys() == FAMILIES.keys()
    assert all(len(cited([name])) == 1 for name in FAMILY_NAMES.values())


@pytest.mark.parametrize(
    ("steps", "repository", "words"),
    [
        (50, "lab/start", "Its language model went on learning from `lab/start`, whose licence"),
        (0, "lab/start", "Its language model is `lab/start` as it was published, whose licence"),
        (50, None, "went on learning from a given model (SHA-256 of its files abc), whose licence"),
    ],
)
def test_the_card_names_the_model_that_training_started_from(steps, repository, words):
    pretraining = FACTS.pretraining | {"steps": steps, "settings": {"checkpoint": "abc"}}
    card = model_card(replace(CLASSIFIER, pretraining=pretraining, base_model=repository), CardSettings())
    assert words in " ".join(card.split())
    assert head(card).get("base_model") == repository
    scratch = model_card(CLASSIFIER, CardSettings())
    assert "base_model" not in head(scratch) and "Its language model" not in scratch


def test_the_card_of_a_language_model_says_how_much_it_reads_and_has_learned_from():
    pretraining = FACTS.pretraining | {"settings": {"max_tokens": 128}}
    roberta = {"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}
    card = model_card(replace(FACTS, architecture=roberta, pretraining=pretraining), CardSettings())
    assert "It reads at most 512 tokens, and learned here from 128 at once" in card


def test_the_card_asks_overlapping_kmers_for_a_base_that_none_shows():
    words = FACTS.tokenizer | {"longest_token_bp": 3, "bases_shared_with_the_next": 2}
    card = model_card(replace(FACTS, tokenizer=words), CardSettings())
    assert 'fill("ACGTACGTTGCA[MASK][MASK][MASK]ACGTTGCA", top_k=5)' in card
    assert "the longest of 3 bp, each sharing 2 bp with the next" in card


@pytest.mark.parametrize("strands", ["both", "forward"])
def test_the_code_of_a_card_says_what_prediction_says(strands, tiny_model, tmp_path):
    from dnalm.finetune import classifier

    weights = classifier.initial_weights(tiny_model, 2, seed=1)
    classifier.save_classifier(tmp_path, tiny_model, weights, ["no", "yes"], "mean", max_tokens=60)
    code = usage(replace(CLASSIFIER, evaluation=CLASSIFIER.evaluation | {"strands": strands}), str(tmp_path))
    *before, last = code.splitlines()
    names: dict = {}
    exec("\n".join(before), names)
    said = eval(last, names)
    sequence = "ACGTT" * 20
    readings = [sequence, reverse_complement(sequence)] if strands == "both" else [sequence]
    found = said if strands == "both" else {one["label"]: one["score"] for one in said}
    assert [found[label] for label in ("no", "yes")] == pytest.approx(
        classifier.Classifier(tmp_path).outputs(readings).mean(axis=0)
    )


@pytest.mark.parametrize("standardised", [True, False])
def test_the_card_of_a_head_on_standardised_features_asks_for_float32(standardised):
    finetuning = CLASSIFIER.finetuning | {"settings": {"standardise": standardised}}
    card = model_card(replace(CLASSIFIER, finetuning=finetuning), CardSettings())
    assert ("Load it in float32" in card) == standardised


def test_the_card_of_a_cross_validated_classifier_says_that_the_procedure_was_tested():
    crossed = {"cross_validation": {"sequences": [40] * 5}}
    folds = {"folds": {"sequences": [40] * 5}}
    facts = replace(CLASSIFIER, evaluation=CLASSIFIER.evaluation | crossed, checks=CLASSIFIER.checks | folds)
    card = model_card(facts, CardSettings())
    assert (
        "In a 5-fold cross-validation of 200 sequences, with 90% intervals: each was predicted once" in card
    )
    assert "This model learned from all of them and was not tested itself." in card
    assert "no sequence, and no relative of one, stood in two folds" in card
    assert "\n\nTest: all sequences, each tested once" in card.split("## Training")[0]
    assert head(card)["model-index"][0]["results"][0]["dataset"]["split"] == "5-fold cross-validation"
    assert "test sequences" not in card.split("## Limits")[0]


def test_texts_of_users_cannot_leave_their_cell():
    card = model_card(CLASSIFIER, CardSettings())
    assert "yes \\| \\<b\\>" in card and "| yes | <b>" not in card


def test_a_language_models_card_tells_how_to_fill_masks_and_that_no_licence_is_given():
    card = model_card(FACTS, CardSettings())
    assert head(card)["pipeline_tag"] == "fill-mask" and "license" not in head(card)
    assert "No licence is given" in card and "[MASK]" in card and "## Leaks" not in card
    assert "| counting tokens | 3.000 (2.900 to 3.100)" in card


@pytest.fixture
def options(tiny_model, tmp_path) -> dict:
    """What publish.py is told of the tiny model."""
    files = {"pretraining": FACTS.pretraining, "tokenizer": FACTS.tokenizer, "stats": GENOME}
    files |= {"language_model": FACTS.language_model}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return {
        "name": "tiny",
        "model": tiny_model,
        "pretraining": tmp_path / "pretraining.json",
        "tokenizer": tmp_path / "tokenizer.json",
        "windows_stats": [tmp_path / "stats.json"],
        "language_model": tmp_path / "language_model.json",
        "finetuning": None,
        "evaluation": None,
        "comparison": None,
        "checks": None,
        "simulated": True,
        "settings": CardSettings(licence="mit"),
        "output": tmp_path / "published",
        "summary": tmp_path / "published.json",
    }


def test_the_folder_loads_with_transformers_alone_and_says_where_it_comes_from(options, tiny_model):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    publish.main(**options)
    folder = options["output"]
    AutoModelForMaskedLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.mask_token_id is not None and tokenizer.model_max_length == 8192
    card = (folder / "README.md").read_text()
    assert "Simulated data" in card and "It reads at most 8,192 tokens; shorten what is longer." in card
    assert json.loads((folder / "provenance.json").read_text())["genomes"][0]["input"] == GENOME["input"]
    assert (folder / "model.safetensors").read_bytes() == (tiny_model / "model.safetensors").read_bytes()
    first = options["summary"].read_bytes()
    publish.main(**options)
    assert options["summary"].read_bytes() == first


def test_what_is_missing_is_named_and_nothing_is_left(options, tmp_path):
    options["finetuning"] = options["pretraining"]
    with pytest.raises(InputError, match="--evaluation is missing"):
        publish.main(**options)
    options |= {"finetuning": None, "model": tmp_path}
    with pytest.raises(InputError, match="Only whole models"):
        publish.main(**options)
    assert not options["output"].exists()


# ----------------------------------------------------------------------------- the Hub


class Hub(WebServer):
    """The part of the Hub's web interface that a push uses. `lab` may write with TOKEN."""

    def __init__(self) -> None:
        super().__init__()
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.large: dict[str, bytes] = {}

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        allowed = handler.headers.get("Authorization") == f"Bearer {TOKEN}"
        status, answer = self.handle(handler.command, handler.path, body, allowed)
        send(handler, status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def handle(self, method: str, path: str, body: bytes, allowed: bool) -> tuple[int, dict]:
        # Signed addresses of large files need no token.
        if match := re.fullmatch(r"/large/(\w+)", path):
            self.large[match[1]] = body
            return 200, {}
        if not allowed:
            return 401, {"error": "Invalid credentials in Authorization header"}
        if path == "/api/validate-yaml":
            about = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            errors = [] if about["license"] == "mit" else [{"message": '"license" must be one of [mit, …]'}]
            return 400 if errors else 200, {"errors": errors, "warnings": []}
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted.get('organization') or 'lab'}/{wanted['name']}"
            if not name.startswith("lab/"):
                return 403, {"error": "You may not write there"}
            self.repositories.setdefault(name, {})
            self.private.setdefault(
                name, bool(wanted.get("private") or wanted.get("visibility") == "private")
            )
            return 200, {"url": f"{self.url}/{name}", "name": name}
        if re.fullmatch(r"/api/models/lab/\w+/preupload/main.*", path):
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for file in json.loads(body)["files"]
            ]
            return 200, {"files": files}
        if path.endswith("/info/lfs/objects/batch"):
            wanted = json.loads(body)["objects"]
            return 200, {
                "transfer": "basic",
                "objects": [
                    {**each, "actions": {"upload": {"href": f"{self.url}/large/{each['oid']}"}}}
                    for each in wanted
                ],
            }
        if match := re.fullmatch(r"/api/models/(lab/\w+)/commit/main.*", path):
            for line in map(json.loads, body.decode().splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.repositories[match[1]][value["path"]] = base64.b64decode(value["content"])
                if line["key"] == "lfsFile":
                    self.repositories[match[1]][value["path"]] = self.large[value["oid"]]
            address = f"{self.url}/{match[1]}/commit/{COMMIT}"
            return 200, {"success": True, "commitOid": COMMIT, "commitUrl": address, "hookOutput": ""}
        if match := re.fullmatch(r"/api/models/(lab/\w+)(/revision/main)?.*", path):
            files = self.repositories.get(match[1])
            if files is None:
                return 404, {"error": "Repository not found"}
            about = {"id": match[1], "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            return 200, {**about, "private": self.private[match[1]]}
        return 404, {"error": f"{method} {path}"}


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def push(hub, repository, tmp_path):
    """Push a small folder to the hub on this machine."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in {
        "README.md": "---\nlicense: mit\n---\n",
        "config.json": "{}",
        "model.safetensors": "weights",
    }.items():
        (folder / name).write_text(content)
    (folder / ".snakemake_timestamp").touch()

    def run(repo: str, token: str, **more: str) -> subprocess.CompletedProcess:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {"HF_HOME": str(tmp_path / "cache"), "HF_ENDPOINT": hub.url, "no_proxy": "127.0.0.1"}
        environment |= {"HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token, **more}
        command = [sys.executable, repository / "scripts/push_to_hub.py", "--folder", folder]
        command += ["--repository", repo, "--private", "--output", tmp_path / "pushed.json"]
        command += ["--log", tmp_path / "push.log"]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    return run


def test_a_folder_is_pushed_as_it_is_and_the_token_is_in_no_file(push, hub, tmp_path):
    done = push("lab/model", TOKEN)
    assert done.returncode == 0, done.stderr
    assert hub.repositories["lab/model"] == {
        "README.md": b"---\nlicense: mit\n---\n",
        "config.json": b"{}",
        "model.safetensors": b"weights",
    }
    assert hub.private["lab/model"]
    assert json.loads((tmp_path / "pushed.json").read_text())["commit"] == COMMIT
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in [*written, done.stdout, done.stderr] if TOKEN in text]


@pytest.mark.parametrize(
    ("repo", "token", "more", "words"),
    [
        ("lab/model", "hf_of_somebody_else", {}, "the Hub refuses the token (error 401)"),
        ("other/model", TOKEN, {}, "the Hub refuses the token (error 403)"),
        ("lab/model", "", {}, "HF_TOKEN is not set"),
        ("lab/model", TOKEN, {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        ("lab/model", TOKEN, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "could not be sent"),
        ("model", TOKEN, {}, "is no repository of the Hub"),
    ],
)
def test_a_push_that_fails_says_why_in_one_line_without_the_token(push, tmp_path, repo, token, more, words):
    done = push(repo, token, **more)
    assert done.returncode == 1 and words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "pushed.json").exists()
    logged = (tmp_path / "push.log").read_text()
    assert not token or token not in done.stderr + logged


def test_what_the_hub_does_not_like_in_a_card_is_told(push, tmp_path):
    (tmp_path / "folder/README.md").write_text("---\nlicense: mid\n---\n")
    done = push("lab/model", TOKEN)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    assert 'Invalid metadata in README.md. - "license" must be one of [mit, …] Change what' in done.stderr


def test_a_folder_without_a_card_is_not_pushed(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(InputError, match=r"no README\.md"):
        push_to_hub.main(tmp_path, "lab/model", True, tmp_path / "pushed.json")


def test_the_configuration_names_what_cannot_be_published(repository):
    from dnalm.config_reading import read_config

    config = yaml.safe_load(Path(repository, "tests/short/config.yaml").read_text())
    for wrong, expected in {
        "repository": ({"repository": "model"}, "publish.x.repository is no repository"),
        "backbone": ({"task": "enhancers", "backbone": "full"}, 'publish.x.backbone is "full"'),
        "model": ({"model": "shrt"}, 'publish.x.model is "shrt"'),
    }.values():
        with pytest.raises(InputError) as error:
            read_config(config | {"publish": {"x": {"model": "short", **wrong}}}, "run.yaml")
        assert expected in str(error.value)


def test_errors_of_small_measured_values_keep_their_digits():
    error = {"value": 6.01e-07, "low": 4.92e-07, "high": 6.87e-07}
    assert with_interval(error, words.shown_as("mae")) == "6.01e−07 (4.92e−07 to 6.87e−07)"
    assert with_interval({"value": 0.9996, "low": 0.9991, "high": 1.0}) == "0.9996 (0.999 to 1.000)"
    assert with_interval({"value": None, "low": None, "high": None}) == "–"
