# Simple predictors that the classifier has to beat.


rule baseline:
    input:
        train="<results>/tasks/{task}/train.tsv",
        validation="<results>/tasks/{task}/validation.tsv",
    output:
        directory=directory("<results>/baselines/{baseline}/{task}"),
        summary="<results>/baselines/{baseline}/{task}.json",
    log:
        "<logs>/baseline/{baseline}/{task}.log",
    benchmark:
        "<benchmarks>/baseline/{baseline}/{task}.tsv"
    conda:
        "../../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: resources.table_memory_mb(size_mb(input), attempt),
        runtime=lambda wildcards, input, attempt: resources.table_runtime_min(size_mb(input), attempt),
    params:
        *code("baseline", "analyse"),
        flags=settings_flags(KmerSettings, config["baseline"]),
    message:
        "Training baseline {wildcards.baseline} for task {wildcards.task}"
    shell:
        command(
            "baseline",
            "--log {log:q} --baseline {wildcards.baseline} --task {wildcards.task}"
            " --train {input.train:q} --validation {input.validation:q} {params.flags}"
            " --output {output.directory:q} --summary {output.summary:q}",
        )
