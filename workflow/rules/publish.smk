# A model to give away, with its card; and, if a repository is named, the way to the Hub.


rule publish:
    input:
        unpack(published_classifier),
        pretraining=lambda wildcards: f"<results>/models/{publication(wildcards)['model']}.json",
        directory=lambda wildcards: ancient(published_directory(wildcards)),
        tokenizer=lambda wildcards: "<results>/tokenizers/{tokenizer}.json".format(
            **MODELS[publication(wildcards)["model"]]
        ),
        windows_stats=expand("<results>/windows/{genome}.stats.json", genome=CORPORA),
        language_model=lambda wildcards: (
            f"<results>/evaluate_language_model/{publication(wildcards)['model']}.metrics.json"
        ),
    output:
        directory=directory("<results>/published/{publication}"),
        summary="<results>/published/{publication}.json",
    log:
        "<logs>/publish/{publication}.log",
    benchmark:
        "<benchmarks>/publish/{publication}.tsv"
    conda:
        "../../envs/publish.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: resources.scaled(2000, attempt),
        runtime=lambda wildcards, attempt: resources.scaled(20, attempt),
    params:
        *code("publish", "publish"),
        classifier=lambda wildcards, input: flags(
            {key: input.get(key) for key in published_classifier(wildcards)}
        ),
        simulated="--simulated" if SIMULATION else "",
        base_model=lambda wildcards: flags({"base_model": published_base_model(wildcards)}),
        flags=lambda wildcards: settings_flags(CardSettings, publication(wildcards)),
        # As a function of the output Snakemake does not compare it: most commits change no result.
        workflow=lambda wildcards, output: flags(workflow_name()),
    message:
        "Publishing {wildcards.publication} in a folder"
    shell:
        command(
            "publish",
            "--log {log:q} --name {wildcards.publication} --model {input.directory:q}"
            " --pretraining {input.pretraining:q} --tokenizer {input.tokenizer:q}"
            " --windows-stats {input.windows_stats:q} --language-model {input.language_model:q}"
            " {params.classifier} {params.simulated} {params.base_model} {params.flags} {params.workflow}"
            " --output {output.directory:q} --summary {output.summary:q}",
        )


# What was pushed stays pushed, whatever becomes of the script that did it.
rule push_to_hub:
    input:
        summary="<results>/published/{publication}.json",
        directory=ancient("<results>/published/{publication}"),
    output:
        "<results>/published/{publication}.pushed.json",
    log:
        "<logs>/push_to_hub/{publication}.log",
    localrule: True
    conda:
        "../../envs/publish.yaml"
    params:
        repository=lambda wildcards: flags(
            {key: value for key, value in publication(wildcards).items() if key == "repository"}
        ),
        private=lambda wildcards: "--private" if publication(wildcards)["private"] else "",
    message:
        "Pushing {wildcards.publication} to the Hugging Face Hub"
    shell:
        command(
            "push_to_hub",
            "--log {log:q} --folder {input.directory:q} {params.repository} {params.private} --output {output:q}",
        )
