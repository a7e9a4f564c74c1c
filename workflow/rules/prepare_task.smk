# Labelled sequences: checked, deduplicated, split, and searched for leaks between the splits.


rule prepare_task:
    input:
        train=lambda wildcards: task_file(wildcards.task, "train"),
        test=lambda wildcards: given_file(wildcards.task, "test"),
        validation=lambda wildcards: given_file(wildcards.task, "validation"),
    output:
        train="<results>/tasks/{task}/train.tsv",
        validation="<results>/tasks/{task}/validation.tsv",
        test="<results>/tasks/{task}/test.tsv",
        checks="<results>/tasks/{task}/checks.json",
    log:
        "<logs>/prepare_task/{task}.log",
    benchmark:
        "<benchmarks>/prepare_task/{task}.tsv"
    wildcard_constraints:
        task=one_of(TASKS),
    # A mistake is told while little has been computed.
    priority: BEFORE_ALL
    group:
        SHARED_JOBS.of("prepare_task")
    conda:
        "../../envs/analyse.yaml"
    threads: 1
    resources:
        **FOR_TABLES,
    params:
        *code("prepare_task", "analyse"),
        problem=problem_of,
        size=lambda wildcards: given_bytes(*TASKS[wildcards.task].files.values()),
        held_out=lambda wildcards, input: flags({s: list(input[s]) for s in ("test", "validation")}),
        flags=settings_flags(PrepareTaskSettings, config["prepare_task"]),
        strands=lambda wildcards: strands_flag(wildcards.task),
        folds=lambda wildcards: settings_flags(FoldSettings, {"folds": TASKS[wildcards.task].folds}),
        sha256=lambda wildcards: flags({"sha256": own_checksums(wildcards.task)}),
        columns=lambda wildcards: flags(
            {"columns": [f"{column}={name}" for column, name in TASKS[wildcards.task].columns.items()]}
        ),
    message:
        "Checking task {wildcards.task}: duplicates, leaks, labels"
    shell:
        command(
            "prepare_task",
            "--log {log:q} --task {wildcards.task} --problem {params.problem} --train {input.train:q}"
            " {params.held_out} {params.folds} {params.strands} {params.flags} {params.sha256} {params.columns} --output-train {output.train:q}"
            " --output-validation {output.validation:q} --output-test {output.test:q} --checks {output.checks:q}",
        )
