# Tasks with folds: trained once for each of them, in one job, and tested on what that fold left out. In the
# commands {{fold}} is the folder of a fold, and what stands behind the script's own flags is how to train.

OF_ALL_FOLDS = (
    " --sequences {input.sequences:q} --task {wildcards.task} --problem {params.problem}"
    " {params.positive} {params.strands} {params.flags}"
    " --metrics {output.metrics:q} --predictions {output.predictions:q} --curves {output.curves:q}"
)
OF_A_FOLD = " --task {wildcards.task} --problem {params.problem}"
SPLITS_OF_A_FOLD = " --train '{{fold}}/train.tsv' --validation '{{fold}}/validation.tsv'"
EMBEDDINGS_OF_A_FOLD = (
    " --train-embeddings '{{fold}}/train.npz' --validation-embeddings '{{fold}}/validation.npz'"
)
PREDICTOR_OF_A_FOLD = " --output '{{fold}}/predictor' --summary '{{fold}}/predictor.json'"


rule cross_validate:
    input:
        unpack(all_embeddings),
        model=lambda wildcards: f"<results>/models/{language_model(wildcards.model)}.json",
        model_directory=lambda wildcards: ancient(f"<results>/models/{language_model(wildcards.model)}"),
        sequences="<results>/tasks/{task}/test.tsv",
    output:
        metrics="<results>/evaluation/{model}/{task}/{backbone}/metrics.json",
        predictions=report(
            "<results>/evaluation/{model}/{task}/{backbone}/predictions.tsv",
            category="Classification",
            subcategory="{task}",
            labels={"model": "{model}", "backbone": "{backbone}", "what": "predictions"},
            caption="../report/predictions.rst",
        ),
        curves="<results>/evaluation/{model}/{task}/{backbone}/curves.json",
    log:
        "<logs>/cross_validate/{model}/{task}/{backbone}.log",
    benchmark:
        "<benchmarks>/cross_validate/{model}/{task}/{backbone}.tsv"
    wildcard_constraints:
        task="|".join(map(re.escape, CROSS_VALIDATED)) or "no_task",
        backbone=rf"({'|'.join(BACKBONE_SETTINGS)})({REPETITION}\d+)?",
    conda:
        "../../envs/finetune.yaml"
    threads: 1
    resources:
        gpu=lambda wildcards: resources.gpu(cross_validation_gpus(wildcards), GRES),
        gres=lambda wildcards: resources.gres(cross_validation_gpus(wildcards), GRES),
        devices=cross_validation_gpus,
        nodes=1,
        tasks=None,
        cpus_per_task=lambda wildcards, threads: threads,
        mem_mb_per_cpu=None,
        mem_mb=lambda wildcards, input, attempt: training_memory_mb(
            wildcards, size_mb([input.sequences]), attempt
        ),
        runtime=lambda wildcards, input, attempt: training_runtime_min(
            wildcards, folds_mb(wildcards, input), attempt
        )
        + resources.model_runtime_min(
            readings_of(wildcards.task) * size_mb([input.sequences]),
            parameters(wildcards),
            cross_validation_gpus(wildcards),
            attempt,
        ),
    params:
        *code("cross_validate", "finetune"),
        trainer=code("finetune", "finetune"),
        problem=problem_of,
        kind=lambda wildcards: kind_of(wildcards.model),
        way=lambda wildcards: way(wildcards),
        embeddings=lambda wildcards, input: flags({"embeddings": input.get("embeddings")}),
        of_a_fold=lambda wildcards: EMBEDDINGS_OF_A_FOLD.format() if way(wildcards) == "frozen" else "",
        positive=lambda wildcards: flags({"positive": TASKS[wildcards.task].positive}),
        strands=lambda wildcards: strands_flag(wildcards.task),
        flags=settings_flags(EvaluateSettings, config["evaluate"]),
        classifier=lambda wildcards: settings_flags(
            ClassifierSettings, classifier_settings(wildcards.model) | {"seed": seed_of(wildcards)}
        ),
        training=lambda wildcards: settings_flags(
            BACKBONE_SETTINGS[way(wildcards)], training_settings(wildcards)
        ),
    message:
        "Cross-validating {wildcards.model}, backbone {wildcards.backbone}, on {wildcards.task}"
    shell:
        command(
            "cross_validate",
            "--log {log:q} --kind {params.kind} --name {wildcards.model} --backbone {params.way}"
            " --gpus {resources.devices} {params.embeddings}" + OF_ALL_FOLDS,
            ALLOW_CPU,
            "finetune --name {wildcards.model} --backbone {params.way} --gpus {resources.devices}"
            " --model {input.model_directory:q} --train-sequences '{{fold}}/train.tsv'"
            " --validation-sequences '{{fold}}/validation.tsv' {params.of_a_fold} {params.classifier}"
            " {params.training}" + OF_A_FOLD + PREDICTOR_OF_A_FOLD,
            ALLOW_CPU,
        )


