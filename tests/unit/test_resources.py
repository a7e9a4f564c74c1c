"""What jobs ask for grows with what they work on and with every attempt, and fits what was measured."""

import inspect
import json
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from snakemake_executor_plugin_slurm.utils import set_gres_string

import resources as need
from dnalm.running.errors import InputError
from dnalm.running.resources import check_generic_resource

ARCHITECTURES = {"course": 43_861_504}

# One plausible call of every function of the module that returns an amount, by name; attempt comes last.
CALLS = {
    "genome_memory_mb": (900.0, "genome.gbff.gz"),
    "genome_runtime_min": (900.0,),
    "tokenizer_memory_mb": (20_000, 1000),
    "tokenizer_runtime_min": (20_000, 1000),
    "tokens_memory_mb": (),
    "tokens_runtime_min": (3000.0,),
    "pretrain_memory_mb": (43_861_504, 1),
    "pretrain_runtime_min": (1e9, 43_861_504, 1, 8, 1e9),
    "model_memory_mb": (43_861_504, 5.0),
    "embedding_memory_mb": (5.0, 43_861_504),
    "finetune_memory_mb": (43_861_504, 43_861_504, 5.0),
    "model_runtime_min": (5.0, 43_861_504, 0),
    "finetune_runtime_min": (5.0, 43_861_504, 5, 0),
    "language_model_runtime_min": (2000, 1000, 43_861_504, 0),
    "prediction_runtime_min": (5.0, 200, 100, 2, 43_861_504, 0),
    "scoring_runtime_min": (5.0, 1000, 43_861_504, 0),
    "table_memory_mb": (5.0,),
    "overlap_memory_mb": (5.0,),
    "overlap_runtime_min": (3000.0,),
    "head_runtime_min": (5.0, 30),
    "network_runtime_min": (5.0, 20),
    "table_runtime_min": (5.0,),
}


def amounts() -> set[str]:
    return {
        name
        for name, function in inspect.getmembers(need, inspect.isfunction)
        if name.endswith(("_mb", "_min"))
    }


def test_only_annotated_records_take_memory():
    """A FASTA file streams, whatever its size; 40 Mb of GenBank took 226 MB."""
    assert need.genome_memory_mb(900, "a.fa.gz", 1) == need.genome_memory_mb(0, "a.2bit", 1)
    assert need.genome_memory_mb(250, "a.gb", 1) > 1000 + 250 * 226 / 50


def test_more_tokens_ask_for_more_time():
    for settings, factor in (
        ({"kmer_length": None, "overlapping": False}, 1),
        ({"kmer_length": 1, "overlapping": False}, 5),
        ({"kmer_length": 6, "overlapping": True}, 5),
        ({"kmer_length": 5, "overlapping": False}, 1),
    ):
        assert need.tokens_factor(settings) == factor


def test_every_amount_is_tested_here():
    assert amounts() == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_every_attempt_asks_for_twice_as_much(name):
    asked = [getattr(need, name)(*CALLS[name], attempt) for attempt in (1, 2, 3)]
    assert all(isinstance(amount, int) for amount in asked)
    assert asked[0] > 0
    # Rounding down to whole MB and minutes costs at most one.
    assert abs(asked[1] - 2 * asked[0]) <= 2
    assert abs(asked[2] - 4 * asked[0]) <= 4


@pytest.mark.parametrize("name", [name for name in CALLS if CALLS[name]])
@given(factor=st.floats(min_value=1, max_value=1000))
def test_a_larger_input_never_asks_for_less(name, factor):
    first, *others = CALLS[name]
    function = getattr(need, name)
    assert function(first * factor, *others, 1) >= function(first, *others, 1)


def test_an_empty_input_still_gets_enough_to_start():
    """Sizes are 0 in a dry run, before the input exists."""
    assert need.table_memory_mb(0, 1) >= 1000
    assert need.model_runtime_min(0, 0, 0, 1) >= 10
    assert need.model_memory_mb(0, 0, 1) >= need.FRAMEWORK_MB


def test_parameters_are_estimated_within_three_percent(repository):
    for name, exact in ARCHITECTURES.items():
        estimate = need.parameters_of(str(repository / f"resources/architectures/{name}.json"))
        assert estimate == pytest.approx(exact, rel=0.03)


def test_an_unknown_checkpoint_is_taken_for_a_large_model():
    assert need.parameters_of(None) > 300_000_000


def test_a_larger_vocabulary_is_read_from_the_architecture(tmp_path):
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    small, large = tmp_path / "small.json", tmp_path / "large.json"
    small.write_text(json.dumps(shape))
    large.write_text(json.dumps(shape | {"vocab_size": 50_000}))
    assert need.parameters_of(str(large)) > need.parameters_of(str(small))


def test_memory_exceeds_what_was_measured():
    # Host memory of BPE training, MB per million bases.
    assert need.tokenizer_memory_mb(20_000, 1000, 1) > 53 * 20
    # AdamW on the course's model: weights, gradients and two moments, twice while a checkpoint is written.
    assert need.pretrain_memory_mb(43_861_504, 1, 1) > 2 * 16 * 43.9
    # Every process holds its own copy.
    assert need.pretrain_memory_mb(43_861_504, 8, 1) > 4 * need.pretrain_memory_mb(43_861_504, 1, 1) / 2


