# Labelled sequences: checked, deduplicated, split, and searched for leaks between the splits.


rule prepare_task:
    input:
        train=lambda wildcards: task_file(wildcards.task, "train"),
        test=lambda wildcards: task_file(wildcards.task, "test"),
        validation=lambda wildcards: (
            [task_file(wildcards.task, "validation")] if "validation" in TASKS[wildcards.task].files else []
        ),
    output:
        train="<results>/tasks/{task}/train.tsv",
        validation="<results>/tasks/{task}/validation.tsv",
        test="<results>/tasks/{task}/test.tsv",
        checks="<results>/tasks/{task}/checks.json",
    log:
        "<logs>/prepare_task/{task}.log",
    benchmark:
        "<benchmarks>/prepare_task/{task}.tsv"
    conda:
        "../../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: need.table_memory_mb(size_mb(input), attempt),
        runtime=lambda wildcards, input, attempt: need.table_runtime_min(size_mb(input), attempt),
    params:
        code=code_digest("prepare_task"),
        size=lambda wildcards: given_bytes(*TASKS[wildcards.task].files.values()),
        validation=lambda wildcards, input: flags({"validation": list(input.validation)}),
        flags=flags(config["task_preparation"]),
    message:
        "Checking task {wildcards.task}: duplicates, leaks, labels"
    shell:
        command(
            "prepare_task",
            "--log {log:q} --task {wildcards.task} --train {input.train:q}"
            " --test {input.test:q} {params.validation} {params.flags} --output-train {output.train:q}"
            " --output-validation {output.validation:q} --output-test {output.test:q} --checks {output.checks:q}",
        )


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
        mem_mb=lambda wildcards, input, attempt: need.table_memory_mb(size_mb(input), attempt),
        runtime=lambda wildcards, input, attempt: need.table_runtime_min(20 * size_mb(input), attempt),
    params:
        code=code_digest("baseline"),
        flags=flags({"kmer_lengths": config["baselines"]["kmer_lengths"]}),
    message:
        "Training baseline {wildcards.baseline} for task {wildcards.task}"
    shell:
        command(
            "baseline",
            "--log {log:q} --baseline {wildcards.baseline} --task {wildcards.task}"
            " --train {input.train:q} --validation {input.validation:q} {params.flags}"
            " --output {output.directory:q} --summary {output.summary:q}",
        )
