"""Methods of a run in plain sentences, to be pasted into a paper, with what they cite.

Every number is taken from the settings and summaries of the run.
"""

from collections.abc import Mapping
from typing import Any

from dnalm.models.families import FAMILIES
from dnalm.models.keys import DEFAULTS
from dnalm.pretrain.defaults import USUAL_DECAY_FRACTION
from dnalm.problems.names import METRIC_NAMES, MULTI_LABEL, REGRESSION, SINGLE_LABEL
from dnalm.report import words
from dnalm.report.references import FAMILY_NAMES
from dnalm.report.run import Run, Training

SPLITS = ("train", "validation")
LOSSES = {
    SINGLE_LABEL: "cross-entropy",
    MULTI_LABEL: "mean binary cross-entropy of the labels",
    REGRESSION: "squared error of the standardised values",
}


def paragraphs(run: Run) -> list[str]:
    """The methods, paragraph by paragraph. Nothing without the settings of the run."""
    if not run.settings:
        return []
    found = [
        sequences(run),
        *(language_model(run, training) for training in run.trainings),
        held_out(run),
        tasks(run),
        classifiers(run),
        comparisons(run),
        statistics(run),
        software(run),
    ]
    return [paragraph for paragraph in found if paragraph]


# ----------------------------------------------------------------------------- the language model


def sequences(run: Run) -> str:
    """Which DNA was cut into which lines, and what was held out."""
    said = []
    if run.simulation:
        tasks = f" and the labelled sequences of {words.listing(run.simulated_tasks)}"
        said.append(f"A simulator made a genome{tasks if run.simulated_tasks else ''}.")
    if run.genomes:
        settings = run.genomes[0]["settings"]
        names = words.listing([f"{stats['genome']} ({words.bases(stats['bases'])})" for stats in run.genomes])
        cut = f"The genomes {names} were cut" if len(run.genomes) > 1 else f"The genome {names} was cut"
        if len(run.genomes) > words.MOST_NAMES:
            together = words.bases(sum(stats["bases"] for stats in run.genomes))
            cut = f"{len(run.genomes):,} genomes of {together} together were cut"
        other = settings["max_non_acgt"]
        foreign = f"more than {words.count(other, 'base')}" if other else "any base"
        repeats = (
            f" or a soft-masked share above {words.percent(settings['max_soft_masked'])}"
            if settings["max_soft_masked"] < 1
            else ""
        )
        train, held = (sum(stats["windows"][split] for stats in run.genomes) for split in SPLITS)
        said.append(
            f"{cut} into windows of {settings['length']:,} bp every {settings['stride']:,} bp; windows with "
            f"{foreign} other than A, C, G and T{repeats} were left out. Of the windows {train:,} were for "
            f"training and {held:,} were held out: {words.held_out(run.genomes)}."
        )
    for stats in run.corpora:
        train, held = (stats["windows"][split] for split in SPLITS)
        said.append(
            f"The corpus {stats['genome']} ({stats['source']}) gave {words.count(train, 'line')} for "
            f"training and {words.count(held, 'held-out line')}."
        )
    several = len(run.tokenizers) > 1
    said += [
        f"For the tokenizer {one['tokenizer']}, sequences {tokens(one)}."
        if several
        else f"Sequences {tokens(one)}."
        for one in run.tokenizers
    ]
    return " ".join(said)


def tokens(description: Mapping[str, Any]) -> str:
    """What sequences were cut into, from the verb on."""
    size, shared = description["vocabulary_size"], description.get("bases_shared_with_the_next", 0)
    if description["source"] == "trained":
        lines = description["sample"]["lines"]
        what = (
            f"by byte-pair encoding (Sennrich et al. 2016) with {size:,} tokens, learnt from {lines:,} of "
            "the training lines"
        )
    elif shared:
        what = (
            f"into overlapping {shared + 1}-mers, as in DNABERT (Ji et al. 2021), by a vocabulary of "
            f"{size:,} tokens"
        )
    elif "source_sha256" in description:
        what = f"by the given vocabulary {description['source']} of {size:,} tokens"
    elif description["longest_token_bp"] == 1:
        what = f"into single nucleotides, by a vocabulary of {size:,} tokens"
    else:
        what = (
            f"into {description['longest_token_bp']}-mers without overlap, as in the Nucleotide Transformer "
            f"(Dalla-Torre et al. 2025), by a vocabulary of {size:,} tokens"
        )
    return f"were made upper case and cut {what}"


