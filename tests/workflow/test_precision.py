"""`models.<name>.precision` reaches each step in which a model learns, embeds or classifies, and no other."""

from itertools import pairwise

import yaml
from workflow_jobs import REPOSITORY, workflow_jobs

COMPUTING = {"pretrain", "embed", "embed_sequences", "finetune", "predict"}


def test_each_model_computes_as_its_own_settings_say(tmp_path):
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    (only,) = config["models"].values()
    config["models"] = {"half": only | {"precision": "bf16"}, "full": only | {"precision": "fp32"}}
    config["finetune"] |= {"backbones": ["frozen", "lora"]}
    (tmp_path / "new.tsv").write_text("seq\nACGT\n")
    sequences = {"input": f"{tmp_path}/new.tsv", "model": "half"}
    config["embed_sequences"] = {"loose": sequences}
    config["predict"] = {"new": sequences | {"task": "enhancers"}}
    config["publish"] = {}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))

    seen = set()
    for job in workflow_jobs(tmp_path / "config.yaml"):
        words = str(job.shellcmd).split()
        asked = {word for flag, word in pairwise(words) if flag == "--precision"}
        backbone = dict(job.wildcards.items()).get("backbone")
        if job.rule.name not in COMPUTING or backbone == "frozen":
            assert not asked, job.rule.name
            continue
        model = dict(job.wildcards.items()).get("model", "half").removesuffix("-untrained")
        assert asked == {"bf16" if model == "half" else "fp32"}, (job.rule.name, words)
        seen.add((job.rule.name, model))
    of_both = {(rule, model) for rule in ("pretrain", "embed", "finetune") for model in ("half", "full")}
    assert seen == of_both | {("embed_sequences", "half"), ("predict", "half")}
