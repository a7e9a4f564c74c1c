"""Prediction: every window where it says it is, from every kind of file."""

import gzip
import io
import json
import re
import shutil
import subprocess
import sys
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from settings_objects import grouped
from steps import evaluate_into

import predict
from dnalm.evaluate.predictions import read_predictions
from dnalm.evaluate.settings import StrandSettings
from dnalm.predict.rows import AlleleRows, changes, log_odds
from dnalm.predict.settings import ScanSettings
from dnalm.problems.kinds import KINDS
from dnalm.problems.names import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from dnalm.running.errors import InputError
from dnalm.running.progress import Progress
from dnalm.sequences.strands import reverse_complement
from dnalm.sequences.windows import LeftOut, cut, number_of_windows


@pytest.fixture(scope="module")
def classifier_directory(tiny_model, tmp_path_factory) -> Path:
    """An untrained classifier: its probabilities differ from sequence to sequence, which is enough here."""
    from dnalm.finetune import classifier

    directory = tmp_path_factory.mktemp("classifier") / "tiny"
    directory.mkdir()
    weights = classifier.initial_weights(tiny_model, 2, seed=1)
    classifier.save_classifier(directory, tiny_model, weights, ["no", "yes"], "mean", max_tokens=60)
    summary = {"median_length": 40, "settings": {"seed": 42}, "kept": {"still_improving": False}}
    (directory / "finetuning_summary.json").write_text(json.dumps(summary))
    return directory