def language_model(run: Run, training: Training) -> str:
    """What a language model was, and how it was trained."""
    summary = training.summary
    settings = run.settings["models"][summary["model"]]
    parameters = f"{summary['parameters']['total']:,} parameters"
    shape = summary["settings"].get("architecture")
    name = summary["model"]
    if shape:
        start = (
            f"The language model {name} was a {FAMILY_NAMES[shape['model_type']]} with {network(shape)}, "
            f"{parameters} in all, and random initial weights (seed {settings['training']['seed']})."
        )
    else:
        at = f" at revision {settings['revision']}" if settings["revision"] else ""
        digest = summary["settings"]["checkpoint"]
        start = (
            f"The language model {name} was {settings['checkpoint']}{at} ({parameters}; SHA-256 of its files "
            f"{digest})."
        )
    if len(run.tokenizers) > 1:
        start += f" Its tokenizer was {settings['tokenizer']}."
    if not summary["steps"]:
        return f"{start} It was used as published."
    known, masking = settings["training"], settings["masking"]
    passes = summary["evaluation"]["after"]["epoch"]
    longer = ""
    if summary["cut"]["train"]["longer"]:
        fate = (
            "cut off" if settings["truncate"] else "read in pieces, each of which counts as a line of a step"
        )
        longer = f"; longer lines were {fate}"
    span = masking["span_tokens"]
    runs = f" in runs of {span} neighbours" if span > 1 else ""
    rest = 1 - masking["mask_token"] - masking["random_token"]
    fates = [f"{words.percent(masking['mask_token'])} became [MASK]"]
    if masking["random_token"]:
        fates.append(f"{words.percent(masking['random_token'])} a token drawn at random")
    if rest > 1e-9:
        fates.append(f"{words.percent(rest)} stayed as they were")
    how = "trained" if shape else "trained further"
    return (
        f"{start} It was {how} by masked language modelling (Devlin et al. 2019): "
        f"{words.percent(masking['probability'])} of the tokens of a line were selected{runs}; of these "
        f"{words.listing(fates)}; the loss was the cross-entropy of the selected tokens. Training took "
        f"{words.count(summary['steps'], 'step')} of {words.count(known['batch_size'], 'line')} "
        f"({words.significant(passes)} passes over {summary['lines']:,} lines), of at most "
        f"{settings['max_tokens']:,} tokens each{longer}. "
        f"{optimizer(known, schedule(known), known['adam_beta2'])} Arithmetic was in {summary['precision']}."
    )


def network(shape: Mapping[str, Any]) -> str:
    """The sizes of a network."""
    known = DEFAULTS[shape["model_type"]] | dict(shape)
    hidden, inner, layers, heads = (known[key] for key in FAMILIES[shape["model_type"]].sizes.all())
    sizes = (
        f"{words.count(layers, 'layer')}, a hidden size of {hidden:,}, "
        f"{words.count(heads, 'attention head')} and feed-forward layers of {inner:,}"
    )
    every = known.get("global_attn_every_n_layers")
    if not every or every == 1:
        return sizes
    local = f"over {known['local_attention']:,} tokens in the others"
    return f"{sizes}, with global attention in one of {every} layers and {local}"


