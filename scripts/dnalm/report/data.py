"""Chapter on the data: genomes, tokens, tokenizers, and the checks of the tasks."""

from collections import defaultdict
from itertools import groupby
from typing import Any

from dnalm.prepare_task.composition import TELLING_AREA, TELLING_CORRELATION
from dnalm.report import words
from dnalm.report.charts import histogram, quantile
from dnalm.report.parts import figure, heading, table, text
from dnalm.report.run import Run

# Longer tables are folded.
MOST_ROWS = 25


def data_section(run: Run) -> dict[str, Any]:
    """Genomes, tokens, tokenizers and the checks of the tasks."""
    parts: list[dict[str, Any]] = []
    if run.genomes:
        parts += genome_parts(run)
    if run.corpora:
        parts.append(corpus_table(run.corpora))
    if run.tokens:
        parts += token_parts(run)
    for description in run.tokenizers:
        parts += tokenizer_parts(description)
    for task, checks in run.checks.items():
        parts += check_parts(task, checks)
    return {"id": "data", "title": "Genomes, tokens and labelled sequences", "parts": parts}


def genome_parts(run: Run) -> list[dict[str, Any]]:
    """What was kept of every genome and what was dropped, and why."""
    rows = []
    for stats in run.genomes:
        dropped = stats["dropped"]
        rows.append(
            [
                stats["genome"],
                words.bases(stats["bases"]),
                f"{stats['sequences']:,}",
                f"{stats['gc_content']:.1%}",
                words.share(stats["soft_masked_fraction"], 1),
                f"{stats['windows']['train']:,}",
                f"{stats['windows']['validation']:,}",
                f"{dropped['incomplete']:,}",
                f"{dropped['non_acgt']:,}",
                f"{dropped['soft_masked']:,}",
                f"{dropped['split_border']:,}",
                run.genome_files.get(stats["genome"], ""),
            ]
        )
    settings = run.genomes[0]["settings"]
    columns = ["Genome", "Bases", "Sequences", "GC", "Soft-masked", "Training windows", "Held-out windows"]
    columns += ["Dropped: incomplete", "Dropped: N", "Dropped: repeats", "Dropped: split border", "File"]
    limit = settings["max_non_acgt"]
    foreign = f"more than {words.count(limit, 'base')}" if limit else "any base"
    windows = {
        split: sum(stats["windows"][split] for stats in run.genomes) for split in ("train", "validation")
    }
    total = (
        f"{len(rows):,} genomes of {words.bases(sum(stats['bases'] for stats in run.genomes))}: "
        f"{windows['train']:,} training windows and {windows['validation']:,} held out."
    )
    many = len(rows) > MOST_ROWS
    return [
        *([text(total)] if many else []),
        table(
            f"Genomes, cut into windows of {settings['length']:,} bp every {settings['stride']:,} bp",
            columns,
            rows,
            numeric=list(range(1, len(columns) - 1)),
            note=f"Incomplete: the rest at the end of a sequence. N: {foreign} other than A, C, G, T. Split "
            f"border: partly training, partly held out. {held_out_sentence(run.genomes)}",
            fold="The genomes, one by one" if many else "",
        ),
    ]


def corpus_table(corpora: list[dict[str, Any]]) -> dict[str, Any]:
    """The corpora that are no genomes, one sequence per line."""
    rows = [
        [
            stats["genome"],
            stats["source"],
            f"{stats['sequences']:,}",
            words.bases(stats["bases"]),
            f"{stats['gc_content']:.1%}",
            words.between(stats["length"]["shortest"], stats["length"]["longest"]),
            f"{stats['windows']['train']:,}",
            f"{stats['windows']['validation']:,}",
        ]
        for stats in corpora
    ]
    columns = ["Corpus", "Source", "Sequences", "Bases", "GC", "Length (bp)"]
    columns += ["Training lines", "Held-out lines"]
    return table(
        "Corpora, one sequence per line",
        columns,
        rows,
        numeric=[2, 3, 4, 5, 6, 7],
        note="Labels are not read. Of a task, the training split is learned from, the validation split held "
        "out, and the test split left alone. Of lines, a share of the different sequences is held out.",
    )


