"""Write config/README.md from the schema, so that the documentation of a key is its schema."""

from pathlib import Path
from typing import Any

from settings import load_schema

README = Path(__file__).parents[2] / "config" / "README.md"

INTRODUCTION = """\
# Configuration

Every choice of a run stands in one YAML file. `config/config.yaml` is read by default; another one is named
on the command line, and then it alone counts:

```
snakemake --cores 8 --configfile my-run.yaml
```

Copy a preset and edit the copy:

| preset | what it does |
| --- | --- |
| `config/config.yaml` | the demo: simulated DNA, on a CPU, in minutes |
| `config/course.yaml` | the published teaching run: DNABERT-2's tokenizer, 43,861,504 parameters, 50 steps |
| `config/human.yaml` | a serious run on the human genome, on GPUs |
| `config/domain-adaptation.yaml` | training continues from an existing checkpoint |

An unknown key, a value of the wrong type, a missing file: each stops the run at once, with the key, the value
and the nearest one that exists. `5e-4` is a number here, although YAML reads it as text.

## Sheets

Both sheets are tab-separated text. Lines that begin with `#` are skipped. Paths are relative to the folder in
which Snakemake runs.

`genomes.tsv`, one row per genome:

| column | meaning |
| --- | --- |
| `genome` | a name of your choice; it becomes part of file names |
| `fasta` | path or URL of a FASTA file; plain, gzip or bgzip |
| `validation` | optional: names of the sequences to hold out, separated by commas; empty: contiguous blocks |
| `sha256` | optional: checksum of a download |

`tasks.tsv`, one row per classification task:

| column | meaning |
| --- | --- |
| `task` | a name of your choice |
| `train`, `test` | path or URL of a TSV or CSV file with the columns `seq` and `label`, two classes or more |
| `validation` | optional: the same; empty: a share of the training sequences is held out |
| `sha256_train`, `sha256_validation`, `sha256_test` | optional: checksums of downloads |

A new genome is cut and tokenized, then the models are trained again. A new task is embedded, fine-tuned and
evaluated; nothing else runs.

## Keys

This part is generated from `workflow/schemas/config.schema.yaml` by `make docs`.

| key | values | default | meaning |
| --- | --- | --- | --- |
"""


def rows(schema: dict[str, Any], key: str = "") -> list[str]:
    """One table row per key, nested keys joined by dots, names of the user's choice as `<name>`."""
    result = []
    for name, part in schema.get("properties", {}).items():
        full = f"{key}.{name}" if key else name
        default = "" if part.get("default") in ({}, None) else f"`{_yaml(part['default'])}`"
        if name in schema.get("required", []):
            default = "*needed*"
        result.append(f"| `{full}` | {_values(part)} | {default} | {part['description']} |")
        result += rows(part, full)
        if isinstance(part.get("additionalProperties"), dict):
            result += rows(part["additionalProperties"], f"{full}.<name>")
    return result


def documentation() -> str:
    """The whole text of config/README.md."""
    return INTRODUCTION + "\n".join(rows(load_schema())) + "\n"


def _values(part: dict[str, Any]) -> str:
    if "enum" in part:
        return ", ".join(f"`{choice}`" for choice in part["enum"])
    if part.get("type") == "array":
        return f"list of {_values(part['items'])}"
    kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
    names = {"object": "section", "string": "text", "boolean": "`true`, `false`"}
    names |= {"integer": "whole number", "number": "number", "null": "empty"}
    text = " or ".join(names[kind] for kind in kinds)
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {part[bound]}" for bound, sign in signs.items() if bound in part]
    return f"{text} {', '.join(bounds)}".strip()


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(_yaml, value))}]" if isinstance(value, list) else str(value)


if __name__ == "__main__":
    README.write_text(documentation())
    print(f"wrote {README}")
