"""`snakemake --profile slurm` on a real Slurm: what jobs ask for and get, and that nothing is ever lost.

The short configuration runs twice in copies of the repository: once undisturbed and without Slurm, once on a
cluster where everything happens that happens on clusters. In the end both have made the same files.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from short_run import CONFIGURATION, MODEL, RESULTS, copy_repository, files
from workflow_jobs import REPOSITORY, edited_profile

sys.path.insert(0, str(Path(__file__).parent))
from mini_slurm import GPUS_PER_NODE, MiniSlurm, cgroups_can_be_made, missing_programs, nodes_can_have_names

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        bool(missing_programs()), reason=f"Slurm is not installed here: no {', '.join(missing_programs())}"
    ),
]

# Long enough to be disturbed again and again, seconds on an idle machine.
STEPS = 600
# Seconds without slurmctld, and whether the cluster has accounting; the defaults keep the suite short.
ABSENCE = float(os.environ.get("MINI_SLURM_ABSENCE", 30))
ACCOUNTING = "MINI_SLURM_ACCOUNTING" in os.environ
# A loaded machine may need many times the usual time; nothing here waits so long on a healthy one.
PATIENCE = 600
# Name of jobs that are not ours.
OTHER = "somebody_else"

TRAINING = {"steps": STEPS, "batch_size": 32, "evaluate_every": 300, "checkpoint_every_steps": 10}
# Half of the jobs, and no kind of job less.
SECTIONS = {"baseline": {"untrained": False, "stacked": False}}


def wait_until(is_true: Callable[[], object], what: str, main: subprocess.Popen | None = None):
    """The first true answer of `is_true()`. `main`, if given, must stay alive meanwhile."""
    end = time.monotonic() + PATIENCE
    while not (answer := is_true()):
        assert time.monotonic() < end, f"waited {PATIENCE} s in vain for {what}"
        assert main is None or main.poll() is None, f"snakemake ended before {what}"
        time.sleep(0.2)
    return answer


def without_network() -> list[str]:
    """A prefix that runs a command as on compute nodes without internet; empty where that cannot be done."""
    prefix = ["unshare", "--map-root-user", "--net"]
    possible = (
        shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    )
    return prefix if possible else []


# ---- The undisturbed run -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = copy_repository(tmp_path_factory.mktemp("undisturbed") / "run", TRAINING, **SECTIONS)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", CONFIGURATION]
    done = subprocess.run(
        [*without_network(), *command], cwd=folder, capture_output=True, text=True, timeout=2 * PATIENCE
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return folder


# ---- The cluster ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    # Its daemons have sessions of their own: whoever ends the tests, as .ci/run after a failure, misses them.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    cluster = MiniSlurm(tmp_path_factory.mktemp("slurm") / "cluster", accounting=ACCOUNTING)
    cluster.start()
    yield cluster
    cluster.stop()
    signal.signal(signal.SIGTERM, before)


def processes_of(job_id: str, program: str = "") -> list[int]:
    """Process ids of a job's own programs whose command line holds `program`, without Slurm's."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            if f"SLURM_JOB_ID={job_id}".encode() in environment:
                name = (process / "comm").read_text().strip()
                if not name.startswith(("slurm", "srun")) and program in (process / "cmdline").read_text():
                    found.append(int(process.name))
        except OSError:
            continue
    return found


