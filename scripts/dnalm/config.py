"""The configuration of the workflow: the settings of all steps, read, checked, with defaults filled in.

Only light packages are imported, because every cluster job reads the Snakefile again.
"""

import itertools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field

from dnalm.baseline.settings import BASELINES, STACKED, UNTRAINED, BaselineSettings, stacks
from dnalm.corpora.settings import CorpusSettings
from dnalm.embed_sequences.settings import EmbedSequencesSettings
from dnalm.evaluate.settings import EvaluateSettings
from dnalm.evaluate_language_model.settings import EvaluateLanguageModelSettings
from dnalm.explore.settings import ExploreSettings
from dnalm.extract_windows.settings import ExtractWindowsSettings
from dnalm.fill_mask.settings import FillMaskSettings, check_gaps, check_words
from dnalm.finetune.settings import FinetuneSettings
from dnalm.models.checks import check_start, check_tokenizer_fits, read_architecture
from dnalm.models.families import check_layers, check_rank, tokens_read
from dnalm.models.keys import DEFAULTS
from dnalm.predict.settings import PredictSettings
from dnalm.prepare_task.settings import PrepareTaskSettings
from dnalm.pretrain.settings import PUBLISHED, ModelSettings, check_runs
from dnalm.publish.settings import PublishSettings
from dnalm.running.errors import InputError
from dnalm.running.hints import either, nearest, show, why_absent
from dnalm.running.resources import ResourceSettings
from dnalm.running.settings import Names, Settings, each_once, validated
from dnalm.sequences.formats import ANY_FORMAT, FORMATS
from dnalm.sequences.inputs import KIND_NAMES, check_beginning, kind_of_input
from dnalm.simulate_demo.settings import SimulateDemoSettings
from dnalm.study.settings import StudySettings
from dnalm.study.variants import check_classifiers, check_keys, expand
from dnalm.tokenizers.settings import TokenizerSettings
from dnalm.tokenizers.special_tokens import (
    check_n_policy,
    check_vocabulary,
    overlapping_kmer_length,
    read_vocabulary,
    tokenizer_file,
)

REPOSITORY = Path(__file__).parents[2]
# A name becomes part of file names, three of them of some; a file name has at most 255 letters.
LONGEST_NAME = 64
# Of one part of a path, in bytes.
LONGEST_PART = 255
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
# Settings that name a file; `*` stands for each name of the user's choice.
PATHS = (
    "genomes",
    "tasks",
    "published",
    "tokenizers.*.source",
    "models.*.architecture",
    "models.*.checkpoint",
    "study.vary.architecture",
    "corpora.*.lines",
    "predict.*.input",
    "predict.*.genome",
    "embed_sequences.*.input",
    "embed_sequences.*.genome",
)


