# How well a model knows held-out lines of its genomes.


rule evaluate_language_model:
    input:
        model="<results>/models/{model}.json",
        model_directory=ancient("<results>/models/{model}"),
        published=lambda wildcards: published_reference("<results>/models/{model}.json", wildcards),
        published_directory=lambda wildcards: ancient(
            published_reference("<results>/models/{model}", wildcards)
        ),
        train=lambda wildcards: token_summaries("train", wildcards),
        train_directories=lambda wildcards: ancient(tokens("train", wildcards)),
        validation=lambda wildcards: token_summaries("validation", wildcards),
        validation_directories=lambda wildcards: ancient(tokens("validation", wildcards)),
    output:
        metrics="<results>/evaluate_language_model/{model}.metrics.json",
        sequence_loss="<results>/evaluate_language_model/{model}.sequence_loss.tsv",
        fill_mask=report(
            "<results>/evaluate_language_model/{model}.fill_mask.tsv",
            category="Language model",
            labels={"model": "{model}", "what": "fill-mask examples"},
            caption="../report/fill_mask.rst",
        ),
    log:
        "<logs>/evaluate_language_model/{model}.log",
    benchmark:
        "<benchmarks>/evaluate_language_model/{model}.tsv"
    wildcard_constraints:
        model=one_of(MODELS),
    conda:
        "../../envs/train.yaml"
    threads: 2
    resources:
        **resources.on_gpus(EMBED_GPUS, GRES),
        mem_mb=lambda wildcards, attempt: resources.model_memory_mb(parameters(wildcards), 0, attempt),
        runtime=lambda wildcards, attempt: resources.language_model_runtime_min(
            config["evaluate_language_model"]["max_lines"],
            read_mb(wildcards.model, config["extract_windows"]["length"]),
            parameters(wildcards),
            EMBED_GPUS,
            attempt,
        ),
    params:
        *code("evaluate_language_model", "train"),
        published=lambda wildcards, input: flags({"published": list(input.published_directory)}),
        flags=settings_flags(EvaluateLanguageModelSettings, config["evaluate_language_model"]),
        context=lambda wildcards: settings_flags(ContextSettings, MODELS[wildcards.model]),
    message:
        "Judging language model {wildcards.model} on held-out lines"
    shell:
        command(
            "evaluate_language_model",
            "--log {log:q} --name {wildcards.model}"
            " --gpus {resources.devices} --model {input.model_directory:q}"
            " --tokens {input.validation_directories:q} --training-tokens {input.train_directories:q}"
            " {params.published} {params.context} {params.flags} --metrics {output.metrics:q} --sequence-loss {output.sequence_loss:q}"
            " --fill-mask {output.fill_mask:q}",
            ALLOW_CPU,
        )
