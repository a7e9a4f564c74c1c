"""What the pages name is there: links, headings, keys of the configuration, files, targets of make."""

import re
from pathlib import Path

import pytest

import config_docs

REPOSITORY = Path(__file__).parents[2]
PAGES = {
    path.relative_to(REPOSITORY).as_posix(): path.read_text()
    for folder in (".", "docs", "config", "benchmarks")
    for path in sorted((REPOSITORY / folder).glob("*.md"))
}
# These tell of keys that are no more, and of misspelt ones.
OLD_OR_WRONG = {"CHANGELOG.md", "docs/errors.md"}
FENCED = re.compile(r"(?ms)^ *```\w*\n(.*?)^ *```")


def anchors(page: str) -> set[str]:
    """The addresses of a page's headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.*)$", FENCED.sub("", page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", PAGES[name])):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = (REPOSITORY / name).parent / file if file else REPOSITORY / name
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text()), target


@pytest.mark.parametrize("name", sorted(PAGES.keys() - OLD_OR_WRONG))
def test_keys_of_the_configuration_are_known(name):
    """Keys may be written from any of their parts on, as in `training.steps`."""
    known = [re.match(r"\| `([^`]+)`", row)[1].split(".") for row in config_docs.rows(config_docs.schema())]
    within = {part for key in known for part in key[:-1]}
    ends = {tuple(key[i:]) for key in known for i in range(len(key))}

    def is_known(key: list[str]) -> bool:
        return any(
            len(end) == len(key) and all(a == b or b == "<name>" for a, b in zip(key, end, strict=True))
            for end in ends
        )

    for word in re.findall(r"`([a-z_]+(?:\.[\w<>-]+)+)(?:: [^`]*)?`", FENCED.sub("", PAGES[name])):
        key = word.split(".")
        if key[0] in within and key[-1] not in ("tsv", "json", "html", "npz"):
            assert is_known(key), word


@pytest.mark.parametrize("name", sorted(PAGES.keys() - {"CHANGELOG.md"}))
def test_commands_name_what_is_there(name):
    targets = set(re.findall(r"(?m)^([\w.$()-]+):(?!=)", (REPOSITORY / "Makefile").read_text()))
    targets.add(".venv/installed")
    page = PAGES[name]
    commands = "\n".join(FENCED.findall(page) + re.findall(r"`((?:make|snakemake|python) [^`]+)`", page))
    for target in re.findall(r"(?m)^ *make ([a-z][\w-]*|\.[\w/]+)", commands):
        assert target in targets, target
    for path in re.findall(r"\b(?:scripts|benchmarks|tests|workflow|config)/[\w/.-]+", commands):
        assert (REPOSITORY / path).exists(), path
