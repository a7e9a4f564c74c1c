"""Variants: the two sequences of an allele are those of the reference and of the genome that carries it."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnalm.running.errors import InputError
from dnalm.sequences import fasta, variants
from dnalm.sequences.inputs import check_beginning, kind_of_input
from dnalm.sequences.variants import (
    Allele,
    AllelesLeftOut,
    allele_windows,
    either_window,
    read_vcf,
    surroundings,
)

HEADER = "##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def write_vcf(path: Path, *rows: tuple) -> Path:
    path.write_text(HEADER + "".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


def write_genome(folder: Path, **chromosomes: str) -> Path:
    (folder / "g.fa").write_text("".join(f">{name}\n{dna}\n" for name, dna in chromosomes.items()))
    return folder / "g.fa"


@st.composite
def variants_in_chromosomes(draw) -> tuple[str, int, str, str]:
    """A chromosome, where in it a reference allele begins, that allele, and an alternative."""
    chromosome = draw(st.text("ACGT", min_size=1, max_size=60))
    start = draw(st.integers(0, len(chromosome) - 1))
    end = draw(st.integers(start + 1, min(len(chromosome), start + 6)))
    return chromosome, start, chromosome[start:end], draw(st.text("ACGT", min_size=1, max_size=6))


@given(variant=variants_in_chromosomes(), window=st.integers(12, 40))
def test_the_windows_are_pieces_of_genomes_that_carry_either_allele(variant, window):
    chromosome, start, reference, alternative = variant
    end = start + len(reference)
    left, right = chromosome[max(0, start - window) : start], chromosome[end : end + window]
    begin, *windows = either_window(left, reference, alternative, right, window)
    begin += start - len(left)
    assert windows[0] == chromosome[begin : begin + window]
    assert len(windows[0]) == min(window, len(chromosome))
    assert begin <= start and end <= begin + len(windows[0]), "the whole allele is in it"
    centred = start - (window // 2 - len(reference) // 2)
    if len(chromosome) - window >= centred >= 0:
        assert begin == centred
    carrier = chromosome[:start] + alternative + chromosome[end:]
    length = len(windows[0]) + len(alternative) - len(reference)
    assert windows[1] == carrier[begin : begin + length], "what is around the allele is the same"


@given(
    flanks=st.tuples(st.text("CG", min_size=30, max_size=30), st.text("CG", min_size=30, max_size=30)),
    run=st.integers(2, 8),
)
def test_a_deletion_from_a_run_changes_the_same_wherever_in_it_it_is_written(flanks, run):
    left, right = flanks
    chromosome = left + "A" * run + right

    def changed(start: int) -> set[str]:
        """What stands between the ends that both windows share."""
        _, with_it, without = either_window(chromosome[:start], "AA", "A", chromosome[start + 2 :], 40)
        assert with_it[:12] == without[:12] and with_it[-12:] == without[-12:]
        return {sequence.strip("CG") for sequence in (with_it, without)}

    assert {frozenset(changed(start)) for start in range(30, 30 + run - 1)} == {
        frozenset({"A" * run, "A" * (run - 1)})
    }


def test_alleles_are_read_in_the_order_of_the_file_with_their_places(tmp_path, monkeypatch):
    monkeypatch.setattr(variants, "PASS_BYTES", 2 * variants.ALLELE_BYTES)
    genome = write_genome(tmp_path, chr1="ACGTACGTAC" * 4, chr2="ggccttaagg" * 3)
    rows = [
        ("chr2", 15, "rs1;x", "t", "A,CC", ".", "PASS", "."),
        ("chr1", 1, ".", "A", "G"),
        ("chr1", 39, "", "AC", "A"),
    ]
    vcf = write_vcf(tmp_path / "x.vcf", *rows)
    found = list(allele_windows(vcf, genome, AllelesLeftOut(window=8)))
    assert [(a.id, a.chromosome, a.start, a.reference, a.alternative) for a, *_ in found] == [
        ("rs1;x", "chr2", 14, "T", "A"),
        ("rs1;x", "chr2", 14, "T", "CC"),
        ("chr1:1", "chr1", 0, "A", "G"),
        ("chr1:39", "chr1", 38, "AC", "A"),
    ]
    assert [(r.start, r.end, r.bases, a.bases) for _, r, a in found] == [
        (10, 18, "GGCCTTAA", "GGCCATAA"),
        (10, 18, "GGCCTTAA", "GGCCCCTAA"),
        (0, 8, "ACGTACGT", "GCGTACGT"),
        (32, 40, "GTACGTAC", "GTACGTA"),
    ]


def test_lines_of_thousands_of_samples_and_of_windows_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(variants, "LINE_BYTES", 64)
    samples = "\t".join(["0|1"] * 100)
    # One line ends where what is read at once ends, the last with the file.
    even = "chr1\t3\trs2\tG\tT\t.\t.\t".ljust(62, "x")
    rows = [f"chr1\t2\trs1\tC\tA\t.\t.\t.\tGT\t{samples}", even, "chr1\t4\trs3\tT\tC"]
    text = "\r\n".join(["##fileformat=VCFv4.2", "##" + "x" * 200, *rows])
    (tmp_path / "x.vcf.gz").write_bytes(gzip.compress(text.encode()))
    found = list(read_vcf(tmp_path / "x.vcf.gz", AllelesLeftOut()))
    assert [(a.id, a.reference, a.alternative, a.line) for a in found] == [
        ("rs1", "C", "A", 3),
        ("rs2", "G", "T", 4),
        ("rs3", "T", "C", 5),
    ]


def test_alleles_of_a_megabyte_are_read_to_their_end(tmp_path, monkeypatch):
    """Graphs of genomes and assemblies have such, with ids as long."""
    monkeypatch.setattr(variants, "LINE_BYTES", 64)
    rows = [
        ("chr1", 2, "x" * 1500, "C" * 300, f"CA,{'A' * 300},<DEL>", ".", ".", "." * 300),
        ("chr1", 3, ".", "G", "T"),
    ]
    left_out = AllelesLeftOut()
    found = list(read_vcf(write_vcf(tmp_path / "x.vcf", *rows), left_out))
    assert [(a.id, a.reference, a.alternative, a.line) for a in found] == [
        ("x" * 1500, "C" * 300, "CA", 3),
        ("x" * 1500, "C" * 300, "A" * 300, 3),
        ("chr1:3", "G", "T", 4),
    ]
    assert (left_out.read, left_out.without_bases) == (4, 1)


def test_a_pass_over_the_genome_has_fewer_alleles_where_more_bases_are_around_them(monkeypatch):
    """Before, 250,000 alleles took 6 GB in windows of 4,000 bp."""
    monkeypatch.setattr(variants, "PASS_BYTES", 100_000)
    alleles = [Allele("chr1", 5, "x", "A" * length, "C", 1) for length in [1] * 400 + [40_000, 1, 1]]

    def lengths(flank: int) -> list[int]:
        passes = list(variants.passes(iter(alleles), flank))
        assert [allele for some in passes for allele in some] == alleles
        return [len(some) for some in passes]

    assert max(lengths(0)) == 100 and max(lengths(2_000)) == 8
    assert lengths(0)[-1] == 2, "behind a long one begins another pass"


@pytest.mark.parametrize(
    "header",
    [
        "##fileDate=20240101\n#CHROM\tPOS\tID\tREF\tALT\n",
        "##source=x\n##fileformat=VCFv4.1\n",
        '##fileformat=VCFv4.2\t\t\n"##INFO=<ID=DP,Description=""a, b"">"\t\t\n',
    ],
    ids=["no format", "format not first", "Excel"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_headers_that_tools_and_excel_leave_behind_are_those_of_variants(tmp_path, monkeypatch, header, end):
    """ClinVar's ids are numbers: without its header such a file passes for BED."""
    monkeypatch.setattr(fasta, "BLOCK_BYTES", 30)
    path = tmp_path / "x.vcf"
    path.write_text((header + "1\t7\t1019397\tG\tA\n1\t9\t.\tC\tT\n").replace("\n", end), newline="")
    assert kind_of_input(path) == "vcf"
    check_beginning(path, "vcf")
    assert [(a.id, a.line) for a in read_vcf(path, AllelesLeftOut())] == [
        ("1019397", header.count("\n") + 1),
        ("1:9", header.count("\n") + 2),
    ]


