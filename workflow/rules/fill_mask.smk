# Gaps in sequences of the user's own, filled by a language model.


rule fill_mask:
    input:
        model=lambda wildcards: f"{model_of(gap_settings(wildcards))}.json",
        model_directory=lambda wildcards: ancient(model_of(gap_settings(wildcards))),
    output:
        report(
            "<results>/fill_mask/{gap}.tsv",
            category="Language model",
            labels={"gaps": "{gap}", "what": "filled gaps"},
            caption="../report/gaps.rst",
        ),
    log:
        "<logs>/fill_mask/{gap}.log",
    benchmark:
        "<benchmarks>/fill_mask/{gap}.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: resources.model_memory_mb(
            read_parameters(gap_settings(wildcards)["model"]), 0, attempt
        ),
        runtime=lambda wildcards, attempt: resources.scaled(20, attempt),
    params:
        *code("fill_mask", "train"),
        flags=lambda wildcards: settings_flags(GapSettings, gap_settings(wildcards)),
    message:
        "Filling the gaps of {wildcards.gap}"
    shell:
        command(
            "fill_mask",
            "--log {log:q} --model {input.model_directory:q} {params.flags} --output {output:q}",
        )
