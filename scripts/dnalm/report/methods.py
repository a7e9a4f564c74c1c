"""Chapter on how the run was made and can be repeated: software, machines, data, methods, configuration."""

import json
from typing import Any

from dnalm.report import paper
from dnalm.report.data import MOST_ROWS
from dnalm.report.parts import heading, table, text
from dnalm.report.references import cited
from dnalm.report.run import Run

GLOSSARY = [
    (
        "Token, vocabulary, [MASK]",
        "Token: a short piece of DNA that has a number; the vocabulary is the list of all. Some tokens are "
        "no DNA: [CLS] before a sequence, [SEP] behind it, [PAD] to fill up a batch, [UNK] for what the "
        "vocabulary does not know, and [MASK] in place of a token that the model has to guess.",
    ),
    (
        "Language model, pretraining",
        "A network that learned from DNA without labels, by guessing hidden tokens. That is pretraining.",
    ),
    (
        "Backbone, head, fine-tuning",
        "Backbone: the language model without its last part. Head: a small network on top of it that names "
        "a class or a value. Fine-tuning: learning from labelled sequences.",
    ),
    (
        "Frozen, top layers, LoRA, in full",
        "How much of the backbone learns from labels beside the head: nothing (frozen), its topmost layers, "
        "small matrices added to it (LoRA), or every weight.",
    ),
    (
        "Embedding, pooling",
        "Embedding: a sequence as a list of numbers, a vector. The model has such a vector for each token; "
        "pooling makes one of them: the vector of [CLS], their mean, or the largest of each number (max).",
    ),
    (
        "Step, batch, epoch, learning rate",
        "In a step all weights that learn are changed a little, after a look at one batch of lines or "
        "sequences. An epoch is one pass over all of them. The learning rate is how large the changes are: "
        "too high, and the loss rises or jumps; too low, and it hardly falls.",
    ),
    (
        "Training, validation, test, held-out",
        "Training: what is learned from. Validation: what is used to choose, such as the epoch that is kept. "
        "Test: what was looked at once, at the end. Held-out: DNA that pretraining did not read.",
    ),
    ("Checkpoint", "The saved weights of a model, to go on from."),
    (
        "k-mer, baseline",
        "k-mer: a word of k bases. Baseline: a simple predictor, such as one that counts k-mers; a language "
        "model that is no better is not needed for the task.",
    ),
    (
        "Accuracy",
        "Share of test sequences whose class is predicted correctly. Look at it beside the majority class.",
    ),
    (
        "Balanced accuracy",
        "Mean of the shares found of each class; guessing gives 1 divided by the number of classes.",
    ),
    (
        "Precision, recall, F1",
        "Of the sequences called positive, the share that is (precision). Of the positives, the "
        "share that is found (recall). F1 is their harmonic mean.",
    ),
    (
        "MCC",
        "Matthews correlation of truth and prediction: 1 perfect, 0 no better than chance, −1 always wrong.",
    ),
    (
        "AUROC, AUPRC",
        "Areas under the ROC and the precision-recall curve: how well the probabilities rank positives "
        "above the others, whatever the threshold. Guessing gives 0.5 and the share of positives.",
    ),
    (
        "R², Pearson, Spearman",
        "R²: share of the variance of measured values that the predictions explain. Correlation of "
        "predicted and measured values (Pearson) and of their ranks (Spearman), whatever their scale.",
    ),
    (
        "Macro, micro, exact match",
        "Of several labels per sequence: mean over the labels (macro), over all pairs of sequence and label "
        "(micro), share of sequences of which every label is right.",
    ),
    (
        "Bootstrap interval",
        "The test sequences are drawn again with replacement many times; the interval holds the "
        "middle of the results. It covers the luck of the test set, not that of training.",
    ),
    (
        "Loss, perplexity",
        "Loss: mean of −ln(probability given to the truth), in nats. Perplexity: exp(loss), the "
        "number of equally likely tokens the model hesitates between.",
    ),
    (
        "Nats, bits",
        "Units of loss. Nats use the natural logarithm, bits that of base 2: 1 nat is 1.44 bits. Who guesses "
        "among four bases pays 2 bits for each.",
    ),
    (
        "Logits, calibration, temperature",
        "Logits: what a classifier computes before it is turned into probabilities. Calibration: whether "
        "of the sequences with a probability of 0.8 about 80% are right. Temperature: a number by which "
        "logits are divided to bring that about.",
    ),
    (
        "PCA, UMAP",
        "Maps of embeddings: points that are near each other have similar vectors. PCA shows the two "
        "directions in which they differ most; UMAP keeps neighbours together, and its distances and sizes "
        "of groups mean little.",
    ),
    (
        "Untrained",
        "The same model with its random initial weights, taught and tested in the same way. What it lacks "
        "against the pretrained one is what pretraining brought.",
    ),
    ("As published", "A model before this workflow trained it further, taught and tested in the same way."),
    ("Leak", "A test sequence that is also in training, on either strand: recalling is not predicting."),
    ("Soft-masked", "Bases in lower case: repeats, by RepeatMasker and the like."),
]