def test_what_has_no_row_is_counted_by_reason(tmp_path):
    genome = write_genome(tmp_path, chr1="ACGT" * 20 + "N" * 20 + "ACGT" * 5)
    rows = [
        ("chr1", 41, "a", "A", "C,<DEL>,*"),
        ("chr1", 42, "b", "C", "."),
        ("chr1", 43, "c", "G", "G]chr1:5],.A"),
        ("chr1", 44, "d", "T", "TACGTA"),
        ("chr1", 44, "f", "T", "TACGT"),
        ("chr1", 82, "e", "N", "A"),
        ("chr1", 81, "g", "N", "A"),
    ]
    vcf = write_vcf(tmp_path / "x.vcf", *rows)
    left_out = AllelesLeftOut(window=10, max_unknown_fraction=0.5)
    assert [a.id for a, *_ in allele_windows(vcf, genome, left_out)] == ["a", "f", "g"], "limits are kept"
    said = left_out.say(vcf)
    assert "7 of 10 alleles have no row: 5 without bases of their own" in said
    assert "1 longer than half a window of 10 bp, 1 with more than 50% of the window not" in said
    assert AllelesLeftOut(read=3).say(vcf) == ""


@pytest.mark.parametrize("pass_bytes", [1, 1 << 20], ids=["one at a time", "together"])
def test_decoys_are_counted_by_name_and_the_order_is_kept(tmp_path, monkeypatch, pass_bytes):
    # The first pass may find nothing.
    monkeypatch.setattr(variants, "PASS_BYTES", pass_bytes)
    genome = write_genome(tmp_path, chr1="ACGT" * 20)
    names = ["hs37d5", "chr1", "MT", "MT", "chr1", *(f"HLA-{number}" for number in range(7))]
    vcf = write_vcf(tmp_path / "x.vcf", *((name, 41, i, "A", "C") for i, name in enumerate(names)))
    left_out = AllelesLeftOut(window=10)
    assert [allele.id for allele, *_ in allele_windows(vcf, genome, left_out)] == ["1", "4"]
    assert left_out.say(vcf).endswith(
        "10 of 12 alleles have no row: 10 on sequences that the genome does not have (MT 2, hs37d5 1, "
        "HLA-0 1, HLA-1 1, HLA-2 1 and 4 more names)"
    )
    # All but a scaffold are named by the other custom; the commonest with another spelling is asked about.
    other_custom = [("hs37d5", 9)] * 3 + [("2", 41)] * 2 + [("1", 41), ("chr1", 41)]
    genome = write_genome(tmp_path, chr1="ACGT" * 20, chr2="ACGT" * 20)
    vcf = write_vcf(
        tmp_path / "z.vcf", *((name, at, i, "A", "C") for i, (name, at) in enumerate(other_custom))
    )
    assert len(list(allele_windows(vcf, genome, left_out := AllelesLeftOut(window=10)))) == 1
    assert left_out.say(vcf).endswith(
        "6 of 7 alleles have no row: 6 on sequences that the genome does not have (hs37d5 3, 2 2, 1 1). "
        "Is 2 the genome's chr2? Then give both one name (bcftools annotate --rename-chrs)"
    )
    only_decoys = write_vcf(tmp_path / "y.vcf", ("hs37d5", 3, "a", "A", "C"), ("1", 1, "b", "A", "C"))
    with pytest.raises(InputError, match=r"y\.vcf line 3: hs37d5 is not in .*g\.fa\. Its first"):
        list(allele_windows(only_decoys, genome, AllelesLeftOut(window=10)))


def test_codes_that_stand_for_several_bases_agree_with_any(tmp_path):
    """The specification has them written as one base where the genome has a code."""
    genome = write_genome(tmp_path, chr1="ACGTRCGTAC")
    vcf = write_vcf(tmp_path / "x.vcf", ("chr1", 4, "x", "TAC", "T"), ("chr1", 1, "y", "NC", "A"))
    found = list(surroundings(vcf, genome, AllelesLeftOut(), 2))
    assert [around for _, *around in found] == [["CG", "TRC", "GT"], ["", "AC", "GT"]]


def test_another_genome_is_noticed(tmp_path):
    genome = write_genome(tmp_path, chr1="ACGT")
    vcf = write_vcf(tmp_path / "x.vcf", ("chr1", 1, "x", "A", "T"), ("chr1", 2, "y", "G", "T"))
    with pytest.raises(
        InputError, match=r"x\.vcf line 4: the reference allele is G, but .*g\.fa has C at position 2"
    ):
        list(surroundings(vcf, genome, AllelesLeftOut(), 5))
