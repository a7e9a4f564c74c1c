"""The table of mistakes: what a user gets wrong, and the line that says so.

`tests/mistakes/*.yaml` are the table. `tests/unit/test_mistakes.py` makes each mistake; `docs/errors.md` is
the table for readers, written by

    python tests/support/mistakes.py      or: make docs

Each mistake is made in a folder with the smallest run that is right (`write_run`), with other settings and
files, and met where the user meets it: when the workflow starts or, for what is inside of files, in a script.
Both happen in this process, since a new one takes seconds.
"""

import contextlib
import gzip
import io
import json
import logging
import math
import os
import re
import runpy
import shlex
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
for _folder in ("scripts", "workflow/lib"):
    if str(REPOSITORY / _folder) not in sys.path:
        sys.path.insert(0, str(REPOSITORY / _folder))

from dnalm.models.tensors import Shapes, backbone_shapes  # noqa: E402

TABLES = REPOSITORY / "tests" / "mistakes"
DOCUMENT = REPOSITORY / "docs" / "errors.md"
CONFIGURATION = "my.yaml"
START = "start"
# Scripts that need neither a network nor long: a mistake in the user's data is found in one of them.
CHEAP = (
    "check_input",
    "corpus_from_lines",
    "extract_windows",
    "import_tokenizer",
    "train_tokenizer",
    "tokenize_windows",
    "prepare_task",
)

# The flags of scripts, as their rules have them.
COMMANDS = {
    "check_input": "--input new.fa --output out/input.json",
    "corpus_from_lines": "--corpus reads --lines reads.txt --train out/train.txt"
    " --validation out/validation.txt --stats out/stats.json",
    "extract_windows": "--genome chr --fasta genome.fa --train out/train.txt --validation out/validation.txt"
    " --stats out/stats.json",
    "prepare_task": "--task enhancers --train train.tsv --test test.tsv --output-train out/train.tsv"
    " --output-validation out/validation.tsv --output-test out/test.tsv --checks out/checks.json",
    "import_tokenizer": "--output out/tokenizer --summary out/tokenizer.json",
    "predict": "--classifier classifier --input new.fa --output out/predictions.tsv",
}

SEQUENCES = ("ACGTTGCA", "GGCATACC", "TTGACCAG", "CATCATGG", "AGTCCGTA", "TACGGATC", "CCTGAATT", "GTTAACGC")
VOCABULARY = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "A", "C", "G", "T")


@dataclass(frozen=True)
class Mistake:
    """One row.

    `mistake`: what was done, in words. `says`: the whole line that the user reads; `…` stands for any text.
    `settings`: other values in the configuration, by key with dots. `files`: other contents, by name; None:
    no such file; `json`: the same, written as JSON. `checkpoint`: a model directory, with other keys in its
    config.json; None: no such key. `make`: a function of MAKERS that spoils the folder.
    `script`: who finds it, with `flags` beyond those of COMMANDS and `without` some of these; `start`: the
    workflow before its first job.
    `by_hand`: the workflow makes no such mistake; who runs scripts by hand does.
    """

    mistake: str
    says: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str | bytes | None] = field(default_factory=dict)
    json: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Mapping[str, Any] | None = None
    make: str = ""
    script: str = START
    flags: str = ""
    without: str = ""
    by_hand: bool = False

    def pattern(self) -> str:
        """`says` as a regular expression."""
        return ".*".join(re.escape(part) for part in self.says.strip().split("…"))


@dataclass(frozen=True)
class Section:
    """A file of the table: a chapter of the document."""

    title: str
    about: str
    mistakes: tuple[Mistake, ...]


def sections() -> list[Section]:
    """The table, in the order of the files' names."""
    found = []
    for path in sorted(TABLES.glob("*.yaml")):
        content = yaml.load(path.read_text(), yaml.CSafeLoader)
        rows = tuple(Mistake(**row) for row in content["mistakes"])
        found.append(Section(content["title"], content["about"], rows))
    return found


def write_run(folder: Path) -> None:
    """The smallest run that is right: a configuration, its sheets, and what they name."""
    configuration = {
        "genomes": "genomes.tsv",
        "tasks": "tasks.tsv",
        "tokenizers": {"bpe": {"source": "tokenizer"}},
        "models": {"small": {"tokenizer": "bpe", "architecture": "small.json", "training": {"steps": 10}}},
        "predict": {"new": {"input": "new.fa", "model": "small", "task": "enhancers"}},
    }
    rows = "".join(f"{sequence}\t{number % 2}\n" for number, sequence in enumerate(SEQUENCES))
    texts = {
        CONFIGURATION: yaml.safe_dump(configuration),
        "genomes.tsv": "genome\tfasta\nchr\tgenome.fa\n",
        "tasks.tsv": "task\ttrain\ttest\nenhancers\ttrain.tsv\ttest.tsv\n",
        "genome.fa": ">chr1\n" + "ACGTTGCA" * 50 + "\n",
        "new.fa": ">a\nACGTACGT\n",
        "regions.bed": "chr1\t0\t100\n",
        "train.tsv": "seq\tlabel\n" + rows,
        "test.tsv": "seq\tlabel\nGATTACAG\t0\nCTAGGTTC\t1\n",
        "small.json": json.dumps(ARCHITECTURE),
        "tokenizer/tokenizer.json": json.dumps(tokenizer()),
    }
    for name, text in texts.items():
        write(folder / name, text)


