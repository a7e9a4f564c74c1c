# Masked-language-model pretraining; the same model untrained; a checkpoint as it was published.
# A directory is read as `ancient` and its summary, which holds the checksum of its content, beside it: so
# Snakemake judges directories by content too.


rule pretrain:
    input:
        start=start_of,
        tokenizer=lambda wildcards: f"{tokenizer_of(wildcards)}.json",
        tokenizer_directory=lambda wildcards: ancient(tokenizer_of(wildcards)),
        train=lambda wildcards: token_summaries("train", wildcards),
        train_directories=lambda wildcards: ancient(tokens("train", wildcards)),
        validation=lambda wildcards: token_summaries("validation", wildcards),
        validation_directories=lambda wildcards: ancient(tokens("validation", wildcards)),
    output:
        directory=directory("<results>/models/{model}"),
        summary="<results>/models/{model}.json",
        telemetry="<results>/telemetry/pretrain/{model}.json",
    log:
        "<logs>/pretrain/{model}.log",
    benchmark:
        "<benchmarks>/pretrain/{model}.tsv"
    wildcard_constraints:
        model="|".join(map(re.escape, TRAINED_MODELS)) or "none",
    conda:
        "../../envs/train.yaml"
    threads: config["resources"]["pretrain_threads"]
    resources:
        gpu=resources.gpu(PRETRAIN_GPUS, GRES, PRETRAIN_NODES),
        gres=resources.gres(PRETRAIN_GPUS, GRES, PRETRAIN_NODES),
        devices=PRETRAIN_GPUS,
        nodes=PRETRAIN_NODES,
        tasks=resources.tasks(PRETRAIN_GPUS, PRETRAIN_NODES),
        cpus_per_task=lambda wildcards, threads: threads,
        mem_mb_per_cpu=None,
        mem_mb=lambda wildcards, attempt: resources.pretrain_memory_mb(
            parameters(wildcards), PRETRAIN_GPUS, attempt
        ),
        runtime=lambda wildcards, attempt: resources.pretrain_runtime_min(
            training_tokens(wildcards),
            parameters(wildcards),
            PRETRAIN_GPUS * PRETRAIN_NODES,
            config["resources"]["pretrain_threads"],
            config["resources"]["pretrain_hours"],
            attempt,
        ),
    params:
        *code("pretrain", "train"),
        start=start_flag,
        checkpoints=lambda wildcards: f"{CHECKPOINTS}/{wildcards.model}",
        context=lambda wildcards: settings_flags(ContextSettings, MODELS[wildcards.model]),
        masking=lambda wildcards: settings_flags(
            MaskingSettings, MODELS[wildcards.model]["masking"], "masking_"
        ),
        training=lambda wildcards: settings_flags(
            TrainingSettings, MODELS[wildcards.model]["training"], "training_"
        ),
    message:
        "Pretraining model {wildcards.model} (log: {log})"
    shell:
        command(
            "pretrain",
            "--log {log:q} --model {wildcards.model} --gpus {resources.devices} --nodes {resources.nodes}"
            " {params.start} {input.start:q} --tokenizer {input.tokenizer_directory:q}"
            " --tokens {input.train_directories:q} --validation-tokens {input.validation_directories:q}"
            " {params.context} {params.masking} {params.training}"
            " --checkpoints {params.checkpoints:q}"
            " --output {output.directory:q} --summary {output.summary:q} --telemetry {output.telemetry:q}",
            loggers("pretrain/{wildcards.model}"),
            ALLOW_CPU,
        )


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
        model="|".join(map(re.escape, UNTRAINED_MODELS)) or "none",
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: resources.model_memory_mb(parameters(wildcards), 0, attempt),
        runtime=15,
    params:
        *code("untrained_model", "train"),
        start=start_flag,
        seed=lambda wildcards: flags(
            {"seed": (model_settings(wildcards.model)["training"] or {}).get("seed")}
        ),
    message:
        "Drawing the untrained baseline {wildcards.model}"
    shell:
        command(
            "untrained_model",
            "--log {log:q} --model {wildcards.model} {params.start} {input.start:q}"
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
        model="|".join(map(re.escape, AS_PUBLISHED)) or "none",
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: resources.model_memory_mb(parameters(wildcards), 0, attempt),
        runtime=15,
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
