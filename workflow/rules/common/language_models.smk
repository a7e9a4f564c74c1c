# Functions of the rules for tokenizers and language models, and of those that only read with one.


LEARNED = [name for name, settings in config["tokenizers"].items() if settings["train"] is not None]


def tokenizer_source(wildcards):
    source = config["tokenizers"][wildcards.tokenizer]["source"]
    if source is None:
        return []
    return f"resources/downloads/tokenizers/{wildcards.tokenizer}" if is_hub_id(source) else source


def learning(wildcards, key):
    return config["tokenizers"][wildcards.tokenizer]["train"][key]


def tokens(split, wildcards):
    tokenizer = model_settings(wildcards.model)["tokenizer"]
    return expand(
        "<results>/tokens/{tokenizer}/{genome}.{split}", tokenizer=tokenizer, genome=CORPORA, split=split
    )


def token_summaries(split, wildcards):
    return [f"{folder}.json" for folder in tokens(split, wildcards)]


def training_tokens(wildcards):
    """At most so many tokens does a pretraining read; None if it counts epochs, of a corpus not made yet."""
    settings = model_settings(wildcards.model)
    steps, batch_size = settings["training"]["steps"], settings["training"]["batch_size"]
    return steps and steps * batch_size * settings["max_tokens"]


def tokenizer_of(wildcards):
    return f"<results>/tokenizers/{model_settings(wildcards.model)['tokenizer']}"


def start_of(wildcards):
    """The architecture file of the user, or the checkpoint, that a model starts from."""
    settings = model_settings(wildcards.model)
    if settings["architecture"]:
        return unless_own(settings["architecture"])
    if is_hub_id(settings["checkpoint"]):
        name = configured(wildcards.model)
        return f"resources/downloads/checkpoints/{name if name in MODELS else config['study']['model']}"
    return settings["checkpoint"]


def start_flags(wildcards, input):
    """What a model starts from. As a function of the input Snakemake does not compare it."""
    architecture = model_settings(wildcards.model)["architecture"]
    flag = "--architecture" if architecture else "--checkpoint"
    return f"{flag} {shlex.quote(input.start or architecture)}"


def own_start(wildcards):
    return own_content(model_settings(wildcards.model)["architecture"])


def published_reference(pattern, wildcards):
    """Files of what an adapted model was before; none for other models."""
    reference = f"{wildcards.model}{PUBLISHED}"
    return expand(pattern, model=reference) if reference in PUBLISHED_MODELS else []


# ---- What reads sequences of the user's own with a model ----


def gap_settings(wildcards):
    return config["fill_mask"][wildcards.gap]


def embedding_settings(wildcards):
    return config["embed_sequences"][wildcards.embedded]


def scoring_settings(wildcards):
    return config["score_variants"][wildcards.scored]


def model_of(settings):
    """The directory of the model that a section names."""
    return f"<results>/models/{settings['model']}"
