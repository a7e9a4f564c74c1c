# The demo's genome and task, drawn by a seeded simulator.

if config["simulate_demo"] is not None:

    rule simulate_demo:
        output:
            genome="<results>/simulation/genome.fa.gz",
            train="<results>/simulation/train.tsv",
            test="<results>/simulation/test.tsv",
            description="<results>/simulation/description.json",
        log:
            "<logs>/simulate_demo.log",
        benchmark:
            "<benchmarks>/simulate_demo.tsv"
        conda:
            "../../envs/genome.yaml"
        threads: 1
        resources:
            mem_mb=lambda wildcards, attempt: resources.genome_memory_mb(0, "genome.fa.gz", attempt),
            runtime=lambda wildcards, attempt: resources.scaled(10, attempt),
        params:
            *code("simulate_demo", "genome"),
            flags=settings_flags(SimulateDemoSettings, config["simulate_demo"]),
        message:
            "Simulating the demo's genome and labelled sequences"
        shell:
            command(
                "simulate_demo",
                "--log {log:q} {params.flags} --genome {output.genome:q}"
                " --train {output.train:q} --test {output.test:q} --description {output.description:q}",
            )