def send(number: signal.Signals, processes: list[int]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


# ---- The disturbed run ---------------------------------------------------------------------------------


def rule_of(job: dict[str, str]) -> str | None:
    """A job's rule, or the step whose number and rules follow its name where tasks share the job."""
    found = re.match(r"rule_(\w+?)(_\d+_.*|_wildcards_.*|)$", job.get("Comment", ""))
    return found and found.group(1)


@dataclass
class Story:
    """The disturbed run, told from outside."""

    folder: Path
    cluster: MiniSlurm
    output: str = ""
    # Jobs as scontrol described them at the moment of each event.
    events: dict[str, dict[str, str]] = field(default_factory=dict)
    # Seconds from each event to the next checkpoint of the job that went on.
    delays: dict[str, float] = field(default_factory=dict)
    last_step: int = 0
    status: int | None = None
    happened: tuple[str, float] | None = None

    def start(self, **settings) -> subprocess.Popen:
        """Type `snakemake --profile slurm` after editing the profile as its comments say."""
        profile = edited_profile((REPOSITORY / "slurm" / "config.yaml").read_text())
        # No conda; pretraining where preempted jobs are cancelled; one way to ask for GPUs after the other.
        profile.pop("software-deployment-method", None)
        queues = {"partition": "cpu", "gpu_partition": "gpu"}
        profile["config"] = {"resources": queues | settings.pop("resources", {})}
        profile["set-resources"] = {"pretrain": {"slurm_partition": "gpu_cancel"}}
        # Look more often than a real cluster would like.
        looks = {"slurm-init-seconds-before-status-checks": 1, "max-status-checks-per-second": 1}
        profile |= looks | {"latency-wait": 10} | settings
        (self.folder / "slurm" / "config.yaml").write_text(yaml.safe_dump(profile))
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--profile", "slurm", "--configfile", CONFIGURATION],
            cwd=self.folder,
            env=self.cluster.environment,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "snakemake.out").open("a"),
            start_new_session=True,
        )

    def said(self) -> str:
        return (self.folder / "snakemake.out").read_text()

    def jobs(self) -> list[dict[str, str]]:
        return [job for job in self.cluster.jobs() if job["JobName"] != OTHER]

    def jobs_of(self, rule: str) -> list[dict[str, str]]:
        """Jobs of a rule, or of a step that tasks share."""
        return [job for job in self.jobs() if rule_of(job) == rule]

    def running(self, rule: str) -> dict[str, str] | None:
        return next((job for job in self.jobs_of(rule) if job["JobState"] == "RUNNING"), None)

    def newest_step(self) -> int:
        """Step of the newest complete checkpoint of pretraining."""
        found = (self.folder / RESULTS / "checkpoints").glob("*/*/step-*/manifest.json")
        return max((int(path.parent.name.removeprefix("step-")) for path in found), default=0)

    def progress(self, main: subprocess.Popen) -> dict[str, str]:
        """Wait until pretraining has written a checkpoint beyond all earlier ones; return its job.

        Its process is stopped, so that a fast machine does not end the training before its story is told.
        """

        def advanced():
            return self.newest_step() > self.last_step and self.running("pretrain")

        job = wait_until(advanced, f"progress beyond step {self.last_step}", main)
        self.went_on()
        send(signal.SIGSTOP, processes_of(job["JobId"], "scripts/pretrain.py"))
        self.last_step = self.newest_step()
        assert self.last_step < STEPS, "training ended before it was disturbed: raise STEPS"
        return job

    def went_on(self) -> None:
        if self.happened is not None:
            event, moment = self.happened
            self.delays[event] = round(time.monotonic() - moment, 1)
            self.happened = None

    def disturb(self, event: str, main: subprocess.Popen, action: Callable[[dict], object]) -> None:
        """Do something to the job that trains, and wait until it is gone."""
        job = self.events[event] = self.progress(main)
        self.happened = event, time.monotonic()
        action(job)
        state = self.cluster.job
        wait_until(lambda: state(job["JobId"])["JobState"] != "RUNNING", f"{event}: its end", main)


def preempt(cluster: MiniSlurm, node: str) -> None:
    """Take a node from its jobs for some seconds, by a job of higher priority."""
    whole = ("-p", "urgent", "-w", node, "-N", "1", f"--gpus-per-node={GPUS_PER_NODE}")
    cluster.ask("sbatch", *whole, "-J", OTHER, "-o", "/dev/null", "--wrap", "sleep 5")


