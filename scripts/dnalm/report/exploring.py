"""Chapter on exploring: a masked batch in words and colours, the labelled sequences, maps of embeddings."""

from typing import Any

from dnalm.problems.names import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from dnalm.report import words
from dnalm.report.charts import Box, box_chart, map_chart
from dnalm.report.parts import figure, heading, table, text
from dnalm.report.run import Embedded, Run

METHODS = {"pca": "PCA", "umap": "UMAP"}
FATE_WORDS = {
    "masked": "asked for, shown as [MASK]",
    "replaced": "asked for, shown as a random token",
    "kept": "asked for, shown as it is",
    "read": "only read",
    "special": "marks begin and end",
}


def exploring_section(run: Run) -> dict[str, Any]:
    """What the models read, what the labelled sequences look like, and where models put them."""
    parts: list[dict[str, Any]] = []
    for batch in run.explored_batches:
        parts += batch_parts(batch)
    for name, task in run.explored_tasks.items():
        predictors = {found: e.name for found, e in run.by_identity(name).items()}
        parts += task_parts(task, predictors, "folds" in run.checks.get(name, {}))
    for name, embedded in run.embedded.items():
        parts += embedded_parts(name, embedded)
    return {
        "id": "exploring",
        "title": "A look at the data",
        "intro": "What the models read, what the labelled sequences look like, and where the models put "
        "them. Pictures suggest; what can be trusted is measured in the chapters above.",
        "parts": parts,
    }


# ----------------------------------------------------------------------------- sequences without labels


def embedded_parts(name: str, embedded: Embedded) -> list[dict[str, Any]]:
    """What was embedded, and how similar the first vectors are."""
    about, table_of_pairs = embedded.summary, embedded.similarities
    layer = f"layer {about['layer']} of {about['layers']}" if about["layer"] else "the token embeddings"
    sentence = (
        f"{words.model_name(about['model'])} made {words.count(about['vectors'], 'vector')} of "
        f"{about['dimensions']:,} dimensions from {words.count(about['sequences'], 'sequence')} of "
        f"{about['input']}, out of {layer}."
    )
    if left_out := about["left_out"]["windows"]:
        windows = words.count(left_out, "window was", "windows were")
        sentence += f" {windows} left out, with too many unknown bases."
    if cut := about["cut"]["cut"]:
        sentence += (
            f" {words.count(cut, 'was', 'were')} longer than the {about['cut']['max_tokens']:,} tokens that "
            f"this model reads, and cut: {words.share(about['cut']['unread_fraction'], 1)} of all bases were "
            "not read."
        )
    parts = [heading(f"Embedded sequences: {name}"), text(sentence)]
    if table_of_pairs is None:
        return parts
    names = [str(row) for row in table_of_pairs["id"]]
    rows = [
        [row, *(f"{float(value):.2f}".replace("-", "−") for value in cells)]
        for row, cells in zip(names, table_of_pairs.drop(columns="id").to_numpy(), strict=True)
    ]
    note = (
        "Of their mean vectors; 1: the same direction. Vectors of one model mostly point in similar "
        "directions, so what counts is which pairs are closer than others."
    )
    return [*parts, table(f"Cosine similarities in {name}", ["", *names], rows, note=note)]


# ----------------------------------------------------------------------------- batches


def batch_parts(batch: dict[str, Any]) -> list[dict[str, Any]]:
    """The first masked batch of a pretraining, and a call of its tokenizer."""
    counts = {fate: sum(line["counts"][fate] for line in batch["shown"]) for fate in FATE_WORDS}
    ordinary = sum(counts[fate] for fate in FATE_WORDS if fate != "special")
    asked = counts["masked"] + counts["replaced"] + counts["kept"]
    lines = [
        [
            {"seen": seen, "truth": truth, "fate": fate}
            for seen, truth, fate in zip(line["seen"], line["truth"], line["fate"], strict=True)
        ]
        for line in batch["shown"]
    ]
    note = (
        f"The beginnings of {len(lines)} of the {batch['lines']:,} lines of the first batch. Above: what the "
        f"model sees; below: the truth it has to name. Of the {ordinary:,} tokens of these lines {asked:,} "
        f"({asked / max(ordinary, 1):.0%}) are asked for: {counts['masked']:,} as [MASK], "
        f"{counts['replaced']:,} as a random token, {counts['kept']:,} unchanged. Each epoch hides others."
    )
    return [
        heading(f"A masked batch: {batch['model']}"),
        {"kind": "batch", "lines": lines, "note": note, "legend": FATE_WORDS},
        call_table(batch),
    ]