def optimizer(settings: Mapping[str, Any], course: str, beta2: float) -> str:
    """The optimizer in one sentence. `course`: how the learning rate went on after the warm-up."""
    decay = settings["weight_decay"]
    parts = [f"weight decay {decay:g} of matrices" if decay else "no weight decay"]
    if settings["max_gradient_norm"]:
        parts.append(f"gradients clipped to a norm of {settings['max_gradient_norm']:g}")
    warmup = settings["warmup_fraction"]
    rise = f"rose linearly over the first {words.percent(warmup)} of the steps and then " if warmup else ""
    return (
        f"The optimizer was AdamW (Loshchilov & Hutter 2019) with β1 0.9, β2 {beta2:g}, "
        f"{words.listing(parts)}; the learning rate {rise}{course}, with a peak of "
        f"{settings['learning_rate']:g}."
    )


def schedule(settings: Mapping[str, Any]) -> str:
    """How the learning rate of pretraining goes on after the warm-up."""
    decay = settings["decay_fraction"] or USUAL_DECAY_FRACTION
    return {
        "cosine": "fell along half a cosine to 0",
        "linear": "fell linearly to 0",
        "constant_with_warmup": "stayed",
        "warmup_stable_decay": f"stayed until it fell to 0 as 1 − √x over the last {words.percent(decay)} "
        "(Hägele et al. 2024)",
    }[settings["schedule"]]


def held_out(run: Run) -> str:
    """How language models were judged."""
    if not run.language_models:
        return ""
    settings = run.language_models[0].metrics["settings"]
    lines = [model.metrics["lines"] for model in run.language_models]
    overlapping = any("overlapping_kmers" in model.metrics for model in run.language_models)
    runs = " (overlapping k-mers in runs of k at least)" if overlapping else ""
    return (
        f"Language models were judged on {words.between(min(lines), max(lines))} held-out lines, or pieces "
        "of longer ones: "
        f"{words.percent(settings['masking_probability'])} of the tokens were replaced by [MASK]{runs}, and "
        "the loss is the mean negative logarithm of the probability of the hidden tokens. Its "
        f"{words.percent(settings['confidence'])} intervals are Student's, from the means of runs of "
        "neighbouring tokens (Schmeiser 1982)."
    )


# ----------------------------------------------------------------------------- classifiers


def tasks(run: Run) -> str:
    """How many sequences there were, and what was done about duplicates, leaks and relatives."""
    named = [name for name in run.tasks if name in run.checks]
    if not named:
        return ""
    settings = run.settings["prepare_task"]
    values = any(run.headline(name).problem.name == REGRESSION for name in named)
    mean = " (of values the mean was kept)" if values else ""
    leaked = "dropped from these" if settings["drop_leaked"] else "kept in these"
    fate = {"report": "were counted and kept", "drop": "were dropped", "error": "were not allowed"}
    leaks = f"Test sequences that also stood in training or validation, on either strand, were {leaked}. "
    related = (
        f"; training and validation sequences that are related to test sequences {fate[settings['homologs']]}"
    )
    # Folds share no molecule, and no relatives where no groups take their place.
    if all(run.headline(name).folds for name in named):
        leaks = ""
        related = related if any("groups" in run.checks[name] for name in named) else ""
    return (
        f"{' '.join(task(run, name) for name in named)} Training and validation sequences that repeat others "
        f"or carry conflicting labels were dropped{mean}. A sequence and its reverse complement counted as "
        f"the same, unless the strand decides the label. {leaks}Sequences that share at least "
        f"{words.percent(settings['homolog_fraction'])} of their distinct words of "
        f"{settings['homolog_word_bp']} bp, on either strand, count as related{related}."
    )


def task(run: Run, name: str) -> str:
    """How many sequences of a task there were in each split, and how they were parted."""
    checks, folds = run.checks[name], run.headline(name).folds
    settings, counts = checks["settings"], checks["sequences"]
    kept = "sequences of one group" if "groups" in checks else "related sequences"
    if folds:
        return (
            f"The task {name} was predicted in a {folds}-fold cross-validation of "
            f"{words.count(counts['test'], 'sequence')}; {kept} were in one fold, and "
            f"{words.percent(settings['validation_fraction'])} of those that a fold does not test were for "
            "validation."
        )
    drawn = (
        ", the validation split drawn from the training table "
        f"({words.percent(settings['validation_fraction'])}, seed {settings['seed']}) with {kept} on one side"
        if checks["rows"]["train"].get("moved_to_validation")
        else ""
    )
    leaks = checks["leakage"]["test"]["count"]
    return (
        f"The task {name} had {counts['train']:,} training, {counts['validation']:,} validation and "
        f"{counts['test']:,} test sequences{drawn}; {leaks:,} of the test sequences also stood in training."
    )