@pytest.fixture(scope="module")
def story(tmp_path_factory, undisturbed, cluster) -> Story:
    story = Story(
        copy_repository(tmp_path_factory.mktemp("disturbed") / "run", TRAINING, **SECTIONS), cluster
    )
    ask = cluster.ask
    main = story.start()
    try:
        # A job hangs and runs into its time limit, a whole minute in Slurm. All else goes on meanwhile.
        job = wait_until(lambda: story.running("prepare_task"), "prepare_task to run", main)
        ask("scontrol", "update", f"JobId={job['JobId']}", "TimeLimit=1")
        wait_until(lambda: processes_of(job["JobId"]), "its processes", main)
        send(signal.SIGSTOP, processes_of(job["JobId"]))
        story.events["hung"] = job

        story.disturb("cancelled", main, lambda job: ask("scancel", job["JobId"]))
        story.disturb("preempted", main, lambda job: preempt(cluster, job["NodeList"]))
        story.disturb("requeued", main, lambda job: ask("scontrol", "requeue", job["JobId"]))
        story.disturb("node lost", main, lambda job: cluster.crash_node(job["NodeList"]))

        job = story.events["scheduler away"] = story.progress(main)
        cluster.start_node(story.events["node lost"]["NodeList"])
        story.happened = "scheduler away", time.monotonic()
        cluster.crash("slurmctld")
        time.sleep(ABSENCE)
        cluster.start_controller()
        send(signal.SIGCONT, processes_of(job["JobId"], "scripts/pretrain.py"))

        log = story.folder / RESULTS / "logs" / "pretrain" / f"{MODEL}.log"
        waiting = "is training this model; waiting for it to end"  # docs/cluster.md quotes it
        story.events["killed"] = story.progress(main)
        for _ in range(2):
            os.kill(main.pid, signal.SIGKILL)
            main.wait()
            # The lock of the killed process is the one thing that a person must remove.
            refused = story.start()
            assert refused.wait(timeout=PATIENCE) != 0
            unlock = [sys.executable, "-m", "snakemake", "--unlock", "--configfile", CONFIGURATION]
            subprocess.run(unlock, cwd=story.folder, check=True, capture_output=True, timeout=PATIENCE)

            known = len(story.jobs_of("pretrain"))
            main = story.start(resources={"gres": "gpu", "tasks_per_job": 10})
            wait_until(lambda: len(story.jobs_of("pretrain")) > known, "another pretraining job", main)  # noqa: B023
            wait_until(lambda: log.is_file() and waiting in log.read_text(), "that job to wait", main)
        send(signal.SIGCONT, processes_of(story.events["killed"]["JobId"]))
        story.status = main.wait(timeout=3 * PATIENCE)
    finally:
        if main.poll() is None:
            main.kill()
            main.wait()
        story.output = story.said()
    assert story.status == 0, story.output[-5000:]
    return story


def test_the_workflow_ends_well_and_makes_the_same_files(story, undisturbed):
    expected, found = files(undisturbed), files(story.folder)
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []
    assert (story.folder / RESULTS / "report.html").stat().st_size > 10_000


def test_no_rule_but_downloads_needs_a_network(undisturbed):
    if not without_network():
        pytest.skip("the network cannot be taken away from a program here")
    assert (undisturbed / RESULTS / "report.html").is_file()


def test_every_rule_got_what_it_asked_for(story):
    """CPUs, memory, time and GPUs of finished jobs, by rule or by step that tasks share."""
    with_gpu = {"pretrain", "embed", "evaluate", "evaluate_language_model"}
    seen = set()
    for job in story.jobs():
        if job["JobState"] != "COMPLETED":
            continue
        rule = rule_of(job)
        seen.add(rule)
        gpu = rule in with_gpu
        partition = "gpu_cancel" if rule == "pretrain" else "gpu" if gpu else "cpu"
        assert job["Partition"] == partition, rule
        assert job.get("JOB_GRES", "(null)") == ("gpu:h100:1" if gpu else "(null)"), rule
        assert job["NumNodes"] == "1"
        assert job["NumCPUs"] == ("2" if rule == "evaluate_language_model" else "1"), rule
        assert _megabytes(job["MinMemoryNode"]) >= 1000, rule
        assert job["TimeLimit"] != "01:00:00", f"{rule} has the partition's default time limit"
    assert seen >= with_gpu | {
        "simulate_demo",
        "extract_windows",
        "train_tokenizer",
        "tokenize_windows",
        "prepare_task",
        "classifiers",
        "baseline",
        "evaluate_baseline",
        "compare",
        "report",
    }


def test_gpus_can_be_asked_for_in_both_ways(story):
    asked = {job.get("TresPerJob", job.get("TresPerNode", "")) for job in story.jobs_of("pretrain")}
    assert "gres:gpu:1" in asked
    later = [job for rule in ("embed", "evaluate_language_model") for job in story.jobs_of(rule)]
    assert {job.get("TresPerNode") for job in later} == {"gres:gpu:1"}
    assert not any("TresPerJob" in job for job in later)


def test_short_steps_share_jobs(story):
    for step, parts in {"embed": 2, "classifiers": 2, "evaluate": 2, "compare": 2}.items():
        (job,) = story.jobs_of(step)
        [log] = (story.folder / ".snakemake" / "slurm_logs").rglob(f"{job['JobId']}.log")
        assert f"{parts} of {parts} steps (100%) done" in log.read_text(), step
        # One after another, in the place of one.
        assert log.read_text().count("Execute 1 jobs...") == 1 + parts


def test_jobs_say_which_run_and_rule_they_belong_to(story):
    for job in story.jobs():
        assert job["JobName"].startswith("dna-modernbert_")
        assert job["Comment"].startswith("rule_")
        assert job["Requeue"] == "1"


