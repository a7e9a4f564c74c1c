# The classifier: its head on a frozen backbone, or more of the model, up to every weight.


rule finetune:
    input:
        unpack(features),
        model=lambda wildcards: f"<results>/models/{language_model(wildcards.model)}.json",
        model_directory=lambda wildcards: ancient(f"<results>/models/{language_model(wildcards.model)}"),
        train_sequences="<results>/tasks/{task}/train.tsv",
        validation_sequences="<results>/tasks/{task}/validation.tsv",
    output:
        directory=directory("<results>/classifiers/{model}/{task}/{backbone}"),
        summary="<results>/classifiers/{model}/{task}/{backbone}.json",
    log:
        "<logs>/finetune/{model}/{task}/{backbone}.log",
    benchmark:
        "<benchmarks>/finetune/{model}/{task}/{backbone}.tsv"
    wildcard_constraints:
        backbone=rf"({'|'.join(BACKBONE_SETTINGS)})({REPETITION}\d+)?",
    group:
        SHARED_JOBS.of("classifiers", features)
    conda:
        "../../envs/finetune.yaml"
    threads: 1
    resources:
        **resources.on_gpus(finetune_gpus, GRES),
        mem_mb=lambda wildcards, input, attempt: training_memory_mb(
            wildcards, size_mb([input.train_sequences]), attempt
        ),
        runtime=lambda wildcards, input, attempt: training_runtime_min(
            wildcards, size_mb([input.train_sequences]), attempt
        ),
    params:
        *code("finetune", "finetune"),
        problem=problem_of,
        embeddings=lambda wildcards, input: flags(
            {f"{split}_embeddings": input.get(split) for split in SPLITS}
        ),
        checkpoints=lambda wildcards: (
            "" if way(wildcards) == "frozen" else f"--checkpoints {shlex.quote(CHECKPOINTS)}/finetune"
        ),
        way=lambda wildcards: way(wildcards),
        flags=classifier_flags,
    message:
        "Fine-tuning {wildcards.model} for {wildcards.task}, backbone {wildcards.backbone}"
    shell:
        command(
            "finetune",
            "--log {log:q} --name {wildcards.model} --task {wildcards.task} --problem {params.problem}"
            " --gpus {resources.devices} --backbone {params.way} --model {input.model_directory:q}"
            " --train-sequences {input.train_sequences:q} --validation-sequences {input.validation_sequences:q}"
            " {params.embeddings} {params.checkpoints} {params.flags} --output {output.directory:q} --summary {output.summary:q}",
            loggers("finetune/{wildcards.model}/{wildcards.task}/{wildcards.backbone}"),
            ALLOW_CPU,
        )