def check_name(name: str) -> str:
    """A name that can be part of a file's name. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError("is not a usable name. Use letters, digits, '-' and '_' only.")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"is too long a name ({len(name)} letters). Use {LONGEST_NAME} at most.")
    return name


def check_model_name(name: str) -> str:
    """A name that no baseline has. Raises ValueError."""
    if name.endswith((UNTRAINED, PUBLISHED)) or name in BASELINES:
        raise ValueError(
            f"is a name of a baseline ({', '.join(BASELINES)}, all that end in '{UNTRAINED}' or "
            f"'{PUBLISHED}'). "
            "Choose another."
        )
    return name


Name = Annotated[str, AfterValidator(check_name)]
ModelName = Annotated[Name, AfterValidator(check_model_name)]


class Config(Settings):
    """Every choice of a run. Unknown keys are errors."""

    title: str = Field("DNA language model", min_length=1, max_length=200, description="Title of the report.")
    results: str = Field(
        "results",
        min_length=1,
        description="Folder for everything a run makes. Give every config file its own, so that two runs do "
        "not replace each other's results.",
    )
    genomes: str | None = Field(
        None,
        min_length=1,
        description="Sheet of genomes (TSV), one row per genome: `genome`, `fasta` (path or URL; "
        f"{ANY_FORMAT}), optional `validation` (names of the held-out sequences, separated by commas), "
        "optional `sha256`. Without it models learn from `corpora` alone.",
    )
    tasks: str | None = Field(
        None,
        min_length=1,
        description="Sheet of tasks (TSV), one row per task: `task`, `train`, `test` (path or URL; TSV, CSV "
        "or Parquet with the columns `seq` and `label`), optional `validation`; in place of `test` the "
        "number of `folds` of a cross-validation; optional `problem` (what a label is); optional "
        "`seq_column`, `label_column`, `id_column`, where the tables call these columns otherwise "
        "(`sequence` and `class` are known); optional `positive`, the class that precision, recall, F1, "
        "AUROC and AUPRC are about, where there are two (empty: the one whose opposite is named as its "
        "absence, such as `non-enhancer`, else the last one); optional `strands` (which are read); "
        "optional `sha256_train`, `sha256_validation`, `sha256_test`. Without it the run ends with the "
        "language model.",
    )
    published: str | None = Field(
        None,
        min_length=1,
        description="Figures of papers to show beside the results (TSV), one per row: `task`, `predictor`, "
        "`metric` (as in `metrics.json`), `value`, `source`. `resources/published.tsv` has some of "
        "GUE, the Nucleotide Transformer tasks and Genomic Benchmarks.",
    )
    corpora: dict[Name, CorpusSettings] = Field(
        default_factory=dict,
        description="Sequences without labels that models learn from beside the genomes, by name. Each "
        "becomes lines in `<results>/windows/`.",
    )
    simulate_demo: SimulateDemoSettings | None = Field(
        None,
        description="Makes the simulated genome and the simulated task of the demo in "
        "`<results>/simulation/`. Leave it out for real data.",
    )
    extract_windows: ExtractWindowsSettings = Field(
        default_factory=ExtractWindowsSettings, description="How genomes are cut into lines."
    )
    tokenizers: dict[Name, TokenizerSettings] = Field(
        min_length=1, description="Tokenizers by name. Each has one of `source`, `train` and `kmer_length`."
    )
    models: dict[ModelName, ModelSettings] = Field(
        min_length=1,
        description="Models by name. Each has either `architecture` (trained from scratch) or `checkpoint` "
        "(training continues, or the model is used as published).",
    )
    evaluate_language_model: EvaluateLanguageModelSettings = Field(
        default_factory=EvaluateLanguageModelSettings,
        description="How the pretrained model is judged on held-out lines.",
    )
    fill_mask: dict[Name, FillMaskSettings] = Field(
        default_factory=dict,
        description="Sequences with gaps for a language model to fill, by name. Each becomes "
        "`<results>/fill_mask/<name>.tsv` and a table of the report.",
    )
    embed_sequences: dict[Name, EmbedSequencesSettings] = Field(
        default_factory=dict,
        description="Sequences without labels to embed, by name. Each becomes "
        "`<results>/embed_sequences/<name>.npz`, `.parquet` and `.similarities.tsv`, and a table of the "
        "report.",
    )
    prepare_task: PrepareTaskSettings = Field(
        default_factory=PrepareTaskSettings, description="How tasks are checked and split."
    )
    finetune: FinetuneSettings = Field(
        default_factory=FinetuneSettings,
        description="How classifiers are trained on a pretrained model.",
    )
    baseline: BaselineSettings = Field(
        default_factory=BaselineSettings,
        description="What the classifier is compared with, on the same splits and by the same metrics.",
    )
    evaluate: EvaluateSettings = Field(
        default_factory=EvaluateSettings, description="How predictions on the test split are judged."
    )
    study: StudySettings | None = Field(
        None,
        description="Many variants of one model side by side, with leaderboards and learning curves in the "
        "report.",
    )
    explore: ExploreSettings = Field(
        default_factory=ExploreSettings,
        description="What the report's pictures of the data show. It changes no result.",
    )
    predict: dict[Name, PredictSettings] = Field(
        default_factory=dict,
        description="New sequences to classify, by name. Each becomes `<results>/predictions/<name>.tsv`.",
    )
    publish: dict[Name, PublishSettings] = Field(
        default_factory=dict,
        description="Models to share, by name. Each becomes a folder `<results>/published/<name>/` with a "
        "model card, and is pushed to the Hub where a repository is named.",
    )
    loggers: Annotated[tuple[Literal["tensorboard", "wandb", "mlflow"], ...], AfterValidator(each_once)] = (
        Field(
            ("tensorboard",),
            description="Where trainings can be watched beside their logs: `tensorboard` writes event files "
            "into `<results>/logs/`; `wandb` and `mlflow` need the package of that name, and stay offline "
            "unless WANDB_MODE or MLFLOW_TRACKING_URI say otherwise. Changing it reruns nothing.",
        )
    )
    resources: ResourceSettings = Field(
        default_factory=ResourceSettings,
        description="Hardware that the rules ask for. Changing it never reruns a finished step.",
    )


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
        _check_keys(tree, ".".join(section), str(path))


def _check_keys(node: yaml.Node | None, key: str, path: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, key, path)
    if not isinstance(node, yaml.MappingNode):
        return
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
        _check_keys(value, full, path)


def read_config(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The configuration with all defaults filled in and numbers as numbers, as Snakemake keeps it.

    `source` names the file(s) in messages. Raises InputError for the first thing that is wrong.
    """
    for old, new in RENAMED.items():
        if old in config:
            raise InputError(f"{source}: {old} is now called {new}. Rename the section.")
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
    _check_paths(checked, source)
    _check_corpora(checked, source)
    _check_tokenizers(checked, source)
    _check_models(checked, source)
    for name, gaps in checked.fill_mask.items():
        _check_model(gaps.model, checked, f"{source}: fill_mask.{name}")
        check_gaps(gaps, f"{source}: fill_mask.{name}: ")
        tokenizer = checked.tokenizers[checked.models[gaps.model].tokenizer]
        check_words(gaps, _overlapping_kmer_length(tokenizer), f"{source}: fill_mask.{name}: ")
    for name, embedded in checked.embed_sequences.items():
        _check_embedded(embedded, checked, f"{source}: embed_sequences.{name}")
    _check_predictions(checked, source)
    _check_publications(checked, source)
    values = checked.model_dump(mode="json")
    _check_study(checked, values, source)
    return values


