"""What several sections of a configuration must agree on, and what is told of the files that they name.

Before any job starts, so that nobody learns after a night of training that a name was misspelt. Only light
packages are imported, because every cluster job reads the Snakefile again.
"""

import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dnalm.baseline.settings import BASELINES, STACKED, stacks
from dnalm.config import Config
from dnalm.config_paths import Made, check_file, check_path, check_source, is_url, paths_in
from dnalm.embed_sequences.settings import EmbedSequencesSettings
from dnalm.fill_mask.settings import check_gaps, check_words
from dnalm.models.checks import (
    check_start,
    check_tokenizer_fits,
    check_vocabulary_fits,
    read_architecture,
)
from dnalm.models.families import check_layers, check_max_tokens, check_rank
from dnalm.models.keys import DEFAULTS
from dnalm.predict.settings import PredictSettings
from dnalm.pretrain.settings import ModelSettings, check_runs
from dnalm.running.errors import InputError
from dnalm.running.hints import either, nearest, show
from dnalm.score_variants.settings import ScoreVariantsSettings
from dnalm.sequences.formats import ANY_FORMAT, FORMATS
from dnalm.sequences.inputs import (
    KIND_NAMES,
    OF_A_GENOME,
    check_beginning,
    kind_of_input,
    refuse_variants,
    require_variants,
)
from dnalm.study.variants import check_classifiers, check_keys, expand
from dnalm.tokenizers.settings import TokenizerSettings
from dnalm.tokenizers.special_tokens import (
    BASES,
    SPECIAL_TOKENS,
    check_n_policy,
    check_vocabulary,
    overlapping_kmer_length,
    read_vocabulary,
    tokenizer_file,
)

REPOSITORY = Path(__file__).parents[2]
# Sections whose keys are names of the user's choice, and become names of files.
NAMED = (
    "corpora",
    "tokenizers",
    "models",
    "fill_mask",
    "embed_sequences",
    "predict",
    "score_variants",
    "publish",
)


def check_sections(config: Config, values: Mapping[str, Any], source: str, made: Made) -> None:
    """Raise InputError for the first thing that is wrong. `values`: the same as plain dictionaries."""
    check_path(config.results, f"{source}: results")
    _check_paths(values, source)
    _check_names(values, source)
    _check_results(config.results, source)
    _check_corpora(config, source, made)
    _check_tokenizers(config, source)
    _check_models(config, source)
    _check_gaps(config, source)
    _check_embedded(config, source, made)
    _check_predictions(config, source, made)
    _check_scored(config, source, made)
    _check_publications(config, source)
    _check_study(config, values, source)


def _check_paths(values: Mapping[str, Any], source: str) -> None:
    for key, path in paths_in(values):
        check_path(path, f"{source}: {key}")
        if key in ("genomes", "tasks") and is_url(path):
            raise InputError(f"{source}: {key} is a URL. Download the sheet, and give its path.")


def _check_names(values: Mapping[str, Any], source: str) -> None:
    for section in NAMED:
        lowered: dict[str, str] = {}
        for name in values[section]:
            if (twin := lowered.setdefault(name.lower(), name)) != name:
                raise InputError(
                    f"{source}: {section}.{name} and {section}.{twin} would be one file on disks that "
                    "ignore case. Rename one."
                )


def _check_results(results: str, source: str) -> None:
    """Raise InputError unless the folder is there or can be made."""
    path = Path(results)
    there = next(p for p in (path, *path.absolute().parents) if os.path.lexists(p))
    if not there.is_dir():
        what = "a file" if there == path else f"but {there} is a file"
        raise InputError(f"{source}: results is {show(results)}, {what}. Name a folder.")
    inside = next((p for p in (Path.cwd(), REPOSITORY) if p.resolve().is_relative_to(path.resolve())), None)
    if inside is not None:
        raise InputError(
            f"{source}: results is {show(results)}, a folder that holds {inside}. Name one of its own, such "
            'as "results".'
        )
    if not os.access(there, os.W_OK):
        raise InputError(
            f"{source}: results is {show(results)}, but you may not write to {there}. Name another folder."
        )


def _check_corpora(config: Config, source: str, made: Made) -> None:
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
            if not made(corpus.lines):
                check_file(corpus.lines, f"{source}: corpora.{name}.lines")
    for (name, one), (other, two) in itertools.combinations(config.corpora.items(), 2):
        if (one.task, one.lines) == (two.task, two.lines):
            raise InputError(
                f"{source}: corpora.{other} is made of the same as corpora.{name}, so its sequences would "
                "count twice. Remove one."
            )


def _check_tokenizers(config: Config, source: str) -> None:
    for name, tokenizer in config.tokenizers.items():
        place = f"{source}: tokenizers.{name}.source"
        check_source(tokenizer.source, tokenizer.revision, place)
        if tokenizer.source is None or not Path(tokenizer.source).exists():
            continue
        if Path(tokenizer.source).is_dir():
            _check_tokenizer_file(Path(tokenizer.source), place)
        path = tokenizer_file(Path(tokenizer.source))
        with _at(place):
            check_vocabulary(read_vocabulary(path), path)
            check_n_policy(path, tokenizer.n_policy)