REPEATING = (
    "To repeat this run: these versions and files, the sheets, and the configuration, saved as run.yaml: "
    "snakemake --configfile run.yaml --cores 8. The dna-modernbert repository tells how to "
    "install it, and what to keep. The same make of CPU with as many threads (--cores, "
    "resources.pretrain_threads) gives the same bytes; others, and GPUs, other last digits, which grow in a "
    "training."
)


def methods_section(run: Run) -> dict[str, Any]:
    """Software, machines, data, methods for a paper, the resolved configuration and the words used."""
    parts: list[dict[str, Any]] = []
    if facts := made(run):
        parts.append(said_of_each(facts))
    if rows := data_rows(run):
        note = "Of files of a URL, those that came."
        columns = ["Data", "File", "SHA-256"]
        fold = "From which files" if len(rows) > MOST_ROWS else ""
        parts.append(table("From which files", columns, rows, numeric=[], sequence=[2], note=note, fold=fold))
    if run.settings:
        parts.append(text(REPEATING))
        parts.append(
            {
                "kind": "code",
                "text": as_yaml(run.settings),
                "fold": "The complete configuration, defaults included",
            }
        )
    parts += [
        {"kind": "code", "text": rows, "fold": f"The sheet {sheet}"} for sheet, rows in run.sheets.items()
    ]
    if said := paper.paragraphs(run):
        parts.append(heading("Methods, for a paper", "for-a-paper"))
        parts += map(text, said)
        parts.append(heading("Cited"))
        parts.append(said_of_each(cited(said)))
    parts.append(heading("Words used here"))
    parts.append(said_of_each(GLOSSARY))
    return {"id": "methods", "title": "How this was made, and words", "parts": parts}


def said_of_each(terms: list[tuple[str, str]]) -> dict[str, Any]:
    """Terms, and what is said of each."""
    return {"kind": "words", "rows": [{"term": term, "text": meaning} for term, meaning in terms]}


def made(run: Run) -> list[tuple[str, str]]:
    """Versions, commit, dates and machines, as far as they are known."""
    versions = run.all_versions
    named = [f"{name} {version}" for name, version in sorted(versions.items(), key=lambda v: v[0].lower())]
    rows = [("Software", ", ".join(named))] if named else []
    if run.commit:
        rows.append(("Commit of the workflow, when the report was made", run.commit))
    if run.logs:
        began, ended = min(log.began for log in run.logs), max(log.ended for log in run.logs)
        rows.append(("Dates of the logs, by the clocks of the machines", f"{began} to {ended}"))
    if machines := sorted({machine for log in run.logs for machine in log.machines}):
        rows.append(("Computers, as the logs say", "; ".join(machines)))
    for record in run.telemetry:
        # One that was interrupted may have gone on elsewhere.
        devices = dict.fromkeys(session["device"] for session in record["sessions"])
        name = record.get("model", "model")
        rows.append((f"Pretraining of {name}", "; ".join(devices) or record["device"]))
    return rows


def data_rows(run: Run) -> list[list[str]]:
    """Each file that was read, as the sheet names it, with its checksum."""
    rows = []
    for stats in run.windows:
        file = stats.get("input") or {}
        where = run.genome_files.get(stats["genome"]) or file.get("file", "")
        if where:
            rows.append(
                [
                    f"{'corpus' if 'source' in stats else 'genome'} {stats['genome']}",
                    where,
                    file.get("sha256", ""),
                ]
            )
    for name, checks in run.checks.items():
        for split, file in checks.get("inputs", {}).items():
            where = run.task_files.get(f"{name}.{split}", file["file"])
            rows.append([f"task {name}, {split}", where, file["sha256"]])
    for description in run.tokenizers:
        if "source_sha256" in description:
            rows.append(
                [f"tokenizer {description['tokenizer']}", description["source"], description["source_sha256"]]
            )
    for training in run.trainings:
        if digest := training.summary.get("settings", {}).get("checkpoint"):
            model = training.summary["model"]
            known = run.settings.get("models", {}).get(model, {})
            at = f" at {known['revision']}" if known.get("revision") else ""
            rows.append([f"checkpoint of {model}", f"{known.get('checkpoint', '')}{at}", digest])
    return rows


# What YAML reads as other things than text.
NO_NAMES = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}


def as_yaml(value: Any, indent: int = 0) -> str:
    """Settings as people write them in a config file. Only what JSON can hold."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        lines = []
        for key, item in value.items():
            name = key if key[0].isalpha() and key.lower() not in NO_NAMES else json.dumps(key)
            if isinstance(item, dict | list) and item:
                lines.append(f"{pad}{name}:\n{as_yaml(item, indent + 1)}")
            else:
                lines.append(f"{pad}{name}: {json.dumps(item, ensure_ascii=False)}")
        return "\n".join(lines)
    if isinstance(value, list) and value:
        return "\n".join(
            f"{pad}-\n{as_yaml(item, indent + 1)}"
            if isinstance(item, dict) and item
            else f"{pad}- {json.dumps(item, ensure_ascii=False)}"
            for item in value
        )
    return f"{pad}{json.dumps(value, ensure_ascii=False)}"
