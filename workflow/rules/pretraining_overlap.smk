# Test sequences that stood, without labels, in what the language model was pretrained on.


rule pretraining_overlap:
    input:
        test="<results>/tasks/{task}/test.tsv",
        windows=expand("<results>/windows/{genome}.train.txt", genome=CORPORA),
    output:
        "<results>/tasks/{task}/pretraining_overlap.json",
    log:
        "<logs>/pretraining_overlap/{task}.log",
    benchmark:
        "<benchmarks>/pretraining_overlap/{task}.tsv"
    group:
        SHARED_JOBS.of("compare")
    conda:
        "../../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: resources.overlap_memory_mb(size_mb([input.test]), attempt),
        runtime=lambda wildcards, input, attempt: resources.overlap_runtime_min(
            size_mb(input.windows), attempt
        ),
    params:
        *code("pretraining_overlap", "analyse"),
    message:
        "Looking for the test sequences of {wildcards.task} in the pretraining lines"
    shell:
        command(
            "pretraining_overlap",
            "--log {log:q} --task {wildcards.task} --test {input.test:q} --windows {input.windows:q}"
            " --output {output:q}",
        )