def call_table(batch: dict[str, Any]) -> dict[str, Any]:
    """What the tokenizer makes of two sequences in one call, token by token."""
    rows = []
    for number, row in enumerate(batch["call"]["rows"], 1):
        rows.append([f"text {number}", row["text"]])
        rows.append(["tokens", " ".join(row["tokens"])])
        for name in ("input_ids", "attention_mask", "special_tokens_mask"):
            rows.append([name, " ".join(map(str, row[name]))])
    return table(
        f"A call of the tokenizer of {batch['model']} with two sequences of different length",
        ["", "What it gives"],
        rows,
        numeric=[],
        sequence=[1],
        note=f"Both have {batch['call']['padded_to']} tokens: the shorter one is padded. attention_mask: 1 "
        "is read, 0 is padding. special_tokens_mask: 1 marks what is no DNA and is never asked for.",
        fold="A call of the tokenizer, with its masks",
    )


# ----------------------------------------------------------------------------- labelled sequences


# What sequences are put together by, by kind of task.
GROUPS = {SINGLE_LABEL: "class", MULTI_LABEL: "labels", REGRESSION: "quarter of the values"}


def problem_of(task: dict[str, Any]) -> str:
    """The kind of a task."""
    return str(task.get("problem", SINGLE_LABEL))


def group_name(label: str) -> str:
    """A group of sequences as a reader calls it: of several labels a sequence may carry none."""
    return label or "no label"


def task_parts(
    task: dict[str, Any], predictors: dict[str, str], crossed: bool = False
) -> list[dict[str, Any]]:
    """Composition by class and split, losses by class, maps of the embeddings.

    `predictors`: what readers call them, by identity; `crossed`: the task is cross-validated.
    """
    figures = composition_figures(task)
    if task["losses"]:
        figures.append(loss_figure(task, predictors, crossed))
    parts: list[dict[str, Any]] = [heading(f"Labelled sequences: {task['task']}")]
    parts.append(composition_table(task, crossed))
    parts.append({"kind": "figures", "rows": figures})
    if task["maps"]:
        parts.append(heading(f"Maps of the embeddings: {task['task']}"))
        parts.append({"kind": "figures", "rows": [f for one in task["maps"] for f in map_figures(task, one)]})
        if agreement := agreement_table(task):
            parts.append(agreement)
    return parts


def composition_table(task: dict[str, Any], crossed: bool) -> dict[str, Any]:
    """Number, length, GC and tokens per class and split."""
    tokenizers = list(task["groups"][0]["tokens"]) if task["groups"] else []
    grouped = GROUPS[problem_of(task)]
    columns = ["Split", grouped[0].upper() + grouped[1:], "Sequences", "Length (bp)", "GC"]
    for name in tokenizers:
        columns += [f"Tokens, {name}", f"Unknown, {name}"]
    rows = []
    for group in task["groups"]:
        cells = [group["split"], group_name(group["label"]), f"{group['n']:,}", spread(group["length"])]
        cells.append(f"{group['gc']['mean']:.1%}")
        for name in tokenizers:
            cells += [spread(group["tokens"][name]), words.share(group["unknown"][name], 2)]
        rows.append(cells)
    return table(
        f"The sequences of {task['task']} by {grouped} and split, after cleaning",
        columns,
        rows,
        numeric=list(range(2, len(columns))),
        note="Length and tokens: median, smallest to largest; [CLS] and [SEP] count. GC: mean. Groups that "
        "differ in length or GC can be told apart without any biology; the k-mer baseline shows how well."
        + (f" {words.ALL_TESTED}" if crossed else ""),
    )


def spread(box: dict[str, Any]) -> str:
    """Median and range of whole numbers."""
    if box["smallest"] == box["largest"]:
        return f"{box['median']:,.0f}"
    return f"{box['median']:,.0f} ({box['smallest']:,.0f} to {box['largest']:,.0f})"


