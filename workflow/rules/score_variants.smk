# How probable a language model finds the alleles of variants.


rule score_variants:
    input:
        model=lambda wildcards: f"{model_of(scoring_settings(wildcards))}.json",
        model_directory=lambda wildcards: ancient(model_of(scoring_settings(wildcards))),
        variants=lambda wildcards: scoring_settings(wildcards)["input"],
        genome=lambda wildcards: scoring_settings(wildcards)["genome"],
    output:
        "<results>/score_variants/{scored}.tsv",
    log:
        "<logs>/score_variants/{scored}.log",
    benchmark:
        "<benchmarks>/score_variants/{scored}.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 2
    resources:
        **resources.on_gpus(EMBED_GPUS, GRES),
        mem_mb=lambda wildcards, attempt: resources.model_memory_mb(
            read_parameters(scoring_settings(wildcards)["model"]), 0, attempt
        ),
        runtime=lambda wildcards, input, attempt: resources.scoring_runtime_min(
            read_mb(scoring_settings(wildcards)["model"], size_mb([input.variants])),
            scoring_settings(wildcards)["window"],
            read_parameters(scoring_settings(wildcards)["model"]),
            EMBED_GPUS,
            attempt,
        ),
    params:
        *code("score_variants", "train"),
        max_tokens=lambda wildcards: flags(
            {"max_tokens": MODELS[scoring_settings(wildcards)["model"]]["max_tokens"]}
        ),
        flags=lambda wildcards: settings_flags(VariantContextSettings, scoring_settings(wildcards)),
    message:
        "Scoring variants: {wildcards.scored}"
    shell:
        command(
            "score_variants",
            "--log {log:q} --gpus {resources.devices} --model {input.model_directory:q} --input {input.variants:q}"
            " --genome {input.genome:q} {params.max_tokens} {params.flags} --output {output:q}",
            ALLOW_CPU,
        )