def random_dna(length: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def run_predict(classifier: Path, path: Path, **changes: object) -> list[dict[str, str]]:
    """Run the script's main and read its table."""
    output = path.parent / "predictions.tsv"
    settings = {
        "classifier": classifier,
        "input": path,
        "genome": None,
        "window": None,
        "stride": None,
        "max_unknown_fraction": 0.5,
        "strands": "forward",
        "batch_tokens": 1000,
        "bedgraph_label": None,
        "precision": "auto",
        "gpus": 0,
        "allow_cpu": False,
        "output": output,
        "bedgraph": None,
    }
    predict.main(**grouped(settings | changes, settings=ScanSettings, strands=StrandSettings))
    header, *rows = (line.split("\t") for line in output.read_text().splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def expected(classifier: Path, sequences: list[str]) -> np.ndarray:
    from dnalm.finetune.classifier import Classifier

    return Classifier(classifier).outputs(sequences)[:, 1]


# ----------------------------------------------------------------------------- cutting


@given(
    length=st.integers(0, 200),
    window=st.integers(1, 60),
    stride=st.integers(1, 80),
    part=st.integers(1, 70),
    offset=st.integers(0, 5),
)
def test_windows_are_those_of_the_plain_way(length, window, stride, part, offset):
    """However the sequence is dealt out, the windows are slices of it at multiples of the stride."""
    dna = random_dna(length, seed=length).lower()
    parts = [dna[i : i + part].encode() for i in range(0, length, part)]
    found = list(cut("chr1", offset, "x", iter(parts), window, stride, 1.0, LeftOut()))
    assert len(found) == number_of_windows(length, window, stride)
    starts = list(range(0, length - window + 1, stride)) or ([0] if length else [])
    if length > window and starts[-1] + window < length:
        starts.append(length - window)
    assert [w.start - offset for w in found] == starts
    for w in found:
        assert w.bases == dna[w.start - offset : w.end - offset].upper()
        assert len(w.bases) == min(window, length)


def test_gaps_are_left_out_but_short_sequences_are_not():
    dna = b"ACGT" * 5 + b"N" * 60 + b"ACGT" * 5
    starts = [w.start for w in cut("chr1", 0, "x", [dna], 20, 10, 0.5, LeftOut())]
    assert starts == [0, 10, 70, 80]
    assert [w.bases for w in cut("chr1", 0, "x", [b"NNNNN"], 20, 10, 0.5, LeftOut())] == ["NNNNN"]


def test_a_chromosome_is_cut_without_standing_in_memory():
    parts = (b"ACGT" * 25_000 for _ in range(100))
    tracemalloc.start()
    n = sum(1 for _ in cut("chr1", 0, "x", parts, 50_000, 50_000, 0.5, LeftOut()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 200
    assert peak < 1_000_000


@given(
    windows=st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 20), st.floats(0, 1, allow_nan=False)),
        min_size=1,
        max_size=15,
    )
)
def test_track_is_the_mean_of_the_windows_over_each_base(windows):
    sums, counts = np.zeros(90), np.zeros(90)
    for start, length, value in windows:
        sums[start : start + length] += value
        counts[start : start + length] += 1
    columns = [np.array(column) for column in zip(*((s, s + n, v) for s, n, v in windows), strict=True)]
    seen = np.zeros(90)
    for start, end, mean in zip(*predict.mean_by_position(*columns), strict=True):
        seen[start:end] += 1
        np.testing.assert_allclose(sums[start:end] / counts[start:end], mean, atol=1e-9)
    np.testing.assert_array_equal(seen, counts > 0)


# ----------------------------------------------------------------------------- kinds of input


def test_no_zero_of_a_track_has_a_sign():
    """Sums of 0.3, 0.2 and 0.1 leave less than nothing when these are taken away again."""
    file = io.StringIO()
    predict.write_track(file, "chr1", [(0, 5, 0.3), (0, 6, 0.2), (0, 7, 0.1), (10, 12, 0.0)])
    assert file.getvalue().splitlines()[-1] == "chr1\t10\t12\t0.0000"


def test_fasta_is_scanned_and_short_records_are_read_whole(classifier_directory, tmp_path, caplog):
    caplog.set_level("INFO")
    long, short = random_dna(95, 1), random_dna(30, 2)
    path = tmp_path / "x.fa.gz"
    path.write_bytes(
        gzip.compress(f">chr1 some words\n{long[:50]}\n{long[50:]}\n>e\n>s\n{short.lower()}\n".encode())
    )
    rows = run_predict(classifier_directory, path, bedgraph=tmp_path / "x.bedgraph")
    places = [(row["sequence"], int(row["start"]), int(row["end"])) for row in rows]
    # The classifier learned from 40 bp: that is the window, half of it the stride.
    assert places == [("chr1", 0, 40), ("chr1", 20, 60), ("chr1", 40, 80), ("chr1", 55, 95), ("s", 0, 30)]
    values = expected(classifier_directory, [long[:40], long[20:60], long[40:80], long[55:], short])
    np.testing.assert_allclose([float(row["probability_yes"]) for row in rows], values, atol=1e-6)
    assert [row["predicted"] for row in rows] == ["yes" if value > 0.5 else "no" for value in values]
    track = [line.split("\t") for line in (tmp_path / "x.bedgraph").read_text().splitlines()]
    assert [tuple(line[:3]) for line in track] == [
        ("chr1", "0", "20"),
        ("chr1", "20", "40"),
        ("chr1", "40", "55"),
        ("chr1", "55", "60"),
        ("chr1", "60", "80"),
        ("chr1", "80", "95"),
        ("s", "0", "30"),
    ]
    assert float(track[3][3]) == pytest.approx(values[1:4].mean(), abs=1e-4)
    assert "x.bedgraph: a track of yes" in caplog.text
    assert "1 of 3 sequences have no row: e" in caplog.text


def test_bed_regions_come_from_the_genome_in_the_order_of_the_file(
    classifier_directory, tmp_path, monkeypatch
):
    monkeypatch.setattr("dnalm.sequences.fasta.BLOCK_BYTES", 64)
    chromosomes = {"chr1": random_dna(300, 1), "chr2": random_dna(250, 2), "chr3": random_dna(80, 3)}
    genome = tmp_path / "genome.fa"
    genome.write_text("".join(f">{name}\n{dna}\n" for name, dna in chromosomes.items()))
    regions = [("chr2", 10, 45, "a", "+"), ("chr1", 100, 140, "b", "-"), ("chr1", 0, 30, "c", "+")]
    regions += [("chr1", 110, 200, "d", "+"), ("chr2", 10, 45, "e", "-")]
    bed = tmp_path / "x.bed"
    bed.write_text("track name=x\n" + "".join(f"{c}\t{s}\t{e}\t{n}\t0\t{d}\n" for c, s, e, n, d in regions))
    rows = run_predict(classifier_directory, bed, genome=genome, bedgraph=tmp_path / "x.bedgraph")
    assert [row["id"] for row in rows] == ["a", "b", "c", "d", "d", "d", "d", "e"]
    assert [row["start"] for row in rows if row["id"] == "d"] == ["110", "130", "150", "160"]
    dna = [chromosomes[row["sequence"]][int(row["start"]) : int(row["end"])] for row in rows]
    dna[1], dna[7] = reverse_complement(dna[1]), reverse_complement(dna[7])
    np.testing.assert_allclose(
        [float(row["probability_yes"]) for row in rows], expected(classifier_directory, dna), atol=1e-6
    )
    track = [line.split("\t") for line in (tmp_path / "x.bedgraph").read_text().splitlines()]
    ends: dict[str, int] = {}
    for name, start, end, _ in track:
        assert int(start) >= ends.get(name, 0), "the segments of a track may not overlap"
        ends[name] = int(end)


@pytest.mark.parametrize("strands", ["forward", "both"])
def test_an_allele_stands_beside_the_reference(classifier_directory, tmp_path, strands):
    chromosome = random_dna(200, 1)
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}
    genome = tmp_path / "genome.fa"
    genome.write_text(f">chr1\n{chromosome}\n")
    snv, deletion = (99, chromosome[99], other[chromosome[99]]), (49, chromosome[49:52], chromosome[49])
    lines = [f"chr1\t{s + 1}\trs{s}\t{ref}\t{alt}\n" for s, ref, alt in (snv, deletion)]
    (tmp_path / "x.vcf").write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n" + "".join(lines))
    rows = run_predict(
        classifier_directory, tmp_path / "x.vcf", genome=genome, strands=strands, bedgraph=tmp_path / "track"
    )
    pairs = []
    for (start, reference, alternative), begin in ((snv, 79), (deletion, 30)):
        carrier = chromosome[:start] + alternative + chromosome[start + len(reference) :]
        end = begin + 40 + len(alternative) - len(reference)
        pairs += [chromosome[begin : begin + 40], carrier[begin:end]]
    values = expected(classifier_directory, pairs)
    if strands == "both":
        values = (values + expected(classifier_directory, list(map(reverse_complement, pairs)))) / 2
    numbers = {name: [float(row[name]) for row in rows] for name in rows[0] if "_yes" in name}
    np.testing.assert_allclose(numbers["probability_yes"], values[::2], atol=1e-6)
    np.testing.assert_allclose(numbers["alternative_probability_yes"], values[1::2], atol=1e-6)
    odds = np.log(values / (1 - values))
    np.testing.assert_allclose(numbers["log_odds_change_yes"], odds[1::2] - odds[::2], atol=1e-6)
    opposite = [-float(row["log_odds_change_no"]) for row in rows]
    np.testing.assert_allclose(numbers["log_odds_change_yes"], opposite, atol=1e-6)
    said = [row[name] for row in rows for name in ("predicted", "alternative_predicted")]
    assert said == ["yes" if value > 0.5 else "no" for value in values]
    assert [(row["id"], row["start"], row["end"], row["position"]) for row in rows] == [
        ("rs99", "79", "119", "100"),
        ("rs49", "30", "70", "50"),
    ]
    assert [(row["reference"], row["alternative"]) for row in rows] == [snv[1:], deletion[1:]]
    track = [line.split("\t") for line in (tmp_path / "track").read_text().splitlines()]
    assert [(line[1], line[2]) for line in track] == [("49", "52"), ("99", "100")]
    assert float(track[1][3]) == pytest.approx(numbers["log_odds_change_yes"][0], abs=1e-4)


