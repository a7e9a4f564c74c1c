"""The configuration as it is read from YAML: checked, with defaults filled in.

Only light packages are imported, because every cluster job reads the Snakefile again.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dnalm.config import Config
from dnalm.config_checks import check_sections
from dnalm.config_paths import Made, made_by_none
from dnalm.running.errors import InputError
from dnalm.running.settings import Names, validated

# What YAML makes of names that are not in quotes.
YAML_KINDS = {
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
    "timestamp": "a date",
}
# Sections that had other names.
RENAMED = {
    "windows": "extract_windows",
    "task_preparation": "prepare_task",
    "language_model_evaluation": "evaluate_language_model",
    "evaluation": "evaluate",
    "baselines": "baseline",
    "predictions": "predict",
    "simulation": "simulate_demo",
}


def check_files(paths: Iterable[str | Path], section: Sequence[str] = ()) -> None:
    """Raise InputError for what YAML passes over in silence: a key given twice, a name that is no text.

    Only in the section that these keys lead to: all else in the files is another workflow's.
    """
    for path in paths:
        try:
            tree = yaml.compose(Path(path).read_text(encoding="utf-8-sig"), yaml.SafeLoader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            # Snakemake has read the file, and says what is wrong with it.
            continue
        for key in section:
            entries = tree.value if isinstance(tree, yaml.MappingNode) else []
            tree = next((value for name, value in entries if name.value == key), None)
        _check_keys(tree, ".".join(section), str(path), {})


def check_yaml(path: str | Path) -> None:
    """Raise InputError for a file that is no YAML. Snakemake would name neither file nor line."""
    try:
        yaml.compose(Path(path).read_text(encoding="utf-8-sig"), yaml.SafeLoader)
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file (UTF-8). Save it in UTF-8.") from None
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        inside = f" {error.context} of line {error.context_mark.line + 1}" if error.context_mark else ""
        raise InputError(
            f"{path}{line}: not valid YAML ({error.problem}{inside}). Look there and in the line above for a "
            "tab, a colon inside of text, or an open quotation mark or bracket."
        ) from None
    except OSError:
        # Snakemake says so.
        pass


def _check_keys(node: yaml.Node | None, key: str, path: str, done: dict[int, bool]) -> None:
    """`done`: whether a part is checked, or about to be; what has an anchor may stand in many places."""
    if node is None or done.get(id(node)):
        return
    if id(node) in done:
        raise InputError(
            f"{path} line {node.start_mark.line + 1}: {key} holds itself, by an anchor. Write out what is "
            "meant."
        )
    done[id(node)] = False
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, key, path, done)
    if isinstance(node, yaml.MappingNode):
        _check_entries(node, key, path, done)
    done[id(node)] = True


def _check_entries(node: yaml.MappingNode, key: str, path: str, done: dict[int, bool]) -> None:
    lines: dict[str, int] = {}
    for name, value in node.value:
        full, line = f"{key}.{name.value}".removeprefix("."), name.start_mark.line + 1
        if name.value in lines:
            raise InputError(
                f"{path} line {line}: {full} stands in line {lines[name.value]} already. Remove one of them."
            )
        lines[name.value] = line
        kind = name.tag.rpartition(":")[2]
        if kind not in ("str", "merge"):
            raise InputError(
                f"{path} line {line}: {full}: YAML reads this name as {YAML_KINDS.get(kind, kind)}. "
                f'Put it in quotes: "{name.value}".'
            )
        _check_keys(value, full, path, done)


def read_config(config: Mapping[str, Any], source: str, made: Made = made_by_none) -> dict[str, Any]:
    """The configuration with all defaults filled in and numbers as numbers, as Snakemake keeps it.

    `source` names the file(s) in messages. Files that are `made` need not exist yet. Raises InputError for
    the first thing that is wrong.
    """
    if renamed := [f"{old} is now called {new}" for old, new in RENAMED.items() if old in config]:
        sections = "sections" if len(renamed) > 1 else "section"
        raise InputError(f"{source}: {', '.join(renamed)}. Rename the {sections}.")
    predictions = config.get("predict")
    for name, prediction in predictions.items() if isinstance(predictions, Mapping) else ():
        if isinstance(prediction, Mapping) and "both_strands" in prediction:
            raise InputError(
                f"{source}: predict.{name}.both_strands is now decided for evaluation and prediction at "
                "once, by the column 'strands' of the task sheet (both or forward). Remove the key."
            )
    models = config.get("models")
    for name, model in models.items() if isinstance(models, Mapping) else ():
        training = model.get("training") if isinstance(model, Mapping) else None
        if isinstance(training, Mapping) and "precision" in training:
            raise InputError(
                f"{source}: models.{name}.training.precision now concerns all that the model does. Move it "
                f"up to models.{name}.precision."
            )
    checked: Config = validated(Config, config, Names(source))
    values = checked.model_dump(mode="json")
    check_sections(checked, values, source, made)
    return values