def test_a_gpu_asks_for_less_time_than_the_cpu():
    assert need.model_runtime_min(100, 43_861_504, 1, 1) < need.model_runtime_min(100, 43_861_504, 0, 1)


@pytest.mark.parametrize(
    ("gpus", "generic_resource", "gpu", "gres"),
    [
        (0, None, 0, None),
        (2, None, 2, None),
        (0, "gpu", 0, None),
        (2, "gpu", 0, "gpu:2"),
        (1, "gpu:a100", 0, "gpu:a100:1"),
    ],
)
def test_gpus_are_asked_for_in_one_way_only(gpus, generic_resource, gpu, gres):
    assert need.gpu(gpus, generic_resource) == gpu
    assert need.gres(gpus, generic_resource) == gres


def workflow_with(default=None, **overwritten):
    """A stand-in for Snakemake's workflow: what profile and command line say of resources."""
    given = {
        rule: {key: SimpleNamespace(raw=value) for key, value in resources.items()}
        for rule, resources in overwritten.items()
    }
    settings = SimpleNamespace(default_resources=default, overwrite_resources=given)
    return SimpleNamespace(resource_settings=settings)


@pytest.mark.parametrize(
    ("workflow", "generic_resource", "nodes", "says"),
    [
        (workflow_with({"gpu_model": "a100"}), None, 1, "every job ask for a GPU"),
        (workflow_with(embed={"gpu_model": "nvidia_a100-80gb"}), None, 1, "no type with a hyphen"),
        (workflow_with(embed={"gpu_model": "a100"}), "gpu", 1, "Write the model there: gpu:a100"),
        (workflow_with(pretrain={"gpu_model": "'a100'"}), None, 2, "pretrain:gres=gpu:a100:N"),
    ],
)
def test_models_of_gpus_that_slurm_would_refuse_are_refused_at_the_start(
    workflow, generic_resource, nodes, says
):
    with pytest.raises(InputError, match=says):
        need.check_gpu_models(workflow, generic_resource, nodes)


def test_models_of_gpus_are_otherwise_taken():
    need.check_gpu_models(workflow_with({"mem_mb": 1}, pretrain={"gpu_model": "a100"}), None, 1)
    need.check_gpu_models(workflow_with(None, embed={"gpu_model": "a100"}), None, 2)
    need.check_gpu_models(workflow_with(None, embed={"mem_mb": 1}), "gpu", 2)


@pytest.mark.parametrize("key", ["cluster", "clusters", "slurm_cluster"])
def test_another_cluster_is_refused_at_the_start(key):
    for workflow in (workflow_with({key: "b"}), workflow_with(pretrain={key: "b"})):
        with pytest.raises(InputError, match=f"{key}: jobs on another Slurm cluster"):
            need.check_clusters(workflow)
    need.check_clusters(workflow_with({"mem_mb": 1}, embed={"mem_mb": 1}))


def test_several_nodes_have_as_many_gpus_each():
    assert need.gpu(4, None, nodes=2) == 0
    assert need.gres(4, None, nodes=2) == "gpu:4"
    assert need.gres(4, "gpu:a100", nodes=2) == "gpu:a100:4"
    # Without GPUs, Slurm takes the number of nodes for a mistake unless there is a task for each.
    assert (need.gres(0, None, nodes=2), need.tasks(0, 2), need.tasks(4, 2)) == (None, 2, None)


def test_a_head_on_a_million_sequences_does_not_ask_for_days():
    assert need.head_runtime_min(200, 30, 1) < 180


def test_a_pretraining_of_seconds_does_not_ask_for_a_day():
    course_run = 50 * 32 * 250
    assert need.pretrain_runtime_min(course_run, 43_861_504, 1, 8, 24, 1) <= 60
    human_genome_ten_epochs = 10 * 3.1e9 / 5
    assert need.pretrain_runtime_min(human_genome_ten_epochs, 110_000_000, 1, 8, 24, 1) == 24 * 60
    assert need.pretrain_runtime_min(None, 43_861_504, 1, 8, 24, 1) == 24 * 60


def test_a_pretraining_that_was_too_short_gets_more_time_up_to_the_limit():
    asked = [need.pretrain_runtime_min(10**8, 10**8, 1, 8, 24, attempt) for attempt in (1, 2, 3, 9)]
    assert asked[1] == 2 * asked[0]
    assert asked == sorted(asked)
    assert asked[-1] == 24 * 60


class Resources(SimpleNamespace):
    """Of a job, as the plugin for Slurm asks for them."""

    def __init__(self, gres: str | None):
        super().__init__(gres=gres)

    def get(self, name: str, default: object = None) -> object:
        return getattr(self, name, default)


@given(name=st.from_regex(r"[\w.:-]{1,12}", fullmatch=True))
@example(name="gpu:a100")
@example(name="gpu:nvidia_a100-sxm4-80gb")
def test_generic_resources_are_those_that_the_plugin_takes(name):
    try:
        check_generic_resource(name)
    except ValueError:
        return
    asked = Resources(need.gres(2, name))
    assert set_gres_string(SimpleNamespace(resources=asked)) == f" --gres={name}:2"