def test_what_occurs_again_is_read_once(classifier_directory, tmp_path, monkeypatch):
    """Of every base of a sequence exchanged for the three others, half of what is asked is the reference."""
    from dnalm.finetune.classifier import Classifier

    read, outputs = [], Classifier.outputs
    monkeypatch.setattr(
        Classifier, "outputs", lambda self, some, *rest: read.extend(some) or outputs(self, some, *rest)
    )
    sequence = random_dna(30, 1)
    (tmp_path / "g.fa").write_text(f">chr1\n{sequence}\n")
    exchanges = [(i, base, other) for i, base in enumerate(sequence) for other in "ACGT" if other != base]
    lines = [f"chr1\t{i + 1}\t.\t{base}\t{other}\n" for i, base, other in exchanges]
    (tmp_path / "x.vcf").write_text("##fileformat=VCFv4.2\n" + "".join(lines))
    rows = run_predict(classifier_directory, tmp_path / "x.vcf", genome=tmp_path / "g.fa")
    carriers = [sequence[:i] + other + sequence[i + 1 :] for i, _, other in exchanges]
    assert sorted(read) == sorted([sequence, *carriers])
    alternatives = [float(row["alternative_probability_yes"]) for row in rows]
    np.testing.assert_allclose(alternatives, expected(classifier_directory, carriers), atol=1e-6)
    references = [float(row["probability_yes"]) for row in rows]
    np.testing.assert_allclose(references, [*expected(classifier_directory, [sequence])] * 90, atol=1e-6)


