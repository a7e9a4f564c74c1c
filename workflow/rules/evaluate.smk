# These and cross_validate.smk are the only rules that read the test split for more than a check for leaks.


rule evaluate:
    input:
        classifier="<results>/classifiers/{model}/{task}/{backbone}.json",
        classifier_directory=ancient("<results>/classifiers/{model}/{task}/{backbone}"),
        test="<results>/tasks/{task}/test.tsv",
        validation="<results>/tasks/{task}/validation.tsv",
    output:
        metrics="<results>/evaluation/{model}/{task}/{backbone}/metrics.json",
        predictions=reported_predictions("{backbone}"),
        curves="<results>/evaluation/{model}/{task}/{backbone}/curves.json",
    log:
        "<logs>/evaluate/{model}/{task}/{backbone}.log",
    benchmark:
        "<benchmarks>/evaluate/{model}/{task}/{backbone}.tsv"
    wildcard_constraints:
        task=one_of(TESTED_ONCE),
    group:
        SHARED_JOBS.of("evaluate")
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        **resources.on_gpus(EMBED_GPUS, GRES),
        mem_mb=lambda wildcards, input, attempt: resources.model_memory_mb(
            parameters(wildcards), size_mb([input.test, input.validation]), attempt
        ),
        runtime=lambda wildcards, input, attempt: resources.model_runtime_min(
            readings_of(wildcards.task) * read_mb(wildcards.model, size_mb([input.test, input.validation])),
            parameters(wildcards),
            EMBED_GPUS,
            attempt,
        ),
    params:
        *code("evaluate", "train"),
        **JUDGING,
        kind=lambda wildcards: (
            wildcards.backbone if wildcards.backbone in (COMBINED, STACKED) else kind_of(wildcards.model)
        ),
        way=lambda wildcards: way(wildcards),
    message:
        "Evaluating {wildcards.model}, backbone {wildcards.backbone}, on the test split of {wildcards.task}"
    shell:
        command(
            "evaluate",
            "--log {log:q} --kind {params.kind} --name {wildcards.model}"
            " --gpus {resources.devices} --backbone {params.way} --task {wildcards.task}"
            " --predictor {input.classifier_directory:q} --test {input.test:q}"
            " --validation {input.validation:q} {params.positive} {params.strands} {params.flags}"
            " --metrics {output.metrics:q} --predictions {output.predictions:q} --curves {output.curves:q}",
            ALLOW_CPU,
        )


rule evaluate_baseline:
    input:
        baseline="<results>/baselines/{baseline}/{task}.json",
        baseline_directory=ancient("<results>/baselines/{baseline}/{task}"),
        test="<results>/tasks/{task}/test.tsv",
        validation="<results>/tasks/{task}/validation.tsv",
    output:
        metrics="<results>/evaluation/{baseline}/{task}/metrics.json",
        predictions="<results>/evaluation/{baseline}/{task}/predictions.tsv",
        curves="<results>/evaluation/{baseline}/{task}/curves.json",
    log:
        "<logs>/evaluate_baseline/{baseline}/{task}.log",
    benchmark:
        "<benchmarks>/evaluate_baseline/{baseline}/{task}.tsv"
    wildcard_constraints:
        task=one_of(TESTED_ONCE),
    group:
        SHARED_JOBS.of("baseline")
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        **FOR_TABLES,
    params:
        *code("evaluate", "train"),
        **JUDGING,
    message:
        "Evaluating baseline {wildcards.baseline} on the test split of {wildcards.task}"
    shell:
        command(
            "evaluate",
            "--log {log:q} --kind baseline --name {wildcards.baseline} --task {wildcards.task}"
            " --predictor {input.baseline_directory:q} --test {input.test:q}"
            " --validation {input.validation:q} {params.positive} {params.strands} {params.flags}"
            " --metrics {output.metrics:q} --predictions {output.predictions:q} --curves {output.curves:q}",
        )