def test_a_job_over_its_time_limit_runs_again_with_more_time(story):
    hung, again = story.jobs_of("prepare_task")
    assert hung["JobId"] == story.events["hung"]["JobId"]
    assert hung["JobState"] == "TIMEOUT"
    assert again["JobState"] == "COMPLETED"
    # First 20 minutes and a little for its input.
    assert again["TimeLimit"] in ("00:40:00", "00:41:00", "00:42:00")


def test_a_cancelled_job_runs_again_with_more_memory(story):
    first, second, *_ = story.jobs_of("pretrain")
    assert first["JobId"] == story.events["cancelled"]["JobId"]
    assert first["JobState"] == "CANCELLED"
    assert _megabytes(second["MinMemoryNode"]) == 2 * _megabytes(first["MinMemoryNode"])


def test_a_job_that_was_cancelled_by_preemption_runs_again(story):
    _, preempted, again, *_ = story.jobs_of("pretrain")
    assert preempted["JobId"] == story.events["preempted"]["JobId"]
    assert preempted["JobState"] == "PREEMPTED"
    assert again["JobId"] == story.events["requeued"]["JobId"]


def test_a_job_asks_for_no_more_time_than_its_partition_allows(story):
    """It has doubled its 30 minutes twice; more than MaxTime would wait for ever."""
    assert story.events["requeued"]["TimeLimit"] == "01:30:00"


def test_slurm_starts_a_requeued_job_and_one_whose_node_failed_again_by_itself(story):
    job = story.cluster.job(story.events["requeued"]["JobId"])
    assert job["JobId"] == story.events["node lost"]["JobId"] == story.events["killed"]["JobId"]
    assert job["Restarts"] == "2"
    assert story.events["node lost"]["NodeList"] != story.events["killed"]["NodeList"]


def test_work_goes_on_within_minutes(story, capsys):
    """Whatever happened, on nodes that have names of their own."""
    with capsys.disabled():
        print(f"\nseconds until the next checkpoint: {story.delays}")
    assert set(story.delays) == {"cancelled", "preempted", "requeued", "node lost", "scheduler away"}
    # Where a job waits for itself, it waits for hours.
    assert max(story.delays.values()) < PATIENCE + ABSENCE
    assert "Slurm does not answer" in story.output  # docs/cluster.md quotes it


def test_further_runs_wait_for_the_job_that_the_killed_ones_left_behind(story):
    assert "Error: Directory cannot be locked." in story.output  # docs/cluster.md quotes it
    left, *others = story.jobs_of("pretrain")[-3:]
    assert left["JobId"] == story.events["killed"]["JobId"]
    # Nobody watches the job that was left behind. It fails where a further run, which finds the training
    # ended, clears the outputs away to write them again just when it looks for them.
    assert left["JobState"] in ("COMPLETED", "FAILED")
    assert [job["JobState"] for job in others] == ["COMPLETED"] * 2


@pytest.mark.skipif(not nodes_can_have_names(), reason="programs cannot be given a host name here")
def test_nodes_have_names_of_their_own(cluster):
    names = {cluster.ask("srun", "-p", "gpu", "-w", node, "hostname") for node in ("gpu1", "gpu2")}
    assert names == {"host-gpu1", "host-gpu2"}


def test_training_went_on_from_checkpoints_and_did_not_start_over(story):
    import json

    telemetry = json.loads((story.folder / RESULTS / "telemetry" / "pretrain" / f"{MODEL}.json").read_text())
    sessions = telemetry["sessions"]
    assert telemetry["processes_started"] >= 4
    assert sessions[0]["first_step"] == 0
    assert all(session["first_step"] > 0 for session in sessions[1:])


def batch_job(cluster: MiniSlurm, command: str, output: Path, minutes: int = 1) -> dict[str, str]:
    """Run a command as a job with one GPU; return how it ended."""
    options = ("--parsable", "-p", "gpu", "--gpus=1", "-t", str(minutes), "-o", str(output))
    job_id = cluster.ask("sbatch", *options, "--wrap", command)
    underway = ("PENDING", "RUNNING", "COMPLETING")
    wait_until(lambda: cluster.job(job_id)["JobState"] not in underway, "the end of a job")
    return cluster.job(job_id)