def with_paths(config: dict[str, Any], found: Callable[[Any], Any]) -> dict[str, Any]:
    """A copy of the configuration, not yet checked, with `found(path)` in place of each path."""
    config = deepcopy(config)
    for setting in PATHS:
        *sections, key = setting.split(".")
        holders: list[Any] = [config]
        for section in sections:
            holders = [
                h.values() if section == "*" else [h.get(section)] for h in holders if isinstance(h, dict)
            ]
            holders = [holder for group in holders for holder in group]
        for holder in holders:
            if isinstance(holder, dict) and key in holder:
                value = holder[key]
                holder[key] = [found(item) for item in value] if isinstance(value, list) else found(value)
    return config


def _check_paths(config: Config, source: str) -> None:
    settings: dict[str, str | None] = {
        "results": config.results,
        "genomes": config.genomes,
        "tasks": config.tasks,
    }
    for name, tokenizer in config.tokenizers.items():
        settings[f"tokenizers.{name}.source"] = tokenizer.source
    for name, model in config.models.items():
        settings[f"models.{name}.architecture"] = model.architecture
        settings[f"models.{name}.checkpoint"] = model.checkpoint
    for name, prediction in config.predict.items():
        settings[f"predict.{name}.input"] = prediction.input
        settings[f"predict.{name}.genome"] = prediction.genome
    for name, embedded in config.embed_sequences.items():
        settings[f"embed_sequences.{name}.input"] = embedded.input
        settings[f"embed_sequences.{name}.genome"] = embedded.genome
    for name, corpus in config.corpora.items():
        settings[f"corpora.{name}.lines"] = corpus.lines
    for key, path in settings.items():
        if path is not None:
            check_path(path, f"{source}: {key}")
            if key in ("genomes", "tasks") and is_url(path):
                raise InputError(f"{source}: {key} is a URL. Download the sheet, and give its path.")
    _check_results(config.results, source)