rule cross_validate_combined:
    input:
        model="<results>/models/{model}.json",
        model_directory=ancient("<results>/models/{model}"),
        embeddings="<results>/embeddings/{model}/{task}.test.npz",
        sequences="<results>/tasks/{task}/test.tsv",
    output:
        metrics=f"<results>/evaluation/{{model}}/{{task}}/{COMBINED}/metrics.json",
        predictions=report(
            f"<results>/evaluation/{{model}}/{{task}}/{COMBINED}/predictions.tsv",
            category="Classification",
            subcategory="{task}",
            labels={"model": "{model}", "backbone": COMBINED, "what": "predictions"},
            caption="../report/predictions.rst",
        ),
        curves=f"<results>/evaluation/{{model}}/{{task}}/{COMBINED}/curves.json",
    log:
        "<logs>/cross_validate_combined/{model}/{task}.log",
    benchmark:
        "<benchmarks>/cross_validate_combined/{model}/{task}.tsv"
    wildcard_constraints:
        task="|".join(map(re.escape, CROSS_VALIDATED)) or "no_task",
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        gpu=resources.gpu(EMBED_GPUS, GRES),
        gres=resources.gres(EMBED_GPUS, GRES),
        devices=EMBED_GPUS,
        nodes=1,
        tasks=None,
        cpus_per_task=lambda wildcards, threads: threads,
        mem_mb_per_cpu=None,
        mem_mb=lambda wildcards, input, attempt: resources.model_memory_mb(
            parameters(wildcards), size_mb([input.sequences, input.embeddings]), attempt
        ),
        runtime=lambda wildcards, input, attempt: resources.table_runtime_min(
            20 * folds_mb(wildcards, input), attempt
        )
        + resources.model_runtime_min(
            readings_of(wildcards.task) * size_mb([input.sequences]),
            parameters(wildcards),
            EMBED_GPUS,
            attempt,
        ),
    params:
        *code("cross_validate", "train"),
        trainers=[*code("baseline", "train"), *code("combine", "train")],
        problem=problem_of,
        positive=lambda wildcards: flags({"positive": TASKS[wildcards.task].positive}),
        strands=lambda wildcards: strands_flag(wildcards.task),
        flags=settings_flags(EvaluateSettings, config["evaluate"]),
        kmers=settings_flags(KmerSettings, config["baseline"]),
        pooling=config["finetune"]["pooling"],
    message:
        "Cross-validating k-mers and embeddings of {wildcards.model} together on {wildcards.task}"
    shell:
        command(
            "cross_validate",
            f"--log {{log:q}} --kind {COMBINED} --name {{wildcards.model}} --backbone {COMBINED}"
            " --gpus {resources.devices} --embeddings {input.embeddings:q}" + OF_ALL_FOLDS,
            ALLOW_CPU,
            "baseline --baseline kmer {params.kmers}" + OF_A_FOLD + SPLITS_OF_A_FOLD,
            "--output '{{fold}}/kmer' --summary '{{fold}}/kmer.json' :::",
            "combine --name {wildcards.model} --model {input.model_directory:q} --kmer '{{fold}}/kmer'"
            " --pooling {params.pooling}" + OF_A_FOLD + SPLITS_OF_A_FOLD + EMBEDDINGS_OF_A_FOLD,
            PREDICTOR_OF_A_FOLD,
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
        task="|".join(map(re.escape, CROSS_VALIDATED)) or "no_task",
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
        trainer=lambda wildcards: code(baseline_trainer(wildcards), "train"),
        problem=problem_of,
        positive=lambda wildcards: flags({"positive": TASKS[wildcards.task].positive}),
        strands=lambda wildcards: strands_flag(wildcards.task),
        flags=settings_flags(EvaluateSettings, config["evaluate"]),
        script=lambda wildcards: baseline_trainer(wildcards),
        training=lambda wildcards: (
            f"{strands_flag(wildcards.task)} {settings_flags(CnnSettings, config['baseline'])}"
            if baseline_trainer(wildcards) == "baseline_cnn"
            else settings_flags(KmerSettings, config["baseline"])
        ),
    message:
        "Cross-validating baseline {wildcards.baseline} on {wildcards.task}"
    shell:
        command(
            "cross_validate",
            "--log {log:q} --kind baseline --name {wildcards.baseline}" + OF_ALL_FOLDS,
            "{params.script} --baseline {wildcards.baseline} {params.training}"
            + OF_A_FOLD
            + SPLITS_OF_A_FOLD
            + PREDICTOR_OF_A_FOLD,
        )