ARCHITECTURE = {"num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 8, "num_attention_heads": 2}


def tokenizer(vocabulary: tuple[str, ...] = VOCABULARY) -> dict[str, Any]:
    """The content of a tokenizer.json: single nucleotides."""
    special = [token for token in vocabulary if len(token) > 1]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    ids = {token: number for number, token in enumerate(vocabulary)}
    return {
        "version": "1.0",
        "added_tokens": [{"id": ids[token], "content": token, **flags} for token in special],
        "model": {"type": "BPE", "unk_token": "[UNK]", "vocab": ids, "merges": []},
    }


def write(path: Path, content: str | bytes | None) -> None:
    """A file with this content; None: no such file."""
    if content is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def spoil(folder: Path, mistake: Mistake) -> None:
    """Make the mistake in a folder of `write_run`."""
    if mistake.checkpoint is not None:
        write_checkpoint(folder, keys=mistake.checkpoint)
    for name, content in mistake.files.items():
        write(folder / name, content)
    for name, value in mistake.json.items():
        write(folder / name, json.dumps(value))
    if mistake.make:
        MAKERS[mistake.make](folder)
    if mistake.settings:
        configuration = yaml.safe_load((folder / CONFIGURATION).read_text())
        for key, value in mistake.settings.items():
            *path, last = key.split(".")
            section = configuration
            for name in path:
                section = section.setdefault(name, {})
            section[last] = value
        write(folder / CONFIGURATION, yaml.safe_dump(configuration, allow_unicode=True))


MAKERS: dict[str, Callable[[Path], None]] = {}


def maker(function: Callable[[Path], None]) -> Callable[[Path], None]:
    """Register a function that `make` can name."""
    MAKERS[function.__name__] = function
    return function


@maker
def a_folder(folder: Path) -> None:
    (folder / "folder").mkdir()


def write_checkpoint(
    folder: Path,
    change: Callable[[dict[str, Any], Shapes], None] = lambda *_: None,
    keys: Mapping[str, Any] | None = None,
) -> None:
    """A model directory `checkpoint` of a small BERT, all zeros; `change` edits its config and weights.

    `keys` of its config have other values than its weights tell; None: no such key.
    """
    config = {"model_type": "bert", "vocab_size": len(VOCABULARY), "pad_token_id": 3, **ARCHITECTURE}
    shapes = backbone_shapes(config)
    change(config, shapes)
    config = {key: value for key, value in (config | dict(keys or {})).items() if value is not None}
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    write(folder / "checkpoint/config.json", json.dumps(config))
    write(folder / "checkpoint/model.safetensors", len(text).to_bytes(8, "little") + text + bytes(end))


@maker
def a_link_to_itself(folder: Path) -> None:
    (folder / "loop.fa").symlink_to("loop.fa")


@maker
def a_link_to_nowhere(folder: Path) -> None:
    (folder / "nowhere.fa").symlink_to("gone.fa")


@maker
def a_link_to_the_genome(folder: Path) -> None:
    (folder / "link.fa").symlink_to("genome.fa")


@maker
def a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


@maker
def a_gzip_file_cut_short(folder: Path) -> None:
    write(folder / "cut.fa.gz", gzip.compress(b">a\nACGT\n")[:-9])


@maker
def a_gzip_file_twice(folder: Path) -> None:
    write(folder / "genome.fa", gzip.compress(gzip.compress(b">a\nACGT\n", mtime=0)))


@maker
def a_tar_archive(folder: Path) -> None:
    (folder / "genome.fa").rename(folder / "chr1.fa")
    with tarfile.open(folder / "genome.fa", "w:gz", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(folder / "chr1.fa", "chr1.fa")
    (folder / "chr1.fa").unlink()


@maker
def a_checkpoint_with_weights_removed(folder: Path) -> None:
    def change(_: dict[str, Any], shapes: Shapes) -> None:
        for name in [name for name in shapes if ".layer." in name][:11]:
            del shapes[name]

    write_checkpoint(folder, change)


@maker
def a_checkpoint_with_half_a_head(folder: Path) -> None:
    write_checkpoint(folder, lambda _, shapes: shapes.update({"cls.predictions.bias": (len(VOCABULARY),)}))


@maker
def a_checkpoint_with_a_layer_more(folder: Path) -> None:
    def change(_: dict[str, Any], shapes: Shapes) -> None:
        for name in [name for name in shapes if ".layer.0." in name]:
            shapes[name.replace(".layer.0.", ".layer.1.")] = shapes[name]

    write_checkpoint(folder, change)


@maker
def a_checkpoint_that_does_not_know_its_mask(folder: Path) -> None:
    def change(config: dict[str, Any], shapes: Shapes) -> None:
        config |= {"model_type": "esm", "token_dropout": True}
        shapes.clear()
        shapes.update(backbone_shapes(config))

    write_checkpoint(folder, change)


@maker
def a_checkpoint_of_another_vocabulary(folder: Path) -> None:
    write_checkpoint(folder)
    swapped = tokenizer((*VOCABULARY[:-2], "T", "G"))
    write(folder / "checkpoint/tokenizer.json", json.dumps(swapped))


@maker
def a_checkpoint_nested_deeply(folder: Path) -> None:
    write_checkpoint(folder)
    write(folder / "checkpoint/config.json", "[" * 100_000)


@maker
def a_checkpoint_with_an_endless_number(folder: Path) -> None:
    write_checkpoint(folder)
    header = b'{"a": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 4]}}'
    write(folder / "checkpoint/model.safetensors", len(header).to_bytes(8, "little") + header + bytes(4))


@maker
def a_checkpoint_with_names_that_steer_the_terminal(folder: Path) -> None:
    write_checkpoint(folder)
    header = b'{"\\u001b[2Jx": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    write(folder / "checkpoint/model.safetensors", len(header).to_bytes(8, "little") + header + bytes(4))


@maker
def a_checkpoint_whose_weights_are_a_link_to_nowhere(folder: Path) -> None:
    write_checkpoint(folder)
    weights = folder / "checkpoint/model.safetensors"
    weights.unlink()
    weights.symlink_to("blobs/gone")


@maker
def a_tokenizer_that_is_a_pipe(folder: Path) -> None:
    (folder / "tokenizer/tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer/tokenizer.json")


@maker
def a_tokenizer_that_leaves_out_merges(folder: Path) -> None:
    content = tokenizer((*VOCABULARY, "AC"))
    content["model"] |= {"merges": ["A C"], "dropout": 0.1}
    content["added_tokens"] = content["added_tokens"][:-1]
    write(folder / "tokenizer/tokenizer.json", json.dumps(content))


@maker
def a_tokenizer_whose_mask_is_program_code(folder: Path) -> None:
    mask = '"); print("'
    content = tokenizer((*VOCABULARY[:4], mask, *VOCABULARY[5:]))
    write(folder / "tokenizer/tokenizer.json", json.dumps(content))
    write(folder / "tokenizer/tokenizer_config.json", json.dumps({"mask_token": mask}))


@maker
def a_tokenizer_that_does_not_know_what_is_unknown(folder: Path) -> None:
    content = tokenizer()
    content["model"] = {"type": "WordLevel", "vocab": content["model"]["vocab"], "unk_token": "[NIL]"}
    write(folder / "tokenizer/tokenizer.json", json.dumps(content))


@maker
def a_tokenizer_with_its_last_word_twice(folder: Path) -> None:
    words = [f'"x{number}": {number}' for number in range(100_000)]
    text = json.dumps({"model": {"vocab": "HERE"}}).replace('"HERE"', f"{{{', '.join([*words, words[-1]])}}}")
    write(folder / "tokenizer/tokenizer.json", text)


@maker
def a_tokenizer_with_one_id_for_two_words(folder: Path) -> None:
    content = tokenizer((*VOCABULARY, "AC", "GT"))
    del content["added_tokens"][5:]
    content["model"]["vocab"]["GT"] = content["model"]["vocab"]["AC"]
    write(folder / "tokenizer/tokenizer.json", json.dumps(content))


@maker
def a_tokenizer_with_an_enormous_id(folder: Path) -> None:
    content = tokenizer((*VOCABULARY, "AC"))
    del content["added_tokens"][5:]
    content["model"]["vocab"]["AC"] = 1_000_000_000
    write(folder / "tokenizer/tokenizer.json", json.dumps(content))


@maker
def a_tokenizer_with_a_word_in_one_case(folder: Path) -> None:
    write(folder / "tokenizer/tokenizer.json", json.dumps(tokenizer((*VOCABULARY, "GATTACA"))))


@maker
def a_checkpoint_with_a_small_vocabulary(folder: Path) -> None:
    def change(config: dict[str, Any], shapes: Shapes) -> None:
        config["vocab_size"] = 8
        shapes.update(backbone_shapes(config))

    write_checkpoint(folder, change)


@maker
def a_checkpoint_of_noise(folder: Path) -> None:
    write_checkpoint(folder)
    write(folder / "checkpoint/model.safetensors", bytes(range(256)))


@maker
def a_checkpoint_cut_short(folder: Path) -> None:
    write_checkpoint(folder)
    file = folder / "checkpoint/model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


@maker
def a_checkpoint_in_pickles(folder: Path) -> None:
    write_checkpoint(folder)
    (folder / "checkpoint/model.safetensors").rename(folder / "checkpoint/pytorch_model.bin")


@maker
def an_endless_header(folder: Path) -> None:
    write(folder / "genome.fa", ">" + "a" * (2 << 20) + "\nACGT")


@maker
def a_section_that_holds_itself(folder: Path) -> None:
    with open(folder / CONFIGURATION, "a") as file:
        file.write("finetune: &all\n  full: *all\n")


@maker
def anchors_of_anchors(folder: Path) -> None:
    """A few lines that stand for 8**12 values."""
    lists = ["x", *(f"*a{number}" for number in range(11))]
    lines = [f"a{n}: &a{n} [{', '.join([item] * 8)}]\n" for n, item in enumerate(lists)]
    with open(folder / CONFIGURATION, "a") as file:
        file.writelines(lines)


@maker
def an_endless_header_of_a_table(folder: Path) -> None:
    write(folder / "train.tsv", "seq\tlabel\t" + "a" * (2 << 20) + "\nACGT\t1\ta\n")


# ------------------------------------------------------------- meeting a mistake


def meet(mistake: Mistake) -> tuple[int, str]:
    """Exit code, and what stands on the terminal; in the working directory."""
    if mistake.script == START:
        return _start()
    command = COMMANDS.get(mistake.script, "")
    return _script(mistake.script, f"{command.replace(mistake.without, '')} {mistake.flags}")


def _start() -> tuple[int, str]:
    """What the rules do when Snakemake reads them: workflow/rules/common.smk."""
    from snakemake.common.configfile import load_configfile
    from snakemake_interface_common.exceptions import WorkflowError

    from dnalm.running.errors import InputError
    from start import read_run

    try:
        read_run(load_configfile(CONFIGURATION), [CONFIGURATION])
    except (InputError, WorkflowError) as error:
        return 1, str(error)
    return 0, ""


def _script(name: str, flags: str) -> tuple[int, str]:
    """What a rule does: its script, with flags."""
    program = REPOSITORY / "scripts" / f"{name}.py"
    logger = logging.getLogger("dnalm")
    kept = logger.level, logger.propagate, logger.handlers[:], sys.argv
    sys.argv = [str(program), *shlex.split(flags)]
    terminal = io.StringIO()
    try:
        with contextlib.redirect_stderr(terminal), contextlib.redirect_stdout(terminal):
            runpy.run_path(str(program), run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        logger.level, logger.propagate, logger.handlers[:], sys.argv = kept
        logger.setLevel(logger.level)
    said = terminal.getvalue().splitlines()
    return code, "\n".join(line.removeprefix("error: ") for line in said if line.startswith("error: "))


# ------------------------------------------------------------- for readers

HEAD = """\
# Messages

What can go wrong, and the line that says so. This page is made by `make docs` from the table of mistakes,
`tests/mistakes/`, and a test makes every one of them. Each message is one line; it names the file, the line
or the key, and the remedy. The exit code is 1, and nothing half-written is left behind.

Most mistakes are found while the workflow is read, before its first job. What is wrong inside of a file is
found by the first script that reads it, which is named here; no training has begun then. The traceback of an
error that a script met is in its log. `…` stands for what differs from case to case.

Before the workflow, Snakemake reads the file that `--configfile` names. Where it says "Config file is not
valid JSON or YAML", or ends with a `UnicodeDecodeError` or another error of YAML, this says the line:

```
python -c 'import sys, yaml; yaml.safe_load(open(sys.argv[1], encoding="utf-8"))' my-run.yaml
```
"""


def documentation() -> str:
    """The whole text of docs/errors.md."""
    parts = [HEAD]
    for section in sections():
        lines = [f"\n## {section.title}\n", section.about.strip(), "", "| mistake | message | found by |"]
        lines.append("| --- | --- | --- |")
        for row in section.mistakes:
            found_by = "the start" if row.script == START else f"`{row.script}`"
            lines.append(f"| {row.mistake} | {_cell(row.says)} | {found_by} |")
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def _cell(message: str) -> str:
    """A message as code in a table: no pipe ends the cell, no backtick ends the code."""
    message = message.strip().replace("|", "\\|")
    return f"`` {message} ``" if "`" in message else f"`{message}`"


if __name__ == "__main__":
    DOCUMENT.write_text(documentation())
    print(f"wrote {DOCUMENT}")
