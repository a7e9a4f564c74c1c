"""What the writers of model directories share: the tokenizer's files, and quiet libraries."""

import shutil
import warnings
from pathlib import Path

TOKENIZER_FILES = ("*.json", "*.txt", "*.model")


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer's own files beside a model, so that the model directory is enough by itself."""
    for pattern in TOKENIZER_FILES:
        for file in sorted(source.glob(pattern)):
            # A model directory can be the tokenizer's source: its configuration is not the tokenizer's.
            if not (target / file.name).exists() and not file.name.startswith(("model", "training_")):
                shutil.copyfile(file, target / file.name)


def quieten() -> None:
    """Keep remarks of the libraries that mean nothing to the user from the terminal."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module=r"(torch|transformers)\b")
