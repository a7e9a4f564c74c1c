# The token cache of every genome.


rule tokenize_windows:
    input:
        windows="<results>/windows/{genome}.{split}.txt",
        tokenizer="<results>/tokenizers/{tokenizer}.json",
        tokenizer_directory=ancient("<results>/tokenizers/{tokenizer}"),
    output:
        directory=directory("<results>/tokens/{tokenizer}/{genome}.{split}"),
        summary="<results>/tokens/{tokenizer}/{genome}.{split}.json",
    log:
        "<logs>/tokenize_windows/{tokenizer}/{genome}.{split}.log",
    benchmark:
        "<benchmarks>/tokenize_windows/{tokenizer}/{genome}.{split}.tsv"
    wildcard_constraints:
        split="train|validation",
    priority: LANGUAGE_MODEL
    conda:
        "../../envs/tokenize.yaml"
    # On few cores a step of two threads waits until no other step runs, and pretraining waits with it.
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: resources.tokens_memory_mb(attempt),
        runtime=lambda wildcards, input, attempt: resources.tokens_runtime_min(
            size_mb([input.windows]), attempt
        ),
    params:
        *code("tokenize_windows", "tokenize"),
    message:
        "Tokenizing {wildcards.genome}, {wildcards.split} lines, with tokenizer {wildcards.tokenizer}"
    shell:
        command(
            "tokenize_windows",
            "--log {log:q} --genome {wildcards.genome} --split {wildcards.split}"
            " --threads {threads} --windows {input.windows:q} --tokenizer {input.tokenizer_directory:q}"
            " --output {output.directory:q} --summary {output.summary:q}",
        )
