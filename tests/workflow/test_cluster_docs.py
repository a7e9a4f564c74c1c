"""docs/cluster.md explains messages by their exact text, so that a search finds them."""

import errno
import os
import re
import sysconfig
from pathlib import Path

import requested_resources
from workflow_jobs import REPOSITORY

DOCS = (REPOSITORY / "docs" / "cluster.md").read_text()
PACKAGES = ("snakemake", "snakemake_executor_plugin_slurm", "snakemake_interface_executor_plugins")
# What Slurm itself says; seen with version 22.05.
SLURM = """
Invalid account or account/partition combination specified
sbatch: error: Batch job submission failed: Requested node configuration is not available
Invalid generic resource (gres) specification
sbatch: error: Memory specification can not be satisfied
Requested time limit is invalid (missing or exceeds some limit)
You are not running a supported accounting_storage plugin
sacct: invalid option -- '1'
TIMEOUT PENDING FAILED BeginTime PartitionTimeLimit PartitionConfig 'OUT_OF_MEMORY' OUT_OF_MEMORY
"""
# What the kernel says of network file systems.
KERNEL = " ".join(map(os.strerror, (errno.ENOTEMPTY, errno.EBUSY, errno.ESTALE, errno.EIO, errno.EROFS)))


def quoted() -> list[str]:
    """Fragments of messages in bold, cut where the docs leave something out."""
    bold = re.findall(r"(?s)\*\*(`.*?)\*\*", DOCS)
    spans = [span for text in bold for span in re.findall(r"`([^`]+)`", text)]
    parts = [part.strip() for span in spans for part in re.split("…", " ".join(span.split()))]
    return [part for part in parts if len(part) > 3]


def sources() -> str:
    """Code whose messages are quoted, with string literals joined that were written over several lines."""
    packages = Path(sysconfig.get_paths()["purelib"])
    files = [f for folder in PACKAGES for f in (packages / folder).rglob("*.py")]
    files += [*(REPOSITORY / "scripts").rglob("*.py"), *(REPOSITORY / "workflow" / "lib").glob("*.py")]
    text = "\n".join(path.read_text() for path in files)
    return re.sub(r"\"\s*\n\s*f?\"|\\n|'\s*\n\s*f?'", "", text)


def test_every_quoted_message_exists():
    known = " ".join((sources() + SLURM + KERNEL).split())
    # Numbers and names stand for what the program fills in.
    known = re.sub(r"\{[^{}]*\}", "", known)
    missing = [
        part for part in quoted() if re.sub(r"'\w+'|\d+", "", part) not in re.sub(r"'\w*'|\d+", "", known)
    ]
    assert missing == []
    assert len(quoted()) > 15


def test_every_key_and_file_that_is_named_exists():
    for path in set(re.findall(r"`((?:slurm|workflow|envs|config)/[\w./]+)`", DOCS)):
        assert (REPOSITORY / path).exists(), path
    schema = (REPOSITORY / "workflow/schemas/config.schema.yaml").read_text()
    for key in set(
        re.findall(r"`(?:resources\.|training\.)?(\w+_(?:gpus|threads|hours|size|steps|minutes))", DOCS)
    ):
        assert f"{key}:" in schema, key


def test_the_table_of_requests_is_that_of_the_rules():
    assert requested_resources.document(DOCS) == DOCS, "run 'make docs'"
