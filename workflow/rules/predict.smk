# New sequences, classified.


rule predict:
    input:
        sequences=lambda wildcards: prediction_settings(wildcards)["input"],
        genome=lambda wildcards: prediction_settings(wildcards)["genome"] or [],
        classifier=lambda wildcards: f"{prediction_classifier(wildcards)}.json",
        classifier_directory=lambda wildcards: ancient(prediction_classifier(wildcards)),
    output:
        table="<results>/predictions/{name}.tsv",
        bedgraph="<results>/predictions/{name}.bedgraph",
    log:
        "<logs>/predict/{name}.log",
    benchmark:
        "<benchmarks>/predict/{name}.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 2
    resources:
        **resources.on_gpus(EMBED_GPUS, GRES),
        mem_mb=lambda wildcards, attempt: resources.model_memory_mb(
            predicting_parameters(wildcards), 0, attempt
        ),
        runtime=lambda wildcards, input, attempt: resources.prediction_runtime_min(
            read_mb(prediction_settings(wildcards)["model"], size_mb([input.sequences])),
            prediction_settings(wildcards)["window"],
            prediction_settings(wildcards)["stride"],
            readings_of(prediction_settings(wildcards)["task"]),
            predicting_parameters(wildcards),
            EMBED_GPUS,
            attempt,
        ),
    params:
        *code("predict", "train"),
        genome=lambda wildcards, input: flags({"genome": input.genome or None}),
        label=lambda wildcards: flags(
            {"bedgraph_label": TASKS[prediction_settings(wildcards)["task"]].positive}
        ),
        strands=lambda wildcards: strands_flag(prediction_settings(wildcards)["task"]),
        flags=lambda wildcards: settings_flags(ScanSettings, prediction_settings(wildcards)),
        precision=lambda wildcards: precision_flag(prediction_settings(wildcards)["model"]),
    message:
        "Classifying new sequences: {wildcards.name}"
    shell:
        command(
            "predict",
            "--log {log:q} --gpus {resources.devices}"
            " --classifier {input.classifier_directory:q} --input {input.sequences:q} {params.genome}"
            " {params.label} {params.strands} {params.flags} {params.precision} --output {output.table:q} --bedgraph {output.bedgraph:q}",
            ALLOW_CPU,
        )
