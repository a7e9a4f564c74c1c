# Tasks with folds: trained once for each of them, in one job, and tested on what that fold left out. What stands
# behind the script's own flags is how to train; there {{fold}} is the folder of a fold.


rule cross_validate:
    input:
        unpack(all_embeddings),
        model=lambda wildcards: f"<results>/models/{language_model(wildcards.model)}.json",
        model_directory=lambda wildcards: ancient(f"<results>/models/{language_model(wildcards.model)}"),
        sequences="<results>/tasks/{task}/test.tsv",
    output:
        metrics="<results>/evaluation/{model}/{task}/{backbone}/metrics.json",
        predictions=reported_predictions("{backbone}"),
        curves="<results>/evaluation/{model}/{task}/{backbone}/curves.json",
        telemetry="<results>/telemetry/cross_validate/{model}/{task}/{backbone}.json",
    log:
        "<logs>/cross_validate/{model}/{task}/{backbone}.log",
    benchmark:
        "<benchmarks>/cross_validate/{model}/{task}/{backbone}.tsv"
    wildcard_constraints:
        task=one_of(CROSS_VALIDATED),
        backbone=rf"({'|'.join(BACKBONE_SETTINGS)})({REPETITION}\d+)?",
    conda:
        "../../envs/finetune.yaml"
    threads: 1
    resources:
        **resources.on_gpus(cross_validation_gpus, GRES),
        mem_mb=lambda wildcards, input, attempt: training_memory_mb(
            wildcards, size_mb([input.sequences]), attempt
        ),
        runtime=lambda wildcards, input, attempt: training_runtime_min(
            wildcards, folds_mb(wildcards, input), attempt
        )
        + resources.model_runtime_min(
            readings_of(wildcards.task) * read_mb(wildcards.model, predicted_mb(wildcards, input)),
            parameters(wildcards),
            cross_validation_gpus(wildcards),
            attempt,
        ),
    params:
        *code("cross_validate", "finetune"),
        **JUDGING,
        trainer=code_of("finetune", "finetune"),
        problem=problem_of,
        checkpoints=f"{CHECKPOINTS}/cross_validate/{{model}}/{{task}}/{{backbone}}",
        kind=lambda wildcards: kind_of(wildcards.model),
        way=lambda wildcards: way(wildcards),
        embeddings=lambda wildcards, input: flags({"embeddings": input.get("embeddings")}),
        of_a_fold=lambda wildcards: EMBEDDINGS_OF_A_FOLD.format() if way(wildcards) == "frozen" else "",
        training=classifier_flags,
    message:
        "Cross-validating {wildcards.model}, backbone {wildcards.backbone}, on {wildcards.task}"
    shell:
        command(
            "cross_validate",
            "--log {log:q} --kind {params.kind} --name {wildcards.model} --backbone {params.way}"
            " --gpus {resources.devices} {params.embeddings} --telemetry {output.telemetry:q}",
            ALLOW_CPU,
            OF_ALL_FOLDS,
            finetune_in_fold("{params.way}", "{params.of_a_fold}", "{params.training}", "predictor"),
        )


rule cross_validate_combined:
    input:
        model="<results>/models/{model}.json",
        model_directory=ancient("<results>/models/{model}"),
        embeddings="<results>/embeddings/{model}/{task}.test.npz",
        sequences="<results>/tasks/{task}/test.tsv",
    output:
        metrics=f"<results>/evaluation/{{model}}/{{task}}/{COMBINED}/metrics.json",
        predictions=reported_predictions(COMBINED),
        curves=f"<results>/evaluation/{{model}}/{{task}}/{COMBINED}/curves.json",
    log:
        "<logs>/cross_validate_combined/{model}/{task}.log",
    benchmark:
        "<benchmarks>/cross_validate_combined/{model}/{task}.tsv"
    wildcard_constraints:
        task=one_of(CROSS_VALIDATED),
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        **resources.on_gpus(EMBED_GPUS, GRES),
        mem_mb=lambda wildcards, input, attempt: resources.model_memory_mb(
            parameters(wildcards), size_mb([input.sequences, input.embeddings]), attempt
        ),
        runtime=lambda wildcards, input, attempt: resources.table_runtime_min(
            20 * folds_mb(wildcards, input), attempt
        )
        + resources.model_runtime_min(
            readings_of(wildcards.task) * read_mb(wildcards.model, predicted_mb(wildcards, input)),
            parameters(wildcards),
            EMBED_GPUS,
            attempt,
        ),
    params:
        *code("cross_validate", "train"),
        **JUDGING,
        trainers=code_of("train", "baseline", "combine"),
        problem=problem_of,
        checkpoints=f"{CHECKPOINTS}/cross_validate/{{model}}/{{task}}/{COMBINED}",
        kmer=lambda wildcards: baseline_flags("kmer", wildcards.task),
        pooling=config["finetune"]["pooling"],
    message:
        "Cross-validating k-mers and embeddings of {wildcards.model} together on {wildcards.task}"
    shell:
        command(
            "cross_validate",
            f"--log {{log:q}} --kind {COMBINED} --name {{wildcards.model}} --backbone {COMBINED}"
            " --gpus {resources.devices} --embeddings {input.embeddings:q}",
            ALLOW_CPU,
            OF_ALL_FOLDS,
            baseline_in_fold("baseline", "kmer", "{params.kmer}", "kmer/predictor"),
            THEN,
            combine_in_fold("predictor"),
        )