def _check_results(results: str, source: str) -> None:
    """Raise InputError unless the folder is there or can be made."""
    path = Path(results)
    there = next(p for p in (path, *path.absolute().parents) if os.path.lexists(p))
    if not there.is_dir():
        what = "a file" if there == path else f"but {there} is a file"
        raise InputError(f"{source}: results is {show(results)}, {what}. Name a folder.")
    if not os.access(there, os.W_OK):
        raise InputError(
            f"{source}: results is {show(results)}, but you may not write to {there}. Name another folder."
        )
    inside = next((p for p in (Path.cwd(), REPOSITORY) if p.resolve().is_relative_to(path.resolve())), None)
    if inside is not None:
        raise InputError(
            f"{source}: results is {show(results)}, a folder that holds {inside}. Name one of its own, such "
            'as "results".'
        )


def check_path(path: str, place: str) -> None:
    """Raise InputError for a path that would be taken for something else on its way through the rules."""
    special = next((letter for letter in path if letter in "{}<>\"'\\*?" or not letter.isprintable()), None)
    if is_url(path) and special == "?":
        special = next((letter for letter in path if letter in "{}<>\"'\\*"), None)
    if special is not None:
        raise InputError(
            f"{place}: {show(path)} contains {show(special)}, which has a meaning of its own in file "
            "patterns. Rename it."
        )
    if any(len(os.fsencode(part)) > LONGEST_PART for part in path.split("/")) and not is_url(path):
        raise InputError(
            f"{place}: a part of {show(path)} is longer than the {LONGEST_PART} letters of a file name. "
            "Correct it."
        )
    if re.match(r"~|\$\w|\$\{", path):
        raise InputError(
            f"{place}: {show(path)} begins with what only a shell understands. Write the whole path."
        )
    if path.startswith("-"):
        raise InputError(f"{place}: {show(path)} begins with a dash, like a flag. Rename it.")


def _check_corpora(config: Config, source: str) -> None:
    if config.genomes is None and not config.corpora:
        raise InputError(f"{source}: needs 'genomes' or 'corpora', something to learn from.")
    for name, corpus in config.corpora.items():
        if corpus.task is not None and config.tasks is None:
            raise InputError(
                f"{source}: corpora.{name}.task is {show(corpus.task)}, but there are no tasks. Set 'tasks'."
            )
        if corpus.lines is not None:
            if is_url(corpus.lines):
                raise InputError(
                    f"{source}: corpora.{name}.lines is a URL. Download the file, and give its path."
                )
            _check_file(corpus.lines, f"{source}: corpora.{name}.lines")
    for (name, one), (other, two) in itertools.combinations(config.corpora.items(), 2):
        if (one.task, one.lines) == (two.task, two.lines):
            raise InputError(
                f"{source}: corpora.{other} is made of the same as corpora.{name}, so its sequences would "
                "count twice. Remove one."
            )


def _check_tokenizers(config: Config, source: str) -> None:
    for name, tokenizer in config.tokenizers.items():
        place = f"{source}: tokenizers.{name}.source"
        _check_source(tokenizer.source, tokenizer.revision, place)
        if tokenizer.source is None or not Path(tokenizer.source).exists():
            continue
        if Path(tokenizer.source).is_dir():
            _check_content(Path(tokenizer.source), ("tokenizer.json",), place)
        path = tokenizer_file(Path(tokenizer.source))
        try:
            check_vocabulary(read_vocabulary(path), path)
            check_n_policy(path, tokenizer.n_policy)
        except InputError as error:
            raise InputError(f"{place}: {error}") from None


def _check_models(config: Config, source: str) -> None:
    for name, model in config.models.items():
        _check_model_files(config, model, f"{source}: models.{name}")
        gpus = config.resources.pretrain_gpus * config.resources.pretrain_nodes
        if model.training is not None and model.training.fsdp and gpus < 2:
            raise InputError(
                f"{source}: models.{name}.training.fsdp spreads a model over several GPUs, but by "
                f"resources.pretrain_gpus there {'is one' if gpus else 'are none'}. Raise that, or leave "
                "fsdp out."
            )


