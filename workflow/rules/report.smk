# Everything that was measured, on one self-contained page.


rule write_configuration:
    output:
        "<results>/configuration.json",
    log:
        "<logs>/write_configuration.log",
    localrule: True
    conda:
        "../../envs/genome.yaml"
    params:
        # One for each setting, so that the reason to run again names those that changed; functions, so that
        # braces in a title are no wildcards.
        *[lambda wildcards, setting=setting: setting for setting in notes.lines_of(DECISIVE)],
        # As a function of the output Snakemake does not compare it.
        configuration=lambda wildcards, output: json.dumps(DECISIVE, indent=2),
    message:
        "Recording the configuration"
    shell:
        "printf '%s\\n' {params.configuration:q} > {output:q} 2> {log:q}"


rule report:
    input:
        settings="<results>/configuration.json",
        windows_stats=expand("<results>/windows/{genome}.stats.json", genome=CORPORA),
        tokenizers=expand(
            "<results>/tokenizers/{tokenizer}.json",
            tokenizer=USED_TOKENIZERS,
        ),
        tokens=[
            f"<results>/tokens/{tokenizer}/{genome}.{split}.json"
            for tokenizer in USED_TOKENIZERS
            for genome in CORPORA
            for split in SPLITS
        ],
        training_summaries=of_models("<results>/models/{model}.json"),
        model_directories=ancient(of_models("<results>/models/{model}")),
        telemetry=ancient(expand("<results>/telemetry/pretrain/{model}.json", model=TRAINED_MODELS)),
        language_models=of_models("<results>/evaluate_language_model/{model}.metrics.json"),
        fill_mask=of_models("<results>/evaluate_language_model/{model}.fill_mask.tsv"),
        filled_gaps=expand("<results>/fill_mask/{gap}.tsv", gap=config["fill_mask"]),
        embedded=expand("<results>/embed_sequences/{embedded}.json", embedded=config["embed_sequences"]),
        similarities=expand(
            "<results>/embed_sequences/{embedded}.similarities.tsv", embedded=config["embed_sequences"]
        ),
        sequence_loss=of_models("<results>/evaluate_language_model/{model}.sequence_loss.tsv"),
        checks=expand("<results>/tasks/{task}/checks.json", task=TASKS),
        finetuning_summaries=expand(
            "<results>/classifiers/{model}/{task}/{backbone}.json",
            model=MODELS,
            task=TASKS,
            backbone=BACKBONES,
        ),
        classifier_directories=ancient(
            expand(
                "<results>/classifiers/{model}/{task}/{backbone}",
                model=MODELS,
                task=TASKS,
                backbone=BACKBONES,
            )
        ),
        metrics=of_evaluations("metrics.json"),
        predictions=of_evaluations("predictions.tsv"),
        curves=of_evaluations("curves.json"),
        comparisons=expand("<results>/evaluation/{task}.comparison.json", task=TASKS),
        overlaps=expand(
            "<results>/tasks/{task}/pretraining_overlap.json", task=TASKS if TRAINED_MODELS else []
        ),
        explored_batches=expand("<results>/explore/{model}.batch.json", model=TRAINED_MODELS),
        explored_tasks=expand("<results>/explore/{task}.task.json", task=TASKS),
        study="<results>/study/leaderboard.json" if VARIANTS else [],
        simulation=f"{SIMULATION}/description.json" if SIMULATION else [],
        published=unless_own(config["published"]),
    output:
        page=report(
            "<results>/report.html",
            category="Report",
            labels={"what": "the whole run"},
            caption="../report/report.rst",
        ),
        summary=report(
            "<results>/evaluation/summary.tsv",
            category="Report",
            labels={"what": "metrics of all predictors"},
            caption="../report/summary.rst",
        ),
        figures=report(
            directory("<results>/figures"),
            patterns=["{figure}.svg"],
            category="Figures",
            labels={"what": "{figure}"},
            caption="../report/figures.rst",
        ),
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    conda:
        "../../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: resources.scaled(4000, attempt),
        runtime=lambda wildcards, attempt: resources.scaled(20, attempt),
    params:
        *code("report", "analyse"),
        benchmarks=lambda wildcards, input: folder_beside(input.settings, "benchmarks"),
        logs=lambda wildcards, input: folder_beside(input.settings, "logs"),
        simulation=lambda wildcards, input: flags({"simulation": input.simulation or None}),
        simulated_tasks=flags({"simulated_tasks": SIMULATED_TASKS}),
        study=lambda wildcards, input: flags({"study": input.study or None}),
        published=lambda wildcards, input: flags({"published": input.published or config["published"]}),
        own_published=own_content(config["published"]),
        versions=flags(
            {
                "versions": [
                    *(f"{name}={version}" for name, version in software.own_version(ROOT).items()),
                    f"python={platform.python_version()}",
                    f"snakemake={snakemake_version}",
                    *(f"{name}={version}" for name, version in reported_packages().items()),
                ]
            }
        ),
        # As a function of the output Snakemake does not compare it: most commits change no result.
        commit=lambda wildcards, output: flags(software.own_commit(ROOT)),
        # As the sheet names them: who reads the report elsewhere has no sheet. Functions, so that braces in a URL
        # are no wildcards.
        genome_files=lambda wildcards: flags(
            {"genome_files": [f"{name}={genome.fasta}" for name, genome in GENOMES.items()]}
        ),
        task_files=lambda wildcards: flags(
            {
                "task_files": [
                    f"{name}.{split}={file}"
                    for name, task in TASKS.items()
                    for split, file in task.files.items()
                ]
            }
        ),
        sheets=lambda wildcards: flags(
            {
                "sheets": [
                    f"{as_configured(config[sheet])}={sheet_text(config[sheet])}"
                    for sheet in ("genomes", "tasks")
                    if config[sheet]
                ]
            }
        ),
        training_logs=lambda wildcards, input: beside(input.training_summaries, "training_log.jsonl"),
        finetuning_logs=lambda wildcards, input: beside(input.finetuning_summaries, "finetuning_log.jsonl"),
        # A function, so that braces in a title are no wildcards.
        title=lambda wildcards: config["title"],
    message:
        "Writing the report"
    shell:
        command_of_many(
            "report",
            "--log {log:q} --title={params.title:q} {params.simulation} {params.simulated_tasks} {params.versions} {params.commit} {params.genome_files} {params.task_files} {params.sheets} {params.study} {params.published} --settings {input.settings:q}"
            " --windows-stats {input.windows_stats:q} --tokenizers {input.tokenizers:q} --tokens {input.tokens:q}"
            " --training-logs {params.training_logs:q} --training-summaries {input.training_summaries:q}"
            " --telemetry {input.telemetry:q} --language-models {input.language_models:q}"
            " --fill-mask {input.fill_mask:q} --sequence-loss {input.sequence_loss:q}"
            " --filled-gaps {input.filled_gaps:q}"
            " --embedded {input.embedded:q} --similarities {input.similarities:q}"
            " --checks {input.checks:q} --finetuning-summaries {input.finetuning_summaries:q}"
            " --finetuning-logs {params.finetuning_logs:q} --metrics {input.metrics:q}"
            " --predictions {input.predictions:q} --curves {input.curves:q} --comparisons {input.comparisons:q}"
            " --overlaps {input.overlaps:q}"
            " --explored-batches {input.explored_batches:q} --explored-tasks {input.explored_tasks:q}"
            " --benchmarks {params.benchmarks:q} --logs {params.logs:q} --output {output.page:q} --summary {output.summary:q} --figures {output.figures:q}",
        )