rule cross_validate_stacked:
    input:
        model="<results>/models/{model}.json",
        model_directory=ancient("<results>/models/{model}"),
        embeddings=(
            "<results>/embeddings/{model}/{task}.test.npz"
            if "frozen" in BACKBONES or config["baseline"]["combined"]
            else []
        ),
        sequences="<results>/tasks/{task}/test.tsv",
    output:
        metrics=f"<results>/evaluation/{{model}}/{{task}}/{STACKED}/metrics.json",
        predictions=reported_predictions(STACKED),
        curves=f"<results>/evaluation/{{model}}/{{task}}/{STACKED}/curves.json",
    log:
        "<logs>/cross_validate_stacked/{model}/{task}.log",
    benchmark:
        "<benchmarks>/cross_validate_stacked/{model}/{task}.tsv"
    wildcard_constraints:
        task=one_of(CROSS_VALIDATED),
    conda:
        "../../envs/finetune.yaml"
    threads: 1
    resources:
        **resources.on_gpus(stacking_gpus, GRES),
        mem_mb=lambda wildcards, input, attempt: max(
            resources.model_memory_mb(
                read_parameters(wildcards.model, STACKED), size_mb([input.sequences]), attempt
            ),
            *(
                training_memory_mb(trained_as(wildcards, backbone), size_mb([input.sequences]), attempt)
                for backbone in BACKBONES
            ),
        ),
        runtime=lambda wildcards, input, attempt: sum(
            [
                training_runtime_min(trained_as(wildcards, backbone), folds_mb(wildcards, input), attempt)
                for backbone in BACKBONES
            ],
            resources.network_runtime_min(
                folds_mb(wildcards, input), config["baseline"]["cnn_epochs"], attempt
            )
            + resources.model_runtime_min(
                readings_of(wildcards.task) * 2 * read_mb(wildcards.model, predicted_mb(wildcards, input)),
                read_parameters(wildcards.model, STACKED),
                stacking_gpus(wildcards),
                attempt,
            ),
        ),
    params:
        *code("cross_validate", "finetune"),
        **{
            baseline: lambda wildcards, baseline=baseline: baseline_flags(baseline, wildcards.task)
            for baseline in {*BASELINES, "kmer"}
        },
        **{
            backbone: lambda wildcards, backbone=backbone: classifier_flags(trained_as(wildcards, backbone))
            for backbone in BACKBONES
        },
        **JUDGING,
        trainers=code_of("finetune", *dict.fromkeys(ALL_BASELINES.values()), "combine", "finetune", "stack"),
        problem=problem_of,
        checkpoints=f"{CHECKPOINTS}/cross_validate/{{model}}/{{task}}/{STACKED}",
        embeddings=lambda wildcards, input: flags({"embeddings": input.embeddings or None}),
        pooling=config["finetune"]["pooling"],
    message:
        "Cross-validating the predictors of {wildcards.task} stacked, with {wildcards.model}"
    shell:
        command(
            "cross_validate",
            f"--log {{log:q}} --kind {STACKED} --name {{wildcards.model}} --backbone {STACKED}"
            " --gpus {resources.devices} {params.embeddings}",
            ALLOW_CPU,
            OF_ALL_FOLDS,
            stack_in_fold(),
        )


rule cross_validate_baseline:
    input:
        sequences="<results>/tasks/{task}/test.tsv",
    output:
        metrics="<results>/evaluation/{baseline}/{task}/metrics.json",
        predictions="<results>/evaluation/{baseline}/{task}/predictions.tsv",
        curves="<results>/evaluation/{baseline}/{task}/curves.json",
    log:
        "<logs>/cross_validate_baseline/{baseline}/{task}.log",
    benchmark:
        "<benchmarks>/cross_validate_baseline/{baseline}/{task}.tsv"
    wildcard_constraints:
        task=one_of(CROSS_VALIDATED),
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: resources.model_memory_mb(
            0, size_mb([input.sequences]), attempt
        ),
        runtime=lambda wildcards, input, attempt: resources.network_runtime_min(
            folds_mb(wildcards, input), config["baseline"]["cnn_epochs"], attempt
        ),
    params:
        *code("cross_validate", "train"),
        **JUDGING,
        trainer=lambda wildcards: code_of("train", ALL_BASELINES[wildcards.baseline]),
        problem=problem_of,
        checkpoints=f"{CHECKPOINTS}/cross_validate/{{baseline}}/{{task}}",
        script=lambda wildcards: ALL_BASELINES[wildcards.baseline],
        training=lambda wildcards: baseline_flags(wildcards.baseline, wildcards.task),
    message:
        "Cross-validating baseline {wildcards.baseline} on {wildcards.task}"
    shell:
        command(
            "cross_validate",
            "--log {log:q} --kind baseline --name {wildcards.baseline}",
            OF_ALL_FOLDS,
            baseline_in_fold("{params.script}", "{wildcards.baseline}", "{params.training}", "predictor"),
        )
