"""Download a tokenizer or a model checkpoint from the Hugging Face Hub.

In:  --repo, `owner/name` on the Hub; --revision, a branch, tag or commit (a commit never changes its
     content, a branch may); --kind, what is needed of it.
Out: --output, a directory with the files that Transformers loads, and `hub_source.json`: repository,
     revision asked for, commit received.

Weights are taken as safetensors only. Pickled weights (pytorch_model.bin) and code (*.py) are never
downloaded: loading them can run whatever their author wrote.

Obeys HF_HOME (where downloads are cached and resumed), HF_HUB_OFFLINE=1 (use only that cache), HF_TOKEN
(repositories that need a log-in) and HF_ENDPOINT (a mirror of the Hub).
"""

import fnmatch
import logging
import shutil
from argparse import ArgumentParser
from pathlib import Path

from dnalm.models.checks import check_config
from dnalm.running.commandline import parser, run
from dnalm.running.errors import InputError
from dnalm.running.files import NO_LOCKS, atomic_directory, read_json, write_json

logger = logging.getLogger("dnalm")

TOKENIZER_FILES = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
]
# In shards where the model is large: model-00001-of-00002.safetensors and an index that lists them.
WEIGHT_FILES = ["model.safetensors", "model-*.safetensors", "model.safetensors.index.json"]
FILES = {
    "tokenizer": TOKENIZER_FILES,
    "checkpoint": ["config.json", *WEIGHT_FILES, *TOKENIZER_FILES],
}


def download(repo: str, revision: str | None, patterns: list[str]) -> Path:
    """Get the files that match into the Hub's cache; returns their folder, which is named by the commit.

    Raises InputError if the Hub does not have the repository, does not let us in, or cannot be reached
    while the cache does not hold it.
    """
    from huggingface_hub import constants, errors, snapshot_download

    where = f"Hugging Face Hub, {repo}"
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns))
    except errors.GatedRepoError:
        raise InputError(
            f"{where}: access is granted on request. Accept its terms on its web page, then set HF_TOKEN."
        ) from None
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"{where}: there is no such repository, or it is private. Check the name, or set HF_TOKEN."
        ) from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{where}: there is no revision {revision}. Give a branch, tag or commit.") from None
    except errors.HFValidationError:
        raise InputError(f"{where}: not a repository's name. It looks like owner/name.") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        raise InputError(
            f"{where}: the Hub cannot be reached and the local cache does not hold it. Download it once on a "
            "machine with network and the same HF_HOME, or give the path of a copy."
        ) from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "")
        raise InputError(f"{where}: the Hub answered with error {status}. Try again later.") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise InputError(
            f"{where}: the disk of the Hub's cache, {constants.HF_HUB_CACHE}, has no locks. Set HF_HOME to a "
            "folder on another, such as one of /tmp."
        ) from None


def check_model(folder: Path, repo: str) -> None:
    """Raise InputError unless the config.json in the folder is that of a model that can be used here."""
    where = f"Hugging Face Hub, {repo}"
    if not (folder / "config.json").exists():
        raise InputError(f"{where}: it has no config.json, so it is no Transformers model. Choose another.")
    try:
        check_config(folder)
    except InputError as error:
        raise InputError(str(error).replace(str(folder), where)) from None


def check(folder: Path, repo: str, kind: str) -> None:
    """Raise InputError if the folder lacks what Transformers needs to load this kind."""
    where = f"Hugging Face Hub, {repo}"
    if kind == "tokenizer":
        if not (folder / "tokenizer.json").exists():
            raise InputError(
                f"{where}: it has no tokenizer.json. Choose one with a fast tokenizer, make one of its "
                "vocab.txt as docs/vocabulary.md (k-mers) says, or train one here."
            )
        return
    index = folder / "model.safetensors.index.json"
    needed = {"model.safetensors"}
    if index.exists():
        listed = read_json(index)
        shards = listed.get("weight_map") if isinstance(listed, dict) else None
        if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
            raise InputError(f"{where}: its {index.name} lists no files. Choose another revision or copy.")
        needed = set(shards.values())
    missing = sorted(name for name in needed if not (folder / name).exists())
    if missing:
        raise InputError(
            f"{where}: it has no {missing[0]}. Weights are read as safetensors only, since pickled ones "
            "(.bin) can run code. Choose a revision or a copy in safetensors format."
        )


def main(*, repo: str, revision: str | None, kind: str, output: Path) -> None:
    """Download what `kind` needs of a repository. See the top of this file."""
    commit = revision
    if kind == "checkpoint":
        # Gigabytes of weights are not worth waiting for if the model cannot be used.
        folder = download(repo, revision, ["config.json"])
        check_model(folder, repo)
        commit = folder.name
    folder = download(repo, commit, FILES[kind])
    check(folder, repo, kind)
    with atomic_directory(output) as temporary:
        for path in sorted(folder.iterdir()):
            # An older cache may hold more than was asked for, pickled weights too.
            if any(fnmatch.fnmatch(path.name, pattern) for pattern in FILES[kind]):
                # The cache's files are links; the output must stand without the cache.
                shutil.copyfile(path, temporary / path.name)
        source = {"repo": repo, "revision": revision, "commit": folder.name, "kind": kind}
        write_json(temporary / "hub_source.json", source)
    logger.info("%s: %s, commit %s", output.name, repo, folder.name)


def command_line() -> ArgumentParser:
    """The flags of this script."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--repo", required=True, help="repository on the Hub, owner/name")
    add("--revision", help="branch, tag or commit (default: the repository's main branch)")
    add("--kind", choices=sorted(FILES), required=True, help="what is needed of the repository")
    add("--output", type=Path, required=True, help="output: directory")
    return arguments


if __name__ == "__main__":
    run(main, command_line().parse_args())
