# What people look at beside the numbers: a masked batch, the labelled sequences, maps of the embeddings. Only the
# report reads it.


rule explore_batch:
    input:
        tokenizer=lambda wildcards: f"{tokenizer_of(wildcards)}.json",
        tokenizer_directory=lambda wildcards: ancient(tokenizer_of(wildcards)),
        train=lambda wildcards: token_summaries("train", wildcards),
        train_directories=lambda wildcards: ancient(tokens("train", wildcards)),
        lines=expand("<results>/windows/{genome}.train.txt", genome=CORPORA),
    output:
        "<results>/explore/{model}.batch.json",
    log:
        "<logs>/explore_batch/{model}.log",
    benchmark:
        "<benchmarks>/explore_batch/{model}.tsv"
    wildcard_constraints:
        model=one_of(TRAINED_MODELS),
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: resources.tokens_memory_mb(attempt),
        runtime=lambda wildcards, attempt: resources.scaled(15, attempt),
    params:
        *code("explore_batch", "train"),
        context=lambda wildcards: settings_flags(ContextSettings, MODELS[wildcards.model]),
        masking=lambda wildcards: settings_flags(
            MaskingSettings, MODELS[wildcards.model]["masking"], "masking_"
        ),
        batch=lambda wildcards: flags(
            {
                "batch_size": MODELS[wildcards.model]["training"]["batch_size"],
                "training_seed": MODELS[wildcards.model]["training"]["seed"],
            }
        ),
        flags=settings_flags(BatchSettings, config["explore"]),
    message:
        "Describing the first training batch of {wildcards.model}"
    shell:
        command(
            "explore_batch",
            "--log {log:q} --model {wildcards.model} --tokenizer {input.tokenizer_directory:q}"
            " --tokens {input.train_directories:q} --lines {input.lines:q}"
            " {params.context} {params.masking} {params.batch} {params.flags} --output {output:q}",
        )


# The test split is known from the predictions alone; the maps show training sequences.
rule explore_task:
    input:
        sequences=expand("<results>/tasks/{{task}}/{split}.tsv", split=SPLITS),
        predictions=lambda wildcards: explored_predictions(wildcards.task),
        tokenizers=expand("<results>/tokenizers/{tokenizer}.json", tokenizer=USED_TOKENIZERS),
        tokenizer_directories=ancient(expand("<results>/tokenizers/{tokenizer}", tokenizer=USED_TOKENIZERS)),
        embeddings=expand("<results>/embeddings/{model}/{{task}}.train.npz", model=MAPPED_MODELS),
    output:
        "<results>/explore/{task}.task.json",
    log:
        "<logs>/explore_task/{task}.log",
    benchmark:
        "<benchmarks>/explore_task/{task}.tsv"
    group:
        SHARED_JOBS.of("compare")
    conda:
        "../../envs/explore.yaml"
    threads: 1
    resources:
        **FOR_TABLES,
    params:
        *code("explore_task", "explore"),
        problem=problem_of,
        names=flags(
            {
                "splits": SPLITS,
                "predictors": [f"{model}/{backbone}" for model, backbone in EXPLORED_CLASSIFIERS],
                "tokenizer_names": USED_TOKENIZERS,
                "models": MAPPED_MODELS,
                "pooling": config["finetune"]["pooling"],
            }
        ),
        flags=settings_flags(TaskSettings, config["explore"]),
    message:
        "Describing the labelled sequences of {wildcards.task}, and mapping their embeddings"
    shell:
        command(
            "explore_task",
            "--log {log:q} --task {wildcards.task} --problem {params.problem} --sequences {input.sequences:q}"
            " --predictions {input.predictions:q} --tokenizers {input.tokenizer_directories:q}"
            " --embeddings {input.embeddings:q} {params.names} {params.flags} --output {output:q}",
        )
