# Sequences that a classifier or a language model is asked about, read once before anything is trained.


rule check_input:
    input:
        sequences=lambda wildcards: asked_sequences(wildcards)["input"],
        genome=lambda wildcards: asked_sequences(wildcards)["genome"] or [],
    output:
        "<results>/check_input/{asked}.json",
    log:
        "<logs>/check_input/{asked}.log",
    benchmark:
        "<benchmarks>/check_input/{asked}.tsv"
    # A mistake is told while little has been computed.
    priority: BEFORE_ALL
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: resources.table_memory_mb(
            size_mb([input.sequences]), attempt
        ),
        runtime=lambda wildcards, input, attempt: resources.genome_runtime_min(size_mb(input), attempt),
    params:
        *code("check_input", "train"),
        genome=lambda wildcards, input: flags({"genome": input.genome or None}),
    message:
        "Reading the sequences of {wildcards.asked}"
    shell:
        command(
            "check_input",
            "--log {log:q} --input {input.sequences:q} {params.genome} --output {output:q}",
        )