@pytest.mark.parametrize(("asked", "used"), [("auto", "fp32"), ("bf16", "bf16")])
def test_what_an_allele_changes_is_computed_in_fp32_unless_bf16_is_asked_for(
    classifier_directory, tmp_path, monkeypatch, asked, used
):
    """`auto` is bf16 on GPUs. Measured, 5% of a typical change was rounding; one sign in a hundred turned."""
    chosen = []
    monkeypatch.setattr(predict, "choose_precision", lambda precision, _: chosen.append(precision) or "fp32")
    (tmp_path / "g.fa").write_text(f">chr1\nA{random_dna(60, 1)}\n")
    (tmp_path / "x.vcf").write_text("##fileformat=VCFv4.2\nchr1\t1\t.\tA\tC\n")
    run_predict(classifier_directory, tmp_path / "x.vcf", genome=tmp_path / "g.fa", precision=asked)
    assert chosen == [used]


def test_alleles_behind_what_the_classifier_reads_are_told_of(classifier_directory, tmp_path, caplog):
    """A change of 0 would else be taken for an allele without effect."""
    chromosome = "A".join(random_dna(600, seed) for seed in (1, 2))
    (tmp_path / "g.fa").write_text(f">chr1\n{chromosome}\n")
    (tmp_path / "x.vcf").write_text("##fileformat=VCFv4.2\nchr1\t601\t.\tA\tC\n")
    with caplog.at_level("WARNING"):
        asked = {"genome": tmp_path / "g.fa", "window": 1000, "strands": "both"}
        [row] = run_predict(classifier_directory, tmp_path / "x.vcf", **asked)
    assert float(row["log_odds_change_yes"]) == 0
    assert "4 of 4 readings" in caplog.text and "where nothing was read has a change of 0" in caplog.text


@given(logits=st.lists(st.floats(-300, 300), min_size=3, max_size=3))
def test_log_odds_keep_their_digits_where_a_classifier_is_sure(logits):
    """ln(p / (1 - p)) of a softmax is a logit less the logarithm of the sum of the others' exponentials."""
    scores = np.array([logits])
    outputs = KINDS[SINGLE_LABEL].outputs(scores)
    expected = [scores[0, i] - np.logaddexp.reduce(np.delete(scores[0], i)) for i in range(3)]
    np.testing.assert_allclose(log_odds(outputs, KINDS[SINGLE_LABEL])[0], expected, rtol=1e-9, atol=1e-9)


def test_several_labels_are_changed_on_their_own_and_values_by_their_difference():
    outputs = np.array([[0.5, 0.25], [0.75, 0.25]])
    several = changes(outputs, KINDS[MULTI_LABEL])
    np.testing.assert_allclose(several, [[np.log(3), 0]], atol=1e-6)
    np.testing.assert_array_equal(changes(outputs[:, :1], KINDS[REGRESSION]), [[0.25]])


