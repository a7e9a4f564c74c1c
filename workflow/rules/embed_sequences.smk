# Sequences without labels, embedded by a language model.


rule embed_sequences:
    input:
        model=lambda wildcards: f"{model_of(embedding_settings(wildcards))}.json",
        model_directory=lambda wildcards: ancient(model_of(embedding_settings(wildcards))),
        sequences=lambda wildcards: embedding_settings(wildcards)["input"],
        genome=lambda wildcards: embedding_settings(wildcards)["genome"] or [],
    output:
        vectors="<results>/embed_sequences/{embedded}.npz",
        table="<results>/embed_sequences/{embedded}.parquet",
        similarities=report(
            "<results>/embed_sequences/{embedded}.similarities.tsv",
            category="Language model",
            labels={"sequences": "{embedded}", "what": "similarities"},
            caption="../report/similarities.rst",
        ),
        summary="<results>/embed_sequences/{embedded}.json",
    log:
        "<logs>/embed_sequences/{embedded}.log",
    benchmark:
        "<benchmarks>/embed_sequences/{embedded}.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        **resources.on_gpus(EMBED_GPUS, GRES),
        mem_mb=lambda wildcards, input, attempt: resources.embedding_memory_mb(
            size_mb([input.sequences]), read_parameters(embedding_settings(wildcards)["model"]), attempt
        ),
        runtime=lambda wildcards, input, attempt: resources.prediction_runtime_min(
            read_mb(embedding_settings(wildcards)["model"], size_mb([input.sequences])),
            embedding_settings(wildcards)["window"],
            embedding_settings(wildcards)["stride"],
            1,
            read_parameters(embedding_settings(wildcards)["model"]),
            EMBED_GPUS,
            attempt,
        ),
    params:
        *code("embed_sequences", "train"),
        genome=lambda wildcards, input: flags({"genome": input.genome or None}),
        flags=lambda wildcards: settings_flags(VectorSettings, embedding_settings(wildcards)),
        precision=lambda wildcards: precision_flag(embedding_settings(wildcards)["model"]),
        name=lambda wildcards: embedding_settings(wildcards)["model"],
    message:
        "Embedding sequences: {wildcards.embedded}"
    shell:
        command(
            "embed_sequences",
            "--log {log:q} --gpus {resources.devices} --name {params.name} --model {input.model_directory:q}"
            " --input {input.sequences:q} {params.genome} {params.flags} {params.precision} --output {output.vectors:q}"
            " --parquet {output.table:q} --similarities {output.similarities:q} --summary {output.summary:q}",
            ALLOW_CPU,
        )
