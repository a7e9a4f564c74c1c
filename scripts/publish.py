"""Make a folder to give away of a finished model: model, tokenizer, and a card that says what it is.

In:   --model            model or classifier directory (scripts/pretrain.py, scripts/finetune.py)
      --pretraining      summary of the language model; --finetuning, that of the classifier
      --tokenizer, --windows-stats, --language-model, for a classifier --evaluation, --comparison, --checks
                         too: what the other steps have measured
Out:  --output           folder: config.json, model.safetensors, the tokenizer's files, README.md (the model
                         card), provenance.json (the summaries, with checksums)
      --summary          JSON: name, files, SHA-256 of the folder

Nothing leaves this machine; scripts/push_to_hub.py sends the folder, if asked.
"""

import logging
import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from dnalm.publish.card import WORKFLOW, Facts, model_card
from dnalm.publish.settings import CardSettings
from dnalm.running.commandline import add_settings_flags, parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import atomic_directory, read_json, sha256_of_directory, write_json

logger = logging.getLogger("dnalm")

# Logs and summaries of trainings are told by the card and provenance.json.
LEFT_OUT = ("training_log.jsonl", "training_summary.json", "finetuning_log.jsonl", "finetuning_summary.json")


def main(
    name: str,
    model: Path,
    pretraining: Path,
    tokenizer: Path,
    windows_stats: list[Path],
    language_model: Path,
    finetuning: Path | None,
    evaluation: Path | None,
    comparison: Path | None,
    checks: Path | None,
    simulated: bool,
    settings: CardSettings,
    output: Path,
    summary: Path,
    base_model: str | None = None,
    workflow: str = WORKFLOW,
) -> None:
    """Copy the model, write its card and where it comes from."""
    of_classifier = {
        "finetuning": finetuning,
        "evaluation": evaluation,
        "comparison": comparison,
        "checks": checks,
    }
    given = {key: read_json(path) for key, path in of_classifier.items() if path}
    if given and len(given) < len(of_classifier):
        missing = next(key for key in of_classifier if key not in given)
        raise InputError(f"--{missing} is missing. A classifier needs all of {', '.join(of_classifier)}.")
    if not (model / "model.safetensors").is_file():
        raise InputError(f"{model}: no model.safetensors. Only whole models in safetensors are published.")
    facts = Facts(
        name=name,
        architecture=read_json(model / "config.json"),
        pretraining=read_json(pretraining),
        tokenizer=read_json(tokenizer),
        genomes=[read_json(path) for path in windows_stats],
        language_model=read_json(language_model),
        simulated=simulated,
        workflow=workflow,
        base_model=base_model,
        **given,
    )
    with atomic_directory(output) as directory:
        for file in sorted(path for path in model.rglob("*") if path.is_file()):
            if file.name not in LEFT_OUT and not file.name.startswith("."):
                copy = directory / file.relative_to(model)
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, copy)
        (directory / "README.md").write_text(model_card(facts, settings), encoding="utf-8")
        write_json(directory / "provenance.json", provenance(facts))
        files = sorted(path.name for path in directory.iterdir())
    write_json(summary, {"name": name, "files": files, "sha256": sha256_of_directory(output)})
    logger.info("published in %s: %s", output, ", ".join(files))


def provenance(facts: Facts) -> dict[str, Any]:
    """The summaries that the card was written from, as far as they hold settings, checksums and versions."""
    keys = ("settings", "fingerprint", "sha256", "versions", "inputs")
    sources = {"pretraining": facts.pretraining, "finetuning": facts.finetuning, "task": facts.checks}
    found = {
        name: {key: source[key] for key in keys if key in source}
        for name, source in sources.items()
        if source
    }
    genomes = [{key: g[key] for key in ("genome", "input", "sha256") if key in g} for g in facts.genomes]
    return {"workflow": facts.workflow, **found, "genomes": genomes}


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--name", required=True, help="what the model is called")
    add("--model", type=Path, required=True, help="model or classifier directory")
    add("--pretraining", type=Path, required=True, help="summary of the language model, JSON")
    add("--tokenizer", type=Path, required=True, help="description of the tokenizer, JSON")
    add("--windows-stats", type=Path, nargs="+", required=True, help="counts of extract_windows, JSON")
    add("--language-model", type=Path, required=True, help="metrics of evaluate_language_model, JSON")
    add("--finetuning", type=Path, help="summary of the classifier, JSON")
    add("--evaluation", type=Path, help="its metrics on the test split, JSON")
    add("--comparison", type=Path, help="comparison of all predictors of its task, JSON")
    add("--checks", type=Path, help="checks of its task, JSON")
    add("--simulated", action="store_true", help="say that the data were made by a simulator")
    add("--base-model", help="repository on the Hub that the language model started from, owner/name")
    add("--workflow", default=WORKFLOW, help="name, version and commit of the workflow")
    add_settings_flags(arguments, CardSettings)
    add("--output", type=Path, required=True, help="folder to write")
    add("--summary", type=Path, required=True, help="JSON file that stands for the folder")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
