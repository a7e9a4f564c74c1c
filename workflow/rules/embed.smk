# One forward pass per sequence: CLS, mean and max vectors. Any split can be asked for by its path; the
# chain itself never embeds the test split.


rule embed:
    input:
        model="<results>/models/{model}.json",
        model_directory=ancient("<results>/models/{model}"),
        sequences="<results>/tasks/{task}/{split}.tsv",
    output:
        "<results>/embeddings/{model}/{task}.{split}.npz",
    log:
        "<logs>/embed/{model}/{task}.{split}.log",
    benchmark:
        "<benchmarks>/embed/{model}/{task}.{split}.tsv"
    group:
        SHARED_JOBS.of("embed")
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        **resources.on_gpus(EMBED_GPUS, GRES),
        mem_mb=lambda wildcards, input, attempt: resources.model_memory_mb(
            parameters(wildcards), size_mb([input.sequences]), attempt
        ),
        runtime=lambda wildcards, input, attempt: resources.model_runtime_min(
            read_mb(wildcards.model, size_mb([input.sequences])), parameters(wildcards), EMBED_GPUS, attempt
        ),
    params:
        *code("embed", "train"),
        flags=settings_flags(SequenceSettings, config["finetune"]),
        precision=lambda wildcards: precision_flag(wildcards.model),
    message:
        "Embedding {wildcards.task}, {wildcards.split} split, with model {wildcards.model}"
    shell:
        command(
            "embed",
            "--log {log:q} --name {wildcards.model} --task {wildcards.task}"
            " --gpus {resources.devices} --split {wildcards.split} --model {input.model_directory:q}"
            " --sequences {input.sequences:q} {params.flags} {params.precision} --output {output:q}",
            ALLOW_CPU,
        )
