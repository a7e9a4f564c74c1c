# Models that need no training: untrained, and as they were published.


rule untrained_model:
    input:
        start=start_of,
        tokenizer=lambda wildcards: f"{tokenizer_of(wildcards)}.json",
        tokenizer_directory=lambda wildcards: ancient(tokenizer_of(wildcards)),
    output:
        directory=directory("<results>/models/{model}"),
        summary="<results>/models/{model}.json",
    log:
        "<logs>/untrained_model/{model}.log",
    benchmark:
        "<benchmarks>/untrained_model/{model}.tsv"
    wildcard_constraints:
        model=one_of([*UNTRAINED_MODELS, *STUDY_UNTRAINED]),
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: resources.model_memory_mb(parameters(wildcards), 0, attempt),
        runtime=lambda wildcards, attempt: resources.scaled(15, attempt),
    params:
        *code("untrained_model", "train"),
        start=start_flags,
        architecture=own_start,
        seed=lambda wildcards: flags(
            {"seed": (model_settings(wildcards.model)["training"] or {}).get("seed")}
        ),
    message:
        "Drawing the untrained baseline {wildcards.model}"
    shell:
        command(
            "untrained_model",
            "--log {log:q} --model {wildcards.model} {params.start}"
            " --tokenizer {input.tokenizer_directory:q} {params.seed}"
            " --output {output.directory:q} --summary {output.summary:q}",
        )


rule published_model:
    input:
        checkpoint=start_of,
        tokenizer=lambda wildcards: f"{tokenizer_of(wildcards)}.json",
        tokenizer_directory=lambda wildcards: ancient(tokenizer_of(wildcards)),
    output:
        directory=directory("<results>/models/{model}"),
        summary="<results>/models/{model}.json",
    log:
        "<logs>/published_model/{model}.log",
    benchmark:
        "<benchmarks>/published_model/{model}.tsv"
    wildcard_constraints:
        model=one_of(AS_PUBLISHED),
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: resources.model_memory_mb(parameters(wildcards), 0, attempt),
        runtime=lambda wildcards, attempt: resources.scaled(15, attempt),
    params:
        *code("published_model", "train"),
    message:
        "Taking model {wildcards.model} as it was published"
    shell:
        command(
            "published_model",
            "--log {log:q} --model {wildcards.model} --checkpoint {input.checkpoint:q}"
            " --tokenizer {input.tokenizer_directory:q} --output {output.directory:q} --summary {output.summary:q}",
        )
