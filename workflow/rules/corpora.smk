# Corpora that are no genomes: sequences from elsewhere -> lines, one sequence per line.


rule corpus_from_lines:
    input:
        lambda wildcards: config["corpora"][wildcards.genome]["lines"],
    output:
        train="<results>/windows/{genome}.train.txt",
        validation="<results>/windows/{genome}.validation.txt",
        stats="<results>/windows/{genome}.stats.json",
    log:
        "<logs>/corpus_from_lines/{genome}.log",
    benchmark:
        "<benchmarks>/corpus_from_lines/{genome}.tsv"
    wildcard_constraints:
        genome=one_of(FROM_LINES),
    priority: LANGUAGE_MODEL
    conda:
        "../../envs/analyse.yaml"
    threads: 1
    resources:
        **FOR_TABLES,
    params:
        *code("corpus_from_lines", "analyse"),
        size=lambda wildcards: given_bytes(config["corpora"][wildcards.genome]["lines"]),
        flags=lambda wildcards: settings_flags(LinesSettings, config["corpora"][wildcards.genome]),
    message:
        "Taking lines of sequence as corpus {wildcards.genome}"
    shell:
        command(
            "corpus_from_lines",
            "--log {log:q} --corpus {wildcards.genome} --lines {input:q} {params.flags}"
            " --train {output.train:q} --validation {output.validation:q} --stats {output.stats:q}",
        )


rule corpus_from_task:
    # The test split is no input.
    input:
        train=lambda wildcards: f"<results>/tasks/{task_of_corpus(wildcards)}/train.tsv",
        validation=lambda wildcards: f"<results>/tasks/{task_of_corpus(wildcards)}/validation.tsv",
    output:
        train="<results>/windows/{genome}.train.txt",
        validation="<results>/windows/{genome}.validation.txt",
        stats="<results>/windows/{genome}.stats.json",
    log:
        "<logs>/corpus_from_task/{genome}.log",
    benchmark:
        "<benchmarks>/corpus_from_task/{genome}.tsv"
    wildcard_constraints:
        genome=one_of(FROM_TASKS),
    priority: LANGUAGE_MODEL
    conda:
        "../../envs/analyse.yaml"
    threads: 1
    resources:
        **FOR_TABLES,
    params:
        *code("corpus_from_task", "analyse"),
        task=task_of_corpus,
    message:
        "Taking the training sequences of task {params.task} as corpus {wildcards.genome}"
    shell:
        command(
            "corpus_from_task",
            "--log {log:q} --corpus {wildcards.genome} --task {params.task}"
            " --train-sequences {input.train:q} --validation-sequences {input.validation:q}"
            " --train {output.train:q} --validation {output.validation:q} --stats {output.stats:q}",
        )
