# Tokenizers: given, or learned here.


rule train_tokenizer:
    input:
        windows=expand("<results>/windows/{genome}.train.txt", genome=CORPORA),
    output:
        directory=directory("<results>/tokenizers/{tokenizer}"),
        summary="<results>/tokenizers/{tokenizer}.json",
    log:
        "<logs>/train_tokenizer/{tokenizer}.log",
    benchmark:
        "<benchmarks>/train_tokenizer/{tokenizer}.tsv"
    wildcard_constraints:
        tokenizer=one_of(LEARNED),
    priority: LANGUAGE_MODEL
    conda:
        "../../envs/tokenize.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: resources.tokenizer_memory_mb(
            learning(wildcards, "sample_lines"), config["extract_windows"]["length"], attempt
        ),
        runtime=lambda wildcards, attempt: resources.tokenizer_runtime_min(
            learning(wildcards, "sample_lines"), config["extract_windows"]["length"], attempt
        ),
    params:
        *code("train_tokenizer", "tokenize"),
        flags=lambda wildcards: settings_flags(
            TrainTokenizerSettings, config["tokenizers"][wildcards.tokenizer]["train"]
        ),
        unknown_bases=lambda wildcards: settings_flags(
            UnknownBaseSettings, config["tokenizers"][wildcards.tokenizer]
        ),
    message:
        "Learning tokenizer {wildcards.tokenizer} from the training windows"
    shell:
        command(
            "train_tokenizer",
            "--log {log:q} --windows {input.windows:q} {params.flags} {params.unknown_bases}"
            " --output {output.directory:q} --summary {output.summary:q}",
        )


rule import_tokenizer:
    input:
        source=tokenizer_source,
    output:
        directory=directory("<results>/tokenizers/{tokenizer}"),
        summary="<results>/tokenizers/{tokenizer}.json",
    log:
        "<logs>/import_tokenizer/{tokenizer}.log",
    benchmark:
        "<benchmarks>/import_tokenizer/{tokenizer}.tsv"
    wildcard_constraints:
        tokenizer=one_of(t for t in config["tokenizers"] if t not in LEARNED),
    priority: LANGUAGE_MODEL
    conda:
        "../../envs/tokenize.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: resources.tokens_memory_mb(attempt),
        runtime=lambda wildcards, attempt: resources.scaled(10, attempt),
    params:
        *code("import_tokenizer", "tokenize"),
        source=lambda wildcards, input: "--source" if input.source else "",
        flags=lambda wildcards: settings_flags(
            ImportTokenizerSettings, config["tokenizers"][wildcards.tokenizer]
        ),
    message:
        "Reading tokenizer {wildcards.tokenizer}"
    shell:
        command(
            "import_tokenizer",
            "--log {log:q} {params.source} {input.source:q} {params.flags}"
            " --output {output.directory:q} --summary {output.summary:q}",
        )
