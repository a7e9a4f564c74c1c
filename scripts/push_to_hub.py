"""Send a published folder to the Hugging Face Hub.

In:   --folder       what scripts/publish.py has made
      --repository   owner/name; made if it does not exist
Out:  --output       JSON: repository, commit, address, SHA-256 of the folder

The token is taken from HF_TOKEN and written nowhere. HF_ENDPOINT names another Hub than huggingface.co.
"""

import logging
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from dnalm.publish.settings import check_repository
from dnalm.running.commandline import parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import sha256_of_directory, write_json

logger = logging.getLogger("dnalm")


def main(folder: Path, repository: str, private: bool, output: Path) -> None:
    """Make the repository if need be, and send the folder as one commit."""
    try:
        check_repository(repository)
    except ValueError as error:
        raise InputError(f"--repository {repository} {error}") from None
    if not (folder / "README.md").is_file():
        raise InputError(f"{folder}: no README.md. Make the folder with scripts/publish.py.")
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token:
        raise InputError(
            "HF_TOKEN is not set. Make a token that may write (huggingface.co, Settings, Access Tokens) and "
            "type `export HF_TOKEN=…` before the run."
        )
    commit = send(folder, repository, private, token)
    write_json(
        output,
        {
            "repository": repository,
            "commit": commit.oid,
            "address": commit.commit_url,
            "sha256": sha256_of_directory(folder),
        },
    )
    logger.info("%s: pushed to %s, commit %s", folder.name, repository, commit.oid)


def send(folder: Path, repository: str, private: bool, token: str) -> Any:
    """Send the folder. Raises InputError with what the Hub said, without the token."""
    from huggingface_hub import HfApi, errors
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    where = f"Hugging Face Hub, {repository}"
    hub = HfApi(token=token)
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        return hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message="Publish from dna-modernbert",
            ignore_patterns=[".*"],
        )
    except errors.OfflineModeIsEnabled:
        raise InputError(f"{where}: HF_HUB_OFFLINE is set, so nothing can be pushed. Unset it.") from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "")
        if status in (401, 403):
            raise InputError(
                f"{where}: the Hub refuses the token (error {status}). Give HF_TOKEN one that may write to "
                f"{repository.partition('/')[0]}."
            ) from None
        raise InputError(f"{where}: the Hub answered with error {status}. Try again later.") from None
    except ValueError as error:
        # Raised by huggingface_hub where the Hub has read the card's head and says what is wrong in it.
        raise InputError(
            f"{where}: {' '.join(str(error).split())} Change what it names, such as the licence, in the "
            "configuration."
        ) from None
    except Exception as error:
        # What went wrong on the way there; such messages may hold whole requests.
        raise InputError(
            f"{where}: it could not be sent ({type(error).__name__}). Check the network and try again."
        ) from None


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--folder", type=Path, required=True, help="published folder")
    add("--repository", required=True, help="repository on the Hub, owner/name")
    add("--private", action="store_true", help="make the repository private if it has to be made")
    add("--output", type=Path, required=True, help="JSON file to write")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
