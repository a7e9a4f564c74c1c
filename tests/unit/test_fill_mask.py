"""Filling gaps: as the pipeline of Transformers does, where a person wrote [MASK] and where bases are "
"hidden."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

import fill_mask
from dnalm.fill_mask.gaps import question
from dnalm.fill_mask.settings import GapSettings
from dnalm.running.errors import InputError
from dnalm.tokenizers.encoding import load_tokenizer
from dnalm.tokenizers.vocabulary import SPECIAL_TOKENS, adjust_for_dna, kmers

DNA = "ACGTTGCAACGTAACCGGTTACGATCGA"


def filled(model: Path, folder: Path, **settings) -> list[dict[str, str]]:
    fill_mask.main(model=model, settings=GapSettings(**settings), output=folder / "filled.tsv")
    with open(folder / "filled.tsv") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_written_masks_are_filled_as_the_pipeline_fills_them(tiny_model, tmp_path):
    from transformers import pipeline

    texts = ("ACGT[MASK]acgt", "A[MASK]C[MASK]G")
    rows = filled(tiny_model, tmp_path, sequences=texts, top=2)
    assert [(row["sequence"], row["mask"], row["rank"]) for row in rows] == [
        (*place, rank) for place in ("11", "21", "22") for rank in "12"
    ]
    pipe = pipeline("fill-mask", str(tiny_model), top_k=2)
    one, (first, second) = pipe(texts[0]), pipe(texts[1])
    for row, answer in zip(rows, [*one, *first, *second], strict=True):
        assert row["token"] == answer["token_str"]
        assert float(row["probability"]) == pytest.approx(answer["score"], abs=1e-5)
    assert (rows[0]["left"], rows[0]["hidden"], rows[0]["right"]) == ("ACGT", "", "acgt")
    assert (rows[4]["left"], rows[4]["right"], rows[4]["position_bp"]) == ("A_C", "G", "")


def test_every_token_of_an_interval_is_hidden_and_compared(tiny_model, tmp_path):
    tokenizer = load_tokenizer(tiny_model)
    asked = question(tokenizer, 1, DNA, ["5-8", "20"])
    spelled = tokenizer.convert_ids_to_tokens(asked.line.ids.tolist())[1:-1]
    assert "".join(spelled) == DNA
    for gap in asked.gaps:
        start = gap.position_bp - 1
        assert DNA[start:].startswith(gap.token) and DNA[:start].endswith(gap.left)
        assert DNA[start + len(gap.token) :].startswith(gap.right)
    hidden = {gap.position_bp - 1 + i for gap in asked.gaps for i in range(len(gap.token))}
    assert {4, 5, 6, 7, 19} <= hidden
    rows = filled(tiny_model, tmp_path, sequences=(DNA,), hide=("5-8", "20"), top=len(tokenizer))
    for row in rows:
        if row["token"] == row["hidden"]:
            assert (row["rank"], row["probability"]) == (row["hidden_rank"], row["hidden_probability"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sequences": ("ACGT[MASK]ACGT",)}, "Each gap is one token"),
        ({"sequences": (DNA,), "hide": ("5-8",)}, "gaps with a known truth"),
    ],
)
def test_the_report_shows_the_gaps(tiny_model, tmp_path, settings, words):
    from dnalm.report.language_model import filled_gaps_table
    from dnalm.report.run import Run
    from report import read_table

    rows = filled(tiny_model, tmp_path, top=3, **settings)
    run = Run("title", simulated=False, settings={"fill_mask": {"mine": {"model": "demo"}}})
    run.filled_gaps["mine"] = read_table(tmp_path / "filled.tsv")
    shown = filled_gaps_table(run, "mine")
    assert shown["caption"] == "Gaps of mine, filled by demo" and words in shown["note"]
    assert len(shown["rows"]) == len(rows) / 3
    left, gap, _ = shown["rows"][0]["cells"][1]["marked_text"]
    assert gap == (rows[0]["hidden"] or "[MASK]", True) and left[0] == rows[0]["left"]


@pytest.mark.parametrize("length", [1, 3])
def test_kmers_and_single_nucleotides_have_gaps_too(length):
    from transformers import PreTrainedTokenizerFast

    backend = adjust_for_dna(kmers(length), SPECIAL_TOKENS, "unk")
    names = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    gaps = question(tokenizer, 1, DNA, ["7"]).gaps
    assert [gap.token for gap in gaps] == [DNA[6:7] if length == 1 else DNA[6:9]]
    assert gaps[0].position_bp == 7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sequences": ("ACGT",)}, r"sequence 1: no \[MASK\] in it"),
        ({"sequences": ("AC", "A[MASK]"), "hide": ("1",)}, r"sequence 2: it has a \[MASK\] and something"),
        ({"sequences": ("ACGT",), "hide": ("3-9",)}, "sequence 1: 3-9 is to be hidden, but it has 4 bases"),
    ],
)
def test_a_sequence_without_a_clear_gap_is_one_line(tiny_model, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        filled(tiny_model, tmp_path, **settings)
    assert not list(tmp_path.iterdir())


def test_a_classifier_is_refused(tiny_model, tmp_path):
    from dnalm.finetune import classifier

    weights = classifier.initial_weights(tiny_model, 2, seed=1)
    classifier.save_classifier(tmp_path, tiny_model, weights, ["no", "yes"], "mean", max_tokens=60)
    script = Path(__file__).parents[2] / "scripts" / "fill_mask.py"
    done = subprocess.run(
        [sys.executable, script, "--model", tmp_path, "--sequence", "A[MASK]"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {tmp_path}: a classifier, which cannot name hidden tokens.")
    assert done.stderr.count("\n") == 1
