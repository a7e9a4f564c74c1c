# Masked-language-model pretraining.
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
        model=one_of([*TRAINED_MODELS, *STUDY.models]),
    priority: LANGUAGE_MODEL
    conda:
        "../../envs/train.yaml"
    threads: config["resources"]["pretrain_threads"]
    resources:
        **resources.on_gpus(PRETRAIN_GPUS, GRES, PRETRAIN_NODES),
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
        start=start_flags,
        architecture=own_start,
        checkpoints=lambda wildcards: f"{CHECKPOINTS}/{wildcards.model}",
        context=lambda wildcards: settings_flags(ContextSettings, model_settings(wildcards.model)),
        masking=lambda wildcards: settings_flags(
            MaskingSettings, model_settings(wildcards.model)["masking"], "masking_"
        ),
        training=lambda wildcards: settings_flags(
            TrainingSettings, model_settings(wildcards.model)["training"], "training_"
        ),
        precision=lambda wildcards: precision_flag(wildcards.model),
    message:
        "Pretraining model {wildcards.model} (log: {log})"
    shell:
        command(
            "pretrain",
            "--log {log:q} --model {wildcards.model} --gpus {resources.devices} --nodes {resources.nodes}"
            " {params.start} --tokenizer {input.tokenizer_directory:q}"
            " --tokens {input.train_directories:q} --validation-tokens {input.validation_directories:q}"
            " {params.context} {params.masking} {params.training} {params.precision}"
            " --checkpoints {params.checkpoints:q}"
            " --output {output.directory:q} --summary {output.summary:q} --telemetry {output.telemetry:q}",
            loggers("pretrain/{wildcards.model}"),
            ALLOW_CPU,
        )
