# Variants of a model side by side: leaderboards and learning curves.


rule subset_task:
    input:
        train="<results>/tasks/{full_task}/train.tsv",
        validation="<results>/tasks/{full_task}/validation.tsv",
        test="<results>/tasks/{full_task}/test.tsv",
    output:
        train="<results>/tasks/{full_task},train={size}/train.tsv",
        validation="<results>/tasks/{full_task},train={size}/validation.tsv",
        test="<results>/tasks/{full_task},train={size}/test.tsv",
    log:
        "<logs>/subset_task/{full_task},train={size}.log",
    benchmark:
        "<benchmarks>/subset_task/{full_task},train={size}.tsv"
    wildcard_constraints:
        full_task=one_of(TASKS),
        size=r"\d+",
    # A mistake is told while little has been computed.
    priority: BEFORE_ALL
    conda:
        "../../envs/analyse.yaml"
    threads: 1
    resources:
        **FOR_TABLES,
    params:
        *code("subset_task", "analyse"),
        flags=flags({"seed": config["prepare_task"]["seed"]}),
    message:
        "Taking {wildcards.size} training sequences of {wildcards.full_task}"
    shell:
        command(
            "subset_task",
            "--log {log:q} --train {input.train:q} --validation {input.validation:q} --test {input.test:q}"
            " --size {wildcards.size} {params.flags} --output-train {output.train:q}"
            " --output-validation {output.validation:q} --output-test {output.test:q}",
        )


if VARIANTS:

    rule study:
        input:
            configuration="<results>/configuration.json",
            metrics=[f"{folder}/metrics.json" for folder in study_folders()],
            predictions=[f"{folder}/predictions.tsv" for folder in study_folders()],
            checks=expand("<results>/tasks/{task}/checks.json", task=TASKS),
            models=[
                f"<results>/models/{name}.json"
                for name in sorted({variant.language_model for variant in VARIANTS.values()})
            ],
            # What trainings took says nothing of their results.
            telemetry=ancient(
                expand(
                    "<results>/telemetry/cross_validate/{model}/{task}/{backbone}.json",
                    model=VARIANTS,
                    task=CROSS_VALIDATED,
                    backbone=BACKBONES,
                )
            ),
        output:
            table=report(
                "<results>/study/leaderboard.tsv",
                category="Study",
                labels={"what": "leaderboard"},
                caption="../report/study.rst",
            ),
            leaderboards="<results>/study/leaderboard.json",
        log:
            "<logs>/study.log",
        benchmark:
            "<benchmarks>/study.tsv"
        conda:
            "../../envs/analyse.yaml"
        threads: 1
        resources:
            **FOR_TABLES,
        params:
            *code("study", "analyse"),
            benchmarks=lambda wildcards, input: folder_beside(input.configuration, "benchmarks"),
            telemetry=lambda wildcards, input: flags({"telemetry": list(input.telemetry)}),
            flags=settings_flags(EvaluateSettings, config["evaluate"]),
        message:
            "Comparing the variants of the study"
        shell:
            command_of_many(
                "study",
                "--log {log:q} --configuration {input.configuration:q} --metrics {input.metrics:q}"
                " --predictions {input.predictions:q} --models {input.models:q} --checks {input.checks:q} --benchmarks {params.benchmarks:q}"
                " {params.telemetry} {params.flags} --output {output.table:q} --output-json {output.leaderboards:q}",
            )