def _check_tokenizer_file(directory: Path, place: str) -> None:
    if (directory / "tokenizer.json").exists():
        return
    remedy = "Name another."
    if (directory / "vocab.txt").is_file():
        remedy = "It has a vocab.txt; docs/vocabulary.md (k-mers) says how that becomes a tokenizer.json."
    raise InputError(f"{place}: the directory {directory} has no tokenizer.json. {remedy}")


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
    check_source(model.checkpoint, model.revision, f"{place}.checkpoint")
    if model.architecture:
        check_file(model.architecture, f"{place}.architecture")
    if model.training is not None:
        length = _overlapping_kmer_length(config.tokenizers[model.tokenizer])
        check_runs(model.masking, length, f"{place}.masking.span_tokens")
    with _at(place):
        _check_network(config, model)


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
    if model.checkpoint:
        _check_tokenizer_of(model.checkpoint, shape, config.tokenizers[model.tokenizer])
    check_max_tokens(shape, model.max_tokens, "max_tokens")
    check_max_tokens(shape, config.finetune.max_tokens, "finetune.max_tokens")
    sizes = _with_defaults(shape)
    if "partial" in config.finetune.backbones:
        check_layers(sizes, config.finetune.partial.layers, "finetune.partial.layers")
    if "lora" in config.finetune.backbones:
        check_rank(sizes, config.finetune.lora.rank, "finetune.lora.rank")


def _check_tokenizer_of(checkpoint: str, shape: dict[str, Any], tokenizer: TokenizerSettings) -> None:
    if tokenizer.source is None:
        # More than the first tokens of one that is made here is not known yet.
        tokens = [*SPECIAL_TOKENS.values(), *("" if tokenizer.overlapping else BASES)]
        ids = {token: number for number, token in enumerate(tokens)}
        check_vocabulary_fits(checkpoint, shape, ids, SPECIAL_TOKENS, "a tokenizer that is made here")
    elif Path(tokenizer.source).exists():
        check_tokenizer_fits(checkpoint, shape, Path(tokenizer.source))


def _with_defaults(shape: dict[str, Any]) -> dict[str, Any]:
    """An architecture file may leave a size to its family's default."""
    return {**DEFAULTS[shape["model_type"]], **shape}


def _check_gaps(config: Config, source: str) -> None:
    for name, gaps in config.fill_mask.items():
        place = f"{source}: fill_mask.{name}"
        _check_model(gaps.model, config, place)
        check_gaps(gaps, f"{place}: ")
        tokenizer = config.tokenizers[config.models[gaps.model].tokenizer]
        check_words(gaps, _overlapping_kmer_length(tokenizer), f"{place}: ")


def _check_embedded(config: Config, source: str, made: Made) -> None:
    for name, embedded in config.embed_sequences.items():
        place = f"{source}: embed_sequences.{name}"
        _check_model(embedded.model, config, place)
        _check_sequences(embedded, config.results, place, made)
        shape = _shape_of(config.models[embedded.model])
        if shape and embedded.layer is not None:
            check_layers(_with_defaults(shape), embedded.layer, f"{place}.layer")


def _check_predictions(config: Config, source: str, made: Made) -> None:
    for name, prediction in config.predict.items():
        place = f"{source}: predict.{name}"
        _check_model(prediction.model, config, place)
        _check_sequences(prediction, config.results, place, made)
        if prediction.backbone == STACKED:
            _check_stacked(config, place)
        else:
            _check_backbone(prediction.backbone, config, place)
        if config.tasks is None:
            raise InputError(f"{place}: there are no tasks, hence no classifier. Set 'tasks'.")


def _check_scored(config: Config, source: str, made: Made) -> None:
    for name, scored in config.score_variants.items():
        place = f"{source}: score_variants.{name}"
        _check_model(scored.model, config, place)
        _check_sequences(scored, config.results, place, made)


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


def _check_sequences(
    asked: PredictSettings | EmbedSequencesSettings | ScoreVariantsSettings,
    results: str,
    place: str,
    made: Made,
) -> None:
    for key, path in (("input", asked.input), ("genome", asked.genome)):
        if path is None or Path(path).is_relative_to(results) or made(path):
            continue
        if is_url(path):
            raise InputError(f"{place}.{key} is a URL. Download it, and give the path of the file.")
        check_file(path, f"{place}.{key}")
    if made(asked.input) or not Path(asked.input).is_file():
        return
    with _at(f"{place}.input"):
        kind = kind_of_input(Path(asked.input))
        if isinstance(asked, EmbedSequencesSettings):
            refuse_variants(Path(asked.input))
        if isinstance(asked, ScoreVariantsSettings):
            require_variants(Path(asked.input))
    if kind in OF_A_GENOME and asked.genome is None:
        raise InputError(
            f"{place} needs 'genome', the sequences that the {KIND_NAMES[kind]} file {asked.input} is about."
        )
    if kind == "table" and asked.genome is not None:
        raise InputError(
            f"{place}.genome goes with a BED or VCF file, but {asked.input} begins neither with chromosome, "
            "start and end, parted by tabs, nor with the header of VCF. Write it so, or leave the genome out."
        )
    if kind not in OF_A_GENOME and asked.genome is not None:
        raise InputError(
            f"{place}.genome goes with a BED or VCF file, but the input is a {KIND_NAMES[kind]} file. "
            "Leave it out."
        )
    with _at(f"{place}.input"):
        check_beginning(Path(asked.input), kind)
    if asked.genome is not None and not made(asked.genome) and Path(asked.genome).is_file():
        with _at(f"{place}.genome"):
            kind = kind_of_input(Path(asked.genome))
            if kind not in FORMATS:
                raise InputError(f"{asked.genome} is a {KIND_NAMES[kind]} file. Give {ANY_FORMAT}.")
            check_beginning(Path(asked.genome), kind)


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Have messages about a file begin with the key that names it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
