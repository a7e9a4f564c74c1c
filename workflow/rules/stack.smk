# All predictors of a task as one.


rule stack:
    input:
        members=lambda wildcards: [f"{member}.json" for member in stacked_members(wildcards)],
        member_directories=lambda wildcards: ancient(stacked_members(wildcards)),
        validation="<results>/tasks/{task}/validation.tsv",
    output:
        directory=directory(f"<results>/classifiers/{{model}}/{{task}}/{STACKED}"),
        summary=f"<results>/classifiers/{{model}}/{{task}}/{STACKED}.json",
    log:
        "<logs>/stack/{model}/{task}.log",
    benchmark:
        "<benchmarks>/stack/{model}/{task}.tsv"
    group:
        SHARED_JOBS.of("stack")
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        **resources.on_gpus(EMBED_GPUS, GRES),
        mem_mb=lambda wildcards, input, attempt: resources.model_memory_mb(
            read_parameters(wildcards.model, STACKED), size_mb([input.validation]), attempt
        ),
        runtime=lambda wildcards, input, attempt: resources.model_runtime_min(
            read_mb(wildcards.model, size_mb([input.validation])),
            read_parameters(wildcards.model, STACKED),
            EMBED_GPUS,
            attempt,
        ),
    params:
        *code("stack", "train"),
    message:
        "Stacking the predictors of {wildcards.task}, with {wildcards.model}"
    shell:
        command(
            "stack",
            "--log {log:q} --name {wildcards.model} --task {wildcards.task} --gpus {resources.devices}"
            " --members {input.member_directories:q} --validation {input.validation:q}"
            " --output {output.directory:q} --summary {output.summary:q}",
            ALLOW_CPU,
        )
