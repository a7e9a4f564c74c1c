"""The numbers of docs/vocabulary.md can be made for other vocabularies and genomes."""

import random
import re
import runpy
import sys

from tokenizers import Tokenizer, models, pre_tokenizers

from dnalm.tokenizers.vocabulary import BASES, SPECIAL_TOKENS


def test_the_tables_of_a_vocabulary_are_printed(repository, tmp_path, monkeypatch, capsys):
    source, genome, task = tmp_path / "tokenizer.json", tmp_path / "genome.fa", tmp_path / "task.tsv"
    words = [*SPECIAL_TOKENS.values(), *BASES, "AC"]
    given = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, [("A", "C")], unk_token="[UNK]"))
    given.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    given.add_special_tokens(list(SPECIAL_TOKENS.values()))
    given.save(str(source))
    bases = "".join(random.Random(1).choices(BASES, k=30_000))
    genome.write_text(f">a\n{bases}\n{bases.lower()}\n{'N' * 1000}\n")
    # The case of letters says which class it is.
    pieces = [bases[start : start + 20] for start in range(0, 200, 20)]
    task.write_text("seq\tlabel\n" + "".join(f"{piece}\t0\n{piece.lower()}\t1\n" for piece in pieces))
    script = repository / "benchmarks/vocabulary.py"
    arguments = [script, "--source", source, "--fasta", genome, "--task", task]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out
    assert "| genome | 61,000 | 49.18% | 1.64% | 0 |" in printed
    assert re.search(r"\| genome \| N policy `drop` \| [\d.]+ \| 0\.00% \| 0\.00% \|", printed)
    assert "| share of lower-case letters | 0.000 | 1.000 | 1.000 |" in printed
    assert "| share of [UNK], tokenizer as it comes | 0.000 | 1.000 | 1.000 |" in printed
    assert "| share of [UNK], tokenizer adjusted | 0.000 | 0.000 | 0.500 |" in printed
