"""Filling gaps: as Transformers' pipeline does, where a person wrote [MASK] and where bases are hidden."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

import fill_mask
from dnalm.fill_mask.gaps import question
from dnalm.fill_mask.settings import GapSettings, check_words
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


def kmer_tokenizer(length: int, *, overlapping: bool = False, n_policy: str = "unk"):
    from transformers import PreTrainedTokenizerFast

    backend = adjust_for_dna(kmers(length, overlapping=overlapping), SPECIAL_TOKENS, n_policy)
    names = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def test_what_leaves_no_token_cannot_be_hidden():
    with pytest.raises(InputError, match="sequence 2: no token stands in 5-6"):
        question(kmer_tokenizer(1, n_policy="drop"), 2, "ACGTNNACGT", ["5-6"])


@pytest.mark.parametrize("length", [1, 3])
def test_kmers_and_single_nucleotides_have_gaps_too(length):
    gaps = question(kmer_tokenizer(length), 1, DNA, ["7"]).gaps
    assert [gap.token for gap in gaps] == [DNA[6:7] if length == 1 else DNA[6:9]]
    assert gaps[0].position_bp == 7


def test_of_overlapping_kmers_all_that_hold_a_base_are_hidden():
    asked = question(kmer_tokenizer(3, overlapping=True), 1, DNA, ["7", "12-13"])
    assert [gap.token for gap in asked.gaps] == [DNA[i : i + 3] for i in (4, 5, 6, 9, 10, 11, 12)]
    assert [gap.position_bp for gap in asked.gaps] == [5, 6, 7, 10, 11, 12, 13]
    assert (asked.gaps[0].left, asked.gaps[0].right) == (DNA[:4], DNA[7:])
    hidden = [
        number
        for number, (a, b) in enumerate(zip(asked.line.ids, asked.line.input_ids, strict=True))
        if a != b
    ]
    assert hidden == asked.line.positions.tolist() == [5, 6, 7, 10, 11, 12, 13]


def test_written_masks_of_overlapping_kmers_stand_for_the_tokens_of_unknown_bases():
    tokenizer, mask = kmer_tokenizer(3, overlapping=True), "[MASK]"
    for text, shown in (
        (f"ACGT{mask * 3}CGTA", ["AC|GT_|CGTA", "ACG|T_C|GTA", "ACGT|_CG|TA"]),
        (f"ACGT{mask * 4}CGTA", ["AC|GT_|_CGTA", "ACG|T__|CGTA", "ACGT|__C|GTA", "ACGT_|_CG|TA"]),
        (f"{mask}CGTA{mask}", ["|_CG|TA_", "_CG|TA_|"]),
        (mask, ["|___|"]),
    ):
        gaps = question(tokenizer, 1, text, []).gaps
        whole = text.replace(mask, "")
        assert [f"{gap.left}|{gap.right}" for gap in gaps] == [
            f"{left}|{right}" for left, _, right in (one.split("|") for one in shown)
        ]
        assert [gap.position_bp for gap in gaps] == [one.index("|") + 1 for one in shown], whole
    # As many tokens as the whole sequence has, so that nothing else is told of the gap's length.
    tokens = len(tokenizer(f"ACGT{mask * 4}CGTA")["input_ids"])
    assert tokens == len(tokenizer("ACGTNNCGTA")["input_ids"])


@pytest.mark.parametrize("mask", ["[MASK]", "<mask>"])
def test_written_masks_of_overlapping_kmers_hide_a_base(mask):
    fine = (f"ACGT{mask * 3}CGTA{mask}", mask, f"{mask * 2}ACG", DNA)
    check_words(GapSettings(sequences=fine), 3)
    check_words(GapSettings(sequences=(f"A{mask}C",)), None)
    for text, message in (
        (f"ACGT{mask * 2}CGTA", r"sequence 2: 2 .* between two .* Write \S* 3 times for one base"),
        (f"{mask}ACG{mask}CGT{mask * 3}", r"sequence 2: 1 .* between"),
        (f"ACGT{mask * 3}TA", "sequence 2: TA is shorter than the 3-mers"),
    ):
        with pytest.raises(InputError, match=message):
            check_words(GapSettings(sequences=(DNA, text)), 3)


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


def test_a_model_that_is_not_there_yet_is_said_not_to_be_there(tmp_path):
    (tmp_path / "continued").mkdir()
    with pytest.raises(
        InputError, match=r"continuedd: no such directory\. Did you mean .*continued\? Give that of"
    ):
        load_tokenizer(tmp_path / "continuedd")
    with pytest.raises(InputError, match=r"no such directory\. The folder .*models does not exist\."):
        load_tokenizer(tmp_path / "models" / "dna")
