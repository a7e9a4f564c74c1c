"""A step by hand has the same settings as in the workflow: flags read back as what they say."""

import importlib
import inspect
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dnalm.baseline.settings import KmerSettings
from dnalm.evaluate.settings import EvaluateSettings
from dnalm.evaluate_language_model.settings import EvaluateLanguageModelSettings
from dnalm.extract_windows.settings import ExtractWindowsSettings
from dnalm.finetune.settings import (
    BACKBONE_SETTINGS,
    ClassifierSettings,
    FrozenSettings,
    FullSettings,
    SequenceSettings,
)
from dnalm.predict.settings import ScanSettings
from dnalm.prepare_task.settings import FoldSettings, PrepareTaskSettings
from dnalm.pretrain.settings import ContextSettings, MaskingSettings
from dnalm.running.commandline import add_settings_flags, collect_settings, parser, settings_words
from dnalm.running.errors import InputError
from dnalm.simulate_demo.settings import SimulateDemoSettings
from dnalm.tokenizers.settings import ImportTokenizerSettings, TrainTokenizerSettings, UnknownBaseSettings

CLASSES = [
    ClassifierSettings,
    ContextSettings,
    EvaluateLanguageModelSettings,
    EvaluateSettings,
    ExtractWindowsSettings,
    FoldSettings,
    FrozenSettings,
    FullSettings,
    ImportTokenizerSettings,
    KmerSettings,
    MaskingSettings,
    PrepareTaskSettings,
    ScanSettings,
    SequenceSettings,
    SimulateDemoSettings,
    TrainTokenizerSettings,
    UnknownBaseSettings,
]


SCRIPTS = sorted(path.stem for path in Path(__file__).parents[2].glob("scripts/*.py"))


def read_back(settings, words: list[str]):
    arguments = parser("")
    add_settings_flags(arguments, settings)
    return collect_settings(vars(arguments.parse_args(words)))["settings"]


@pytest.mark.parametrize("settings", CLASSES, ids=lambda c: c.__name__)
def test_no_flags_and_the_workflow_s_flags_give_the_same_settings(settings):
    defaults = settings()
    assert read_back(settings, []) == defaults
    assert read_back(settings, settings_words(settings, defaults.model_dump(mode="json"))) == defaults


def test_what_is_asked_for_is_read_back_too():
    asked = ScanSettings(window=300, stride=100, max_unknown_fraction=0.25)
    assert read_back(ScanSettings, settings_words(ScanSettings, asked.model_dump())) == asked


@pytest.mark.parametrize(("backbone", "epochs"), [("frozen", 30), ("full", 5)])
def test_defaults_follow_the_backbone(backbone, epochs):
    arguments = parser("")
    arguments.add_argument("--backbone", default="frozen")
    add_settings_flags(arguments, BACKBONE_SETTINGS, "training", chosen_by="backbone")
    training = collect_settings(vars(arguments.parse_args(["--backbone", backbone])))["training"]
    assert training == BACKBONE_SETTINGS[backbone]() and training.epochs == epochs


def test_no_help_text_writes_a_number_that_is_a_default_elsewhere(repository):
    by_hand = re.compile(r"\(default:? [0-9]")
    scripts = sorted((repository / "scripts").rglob("*.py"))
    assert [path.name for path in scripts if by_hand.search(path.read_text())] == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_has_a_flag_for_each_thing_that_it_takes(script):
    module = importlib.import_module(script)
    # Settings have many flags, in one object.
    flags = {action.dest.split(".")[0] for action in module.command_line()._actions} - {"help", "log"}
    taken = inspect.signature(module.main).parameters
    # Pretraining hands its options on as they are.
    assert flags == set(taken) or [one.kind for one in taken.values()] == [inspect.Parameter.VAR_KEYWORD]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--window", "3"], "--window is 3, but must be at least 10."),
        (["--window", "a few"], '--window is "a few", but must be a whole number.'),
        (
            ["--max-unknown-fraction", "inf"],
            "--max-unknown-fraction is Infinity, but must be a finite number.",
        ),
    ],
)
def test_a_wrong_flag_is_named_with_its_value(words, message):
    with pytest.raises(InputError) as error:
        read_back(ScanSettings, words)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("script", "others"),
    [
        ("report", "--metrics m --output o"),
        ("study", "--configuration c --metrics m --models n --checks k --output o --output-json j"),
    ],
)
def test_more_words_than_the_kernel_passes_come_through_a_pipe(repository, tmp_path, script, others):
    files = [f"{tmp_path}/a folder/{number}\nnone" for number in range(60_000)]
    words = ["--log", f"{tmp_path}/log", "--predictions", *files, *others.split()]
    assert len("".join(files)) > 2 << 20
    ended = subprocess.run(
        [sys.executable, Path(repository, "scripts", f"{script}.py"), "-"],
        input="".join(f"{word}\0" for word in words),
        capture_output=True,
        text=True,
    )
    assert "number of files" in ended.stderr or "60000 files for 1" in ended.stderr
    # How to repeat it is said with all words.
    assert f"{files[-1]}'" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("script", "settings"),
    [("extract_windows", ExtractWindowsSettings), ("prepare_task", PrepareTaskSettings)],
)
def test_a_script_gives_the_same_bytes_with_the_workflow_s_flags_and_without(
    repository, tmp_path, script, settings
):
    letters = random.Random(1)
    (tmp_path / "g.fa").write_text(">a\n" + "".join(letters.choices("ACGT", k=2_100_000)) + "\n")
    for split in ("train", "test"):
        rows = ["".join(letters.choices("ACGT", k=40)) + f"\t{i % 2}\n" for i in range(40)]
        (tmp_path / f"{split}.tsv").write_text("seq\tlabel\n" + "".join(rows))
    files = {
        "extract_windows": "--genome g --fasta ../g.fa --train a --validation b --stats c",
        "prepare_task": "--task t --train ../train.tsv --test ../test.tsv --output-train a"
        " --output-validation b --output-test c --checks d",
    }
    made = []
    for place, words in (("by_hand", []), ("rule", settings_words(settings, settings().model_dump()))):
        folder = tmp_path / place
        folder.mkdir()
        command = [
            sys.executable,
            Path(repository, "scripts", f"{script}.py"),
            *files[script].split(),
            *words,
        ]
        subprocess.run(command, check=True, cwd=folder)
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert made[0] == made[1] and len(made[0]) >= 3