def pretraining(run: Path, folder: Path, *more: str) -> str:
    """A command that trains for hours into `folder`, on the corpus of a finished run."""
    results = run / RESULTS
    return (
        f"exec {sys.executable} {run}/scripts/pretrain.py --gpus 1 --max-tokens 64 --training-steps 100000"
        f" --tokens {results}/tokens/{MODEL}/simulated.train"
        f" --validation-tokens {results}/tokens/{MODEL}/simulated.validation"
        f" --tokenizer {results}/tokenizers/{MODEL} --architecture {run}/tests/short/architecture.json"
        f" --checkpoints {folder}/checkpoints --output {folder}/model {' '.join(more)}"
    )


def test_training_leaves_before_its_time_limit(undisturbed, cluster, tmp_path):
    """The time left is asked from Slurm; on production clusters no signal announces the end."""
    command, output = pretraining(undisturbed, tmp_path, "--allow-cpu"), tmp_path / "out"
    # On a busy machine the start alone can take longer than a short job has.
    for minutes in (1, 4, 16):
        job = batch_job(cluster, command, output, minutes)
        if job["JobState"] != "TIMEOUT":
            break
    assert (job["JobState"], job["ExitCode"]) == ("FAILED", "75:0"), output.read_text()
    assert not (tmp_path / "model").exists()
    assert list((tmp_path / "checkpoints").glob("*/step-*/manifest.json"))


@pytest.mark.skipif(any(Path("/dev").glob("nvidia[0-9]*")), reason="this machine has a GPU")
def test_a_job_that_cannot_see_its_gpu_stops_at_once_and_says_why(undisturbed, cluster, tmp_path):
    job = batch_job(cluster, pretraining(undisturbed, tmp_path), output := tmp_path / "out")
    assert (job["JobState"], job["ExitCode"]) == ("FAILED", "1:0")
    assert "this job asked for 1 GPU, but torch sees 0" in output.read_text()
    assert not list(tmp_path.glob("*/step-*"))


@pytest.mark.skipif(any(Path("/dev").glob("nvidia[0-9]*")), reason="this machine has a GPU")
def test_so_does_a_job_of_the_workflow_from_which_the_plugin_hides_what_slurm_says(
    undisturbed, cluster, tmp_path
):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    for name in ("models", "checkpoints"):
        shutil.rmtree(folder / RESULTS / name)
    story = Story(folder, cluster)
    main = story.start(resources={"allow_cpu": False}, until=["pretrain"], forcerun=["pretrain"], retries=0)
    assert main.wait(timeout=PATIENCE) == 1
    log = (folder / RESULTS / "logs" / "pretrain" / f"{MODEL}.log").read_text()
    assert "this job asked for 1 GPU, but torch sees 0" in log


# ---- Several nodes -------------------------------------------------------------------------------------


def test_snakemake_trains_on_two_nodes(undisturbed, cluster, tmp_path):
    """What a lab types: `pretrain_nodes: 2` and the profile. The losses are those of one process."""
    import json

    folder = shutil.copytree(undisturbed, tmp_path / "run")
    for name in ("models", "checkpoints"):
        shutil.rmtree(folder / RESULTS / name)
    two = Story(folder, cluster)
    main = two.start(resources={"pretrain_nodes": 2}, until=["pretrain"], forcerun=["pretrain"], retries=0)
    known = len(two.jobs_of("pretrain"))
    try:
        assert main.wait(timeout=PATIENCE) == 0, two.said()[-5000:]
    finally:
        if main.poll() is None:
            main.kill()
            main.wait()
    (job,) = two.jobs_of("pretrain")[known:]
    assert (job["JobState"], job["NumNodes"], job["TresPerNode"]) == ("COMPLETED", "2", "gres:gpu:1")
    telemetry = folder / RESULTS / "telemetry" / "pretrain" / f"{MODEL}.json"
    assert json.loads(telemetry.read_text())["processes"] == 2
    one, both = (losses(run / RESULTS / "models" / MODEL) for run in (undisturbed, folder))
    assert both == pytest.approx(one, abs=2e-3)


def on_two_nodes(run: Path, folder: Path, **settings: object) -> str:
    """A step like Snakemake's, on the first of two nodes, that trains on both.

    Snakemake's plugin takes nearly all that Slurm says of the job out of the step's environment.
    """
    more = [f"--{name.replace('_', '-')} {value}" for name, value in settings.items()]
    command = pretraining(run, folder, "--allow-cpu", "--nodes 2", *more).removeprefix("exec ")
    without = r"env | sed -n '/^SLURM_JOB_ID=/d; s/^\(SLURM_[A-Z_]*\)=.*/-u \1/p'"
    return f"exec env $({without}) srun -n1 --nodes=2 --cpu-bind=q {command}"