def _check_model_files(config: Config, model: ModelSettings, place: str) -> None:
    if model.tokenizer not in config.tokenizers:
        raise InputError(
            f"{place}.tokenizer is {show(model.tokenizer)}, not under tokenizers."
            f"{nearest(model.tokenizer, config.tokenizers)}"
        )
    _check_source(model.checkpoint, model.revision, f"{place}.checkpoint")
    if model.architecture:
        _check_file(model.architecture, f"{place}.architecture")
    if model.training is not None:
        length = _overlapping_kmer_length(config.tokenizers[model.tokenizer])
        check_runs(model.masking, length, f"{place}.masking.span_tokens")
    try:
        _check_network(config, model)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def _overlapping_kmer_length(tokenizer: TokenizerSettings) -> int | None:
    """The length of k-mers that overlap; None where they do not, or where that is not known yet."""
    if tokenizer.overlapping:
        return tokenizer.kmer_length
    if tokenizer.source is None or not Path(tokenizer.source).exists():
        return None
    return overlapping_kmer_length(read_vocabulary(Path(tokenizer.source)))


def _shape_of(model: ModelSettings) -> dict[str, Any] | None:
    """The configuration of the network; None for a checkpoint that is yet to be fetched."""
    if model.architecture:
        return read_architecture(model.architecture)
    if model.checkpoint and Path(model.checkpoint).exists():
        return check_start(model.checkpoint)[0]
    return None


def _check_network(config: Config, model: ModelSettings) -> None:
    shape = _shape_of(model)
    if shape is None:
        return
    tokenizer = config.tokenizers[model.tokenizer].source
    if model.checkpoint and tokenizer and Path(tokenizer).exists():
        check_tokenizer_fits(model.checkpoint, shape, Path(tokenizer))
    tokens_read(shape, model.max_tokens, "max_tokens")
    tokens_read(shape, config.finetune.max_tokens, "finetune.max_tokens")
    sizes = _with_defaults(shape)
    if "partial" in config.finetune.backbones:
        check_layers(sizes, config.finetune.partial.layers, "finetune.partial.layers")
    if "lora" in config.finetune.backbones:
        check_rank(sizes, config.finetune.lora.rank, "finetune.lora.rank")


def _with_defaults(shape: dict[str, Any]) -> dict[str, Any]:
    """An architecture file may leave a size to its family's default."""
    return {**DEFAULTS[shape["model_type"]], **shape}


def _check_embedded(embedded: EmbedSequencesSettings, config: Config, place: str) -> None:
    _check_model(embedded.model, config, place)
    _check_sequences(embedded, config.results, place)
    shape = _shape_of(config.models[embedded.model])
    if shape and embedded.layer is not None:
        check_layers(_with_defaults(shape), embedded.layer, f"{place}.layer")


def _check_predictions(config: Config, source: str) -> None:
    for name, prediction in config.predict.items():
        place = f"{source}: predict.{name}"
        _check_model(prediction.model, config, place)
        _check_sequences(prediction, config.results, place)
        if prediction.backbone == STACKED:
            _check_stacked(config, place)
        else:
            _check_backbone(prediction.backbone, config, place)
        if config.tasks is None:
            raise InputError(f"{place}: there are no tasks, hence no classifier. Set 'tasks'.")


def _check_model(name: str, config: Config, place: str) -> None:
    if name not in config.models:
        raise InputError(f"{place}.model is {show(name)}, not under models.{nearest(name, config.models)}")


def _check_backbone(name: str, config: Config, place: str) -> None:
    if name not in config.finetune.backbones:
        raise InputError(
            f"{place}.backbone is {show(name)}, but finetune.backbones lists only "
            f"{either(config.finetune.backbones)}. Add it there, or choose another."
        )


def _check_stacked(config: Config, place: str) -> None:
    if not config.baseline.stacked:
        raise InputError(
            f"{place}.backbone is {show(STACKED)}, but baseline.stacked is false. Set it to true."
        )
    if not stacks(config.baseline.model_dump(), config.finetune.backbones):
        raise InputError(
            f"{place}.backbone is {show(STACKED)}, but there is only one predictor. Set baseline.kmer to "
            "true, or name more finetune.backbones."
        )


def _check_publications(config: Config, source: str) -> None:
    for name, published in config.publish.items():
        place = f"{source}: publish.{name}"
        _check_model(published.model, config, place)
        if published.task is None:
            continue
        if config.tasks is None:
            raise InputError(f"{place}.task is {show(published.task)}, but there are no tasks. Set 'tasks'.")
        _check_backbone(published.backbone, config, place)