def token_parts(run: Run) -> list[dict[str, Any]]:
    """How many tokens the lines became, and how long lines are in tokens."""
    rows = []
    for summary in run.tokens:
        per_line = summary["tokens_per_line"]
        rows.append(
            [
                summary["genome"],
                summary["split"],
                summary["tokenizer"],
                f"{summary['lines']:,}",
                f"{summary['tokens']:,}",
                f"{summary['bases_per_token']:.2f}" if summary["bases_per_token"] else "",
                tokens_per_line(per_line),
                f"{summary['unknown_tokens']:,}",
                f"{summary['vocabulary_used']:,} of {summary['vocabulary_size']:,}",
            ]
        )
    columns = ["Genome", "Split", "Tokenizer", "Lines", "Tokens", "Bases per token", "Tokens per line"]
    columns += ["Unknown tokens", "Vocabulary used"]
    figures = []
    for tokenizer in dict.fromkeys(summary["tokenizer"] for summary in run.tokens):
        own = [summary for summary in run.tokens if summary["tokenizer"] == tokenizer]
        counts = {
            split: lines_by_length([summary for summary in own if summary["split"] == split])
            for split in dict.fromkeys(summary["split"] for summary in own)
        }
        svg = histogram(list(counts.items()), f"Tokens per line, {tokenizer}", "tokens per line")
        caption = "Lines of equal length in bp differ in tokens; [CLS] and [SEP] count. " + cut_sentence(
            run, tokenizer, counts.get("train", {})
        )
        figures.append(figure(f"Tokens per line: {tokenizer}", svg, caption, f"{tokenizer}.tokens_per_line"))
    return [
        tokenizer_table(run),
        table(
            "Token cache",
            columns,
            rows,
            numeric=[3, 4, 5, 7, 8],
            fold="The token cache, genome by genome" if len(rows) > MOST_ROWS else "",
        ),
        {"kind": "figures", "rows": figures},
    ]


def tokens_per_line(per_line: dict[str, Any]) -> str:
    """`44 to 80, median 54`, or `70` where all lines have as many."""
    span = words.between(per_line["shortest"], per_line["longest"])
    return span if per_line["shortest"] == per_line["longest"] else f"{span}, median {per_line['median']:,}"


def held_out_sentence(genomes: list[dict[str, Any]]) -> str:
    """Which DNA is held out: sequences by name, or blocks, which are shorter in small genomes."""
    named = [stats for stats in genomes if stats["settings"]["validation_sequences"]]
    blocks = [stats["settings"]["validation_block"] for stats in genomes if stats not in named]
    if not blocks:
        return "Whole sequences are held out by name."
    low, high = words.bases(min(blocks)), words.bases(max(blocks))
    length = low if low == high else f"{low} (in the smallest genome) to {high}"
    where = "the others" if named else "the genome"
    by_name = (
        f"Of {words.count(len(named), 'genome')} whole sequences are held out by name. " if named else ""
    )
    return (
        f"{by_name}Blocks of {length} are held out, evenly spaced over {where}, so that training and "
        "held-out lines are not neighbours."
    )


def tokenizer_table(run: Run) -> dict[str, Any]:
    """Tokenizers side by side on the training lines, and what each model of theirs leaves unread."""
    rows = []
    for tokenizer in dict.fromkeys(summary["tokenizer"] for summary in run.tokens):
        caches = [s for s in run.tokens if s["tokenizer"] == tokenizer and s["split"] == "train"]
        lengths = lines_by_length(caches)
        tokens, lines = sum(s["tokens"] for s in caches), sum(s["lines"] for s in caches)
        sequence_tokens = max(1, tokens - 2 * lines)
        used = max(s["vocabulary_used"] for s in caches)
        of_tokenizer = [
            tokenizer,
            # What several corpora use together is not counted.
            f"{used:,}{' or more' if len(caches) > 1 else ''} of {caches[0]['vocabulary_size']:,}",
            f"{sum(s['bases'] for s in caches) / sequence_tokens:.2f}",
            words.share(sum(s["unknown_tokens"] for s in caches) / sequence_tokens, 2),
            *[f"{quantile(lengths, share):,}" for share in QUANTILES],
        ]
        for name, model in run.settings.get("models", {}).items():
            if model["tokenizer"] == tokenizer:
                limit = model["max_tokens"]
                unread = unread_fraction(lengths, limit) if model["truncate"] else 0.0
                found = [
                    name,
                    f"{limit:,}",
                    words.share(longer_fraction(lengths, limit), 1),
                    words.share(unread, 1),
                ]
                rows.append([*of_tokenizer, *found])
    columns = ["Tokenizer", "Vocabulary used", "Bases per token", "Unknown tokens"]
    columns += ["Tokens per line, 5%", "Median", "95%", "Longest"]
    columns += ["Model", "Reads at once", "Longer lines", "Tokens never read"]
    return table(
        "Tokenizers side by side, on training lines",
        columns,
        rows,
        numeric=[1, 2, 3, 4, 5, 6, 7, 9, 10, 11],
        note="Tokens per line count [CLS] and [SEP]. Lines longer than a model reads at once are read in "
        "pieces, unless its setting truncate leaves the rest unread.",
    )


