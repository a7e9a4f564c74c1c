"""The configuration of the workflow: its sections, which are the settings of all steps.

Only light packages are imported, because every cluster job reads the Snakefile again.
"""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dnalm.baseline.settings import BASELINES, UNTRAINED, BaselineSettings
from dnalm.corpora.settings import CorpusSettings
from dnalm.embed_sequences.settings import EmbedSequencesSettings
from dnalm.evaluate.settings import EvaluateSettings
from dnalm.evaluate_language_model.settings import EvaluateLanguageModelSettings
from dnalm.explore.settings import ExploreSettings
from dnalm.extract_windows.settings import ExtractWindowsSettings
from dnalm.fill_mask.settings import FillMaskSettings
from dnalm.finetune.settings import FinetuneSettings
from dnalm.predict.settings import PredictSettings
from dnalm.prepare_task.settings import PrepareTaskSettings
from dnalm.pretrain.settings import PUBLISHED, ModelSettings
from dnalm.publish.settings import PublishSettings
from dnalm.running.hints import show
from dnalm.running.resources import ResourceSettings
from dnalm.running.settings import Settings, each_once, section
from dnalm.score_variants.settings import ScoreVariantsSettings
from dnalm.sequences.formats import ANY_FORMAT
from dnalm.sequences.names import UNREADABLE
from dnalm.simulate_demo.settings import SimulateDemoSettings
from dnalm.study.settings import StudySettings
from dnalm.tokenizers.settings import TokenizerSettings

# A name becomes part of file names, three of them of some; a file name has at most 255 letters.
LONGEST_NAME = 64


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


def check_title(title: str) -> str:
    """One line, of letters that can be read. Raises ValueError."""
    if UNREADABLE.search(title):
        raise ValueError(f"is {show(title)}, but must be one line. Remove line breaks and the like.")
    return title


Name = Annotated[str, AfterValidator(check_name)]
ModelName = Annotated[Name, AfterValidator(check_model_name)]


class Config(Settings):
    """Every choice of a run. Unknown keys are errors."""

    title: Annotated[str, AfterValidator(check_title)] = Field(
        "DNA language model", min_length=1, max_length=200, description="Title of the report."
    )
    # As Snakemake would write it, so that its targets are found: results/ is results.
    results: Annotated[str, AfterValidator(lambda path: str(PurePosixPath(path)))] = Field(
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
        "(`sequence` and `class` are known); optional `group_column`, the column of what is never parted, "
        "such as the chromosome, gene or donor; optional `positive`, the class that precision, recall, F1, "
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
    extract_windows: ExtractWindowsSettings = section(ExtractWindowsSettings)
    tokenizers: dict[Name, TokenizerSettings] = Field(
        min_length=1, description="Tokenizers by name. Each has one of `source`, `train` and `kmer_length`."
    )
    models: dict[ModelName, ModelSettings] = Field(
        min_length=1,
        description="Models by name. Each has either `architecture` (trained from scratch) or `checkpoint` "
        "(training continues, or the model is used as published).",
    )
    evaluate_language_model: EvaluateLanguageModelSettings = section(EvaluateLanguageModelSettings)
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
    prepare_task: PrepareTaskSettings = section(PrepareTaskSettings)
    finetune: FinetuneSettings = section(FinetuneSettings)
    baseline: BaselineSettings = section(BaselineSettings)
    evaluate: EvaluateSettings = section(EvaluateSettings)
    study: StudySettings | None = Field(
        None,
        description="Many variants of one model side by side, with leaderboards and learning curves in the "
        "report.",
    )
    explore: ExploreSettings = section(ExploreSettings)
    predict: dict[Name, PredictSettings] = Field(
        default_factory=dict,
        description="New sequences to classify, by name. Each becomes `<results>/predictions/<name>.tsv`.",
    )
    score_variants: dict[Name, ScoreVariantsSettings] = Field(
        default_factory=dict,
        description="Variants whose alleles a language model finds more or less probable, by name. Each "
        "becomes `<results>/score_variants/<name>.tsv`.",
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
    resources: ResourceSettings = section(ResourceSettings)
