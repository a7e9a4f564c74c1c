"""The first screen: how good, compared with what, trained on what, leaked or not."""

from typing import Any

from dnalm.baseline.settings import UNTRAINED
from dnalm.compare import questions
from dnalm.prepare_task.warnings import FEATURES
from dnalm.problems.names import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from dnalm.report import words
from dnalm.report.charts import Estimate, interval_chart
from dnalm.report.classification import details_id, finetuning_verdicts
from dnalm.report.folds import SHARED_TRAINING, cross_validation_facts
from dnalm.report.language_model import loss_chart, training_verdicts
from dnalm.report.parts import link, table, with_interval
from dnalm.report.run import Evaluation, Run, Training
from dnalm.report.styles import series_style


def answer(run: Run, task: str) -> dict[str, Any]:
    """The first screen of a task: how good, compared with what, trained on what, leaked or not."""
    headline = run.headline(task)
    metrics = headline.metrics
    labels = metrics["labels"]
    simulated = run.simulated_task(task)
    meanings = simulated["labels"] if simulated else {}
    named = words.listing(
        [f"{label} ({meanings[label]})" if label in meanings else label for label in labels]
    )
    name, value = headline.leading_name, headline.leading["value"]
    return {
        "id": f"task-{task}",
        "title": f"Task: {task}",
        "what": what_is_asked(headline.problem.name, len(labels), named),
        "number": "–" if value is None else words.number(value),
        "number_name": f"{headline.how.capitalize()} {name} of {headline.name}",
        "number_text": f" ({number_text(run, headline)})",
        "verdicts": task_verdicts(run, task),
        "chart": headline_chart(run, task),
        "chart_note": f"Dot: {name} on the {words.tested(metrics)}. Line: "
        f"{words.percent(run.confidence)} interval over {'' if headline.folds else 'test '}sequences.",
        "facts": task_facts(run, task),
        "details": details_id(task) if len(run.tasks) > 1 else "",
    }


def what_is_asked(problem: str, n_labels: int, named: str) -> str:
    """What a task asks for; `named` are its labels."""
    if problem == REGRESSION:
        return "Predict a measured value of DNA sequences."
    if problem == MULTI_LABEL:
        return f"Tell which of {words.count(n_labels, 'label')} DNA sequences carry: {named}."
    return f"Tell {words.count(n_labels, 'class', 'classes')} of DNA sequences apart: {named}."


def number_text(run: Run, headline: Evaluation) -> str:
    """What stands behind the large number."""
    metrics, leading = headline.metrics, headline.leading
    crossed = f"{headline.folds}-fold cross-validation, " if headline.folds else ""
    if headline.problem.name == SINGLE_LABEL:
        return crossed + words.accuracy_text(metrics, run.confidence)
    say = words.values_text if headline.problem.name == REGRESSION else words.labels_text
    return crossed + say(metrics, leading, run.confidence)


def headline_chart(run: Run, task: str) -> str:
    """The metric that leads, of every predictor of a task, with intervals."""
    rows = []
    for evaluation in run.of_task(task):
        value, style = evaluation.leading["value"], series_style(run, task, evaluation)
        if value is None:
            continue
        bounds = (evaluation.leading[end] for end in ("low", "high"))
        low, high = (value if bound is None else bound for bound in bounds)
        leads = evaluation is run.headline(task)
        rows.append(Estimate(evaluation.name, value, low, high, style.colour, style.shape, leads))
    name = f"{run.headline(task).how} {run.headline(task).leading_name}"
    # R² has no lower bound.
    lowest = min([0.0, *(row.low for row in rows)])
    title = f"{name[0].upper()}{name[1:]}, task {task}"
    return interval_chart(rows, title, name, (lowest, 1)) if rows else ""


def task_verdicts(run: Run, task: str) -> list[dict[str, str]]:
    """Did pretraining help, is a language model needed, did anything leak?"""
    checks = run.checks.get(task)
    headline = run.headline(task)
    verdicts = _majority(run, task)
    if checks and not headline.folds and headline.metrics["kind"] == "model":
        verdicts += words.few_sequences_verdict(checks["sequences"])
    if headline.metrics["kind"] == "model":
        verdicts += finetuning_verdicts(_finetuning(run, task))
        verdicts += _pretraining(run, task)
        verdicts.append(_simple_baseline(run, task))
        verdicts += _combination(run, task)
        verdicts += _stacking(run, task)
    verdicts += words.composition_verdict(checks.get("composition", {}), FEATURES) if checks else []
    verdicts += words.cut_verdict(_cuts(run, task), headline.folds)
    verdicts.append(words.leak_verdict(checks, run.simulated_task(task)))
    if len(run.of_task(task)) == 1:
        verdicts.append(
            words.verdict("warn", "Nothing to compare with.", "No other predictor was evaluated.")
        )
    return verdicts