def test_the_table_of_alleles_names_what_it_holds(tmp_path):
    (tmp_path / "g.fa").write_text(">chr1\nACGTACGTAC\n")
    (tmp_path / "x.vcf").write_text("##fileformat=VCFv4.2\nchr1\t5\trs1\tA\tC\n")
    rows = AlleleRows(tmp_path / "x.vcf", tmp_path / "g.fa", 6, ScanSettings())
    value = KINDS[REGRESSION]
    header = rows.header(value, ["value"])
    [row] = rows.rows(list(rows.items), np.array([[1.5], [1.25]]), value, ["value"])
    assert dict(zip(header, map(str, row), strict=True)) == {
        "sequence": "chr1",
        "start": "1",
        "end": "7",
        "id": "rs1",
        "position": "5",
        "reference": "A",
        "alternative": "C",
        "predicted": "1.5",
        "alternative_predicted": "1.25",
        "change_value": "-0.250000",
    }


def test_both_strands_is_the_mean_of_two_readings(classifier_directory, tmp_path):
    dna = [random_dna(40, seed) for seed in range(5)]
    path = tmp_path / "x.tsv"
    path.write_text("sequence\n" + "".join(f"{sequence}\n" for sequence in dna))
    rows = run_predict(classifier_directory, path, strands="both", window=20, bedgraph=tmp_path / "track")
    assert (tmp_path / "track").read_text() == "", "rows of a table lie nowhere"
    forward = expected(classifier_directory, dna)
    reverse = expected(classifier_directory, [reverse_complement(sequence) for sequence in dna])
    assert not np.allclose(forward, reverse, atol=1e-4)
    found = [float(row["probability_yes"]) for row in rows]
    np.testing.assert_allclose(found, (forward + reverse) / 2, atol=1e-6)
    assert [row["id"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert {(row["start"], row["end"]) for row in rows} == {("0", "40")}


@pytest.mark.parametrize("strands", ["both", "forward"])
def test_evaluation_and_prediction_read_the_same_strands(classifier_directory, tmp_path, strands):
    path = tmp_path / "x.tsv"
    rows = [f"s{i}\t{random_dna(40, i)}\t{('no', 'yes')[i % 2]}\n" for i in range(6)]
    path.write_text("id\tseq\tlabel\n" + "".join(rows))
    predicted = [
        float(row["probability_yes"]) for row in run_predict(classifier_directory, path, strands=strands)
    ]
    evaluate_into(tmp_path, classifier_directory, path, strands=StrandSettings(strands=strands))
    assert json.loads((tmp_path / "metrics.json").read_text())["strands"] == strands
    evaluated = read_predictions(tmp_path / "predictions.tsv", SINGLE_LABEL).outputs[:, 1]
    np.testing.assert_allclose(predicted, evaluated, atol=1e-6)


def write_stack(folder: Path, classifier: Path, members: list[str]) -> Path:
    """A stack of the same classifier several times, and of baselines named `kmer` and `combined`."""
    of_kind = {"kmer": "baseline.json", "combined": "combined.json"}
    for name in members:
        if name in of_kind:
            (folder / "members" / name).mkdir(parents=True)
            (folder / "members" / name / of_kind[name]).write_text("{}")
        else:
            shutil.copytree(classifier, folder / "members" / name)
    about = [{"name": name, "weight": 1 / len(members)} for name in members]
    stacked = {"labels": ["yes", "no"], "intercepts": [0, 0], "members": about}
    (folder / "stacked.json").write_text(json.dumps(stacked))
    return folder


def test_a_stack_of_one_classifier_says_what_it_says(classifier_directory, tmp_path, caplog):
    stack = write_stack(tmp_path / "stack", classifier_directory, ["one", "other"])
    (tmp_path / "x.tsv").write_text(f"seq\n{random_dna(50, 1)}\n{random_dna(400, 2)}\n")
    said = []
    for predictor in (classifier_directory, stack):
        caplog.clear()
        rows = run_predict(predictor, tmp_path / "x.tsv")
        said.append([(row["predicted"], float(row["probability_yes"])) for row in rows])
        assert "1 of 2 windows" in caplog.text, "one has more tokens than the classifier reads"
    for alone, stacked in zip(*said, strict=True):
        assert stacked == (alone[0], pytest.approx(alone[1], abs=2e-6))


def test_the_windows_of_a_stack_are_those_of_its_first_classifier(classifier_directory, tmp_path):
    stack = write_stack(tmp_path / "stack", classifier_directory, ["kmer", "combined", "frozen"])
    assert predict.usual_length(stack) == 40
    with pytest.raises(InputError, match=r"which says how long windows are\. Give --window"):
        predict.usual_length(write_stack(tmp_path / "other", classifier_directory, ["kmer", "combined"]))


# ----------------------------------------------------------------------------- progress


@pytest.mark.parametrize("strands", ["forward", "both"])
@pytest.mark.parametrize("kind", ["fasta", "bed", "table", "vcf"])
def test_how_much_is_left_is_said_while_the_network_reads(
    classifier_directory, tmp_path, monkeypatch, caplog, kind, strands
):
    """Not only after thousands of sequences, which may take an hour; and the last line is of all."""
    monkeypatch.setattr(predict, "Progress", partial(Progress, interval=0))
    genome = tmp_path / "g.fa"
    genome.write_text(f">chr1\n{random_dna(160, 1)}{'N' * 100}\n>chr2\n{random_dna(80, 2)}\n")
    variants = [f"chr1\t{place}\t.\tN\tA,C,<DEL>\n" for place in range(41, 48)]
    path = tmp_path / "x"
    path.write_text(
        {
            "fasta": genome.read_text(),
            "bed": "chr1\t0\t260\nchr2\t0\t80\n",
            "table": "\n".join(["seq", *(random_dna(16, seed) for seed in range(14))]),
            "vcf": "##fileformat=VCFv4.2\n" + "".join(variants) + "chr1\t220\t.\tN\tA\nMT\t1\t.\tA\tC\n",
        }[kind]
    )
    caplog.set_level("INFO", "dnalm")
    rows = run_predict(
        classifier_directory,
        path,
        genome=genome if kind in ("bed", "vcf") else None,
        strands=strands,
        batch_tokens=80,
    )
    said = re.findall(r"predicting: (\d+) of (\d+) (sequences|alleles) \((\d+)%\)", caplog.text)
    assert len(said) > 2
    assert said[-1] == (str(len(rows)), str(len(rows)), "alleles" if kind == "vcf" else "sequences", "100")


# ----------------------------------------------------------------------------- nothing vanishes


def test_what_has_no_row_is_counted_with_its_reason(classifier_directory, tmp_path, caplog):
    genome = tmp_path / "g.fa"
    genome.write_text(f">chr1\n{random_dna(100, 1)}{'N' * 200}{random_dna(100, 2)}\n")
    (tmp_path / "x.bed").write_text("chr1\t0\t80\ta\nchr1\t120\t280\tgap\nchr1\t310\t390\tb\n")
    rows = run_predict(classifier_directory, tmp_path / "x.bed", genome=genome)
    assert {row["id"] for row in rows} == {"a", "b"}
    assert "1 of 3 sequences have no row: gap" in caplog.text
    assert "7 windows were left out" in caplog.text and "max_unknown_fraction" in caplog.text


def test_nothing_to_classify_is_an_error(classifier_directory, tmp_path):
    genome = tmp_path / "g.fa"
    genome.write_text(f">chr1\n{'N' * 300}\n>chr2\n{random_dna(50, 1)}\n")
    (tmp_path / "x.bed").write_text("chr1\t0\t200\tgap\n")
    with pytest.raises(InputError, match=r"1 of 1 sequences have no row: gap\. There is nothing to classify"):
        run_predict(classifier_directory, tmp_path / "x.bed", genome=genome)
    assert not list(tmp_path.glob("out*"))


def test_names_of_regions_with_quotation_marks_are_read_back(classifier_directory, tmp_path, caplog):
    (tmp_path / "x.bed").write_text('chr10\t0\t5\t"one" region\nchr10\t1\t6\ttwo\n', encoding="utf-8")
    run_predict(classifier_directory, tmp_path / "x.bed", genome=write_genome(tmp_path))
    table = pd.read_csv(tmp_path / "predictions.tsv", sep="\t")
    assert table["id"].tolist() == ['"one" region', "two"]
    assert "no row" not in caplog.text, "every region has one"


# ----------------------------------------------------------------------------- errors


def write_genome(folder: Path) -> Path:
    (folder / "g.fa").write_text(">chr10\nACGTACGT\n")
    return folder / "g.fa"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("10\t0\t5", r"x\.bed line 1: 10 is not in .*g\.fa\. Did you mean chr10\?"),
        (
            "chr10\t0\t5\nUn1\t0\t5\nUn2\t0\t5\nUn1\t5\t8",
            r"line 2: Un1 is not in .*g\.fa \(2 names are missing there, with 3 of 4 places\)\. Its first",
        ),
        ("chr10\t0\t50", r"x\.bed line 1: the region ends at 50, but chr10 has 8 bases"),
        ("chr10\t5\t5", r"x\.bed line 1: the region ends at 5, before"),
        ("chr10\t0\t5\nchr10 3 4", r"x\.bed line 2: chromosome, start and end"),
    ],
)
def test_regions_that_cannot_be(classifier_directory, tmp_path, line, message):
    (tmp_path / "x.bed").write_text(line + "\n")
    with pytest.raises(InputError, match=message):
        run_predict(classifier_directory, tmp_path / "x.bed", genome=write_genome(tmp_path))