def classifiers(run: Run) -> str:
    """How classifiers were trained."""
    ways = list(dict.fromkeys(training.summary["backbone"] for training in run.finetunings))
    if not ways:
        return ""
    read = [training.summary["max_tokens"] for training in run.finetunings]
    limits = min(read), max(read)
    kinds = {run.headline(name).problem.name for name in run.tasks}
    general = run.settings["finetune"]
    pooled = "the mean of the token vectors" if general["pooling"] == "mean" else "the vector of [CLS]"
    repetitions = general["repetitions"]
    seeds = (
        f"seed {general['seed']}"
        if repetitions == 1
        else f"seeds {general['seed']} to {general['seed'] + repetitions - 1}"
    )
    said = [
        f"Classifiers are a head on {pooled} of a sequence ({seeds}), of which they read at most "
        f"{words.between(*limits)} tokens."
    ]
    for backbone in ways:
        said.append(way(backbone, general[backbone]))
    losses = words.listing([LOSSES[kind] for kind in LOSSES if kind in kinds])
    said.append(f"The loss was the {losses}; the epoch with the lowest validation loss was kept.")
    return " ".join(said)


def way(backbone: str, settings: Mapping[str, Any]) -> str:
    """How one kind of classifier was trained."""
    linear = "attention" if settings.get("target_modules") == "attention" else "all linear layers"
    what = {
        "frozen": "With a frozen backbone only the head learned",
        "partial": f"Beside the head the topmost {words.count(settings.get('layers', 0), 'layer')} learned",
        "lora": "With LoRA (Hu et al. 2022) the head and low-rank matrices beside those of the backbone "
        f"learned (rank {settings.get('rank')}, α {settings.get('alpha', 0):g}, dropout "
        f"{settings.get('dropout', 0):g}, {linear})",
        "full": "Fine-tuned in full every weight learned",
    }[backbone]
    more = []
    if settings.get("standardise"):
        more.append("features standardised over the training sequences")
    if settings.get("reverse_complement"):
        more.append("each sequence on a strand drawn anew in each epoch unless the strand decides")
    if settings["label_smoothing"]:
        more.append(f"label smoothing {settings['label_smoothing']:g}")
    if settings["class_weights"] == "balanced":
        more.append("classes weighted by their inverse frequency")
    if settings["patience"]:
        without = words.count(settings["patience"], "epoch")
        more.append(f"ended after {without} without a lower validation loss")
    extra = f"; {words.listing(more)}" if more else ""
    return (
        f"{what}, over {words.count(settings['epochs'], 'epoch')} in batches of "
        f"{settings['batch_size']:,}{extra}. {optimizer(settings, 'fell linearly to 0', 0.999)}"
    )