def _majority(run: Run, task: str) -> list[dict[str, str]]:
    """Does the leading predictor know more than which class is the most frequent one?"""
    lead = run.headline(task)
    if lead.problem.name != SINGLE_LABEL or lead.metrics["name"] == "majority":
        return []
    majority = next((e for e in run.of_task(task) if e.metrics["name"] == "majority"), None)
    return words.majority_verdict(lead.metrics, run.difference_to(task, majority) if majority else None)


def _finetuning(run: Run, task: str) -> list[Training]:
    """How the leading classifier learned; empty where that is not at hand."""
    lead = run.headline(task).metrics
    keys = {"model": lead["name"], "task": task, "backbone": lead["backbone"]}
    return [training for training in run.finetunings if keys.items() <= training.summary.items()]


def _cuts(run: Run, task: str) -> dict[str, dict[str, Any] | None]:
    """What the leading model did not read, by split."""
    learned = next((training.summary for training in _finetuning(run, task)), {})
    return {"test": run.headline(task).metrics.get("cut"), **learned.get("cut", {})}


def _pretraining(run: Run, task: str) -> list[dict[str, str]]:
    """Did pretraining help the leading model? One answer per way of fine-tuning, the leading way first.

    Of a published model that was trained further the question is what the further training changed.
    """
    lead = run.headline(task).metrics
    adapted = _differences(run, task, questions.ADAPTATION)
    if adapted:
        evaluation = next((m.metrics for m in run.language_models if m.metrics["model"] == lead["name"]), {})
        held_out = [words.held_out_change_verdict(evaluation)] if evaluation.get("published") else []
        return [*words.adaptation_verdicts(adapted), *held_out]
    helped = words.pretraining_verdicts(_differences(run, task, questions.PRETRAINING))
    return [*training_verdicts(run, lead["name"]), *helped]


def _differences(run: Run, task: str, question: str) -> dict[str, dict[str, Any]]:
    """Differences that answer one question about the leading model, by backbone, its own first."""
    lead = run.headline(task).metrics
    found = {}
    for asked in run.asked(task, question):
        name, _, backbone = asked["predictor"].rpartition("/")
        if name == lead["name"]:
            found[backbone] = asked["difference"] | {"still_improving": bool(asked["still_improving"])}
    return dict(sorted(found.items(), key=lambda item: item[0] != lead["backbone"]))


def _simple_baseline(run: Run, task: str) -> dict[str, str]:
    baselines = run.baselines(task)
    if not baselines:
        return words.baseline_verdict(None, None)
    best = max(baselines, key=lambda e: e.leading_value)
    unfinished = bool(run.headline(task).metrics.get("still_improving"))
    name = words.baseline_in_a_sentence(best.metrics)
    return words.baseline_verdict(run.difference_to(task, best), name, unfinished, len(baselines))


def _combination(run: Run, task: str) -> list[dict[str, str]]:
    """Does the leading model know what k-mers do not? Nothing where it was not measured."""
    name = run.headline(task).metrics["name"]
    return [
        words.combination_verdict(asked["difference"], name)
        for asked in run.asked(task, questions.COMBINATION)
        if asked["predictor"] == f"{name}/combined"
    ]


def _stacking(run: Run, task: str) -> list[dict[str, str]]:
    """Are the leading model and the baselines better together? Nothing where they were not stacked."""
    name = run.headline(task).metrics["name"]
    named = run.by_identity(task)
    stacked = named.get(f"{name}/stacked")
    differences = {
        named[asked["compared_with"]].name: asked["difference"]
        for asked in run.asked(task, questions.STACKING)
        if asked["predictor"] == f"{name}/stacked"
    }
    if not stacked or not differences:
        return []
    about = stacked.metrics["stacked"]
    members = [
        named[i].name
        for member in about["members"]
        if (i := member["name"]) in named or (i := f"{name}/{member['name']}") in named
    ]
    return [words.stacking_verdict(differences, members, about["n_validation"], stacked.folds)]


