# Genome (FASTA, GenBank, EMBL, 2bit) -> lines of `extract_windows.length` bp, one sequence per line.


rule extract_windows:
    input:
        fasta=genome_fasta,
    output:
        train="<results>/windows/{genome}.train.txt",
        validation="<results>/windows/{genome}.validation.txt",
        stats="<results>/windows/{genome}.stats.json",
    log:
        "<logs>/extract_windows/{genome}.log",
    benchmark:
        "<benchmarks>/extract_windows/{genome}.tsv"
    wildcard_constraints:
        genome=one_of(GENOMES),
    priority: LANGUAGE_MODEL
    conda:
        "../../envs/genome.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: resources.genome_memory_mb(
            size_mb(input), input.fasta, attempt
        ),
        runtime=lambda wildcards, input, attempt: resources.genome_runtime_min(size_mb(input), attempt),
    params:
        *code("extract_windows", "genome"),
        size=lambda wildcards: given_bytes(GENOMES[wildcards.genome].fasta),
        flags=settings_flags(ExtractWindowsSettings, config["extract_windows"]),
        held_out=lambda wildcards: flags({"validation_sequences": GENOMES[wildcards.genome].validation}),
        sha256=lambda wildcards: flags({"sha256": own_checksum(GENOMES[wildcards.genome])}),
    message:
        "Cutting genome {wildcards.genome} into windows"
    shell:
        command(
            "extract_windows",
            "--log {log:q} --genome {wildcards.genome} --fasta {input.fasta:q}"
            " {params.flags} {params.held_out} {params.sha256} --train {output.train:q} --validation {output.validation:q} --stats {output.stats:q}",
        )