def composition_figures(task: dict[str, Any]) -> list[dict[str, str]]:
    """Boxplots of length, GC and tokens of the training sequences by class."""
    groups = [group for group in task["groups"] if group["split"] == "train"]
    grouped = GROUPS[problem_of(task)]
    figures = []
    quantities = {"length": ("Length", "length in bp", [group["length"] for group in groups])}
    quantities["gc"] = ("GC", "share of G and C", [group["gc"] for group in groups])
    for name in task["groups"][0]["tokens"]:
        boxes = [group["tokens"][name] for group in groups]
        quantities[f"tokens.{name}"] = (f"Tokens, {name}", "tokens", boxes)
    for key, (title, axis, boxes) in quantities.items():
        if len({box[end] for box in boxes for end in ("smallest", "largest")}) == 1:
            continue
        drawn = [
            as_box(group_name(group["label"]), box, index)
            for index, (group, box) in enumerate(zip(groups, boxes, strict=True))
        ]
        svg = box_chart([("", drawn)], f"{title} by {grouped}, task {task['task']}", axis)
        caption = f"Training sequences. {BOX}"
        figures.append(figure(f"{title} by {grouped}", svg, caption, f"{task['task']}.{key}_by_class"))
    return figures


BOX = "The line in the box is the median, whose value stands at the right; the box holds the middle half."
# What the loss of a sequence is, by kind of task.
LOSSES = {
    SINGLE_LABEL: "a loss, −ln(probability of its true class)",
    MULTI_LABEL: "a loss, the mean over the labels of −ln(probability of what is true of it)",
    REGRESSION: "a squared error; the quarters are those of the training values",
}
# The loss of a probability of one half.
TWO_CLASSES = "; with two classes, it is wrong above ln 2 = 0.69"


def loss_figure(task: dict[str, Any], predictors: dict[str, str], crossed: bool) -> dict[str, str]:
    """Boxplot of the loss of every tested sequence by class, for every classifier."""
    groups: dict[str, list[Box]] = {}
    for row in task["losses"]:
        group = groups.setdefault(predictors.get(row["predictor"], row["predictor"]), [])
        group.append(as_box(group_name(row["label"]), row["loss"], len(group)))
    problem, tested = problem_of(task), "tested sequence" if crossed else "test sequence"
    unit = "squared error" if problem == REGRESSION else "loss (nats)"
    title = f"Loss per {tested} by {GROUPS[problem]}, task {task['task']}"
    svg = box_chart(list(groups.items()), title, unit)
    two = TWO_CLASSES if problem == SINGLE_LABEL and len(task["labels"] or ()) == 2 else ""
    caption = (
        f"Each {tested} has {LOSSES[problem]}{two}. The further right, the harder. {BOX} Dots are sequences "
        "far from the others."
    )
    return figure(f"Loss per {tested}", svg, caption, f"{task['task']}.loss_by_class")


def as_box(name: str, box: dict[str, Any], colour: int) -> Box:
    """A box of the summary as one that can be drawn."""
    ends = {key: box[key] for key in ("low", "q1", "median", "q3", "high")}
    return Box(name, **ends, outliers=box["outliers"], colour=colour % 6)


# ----------------------------------------------------------------------------- maps


def map_figures(task: dict[str, Any], drawn: dict[str, Any]) -> list[dict[str, str]]:
    """One picture per method of one model's embeddings."""
    figures, model = [], words.model_name(drawn["model"])
    for key, name in METHODS.items():
        if key not in drawn:
            continue
        caption = f"{drawn['points']:,} training sequences, {drawn['pooling']} vectors of the language model."
        if key == "pca":
            first, second = drawn["variance"]
            axes = (f"first component, {first:.0%} of the variance", f"second, {second:.0%}")
        else:
            axes = ("UMAP 1", "UMAP 2")
            caption += " Near means alike; distances between groups mean little."
        groups = [(group_name(label), points) for label, points in drawn[key].items()]
        svg = map_chart(groups, f"{name} of the embeddings of {model}, task {task['task']}", axes)
        figures.append(figure(f"{name}: {model}", svg, caption, f"{task['task']}.{drawn['model']}.{key}"))
    return figures


def agreement_table(task: dict[str, Any]) -> dict[str, Any] | None:
    """How often neighbours share a label: the maps in one number each."""
    rows = [
        [
            words.model_name(drawn["model"]),
            words.share(drawn["agreement"]["value"], 1),
            f"{drawn['agreement']['chance']:.1%}",
            drawn["agreement"]["neighbours"],
        ]
        for drawn in task["maps"]
        if "agreement" in drawn
    ]
    if not rows:
        return None
    problem = problem_of(task)
    shared = "combination of labels" if problem == MULTI_LABEL else GROUPS[problem]
    return table(
        f"Do neighbours share a {shared}?",
        ["Model", f"Neighbours of the same {shared}", "By chance", "Neighbours looked at"],
        rows,
        note="Nearest neighbours among all dimensions (cosine), so nothing is lost to the map. The language "
        "models have not seen a label.",
    )