def task_facts(run: Run, task: str) -> list[dict[str, str]]:
    """Trained on what, fine-tuned on what, tested on what, and how sure one can be."""
    lead, checks = run.headline(task).metrics, run.checks.get(task)
    facts = []
    if lead["kind"] == "model":
        facts.append({"term": "Pretrained on", "text": pretraining_sentence(run, lead["name"])})
    way = words.WAYS.get(lead.get("backbone") or "")
    taught = way.taught if way else ""
    training = next((t.summary for t in run.trainings if t.summary.get("model") == lead["name"]), {})
    checkpoint = lead["kind"] == "model" and "checkpoint" in training.get("settings", {})
    overlap = words.overlap_sentence(run.overlaps.get(task), checkpoint)
    if checks and run.headline(task).folds:
        facts += cross_validation_facts(run.headline(task), checks, tested_labels(checks), taught, overlap)
    elif checks:
        counts = checks["sequences"]
        facts.append(
            {
                "term": "Fine-tuned on",
                "text": f"{words.count(counts['train'], 'labelled sequence')}, and {counts['validation']:,} "
                f"more to choose the best epoch. {taught}",
            }
        )
        length = words.span(checks["lengths"]["test"])
        study = " and of those of the study" if run.study else ""
        facts.append(
            {
                "term": "Tested on",
                "text": f"{words.count(counts['test'], 'sequence')} of {length} ({tested_labels(checks)}), "
                "used in this run for nothing but the check for leaks and the test of "
                f"{words.count(len(run.of_task(task)), 'predictor')}{study}; how often other runs looked at "
                f"them is not known here.{overlap}",
            }
        )
    sure = certainty_sentence(run.headline(task), repetitions_of(run, task, lead))
    if simulated := run.simulated_task(task):
        best = simulated["accuracy_of_informed_reader"]
        sure += f" A reader who knows the simulated motifs would reach {best:.3f}."
    facts.append({"term": "How sure", "text": sure})
    return facts


def tested_labels(checks: dict[str, Any]) -> str:
    """How the labels or values of the test sequences are distributed."""
    if "values" in checks:
        values = checks["values"]["test"]
        return f"values {words.quantity(values['min'])} to {words.quantity(values['max'])}"
    noun = "with label" if checks["problem"] == MULTI_LABEL else "of class"
    return words.listing([f"{n:,} {noun} {label}" for label, n in checks["label_counts"]["test"].items()])


def pretraining_sentence(run: Run, model: str) -> str:
    """On which DNA, for how long, with which task a model was pretrained."""
    training = next((t for t in run.trainings if t.summary.get("model") == model), None)
    parts = []
    configured = run.settings.get("models", {}).get(model, {})
    source = " at ".join(filter(None, (configured.get("checkpoint"), configured.get("revision"))))
    checkpoint = f": {source}" if source else ""
    if training and not training.summary["steps"]:
        size = words.rounded(training.summary["parameters"]["total"])
        return f"Not here: a published model of {size} parameters is used as it is{checkpoint}."
    if run.genomes:
        genomes = [f"{stats['genome']} ({words.bases(stats['bases'])})" for stats in run.genomes]
        shown = genomes if len(genomes) <= 4 else [*genomes[:3], f"{len(genomes) - 3} more"]
        total = sum(stats["windows"]["train"] for stats in run.genomes)
        length = run.genomes[0]["settings"]["length"]
        noun = "genome" if len(genomes) == 1 else "genomes"
        parts.append(
            f"the {noun} {words.listing(shown)}, cut into {total:,} training windows of {length:,} bp"
        )
    parts += [
        f"{words.count(stats['windows']['train'], 'sequence')} of the corpus {stats['genome']} "
        f"({stats['source']})"
        for stats in run.corpora
    ]
    if training:
        summary = training.summary
        epochs = training.log[-1]["epoch"] if training.log else None
        once = "pass" if epochs == 1 else "passes"
        passes = f" ({words.significant(epochs)} {once} over them)" if epochs else ""
        start = (
            f"trained on from a checkpoint ({source or 'not recorded'})"
            if "checkpoint" in summary["settings"]
            else "trained from scratch"
        )
        parts.append(
            f"a model of {words.rounded(summary['parameters']['total'])} parameters was {start} for "
            f"{words.count(summary['steps'], 'step')} of "
            f"{words.count(summary['settings']['training']['batch_size'], 'line')}{passes}"
        )
    if not parts:
        return "Not recorded."
    sentence = "; ".join(parts) + "."
    return sentence[0].upper() + sentence[1:]


def repetitions_of(run: Run, task: str, metrics: dict[str, Any]) -> dict[str, Any] | None:
    """What was measured of a classifier over several seeds, if there were several."""
    groups = run.comparisons.get(task, {}).get("repetitions", [])
    own = (metrics["name"], metrics["backbone"])
    return next((group for group in groups if (group["name"], group["backbone"]) == own), None)


