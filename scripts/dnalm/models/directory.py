"""What the writers of model directories share."""

import json
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnalm.models.families import token_limit
from dnalm.running.files import atomic_directory, read_json, write_directory_summary, write_json
from dnalm.running.weights import check_saved

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What is said of a model, in its directory.
DESCRIPTION = "training_summary.json"
TOKENIZER_FILES = ("*.json", "*.txt", "*.model")


def write_model_directory(
    output: Path,
    network: "PreTrainedModel",
    tokenizer: Path,
    description: Mapping[str, Any],
    *,
    log: Iterable[Mapping[str, Any]] | None = None,
    summary: Path | None = None,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Write config.json, model.safetensors, the files of the `tokenizer` directory and the description.

    With `log` also training_log.jsonl, a record per line. `summary`: a JSON file with the description and the
    checksum of the directory. `check` as of :func:`dnalm.running.files.atomic_directory`.
    """
    with atomic_directory(output, check) as directory:
        network.save_pretrained(directory)
        check_saved(network.state_dict(), directory / "model.safetensors")
        copy_tokenizer(tokenizer, directory)
        write_max_length(directory, token_limit(network.config.to_dict()))
        if log is not None:
            lines = [json.dumps(record) + "\n" for record in log]
            (directory / "training_log.jsonl").write_text("".join(lines))
        write_json(directory / DESCRIPTION, description)
    if summary is not None:
        write_directory_summary(summary, output, DESCRIPTION)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer's own files beside a model, so that the model directory is enough by itself."""
    for pattern in TOKENIZER_FILES:
        for file in sorted(source.glob(pattern)):
            # A model directory can be the tokenizer's source: its configuration is not the tokenizer's.
            if not (target / file.name).exists() and not file.name.startswith(("model", "training_")):
                shutil.copyfile(file, target / file.name)


def write_max_length(directory: Path, max_tokens: int) -> None:
    """Have the tokenizer in `directory` cut at `max_tokens` where Transformers is told truncation=True."""
    file = directory / "tokenizer_config.json"
    # Older tokenizers name their special tokens in another file, and have no such one.
    known = read_json(file) if file.is_file() else {}
    write_json(file, known | {"model_max_length": max_tokens})


def quieten() -> None:
    """Keep remarks of the libraries that mean nothing to the user from the terminal."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module=r"(torch|transformers)\b")