def test_requests_that_do_not_fit_together(classifier_directory, tmp_path):
    genome = write_genome(tmp_path)
    (tmp_path / "x.bed").write_text("chr10\t0\t5\n")
    (tmp_path / "x.tsv").write_text("seq\nACGT\n")
    with pytest.raises(InputError, match="needs --genome"):
        run_predict(classifier_directory, tmp_path / "x.bed")
    with pytest.raises(InputError, match="--genome goes with a BED or VCF file, but this is a FASTA file"):
        run_predict(classifier_directory, genome, genome=genome)
    with pytest.raises(InputError, match="--bedgraph-label says which class"):
        run_predict(classifier_directory, tmp_path / "x.tsv", bedgraph_label="yes")
    with pytest.raises(InputError, match="the classifier knows no, yes"):
        run_predict(classifier_directory, genome, bedgraph=tmp_path / "t", bedgraph_label="maybe")


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "config.json",
            {"problem_type": "ranking"},
            'problem_type is "ranking"; single_label_classification,',
        ),
        ("config.json", {"problem_type": ["x"]}, r'problem_type is \["x"\]'),
        ("config.json", {"id2label": {"1": "no", "2": "yes"}}, "id2label must name the outputs 0, 1"),
        ("config.json", {"id2label": {"0": "no", "1": "no"}}, "id2label must name the outputs 0, 1"),
        ("config.json", {"id2label": {"0": "no", "1": "y\tes\n"}}, "id2label must name the outputs 0, 1"),
        ("config.json", {"id2label": ["no", "yes"]}, "id2label must name the outputs 0, 1"),
        ("finetuning_summary.json", {"median_length": "40"}, "no median_length, which says how long"),
    ],
)
def test_a_classifier_from_elsewhere_is_looked_at_first(
    classifier_directory, tmp_path, file, change, message
):
    copy = tmp_path / "classifier"
    shutil.copytree(classifier_directory, copy)
    about = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps(about | change))
    with pytest.raises(InputError, match=message):
        run_predict(copy, write_genome(tmp_path))


def test_damage_in_the_middle_leaves_nothing(repository, classifier_directory, tmp_path):
    """The error shows after rows were written: neither file may appear."""
    path = tmp_path / "x.fa"
    path.write_text(">a\n" + random_dna(100, 1) + "\n>b\nACGU\n")
    command = [sys.executable, repository / "scripts/predict.py", "--classifier", classifier_directory]
    command += ["--input", path, "--output", tmp_path / "x.tsv", "--bedgraph", tmp_path / "x.bedgraph"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    windows, error = result.stderr.splitlines()
    assert windows.startswith(f"{path}: windows of ")
    assert error.startswith(f"error: {path} line 4 (record b): 'U' is no nucleotide")
    assert [file.name for file in tmp_path.iterdir()] == ["x.fa"]