def comparisons(run: Run) -> str:
    """What the model was compared with."""
    if not run.tasks:
        return ""
    names = {e.metrics["name"] for e in run.evaluations if e.metrics["kind"] == "baseline"}
    kinds = {e.metrics["kind"] for e in run.evaluations}
    settings = run.settings["baseline"]
    linear = linear_model(run)
    ks = words.listing([str(k) for k in settings["kmer_lengths"]])
    cnn = (
        f"({settings['cnn_filters']:,} motif detectors of {settings['cnn_width']} bp, "
        f"{words.count(settings['cnn_epochs'], 'epoch')}, peak learning rate "
        f"{settings['cnn_learning_rate']:g}, batches of {settings['cnn_batch_size']:,}, seed "
        f"{settings['cnn_seed']})"
    )
    known = {
        "majority": "the constant prediction of the training labels",
        "kmer": f"{linear} with an L2 penalty on square roots of k-mer frequencies (k of {ks}, strands "
        "apart or together; all three chosen by the validation loss)",
        "gapped_kmer": f"{linear} on gapped or positional k-mers, chosen in the same way",
        "cnn": f"a convolutional network after DeepBind (Alipanahi et al. 2015) {cnn}",
        "deep_cnn": f"one with a second convolution, after Basset (Kelley et al. 2016) {cnn}",
    }
    said = [text for name, text in known.items() if name in names]
    if "combined" in kinds:
        said.append(f"{linear} on k-mer frequencies and embeddings together")
    if "stacked" in kinds:
        said.append(
            "stacking (Wolpert 1992), a logistic regression on the log-probabilities of the predictors, with "
            "weights that are not negative, fitted on the validation split"
        )
    if "untrained" in kinds:
        said.append("the same network with random weights, fine-tuned in the same way")
    if "published" in kinds:
        said.append("the language model as published, fine-tuned in the same way")
    if not said:
        return ""
    return f"On the same splits were measured: {'; '.join(said)}."


def linear_model(run: Run) -> str:
    """The linear model of these tasks."""
    problems = {run.headline(name).problem.name for name in run.tasks}
    found = ["logistic regression"] if problems - {REGRESSION} else []
    return " or ".join([*found, *(["ridge regression"] if REGRESSION in problems else [])])


def statistics(run: Run) -> str:
    """How uncertain the metrics are, and how predictors were compared."""
    if not run.tasks:
        return ""
    heads = [run.headline(name) for name in run.tasks]
    forward = [head.metrics["task"] for head in heads if head.metrics["strands"] == "forward"]
    read = "Predictions are the mean over both strands of a sequence"
    if forward:
        read += f"; of {words.listing(forward)} those of the strand that is given"
    if len(forward) == len(heads):
        read = "Predictions are those of the strand that is given"
    bootstrap = heads[0].metrics["bootstrap"]
    metrics = list(dict.fromkeys(METRIC_NAMES[head.problem.headline] for head in heads))
    leading = f"metrics are {words.listing(metrics)}" if len(metrics) > 1 else f"metric is {metrics[0]}"
    problems = {head.problem.name for head in heads}
    intervals, areas = "Metrics have", ""
    if problems != {REGRESSION}:
        balanced = "balanced accuracy what follows from theirs (Zou & Donner 2008), "
        intervals = (
            "Shares of sequences have Wilson's interval (Wilson 1927), "
            f"{balanced if SINGLE_LABEL in problems else ''}other metrics"
        )
        areas = "; that of an AUROC is at least as wide as the numbers of sequences ask (Newcombe 2006)"
        if SINGLE_LABEL in problems:
            areas += ", those of MCC and F1 of two classes as the intervals of both recalls ask"
    return (
        f"{read}. The leading {leading}. {intervals} that of the bias-corrected and accelerated "
        f"bootstrap (Efron 1987) of {bootstrap['samples']:,} samples (seed {bootstrap['seed']}), at "
        f"{words.percent(bootstrap['confidence'])}{areas}. Predictors were compared by the percentile "
        "interval of their difference over the same bootstrap samples. Related test sequences were "
        "drawn together. Intervals cover the choice of test sequences, not the seed of training, and "
        "were not corrected for the number of comparisons."
    )


def software(run: Run) -> str:
    """What computed all this."""
    versions = run.all_versions
    named = {
        "dna-modernbert": "the workflow dna-modernbert {}",
        "snakemake": "Snakemake {} (Mölder et al. 2021)",
        "python": "Python {}",
        "torch": "PyTorch {} (Paszke et al. 2019)",
        "transformers": "Transformers {} (Wolf et al. 2020)",
        "scikit-learn": "scikit-learn {} (Pedregosa et al. 2011)",
    }
    said = [text.format(versions[name]) for name, text in named.items() if name in versions]
    return f"Computed with {words.listing(said)}." if said else ""
