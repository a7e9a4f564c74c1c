"""The five tutorials of docs/tutorials.md at small size: each place that the page names is in the report."""

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from warm_python import WarmPython

from dnalm.models.families import FAMILIES

REPOSITORY = Path(__file__).parents[2]
COPIED = ("config", "envs", "resources", "scripts", "workflow")
PAGE = REPOSITORY / "docs" / "tutorials.md"
TUTORIALS = sorted(path.stem for path in (REPOSITORY / "config" / "tutorials").glob("*.yaml"))
# As little of everything as shows that it works.
SMALL = {
    "extract_windows": {"length": 200, "stride": 200, "validation_block": 2000, "validation_fraction": 0.2},
    "evaluate_language_model": {"max_lines": 8, "examples": 2},
    "baseline": {"untrained": False, "stacked": False, "kmer_lengths": [3]},
    "evaluate": {"bootstrap_samples": 100},
    "explore": {"max_points": 40},
    "resources": {"pretrain_threads": 1},
}
TRAINING = {"steps": 4, "epochs": None, "batch_size": 8, "evaluate_every": 2, "evaluate_lines": 8}


def small(name: str) -> dict:
    """The configuration of a tutorial, scaled down; everything that is taught stays as it is."""
    config = yaml.safe_load((REPOSITORY / "config" / "tutorials" / f"{name}.yaml").read_text())
    for section, values in SMALL.items():
        config[section] = config.get(section, {}) | values
    for tokenizer in config["tokenizers"].values():
        if "train" in tokenizer:
            tokenizer["train"] |= {"vocabulary_size": 64, "sample_lines": 50}
    for model in config["models"].values():
        if "architecture" in model:
            model["architecture"] = (
                f"tiny.{json.loads(Path(REPOSITORY, model['architecture']).read_text())['model_type']}.json"
            )
        if "training" in model:
            model["training"] |= TRAINING
    # UMAP takes 15 s to start; once is enough.
    if name != "classification":
        config["explore"] = config["explore"] | {"maps": ["pca"]}
    for backbone in ("frozen", "full"):
        config.setdefault("finetune", {}).setdefault(backbone, {})["epochs"] = 2
    return config


def tiny_architecture(kind: str) -> dict:
    sizes = dict(zip(FAMILIES[kind].sizes.all(), (16, 24, 2, 2), strict=True))
    return {"model_type": kind, **sizes, "max_position_embeddings": 300}


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory, warm_python: WarmPython) -> Path:
    """A copy of the repository with a small genome, a small task and a tiny checkpoint of each family."""
    import train_tokenizer
    from dnalm.models.architecture import model_config, new_model
    from dnalm.models.checks import read_architecture
    from dnalm.tokenizers.encoding import load_tokenizer
    from dnalm.tokenizers.settings import TrainTokenizerSettings, UnknownBaseSettings

    folder = tmp_path_factory.mktemp("tutorials")
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    warm_python.serve(folder)
    generator = np.random.default_rng(0)
    data = folder / "data"
    (data / "enhancers").mkdir(parents=True)
    genome = "".join(generator.choice(list("ACGT"), 20_000))
    # Its ending says gzip, which the reader finds out by itself.
    (data / "genome.fa.gz").write_text(f">one\n{genome}\n")
    for split in ("train", "test"):
        rows = [
            "".join(generator.choice(list("GGCA" if i % 2 else "AATC"), 60)) + f"\t{i % 2}" for i in range(60)
        ]
        (data / "enhancers" / f"{split}.tsv").write_text("\n".join(["seq\tlabel", *rows]) + "\n")
    for kind in ("modernbert", "roberta", "bert", "distilbert"):
        (folder / f"tiny.{kind}.json").write_text(json.dumps(tiny_architecture(kind)))
    (folder / "lines.txt").write_text("\n".join(genome[i : i + 200] for i in range(0, 10_000, 200)) + "\n")
    train_tokenizer.main(
        windows=[folder / "lines.txt"],
        settings=TrainTokenizerSettings(vocabulary_size=64, sample_lines=50),
        unknown_bases=UnknownBaseSettings(),
        output=folder / "tokenizer",
        summary=folder / "tokenizer.json",
    )
    for name, kind in {"bert": "bert", "distilbert": "distilbert", "checkpoint": "modernbert"}.items():
        config = model_config(
            read_architecture(folder / f"tiny.{kind}.json"), load_tokenizer(folder / "tokenizer")
        )
        new_model(config, seed=1).save_pretrained(data / "models" / name)
        for file in (folder / "tokenizer").glob("tokenizer*.json"):
            shutil.copyfile(file, data / "models" / name / file.name)
    return folder


def run(folder: Path, *command: str | Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def chapter(name: str) -> str:
    """What the page says of a tutorial."""
    [found] = [part for part in PAGE.read_text().split("\n## ") if f"`config/tutorials/{name}.yaml`" in part]
    return found


def steps(name: str) -> list[list[str]]:
    """The rows of a tutorial's table: step, configuration, place in the report."""
    rows = [row.strip("| \n").split(" | ") for row in chapter(name).splitlines() if row.startswith("| ")]
    return [row for row in rows if row[0] not in ("step", "---")]


def test_every_tutorial_is_on_the_page():
    assert len(TUTORIALS) == 5 and all(len(steps(name)) >= 6 for name in TUTORIALS)


@pytest.mark.parametrize("name", TUTORIALS)
def test_every_key_that_the_page_names_is_one_of_the_tutorials_configuration(name):
    from dnalm.config import Config

    config = Config.model_validate(
        yaml.safe_load((REPOSITORY / "config" / "tutorials" / f"{name}.yaml").read_text())
    ).model_dump()
    for _, keys, _ in steps(name):
        found = re.findall(r"`([^`]+)`", keys)
        assert found, keys
        for key in found:
            section = config
            for part in key.split("."):
                assert part in section, key
                section = section[part]
            assert section is not None, key


def test_the_worked_example_of_domain_adaptation_is_made_of_configurations():
    from dnalm.config import Config

    page = (REPOSITORY / "docs" / "domain-adaptation.md").read_text()
    configurations = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.S)]
    first, second = map(Config.model_validate, configurations)
    [start], [adapted] = first.models.values(), second.models.values()
    assert start.architecture and adapted.checkpoint == f"{first.results}/models/{next(iter(first.models))}"
    assert adapted.masking.span_tokens > 1 and second.corpora["promoters"].task == "promoters"


@pytest.mark.slow
@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_runs_and_its_report_shows_what_the_page_names(name, laboratory, warm_python):
    (laboratory / f"{name}.yaml").write_text(yaml.safe_dump(small(name)))
    run(laboratory, sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", f"{name}.yaml")
    results = laboratory / "results" / "tutorials" / name
    page = re.sub(r"<style.*?</style>", " ", (results / "report.html").read_text(), flags=re.S)
    shown = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    places = [place for row in steps(name) for place in re.findall(r"“([^”]+)”", row[2])]
    assert len(places) >= 5
    assert not [place for place in places if place not in shown]
    logs = results / "logs"
    if name == "classification":
        card = (results / "published" / "enhancer-classifier" / "README.md").read_text()
        assert "license: mit" in card and "k-mer regression" in card
    else:
        assert list(logs.glob("pretrain/*.events/*/events.out.tfevents.*"))
    if name == "bert":
        model = results / "models" / "continued"
        asked = ("--model", model, "--sequence", "ACGT[MASK]ACGT")
        answer = run(laboratory, warm_python.program, "scripts/fill_mask.py", *asked)
        assert len(answer.strip().splitlines()) > 1