def _check_study(config: Config, values: Mapping[str, Any], source: str) -> None:
    if config.study is None:
        return
    _check_model(config.study.model, config, f"{source}: study")
    if config.tasks is None:
        raise InputError(f"{source}: study compares classifiers, but there are no tasks. Set 'tasks'.")
    if config.models[config.study.model].training is None:
        raise InputError(f"{source}: study.model is {show(config.study.model)}, which is not trained here.")
    compared = [name for name in BASELINES if getattr(config.baseline, name)]
    if config.study.reference not in compared:
        raise InputError(
            f"{source}: study.reference is {show(config.study.reference)}, but the baselines are "
            f"{either(compared)}."
        )
    check_keys(values["study"], source)
    study = expand(values, source)
    check_classifiers(study, source)
    for name, model in study.models.items():
        place = f"{source}: study.vary ({name})"
        _check_model_files(config, ModelSettings.model_validate(model), place)


def _check_sequences(asked: PredictSettings | EmbedSequencesSettings, results: str, place: str) -> None:
    for key, path in (("input", asked.input), ("genome", asked.genome)):
        if path is None or Path(path).is_relative_to(results):
            continue
        if is_url(path):
            raise InputError(f"{place}.{key} is a URL. Download it, and give the path of the file.")
        _check_file(path, f"{place}.{key}")
    if not Path(asked.input).is_file():
        return
    kind = _kind_of(asked.input, f"{place}.input")
    if kind == "bed" and asked.genome is None:
        raise InputError(f"{place} needs 'genome', the sequences that the BED file {asked.input} is about.")
    if kind == "table" and asked.genome is not None:
        raise InputError(
            f"{place}.genome goes with a BED file, but {asked.input} does not begin with chromosome, "
            "start and end, parted by tabs. Write it so, or leave the genome out."
        )
    if kind != "bed" and asked.genome is not None:
        raise InputError(
            f"{place}.genome goes with a BED file, but the input is a {KIND_NAMES[kind]} file. Leave it out."
        )
    _check_beginning(asked.input, kind, f"{place}.input")
    if asked.genome is not None and Path(asked.genome).is_file():
        kind = _kind_of(asked.genome, f"{place}.genome")
        if kind not in FORMATS:
            raise InputError(
                f"{place}.genome: {asked.genome} is a {KIND_NAMES[kind]} file. Give {ANY_FORMAT}."
            )
        _check_beginning(asked.genome, kind, f"{place}.genome")


def _kind_of(path: str, place: str) -> str:
    try:
        return kind_of_input(Path(path))
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def _check_beginning(path: str, kind: str, place: str) -> None:
    try:
        check_beginning(Path(path), kind)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def _check_file(path: str, place: str) -> None:
    if Path(path).is_dir():
        raise InputError(f"{place} is a directory: {path}. Name a file.")
    if not Path(path).is_file():
        raise InputError(
            f"{place}: no such file: {path}.{why_absent(path)} Give a path relative to the working directory."
        )
    if Path(path).stat().st_size == 0:
        raise InputError(f"{place}: the file is empty: {path}. Was its copy cut short?")


def _check_content(directory: Path, patterns: tuple[str, ...], place: str) -> None:
    for pattern in patterns:
        if not any(directory.glob(pattern)):
            raise InputError(
                f"{place}: the directory {directory} has no {pattern.replace('*', 'model')}. Name another."
            )


def _check_source(path: str | None, revision: str | None, place: str) -> None:
    if revision is not None and (path is None or not is_hub_id(path)):
        section, _, key = place.rpartition(".")
        raise InputError(
            f"{section}.revision is {show(revision)}, but {key} is {show(path)}, which is not on the Hub. "
            "Leave it out."
        )
    if path is not None and not is_hub_id(path) and not Path(path).exists():
        raise InputError(
            f"{place}: no such file or directory: {path}.{why_absent(path)} "
            "Give a path relative to the working directory or a Hub id (owner/name)."
        )


def is_url(path: str) -> bool:
    """True for what the fetch rules download."""
    return bool(re.match(r"(https?|ftp|file)://", path))


def is_hub_id(source: str) -> bool:
    """True for `owner/name` that is no path here: a repository of the Hugging Face Hub."""
    is_path = Path(source).exists() or Path(source).parent.is_dir() or source.endswith(".json")
    return not is_path and bool(re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", source))
