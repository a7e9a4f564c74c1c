# Downloads, the only rules that use the network. They run where Snakemake runs (the login node), because
# compute nodes often have no internet. What is downloaded is kept when its rule runs again.


rule fetch_genome:
    output:
        "resources/downloads/genomes/{genome}/{file}",
    log:
        "<logs>/fetch_genome/{genome}/{file}.log",
    localrule: True
    conda:
        "../../envs/genome.yaml"
    params:
        flags=lambda wildcards: flags(
            {"url": GENOMES[wildcards.genome].fasta, "sha256": GENOMES[wildcards.genome].sha256}
        ),
    message:
        "Downloading genome {wildcards.genome}"
    shell:
        command(
            "fetch",
            "--log {log:q} {params.flags} --output {output:q}",
        )


rule fetch_task:
    output:
        "resources/downloads/tasks/{task}/{split}/{file}",
    log:
        "<logs>/fetch_task/{task}/{split}/{file}.log",
    localrule: True
    conda:
        "../../envs/genome.yaml"
    params:
        flags=lambda wildcards: flags(
            {
                "url": TASKS[wildcards.task].files[wildcards.split],
                "sha256": TASKS[wildcards.task].sha256.get(wildcards.split),
            }
        ),
    message:
        "Downloading task {wildcards.task}, {wildcards.split} split"
    shell:
        command(
            "fetch",
            "--log {log:q} {params.flags} --output {output:q}",
        )


rule fetch_tokenizer:
    output:
        directory("resources/downloads/tokenizers/{tokenizer}"),
    log:
        "<logs>/fetch_tokenizer/{tokenizer}.log",
    localrule: True
    conda:
        "../../envs/genome.yaml"
    params:
        flags=lambda wildcards: flags(
            {
                "repo": config["tokenizers"][wildcards.tokenizer]["source"],
                "revision": config["tokenizers"][wildcards.tokenizer]["revision"],
            }
        ),
    message:
        "Downloading tokenizer {wildcards.tokenizer}"
    shell:
        command(
            "fetch_hub",
            "--log {log:q} --kind tokenizer {params.flags} --output {output:q}",
        )


rule fetch_checkpoint:
    output:
        directory("resources/downloads/checkpoints/{trained_model}"),
    log:
        "<logs>/fetch_checkpoint/{trained_model}.log",
    localrule: True
    conda:
        "../../envs/genome.yaml"
    params:
        flags=lambda wildcards: flags(
            {
                "repo": MODELS[wildcards.trained_model]["checkpoint"],
                "revision": MODELS[wildcards.trained_model]["revision"],
            }
        ),
    message:
        "Downloading the checkpoint of model {wildcards.trained_model}"
    shell:
        command(
            "fetch_hub",
            "--log {log:q} --kind checkpoint {params.flags} --output {output:q}",
        )
