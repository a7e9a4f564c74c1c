# All predictors of a task side by side, on the same test sequences.


rule compare:
    input:
        metrics=lambda wildcards: evaluation_files("metrics.json", wildcards.task),
        predictions=lambda wildcards: evaluation_files("predictions.tsv", wildcards.task),
        repetitions=lambda wildcards: repeated_metrics(wildcards.task),
    output:
        table=report(
            "<results>/evaluation/{task}.comparison.tsv",
            category="Classification",
            subcategory="{task}",
            labels={"what": "comparison with baselines"},
            caption="../report/comparison.rst",
        ),
        words="<results>/evaluation/{task}.comparison.json",
    log:
        "<logs>/compare/{task}.log",
    benchmark:
        "<benchmarks>/compare/{task}.tsv"
    group:
        SHARED_JOBS.of("compare")
    conda:
        "../../envs/analyse.yaml"
    threads: 1
    resources:
        **FOR_TABLES,
    params:
        *code("compare", "analyse"),
        reference=f"{next(iter(MODELS))}/{BACKBONES[0]}",
        repetitions=lambda wildcards, input: flags({"repetitions": list(input.repetitions)}),
        flags=settings_flags(EvaluateSettings, config["evaluate"]),
    message:
        "Comparing all predictors of {wildcards.task}"
    shell:
        command(
            "compare",
            "--log {log:q} --task {wildcards.task} --reference {params.reference} {params.flags}"
            " --metrics {input.metrics:q} --predictions {input.predictions:q} {params.repetitions}"
            " --output {output.table:q} --output-json {output.words:q}",
        )