# Of the tokens per line; the last is the longest line.
QUANTILES = (0.05, 0.5, 0.95, 1.0)


def lines_by_length(caches: list[dict[str, Any]]) -> dict[int, int]:
    """How many lines have so many tokens, over several token caches."""
    found: dict[int, int] = defaultdict(int)
    for summary in caches:
        for length, lines in summary["tokens_per_line"]["histogram"]:
            found[length] += lines
    return dict(found)


def longer_fraction(lines_by_length: dict[int, int], limit: int) -> float:
    """Share of the lines that have more than `limit` tokens."""
    longer = sum(lines for length, lines in lines_by_length.items() if length > limit)
    return longer / max(1, sum(lines_by_length.values()))


def unread_fraction(lines_by_length: dict[int, int], limit: int) -> float:
    """Share of all tokens that stand beyond the first `limit` of their line."""
    tokens = sum(length * lines for length, lines in lines_by_length.items())
    return sum(max(0, n - limit) * lines for n, lines in lines_by_length.items()) / max(1, tokens)


def cut_sentence(run: Run, tokenizer: str, lengths: dict[int, int]) -> str:
    """Which share of the training lines is longer than what each model of this tokenizer reads."""
    sentences = []
    for name, model in run.settings.get("models", {}).items():
        if model["tokenizer"] == tokenizer and lengths:
            limit = model["max_tokens"]
            longer = longer_fraction(lengths, limit)
            if not longer:
                sentences.append(f"Model {name} reads {limit:,} tokens at once; no training line is longer.")
                continue
            fate = (
                f"cut, so {words.share(unread_fraction(lengths, limit), 1)} of all tokens are never read"
                if model["truncate"]
                else "read in pieces"
            )
            sentences.append(
                f"Model {name} reads {limit:,} tokens at once: {words.share(longer, 1)} of the training "
                f"lines are longer and {fate}."
            )
    return " ".join(sentences)


def tokenizer_parts(description: dict[str, Any]) -> list[dict[str, Any]]:
    """What a tokenizer makes of a few test words, with and without its adjustment to DNA."""
    rows = [
        [
            probe["text"],
            in_short(probe["tokens"]),
            " ".join(str(number) for number in probe["ids"]),
            in_short(probe["tokens_without_adjustment"]),
        ]
        for probe in description["probes"]
    ]
    shared = description.get("bases_shared_with_the_next")
    overlap = f", each sharing {shared} bp with the next" if shared else ""
    asked = description.get("settings", {}).get("vocabulary_size", 0)
    fewer = ""
    if asked > description["vocabulary_size"]:
        fewer = (
            f" {asked:,} tokens were asked for; so little DNA, or DNA so much alike, does not hold so many "
            "that occur often enough."
        )
    origin = "learnt here" if description.get("source") == "trained" else f"from {description.get('source')}"
    return [
        table(
            f"Tokenizer {description['tokenizer']} ({origin}): {description['vocabulary_size']:,} tokens, "
            f"the longest of {description['longest_token_bp']} bp{overlap}",
            ["Text", "Tokens", "Token ids", "Tokens without the adjustment to DNA"],
            rows,
            numeric=[],
            sequence=[0, 1, 2, 3],
            note=f"N policy {description['n_policy']}: {description['n_policy_meaning']}. Lower case counts "
            f"as upper case.{fewer}",
        )
    ]


def in_short(tokens: list[str]) -> str:
    """Tokens with blanks between them; many equal neighbours are counted."""
    runs = [(token, len(list(group))) for token, group in groupby(tokens)]
    return " ".join(f"{token} × {n}" if n > 3 else " ".join([token] * n) for token, n in runs)


# As many digits tell files apart.
CHECKSUM_SHOWN = 16


