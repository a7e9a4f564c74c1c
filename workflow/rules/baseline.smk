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
    wildcard_constraints:
        baseline="|".join(baselines_of("baseline")),
    group:
        SHARED_JOBS.of("baseline")
    conda:
        "../../envs/analyse.yaml"
    threads: 1
    resources:
        **FOR_TABLES,
    params:
        *code("baseline", "analyse"),
        problem=problem_of,
        flags=lambda wildcards: baseline_flags(wildcards.baseline, wildcards.task),
    message:
        "Training baseline {wildcards.baseline} for task {wildcards.task}"
    shell:
        command(
            "baseline",
            "--log {log:q} --baseline {wildcards.baseline} --task {wildcards.task} --problem {params.problem}"
            " --train {input.train:q} --validation {input.validation:q} {params.flags}"
            " --output {output.directory:q} --summary {output.summary:q}",
        )


rule baseline_cnn:
    input:
        train="<results>/tasks/{task}/train.tsv",
        validation="<results>/tasks/{task}/validation.tsv",
    output:
        directory=directory("<results>/baselines/{baseline}/{task}"),
        summary="<results>/baselines/{baseline}/{task}.json",
    log:
        "<logs>/baseline_cnn/{baseline}/{task}.log",
    benchmark:
        "<benchmarks>/baseline_cnn/{baseline}/{task}.tsv"
    wildcard_constraints:
        baseline="|".join(baselines_of("baseline_cnn")),
    group:
        SHARED_JOBS.of("baseline")
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: resources.model_memory_mb(0, size_mb(input), attempt),
        runtime=lambda wildcards, input, attempt: resources.network_runtime_min(
            size_mb(input), config["baseline"]["cnn_epochs"], attempt
        ),
    params:
        *code("baseline_cnn", "train"),
        problem=problem_of,
        flags=lambda wildcards: baseline_flags(wildcards.baseline, wildcards.task),
    message:
        "Training baseline {wildcards.baseline} for task {wildcards.task}"
    shell:
        command(
            "baseline_cnn",
            "--log {log:q} --baseline {wildcards.baseline} --task {wildcards.task} --problem {params.problem} --train {input.train:q}"
            " --validation {input.validation:q} {params.flags}"
            " --output {output.directory:q} --summary {output.summary:q}",
        )


rule combine:
    input:
        model="<results>/models/{model}.json",
        model_directory=ancient("<results>/models/{model}"),
        kmer="<results>/baselines/kmer/{task}.json",
        kmer_directory=ancient("<results>/baselines/kmer/{task}"),
        train="<results>/tasks/{task}/train.tsv",
        validation="<results>/tasks/{task}/validation.tsv",
        train_embeddings="<results>/embeddings/{model}/{task}.train.npz",
        validation_embeddings="<results>/embeddings/{model}/{task}.validation.npz",
    output:
        directory=directory(f"<results>/classifiers/{{model}}/{{task}}/{COMBINED}"),
        summary=f"<results>/classifiers/{{model}}/{{task}}/{COMBINED}.json",
    log:
        "<logs>/combine/{model}/{task}.log",
    benchmark:
        "<benchmarks>/combine/{model}/{task}.tsv"
    group:
        SHARED_JOBS.of("classifiers")
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: resources.model_memory_mb(
            parameters(wildcards), size_mb([input.train, input.train_embeddings]), attempt
        ),
        runtime=lambda wildcards, input, attempt: resources.table_runtime_min(
            20 * size_mb([input.train]), attempt
        ),
    params:
        *code("combine", "train"),
        problem=problem_of,
        pooling=config["finetune"]["pooling"],
    message:
        "Training on k-mers and embeddings of {wildcards.model} together for task {wildcards.task}"
    shell:
        command(
            "combine",
            "--log {log:q} --name {wildcards.model} --task {wildcards.task} --problem {params.problem}"
            " --model {input.model_directory:q} --kmer {input.kmer_directory:q} --train {input.train:q}"
            " --validation {input.validation:q} --train-embeddings {input.train_embeddings:q}"
            " --validation-embeddings {input.validation_embeddings:q} --pooling {params.pooling}"
            " --output {output.directory:q} --summary {output.summary:q}",
        )