# Of the tested sequences: with more groups of related ones than this an interval is hardly wider for it.
WORTH_SAYING = 0.99


def certainty_sentence(headline: Evaluation, repetitions: dict[str, Any] | None) -> str:
    """What the interval covers and what it does not."""
    value = headline.leading
    known = ""
    if value["low"] is not None:
        half = (value["high"] - value["low"]) / 2
        n = words.tested(headline.metrics)
        how_well = f"to about ±{words.number(half)}"
        # At an end of the scale a ± would reach beyond it.
        if value["value"] in (value["low"], value["high"]):
            how_well = f"to lie between {words.number(value['low'])} and {words.number(value['high'])}"
        known = f"With {n} the {headline.leading_name} is known {how_well}. "
    if headline.folds:
        known += f"{SHARED_TRAINING} "
    if headline.clusters < WORTH_SAYING * headline.metrics["n"]:
        groups = words.count(headline.clusters, "independent group")
        known += f"Some of them are related; the interval takes all as {groups}. "
    what = "sequences" if headline.folds else "test sequences"
    sentence = f"{known}The interval covers the choice of {what}, not the seed of training"
    over_seeds = repetitions["metrics"].get(headline.problem.headline) if repetitions else None
    if not repetitions or not over_seeds:
        return f"{sentence}."
    mean, deviation = (words.number(over_seeds[key]) for key in ("mean", "sd"))
    return (
        f"{sentence}: trained with {len(repetitions['seeds'])} seeds, the {headline.leading_name} is "
        f"{mean} ± {deviation} (mean and standard deviation)."
    )


def language_model_answer(run: Run) -> dict[str, Any]:
    """The first screen of a run without tasks: how well the model predicts hidden DNA."""
    lead = run.language_models[0].metrics
    loss = lead["metrics"]["loss"]
    chart = loss_chart(lead)
    adapted = [words.held_out_change_verdict(lead)] if lead.get("published") else []
    return {
        "id": "language-model-answer",
        "title": f"Language model: {lead['model']}",
        "what": "Predict hidden tokens of held-out DNA. No classification task is configured.",
        "number": words.number(lead["metrics"]["perplexity"]["value"]),
        "number_name": "Held-out perplexity",
        "number_text": f" (loss {words.estimate(loss)} nats per [MASK]; "
        f"{words.count(lead['hidden_tokens'], 'hidden token')} of "
        f"{words.count(lead['lines'], 'held-out line')})",
        "verdicts": [*training_verdicts(run, lead["model"]), *adapted, words.counting_verdict(lead)],
        "chart": chart,
        "chart_note": "Mean loss per [MASK] position; lower is better. Line: interval over held-out lines.",
        "facts": [{"term": "Pretrained on", "text": pretraining_sentence(run, lead["model"])}],
        "details": "",
    }


def overview(run: Run) -> dict[str, Any] | None:
    """All tasks at one glance, where there are several."""
    if len(run.tasks) < 2:
        return None
    rows = []
    for task in run.tasks:
        lead = run.headline(task)
        best = max(run.baselines(task), key=lambda e: e.leading_value, default=None)
        named = run.by_identity(task)
        untrained = named.get(f"{lead.metrics['name']}{UNTRAINED}/{lead.metrics['backbone']}")
        stacked = named.get(f"{lead.metrics['name']}/stacked")
        leaks = run.checks[task]["leakage"]["test"]["count"] if task in run.checks else ""
        rows.append(
            [
                link(f"task-{task}", task),
                lead.name,
                lead.leading_name,
                with_interval(lead.leading),
                with_interval(untrained.leading) if untrained else "",
                with_interval(best.leading) if best else "",
                with_interval(stacked.leading) if stacked else "",
                f"{lead.metrics['n']:,}" + (f" in {lead.folds} folds" if lead.folds else ""),
                leaks,
            ]
        )
    columns = [
        "Task",
        "Leading model",
        "Metric",
        "Cross-validated or on the test split"
        if any(run.headline(task).folds for task in run.tasks)
        else "On the test split",
        "Untrained",
        "Best baseline",
        "Stacked",
        "Test sequences",
        "Leaks found",
    ]
    return table(
        "All tasks",
        columns,
        rows,
        numeric=[3, 4, 5, 6, 7, 8],
        note="Untrained: the leading model without pretraining, taught in the same way. Best baseline: that "
        "with the highest value on the same sequences, so it looks a little better than it is. Stacked: all "
        "predictors of the leading model and the baselines together.",
    )