def check_parts(task: str, checks: dict[str, Any]) -> list[dict[str, Any]]:
    """What the check of a task found and did."""
    rows = []
    for split, counts in checks["rows"].items():
        file = checks.get("inputs", {}).get(split, {})
        rows.append(
            [
                split,
                f"{counts['read']:,}",
                dropped_or_left(counts, "duplicates"),
                dropped_or_left(counts, "conflicting_labels"),
                f"{counts.get('dropped_in_test', 0):,}",
                f"{counts.get('moved_to_validation', 0):,}",
                f"{counts['homologs_of_test']:,}" if "homologs_of_test" in counts else "",
                f"{counts['kept']:,}",
                file.get("file", ""),
                file.get("sha256", "")[:CHECKSUM_SHOWN],
            ]
        )
    forward = checks["settings"].get("strands") == "forward"
    columns = ["Table", "Rows read", "Duplicates dropped", "Conflicting labels dropped", "Leaked, dropped"]
    columns += ["Moved to validation", "Related to test", "Kept", "File", "SHA-256 begins with"]
    parts: list[dict[str, Any]] = [heading(f"Checks of task {task}")]
    if checks["warnings"]:
        said = [
            words.verdict("warn", "", warning[:1].upper() + warning[1:]) for warning in checks["warnings"]
        ]
        parts.append({"kind": "verdicts", "rows": said})
    parts.append(
        table(
            "What became of the labelled sequences",
            columns,
            rows,
            numeric=list(range(1, len(columns) - 2)),
            sequence=[len(columns) - 1],
            note="A sequence and its reverse complement count as the same molecule"
            + (", but as two for duplicates and labels: the strand decides the label" if forward else "")
            + ". Nothing is ever dropped from the test table."
            + (f" {words.ALL_TESTED}" if "folds" in checks else ""),
        )
    )
    if composition := checks.get("composition"):
        parts.append(composition_table(composition))
    leaks = checks["leakage"]["test"]["first"]
    if leaks:
        parts.append(
            table(
                f"Leaked test sequences (the first {len(leaks)} of {checks['leakage']['test']['count']:,})",
                ["Test sequence", "Same molecule in training", "Strand"],
                [[leak["id"], leak["training_id"], leak["strand"]] for leak in leaks],
                numeric=[],
                fold="Which test sequences leaked",
            )
        )
    return parts


def dropped_or_left(counts: dict[str, int], what: str) -> str:
    """How many rows were dropped as `what`; of the test table, which is left alone, how many are there."""
    left = counts.get(what, 0)
    return f"{left:,} left in" if left else f"{counts.get(f'dropped_{what}', 0):,}"


FEATURE_NAMES = {
    "length": "Length",
    "gc": "Fraction of G and C",
    "lower_case": "Fraction of lower case",
    "n": "Fraction of N",
}


CHANCE = 0.5


def composition_table(composition: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """How well each of a few plain numbers alone tells the labels of training sequences apart."""
    if all("spearman" in found for found in composition.values()):
        return correlation_table(composition)
    rows = [
        [
            FEATURE_NAMES[feature],
            words.number(found["auroc"]),
            # What is the same for all tells no label.
            found["label"] if found["auroc"] != CHANCE else "",
            "yes" if found["tells"] else "no",
        ]
        for feature, found in composition.items()
    ]
    return table(
        "Can the label be told without reading the sequence?",
        [
            *("Training sequences by", "AUROC", "Label against the others"),
            f"More than chance and above {TELLING_AREA}",
        ],
        rows,
        numeric=[1],
        note="0.5 is chance. What tells the label by itself may be all that a classifier learns. Sequences "
        "are made upper case before anything learns from them.",
    )


def correlation_table(composition: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """How well each of a few plain numbers alone tells the values of training sequences."""
    rows = [
        [
            FEATURE_NAMES[feature],
            "" if found["spearman"] is None else words.number(found["spearman"]),
            "yes" if found["tells"] else "no",
        ]
        for feature, found in composition.items()
    ]
    return table(
        "Can the value be told without reading the sequence?",
        ["Training sequences by", "Rank correlation", f"More than chance and beyond ±{TELLING_CORRELATION}"],
        rows,
        numeric=[1],
        note="Spearman; 0 is chance, empty where all sequences are alike. What tells the value by itself "
        "may be all that a model learns. Sequences are made upper case before anything learns from them.",
    )