def newest_step(folder: Path) -> int:
    found = (folder / "checkpoints").glob("*/step-*/manifest.json")
    return max((int(path.parent.name.removeprefix("step-")) for path in found), default=0)


def trainers_of(job_id: str) -> dict[str, list[int]]:
    """Processes that train for a job, by node."""
    found: dict[str, list[int]] = {}
    for process in processes_of(job_id, "scripts/pretrain.py"):
        with contextlib.suppress(OSError):
            environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
            node = next(e for e in environment if e.startswith(b"SLURMD_NODENAME=")).decode()
            if any(e.startswith(b"RANK=") for e in environment):
                found.setdefault(node.partition("=")[2], []).append(process)
    return found


def test_two_nodes_train_like_one_and_recover_a_lost_node(undisturbed, cluster, tmp_path):
    """Signals save on all nodes, a lost node is replaced, and the losses are those of one process."""
    steps = {"training_steps": 60, "training_checkpoint_every_steps": 5, "training_evaluate_every": 30}
    options = ("--parsable", "-p", "gpu", "-N", "2", "--gres=gpu:1", "-t", "30", "--mem=4000")
    options += ("--open-mode=append", "-o", str(tmp_path / "out"), "--requeue")
    command = on_two_nodes(undisturbed, tmp_path, **steps)
    job_id = cluster.ask("sbatch", *options, "--wrap", command)

    def said() -> str:
        return (tmp_path / "out").read_text() if (tmp_path / "out").is_file() else ""

    def state() -> str:
        return cluster.job(job_id)["JobState"]

    def advanced(beyond: int) -> bool:
        assert state() not in ("COMPLETED", "FAILED", "TIMEOUT"), said()
        return newest_step(tmp_path) > beyond

    wait_until(lambda: advanced(0), "a checkpoint of two nodes")
    assert set(trainers_of(job_id)) == {"gpu1", "gpu2"}
    # The first process, which nobody started but the step, has no rank.
    workers = [pid for pids in trainers_of(job_id).values() for pid in pids]
    launchers = [pid for pid in processes_of(job_id, "--nodes 2".replace(" ", "\0")) if pid not in workers]
    send(signal.SIGSTOP, workers)
    first = min(launchers)
    # To all of its group, as a terminal or a cluster without cgroups does.
    os.killpg(os.getpgid(first), signal.SIGTERM)
    send(signal.SIGCONT, workers)
    wait_until(lambda: state() not in ("RUNNING", "COMPLETING"), "the end after a signal")
    assert (state(), cluster.job(job_id)["ExitCode"]) == ("FAILED", "75:0"), said()
    assert "stopped: received" in said()
    reached = newest_step(tmp_path)

    job_id = cluster.ask("sbatch", *options, "--wrap", command)
    wait_until(lambda: advanced(reached), "progress after the signal")
    send(signal.SIGSTOP, [pid for pids in trainers_of(job_id).values() for pid in pids])
    cluster.crash_node("gpu2")
    wait_until(lambda: state() not in ("RUNNING", "COMPLETING"), "the end after a lost node")
    cluster.start_node("gpu2")
    wait_until(lambda: state() in ("COMPLETED", "FAILED", "TIMEOUT"), "the end of the training")
    assert state() == "COMPLETED", said()
    assert "Exception raised" not in said()
    assert cluster.job(job_id)["Restarts"] == "1"

    alone = tmp_path / "alone"
    words = [f"--{name.replace('_', '-')} {value}" for name, value in steps.items()]
    done = subprocess.run(
        ["sh", "-c", pretraining(undisturbed, alone, *words).replace("--gpus 1", "--gpus 0")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    one, two = (losses(folder / "model") for folder in (alone, tmp_path))
    assert two == pytest.approx(one, abs=2e-4)


def losses(model: Path) -> list[float]:
    import json

    lines = (model / "training_log.jsonl").read_text().splitlines()
    return [json.loads(line)["selected_loss"] for line in lines]


@pytest.mark.skipif(not cgroups_can_be_made(), reason="no cgroup v1 freezer that can be written")
def test_processes_are_tracked_as_on_production_clusters(cluster):
    assert "proctrack/cgroup" in cluster.ask("scontrol", "show", "config")


def _megabytes(text: str) -> int:
    """`12500M` or `12G`; Slurm writes G where the number is whole (1 G = 1024 M)."""
    number, unit = float(text.rstrip("MG")), text[-1]
    return round(number * 1024) if unit == "G" else round(number)
