"""What is asked from Slurm about the job that runs here, and what its next step is told."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnalm.running import slurm
from dnalm.running.errors import InputError
from dnalm.running.launch import launch

# Of a step that Snakemake's plugin started on the first of two nodes (Slurm 22.05).
STEP = {
    "SLURM_JOB_ID": "7",
    "SLURM_CONF": "/etc/slurm/slurm.conf",
    "SLURM_JOB_NODELIST": "gpu1",
    "SLURM_NNODES": "1",
    "SLURM_NODELIST": "gpu[1-2]",
    "SLURM_NTASKS": "1",
    "SLURM_STEP_GPUS": "0,1",
    "SRUN_DEBUG": "3",
    "CUDA_VISIBLE_DEVICES": "0,1",
    "PATH": "/usr/bin",
}


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Puts Slurm's programs, and no others, on the PATH: `programs(squeue="shell code")`."""

    def put(**codes):
        for name, code in codes.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{code}\n")
            (tmp_path / name).chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path))
    return put


@pytest.fixture
def step(monkeypatch):
    for name in STEP.keys() - {"PATH"}:
        monkeypatch.setenv(name, STEP[name])


def test_the_next_step_is_told_the_job_and_nothing_of_this_step():
    kept = {"SLURM_JOB_ID", "SLURM_CONF", "CUDA_VISIBLE_DEVICES", "PATH"}
    assert slurm.for_another_step(STEP) == {name: STEP[name] for name in kept}


NAMES = st.builds(
    str.__add__, st.sampled_from(["SLURM_", "SRUN_", "SLURMD_", "S", ""]), st.text("A_", min_size=1)
)


@given(st.dictionaries(NAMES | st.sampled_from(sorted(STEP)), st.text()))
def test_all_else_is_handed_on(environment):
    handed = slurm.for_another_step(environment)
    assert handed.items() <= environment.items()
    left = environment.keys() - handed.keys()
    assert all(name.startswith(("SLURM_", "SRUN_")) for name in left)
    assert {name for name in handed if name.startswith(("SLURM_", "SRUN_"))} <= set(slurm.NEEDED)


def test_nodes_are_counted_by_slurm_and_not_by_the_step_s_variables(step, programs):
    programs(squeue='[ "$*" = "-h -j 7 -o %D" ] && echo 2')
    assert slurm.node_count() == 2


@pytest.mark.parametrize("squeue", [None, "exit 1", "true", "echo slurm_load_jobs error"])
def test_a_scheduler_that_does_not_answer_counts_no_nodes(step, programs, squeue):
    if squeue:
        programs(squeue=squeue)
    assert slurm.node_count() is None


LISTED = '[ "$*" = "-h -j 7 -o %N" ] && echo "gpu[1-2]"'
SCONTROL = """case "$*" in
"show hostnames gpu[1-2]") echo gpu1; echo gpu2 ;;
"--oneliner show node gpu[1-2]") {told} ;;
esac"""


def test_nodes_are_where_slurm_reaches_them(step, programs):
    told = "; ".join(
        f"echo NodeName={name} Arch=x86_64 Gres=gpu:2 NodeAddr={address} NodeHostName={name} Version=22.05"
        for name, address in (("gpu1", "10.0.0.1"), ("gpu2", "gpu2.cluster"))
    )
    programs(squeue=LISTED, scontrol=SCONTROL.format(told=told))
    assert slurm.node_addresses() == {"gpu1": "10.0.0.1", "gpu2": "gpu2.cluster"}


def test_where_slurm_says_nothing_of_nodes_their_names_are_taken(step, programs):
    programs(squeue=LISTED, scontrol=SCONTROL.format(told="echo No nodes in the system; exit 1"))
    assert slurm.node_addresses() == {"gpu1": "gpu1", "gpu2": "gpu2"}
    programs(squeue="exit 1")
    assert slurm.node_addresses() == {}


def test_outside_of_slurm_there_is_one_node(monkeypatch, tmp_path):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert slurm.node_count() == 1
    with pytest.raises(InputError, match="--nodes is 2, but this is 1 node"):
        launch(1, 2, tmp_path)


def test_a_job_of_other_nodes_is_refused(step, programs, tmp_path):
    programs(squeue="echo 3")
    with pytest.raises(InputError, match="--nodes is 2, but this Slurm job has 3 nodes"):
        launch(1, 2, tmp_path)


def test_several_nodes_without_srun_are_refused(step, programs, tmp_path):
    """As in an Apptainer image, which has none of Slurm's programs."""
    with pytest.raises(InputError, match="srun, which starts the others, is not found"):
        launch(1, 2, tmp_path)


def test_srun_is_started_without_what_describes_this_step(step, programs, tmp_path):
    programs(squeue="echo 2", srun='echo "$@" > "${0%/*}/words"; /usr/bin/env > "${0%/*}/environment"')
    launch(1, 2, tmp_path)
    assert (tmp_path / "words").read_text().startswith("--overlap --nodes=2 --ntasks=2 --ntasks-per-node=1 ")
    told = [line.partition("=")[0] for line in (tmp_path / "environment").read_text().splitlines()]
    assert {name for name in told if name.startswith("SLURM_")} == {"SLURM_JOB_ID", "SLURM_CONF"}
    assert "DNALM_NODES" in told
    assert os.environ["SLURM_JOB_NODELIST"] == "gpu1"


def test_an_srun_that_fails_says_where_its_words_are(step, programs, tmp_path):
    programs(squeue="echo 2", srun="echo srun: error: Unable to create step >&2; exit 1")
    with pytest.raises(InputError, match=r"srun ended with 1\. What it said is in the job's output"):
        launch(1, 2, tmp_path)


def test_what_one_node_said_is_what_happened(step, programs, tmp_path):
    reply = '{"node": "gpu2", "retry": false, "message": "no GPU here", "timestamp": 1}'
    said = f"""for d in "${{0%/*}}"/.nodes-*; do echo '{reply}' > "$d/gpu2.json"; done; exit 1"""
    programs(squeue="echo 2", srun=said)
    with pytest.raises(InputError, match="gpu2: no GPU here"):
        launch(1, 2, tmp_path)
