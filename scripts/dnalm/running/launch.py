"""Several processes for one training, through torchrun, inside of the script that trains.

The launching process holds the run's lock, passes on signals, and gives back one clear message.
Workers are the same script with the same arguments, with torchrun's variables (RANK, WORLD_SIZE, …) in the
environment. On several nodes of a Slurm job, srun starts the script once more on each of them (with
DNALM_NODES in the environment); there it launches the workers of its node.
"""

import ctypes
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, Self

from dnalm.running import network, slurm
from dnalm.running.budget import StopSignals
from dnalm.running.claims import visible_to_workers
from dnalm.running.errors import RETRY_EXIT_CODE, InputError, Interrupted

logger = logging.getLogger("dnalm")

# Set for the workers of `launch`; a worker started by a torchrun of the user's own does without it.
LAUNCHED = "DNALM_LAUNCHED"
# Set for the launchers of nodes: where they meet, and the folder for what they have to say at the end.
NODES = "DNALM_NODES"
# After one worker has failed, the others wait for it in vain; they get this long to notice.
SHUTDOWN_SECONDS = 10
# The same for nodes, which may have to save first.
NODE_SHUTDOWN_SECONDS = 60
# In messages of nodes that do not find each other, of gloo and of torchrun.
APART = ("connectFullMesh", "RendezvousConnectionError")
# srun kills a step when it gets SIGTERM itself; this one it passes on.
NODE_SIGNAL = signal.SIGUSR1
# The node that leaves last would warn, with a stack trace, that the first is gone. Read as PyTorch loads.
QUIET = {"TORCH_CPP_LOG_LEVEL": "ERROR"}


def is_worker() -> bool:
    """Whether torchrun started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_node() -> bool:
    """Whether this process is to launch the workers of one of several nodes."""
    return NODES in os.environ and not is_worker()


def leads() -> bool:
    """Whether this process takes the run's lock: the one that launches, or trains alone.

    Under a torchrun of the user's own it is the first worker.
    """
    if is_worker():
        return LAUNCHED not in os.environ and os.environ["RANK"] == "0"
    return not is_node()


def processes_wanted(processes: str, gpus_asked: int, gpus_seen: int) -> int:
    """How many processes to train with: a number, or `auto`: one per GPU, one on the CPU.

    `gpus_asked`: what this job asked for. Those beyond, of `gpus_seen`, belong to others.
    """
    gpus = min(gpus_asked, gpus_seen)
    if processes == "auto":
        return max(1, gpus)
    try:
        number = int(processes)
    except ValueError:
        number = 0
    if number < 1:
        raise InputError(f"--processes is {processes}; a number of 1 or more, or auto, was expected.")
    if gpus and number > gpus:
        asked = f"{gpus_asked} GPU{'s' if gpus_asked > 1 else ''}"
        raise InputError(
            f"--processes is {number}, but this job asked for {asked} and sees {gpus_seen}. Each process "
            "needs its own: ask for more with --gpus."
        )
    return number


def launch(processes: int, nodes: int, shared: Path) -> None:
    """Run this script again in `processes` workers on each of `nodes` nodes and wait for them.

    `shared`: an existing directory that all nodes see. Raises Interrupted when they saved and stopped early,
    InputError with the first failed worker's own message when one failed; the others are then ended.
    """
    if nodes > 1 and not is_node():
        _launch_nodes(nodes, shared)
    else:
        _launch_workers(processes, nodes)


def _launch_nodes(nodes: int, shared: Path) -> None:
    """Run this script once on each node of this Slurm job, and wait."""
    granted = slurm.node_count()
    # Without an answer srun says whether there are so many.
    if granted is not None and granted != nodes:
        raise InputError(
            f"--nodes is {nodes}, but this {'Slurm job has' if granted > 1 else 'is'} {granted} "
            f"node{'s' if granted > 1 else ''}. Several nodes need a Slurm job that asks for them: use "
            "--profile slurm, or set resources.pretrain_nodes to 1."
        )
    if shutil.which("srun") is None:
        raise InputError(
            f"--nodes is {nodes}, but Slurm's command srun, which starts the others, is not found; an "
            "Apptainer image has none. Use conda or the .venv of `make`, or set "
            "resources.pretrain_nodes to 1."
        )
    with (
        tempfile.TemporaryDirectory(prefix=".nodes-", dir=shared) as replies,
        _PassOn(NODE_SIGNAL) as signals,
    ):
        addresses = slurm.node_addresses()
        meeting = {
            "node": slurm.node_name(),
            "addresses": addresses,
            "host": network.address_towards(_others(addresses)) or socket.gethostname(),
            "port": _free_port(),
            "nodes": nodes,
            "job": f"{os.environ.get('SLURM_JOB_ID')}-{os.getpid()}",
            "replies": replies,
        }
        # A signal may have ended one of the questions to Slurm, and no more.
        signals.leave_if_told()
        # One task on each node, beside this process and with all that the job has there.
        command = ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
        command += ["--mem=0", "--cpu-bind=none", "--kill-on-bad-exit=0", f"--wait={NODE_SHUTDOWN_SECONDS}"]
        code = subprocess.run(
            [*command, sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]],
            env=QUIET | slurm.for_another_step(os.environ) | {NODES: json.dumps(meeting)},
            stdin=subprocess.DEVNULL,
            # Out of reach of a signal to the process group: srun would kill what is to save.
            start_new_session=True,
        ).returncode
        signals.stop()
        if code != 0:
            raise _verdict_of_nodes(Path(replies), nodes, code, signals.received)


def _others(addresses: Mapping[str, str]) -> list[str]:
    """The addresses of all nodes but this one."""
    return [address for name, address in addresses.items() if name != slurm.node_name()]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return free.getsockname()[1]


def _verdict_of_nodes(replies: Path, nodes: int, code: int, received: str | None) -> Exception:
    """One error for what happened on the nodes."""
    said = sorted(
        (json.loads(file.read_text()) for file in replies.glob("*.json")),
        key=lambda reply: (_lost_connection(reply["message"]), reply["timestamp"]),
    )
    for reply in said:
        if reply["retry"]:
            return Interrupted(reply["message"])
    if received:
        return _too_early(received)
    if said:
        return InputError(f"{said[0]['node']}: {said[0]['message']}")
    return InputError(
        f"one of {nodes} nodes was lost: srun ended with {code}. What it said is in the job's output, with "
        "Snakemake in .snakemake/slurm_logs/. Start it again to go on."
    )


def _lost_connection(message: str) -> bool:
    """Whether a worker complains about another one: that is not what happened first."""
    return any(word in message for word in ("gloo", "NCCL", "DistBackendError", "DistNetwork"))


@contextmanager
def as_node() -> Iterator[None]:
    """Run the block as the launcher of one of several nodes; leave a message for the first on failure."""
    # The first process and the first worker speak.
    logger.setLevel(logging.ERROR)
    try:
        yield
    except Exception as error:
        name = slurm.node_name()
        reply = {"node": name, "retry": isinstance(error, Interrupted)} | _reply(error)
        with suppress(FileNotFoundError):
            (Path(json.loads(os.environ[NODES])["replies"]) / f"{name}.json").write_text(json.dumps(reply))
        _leave(error, name)


def _launch_workers(processes: int, nodes: int) -> None:
    """Run this script again in `processes` workers on this machine, one of `nodes`, and wait."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # torchrun reports each start, signal and failure at length; one line of ours replaces that.
    for name in ("torch.distributed.elastic", "torch.distributed.launcher", "torch.distributed.nn"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ[LAUNCHED] = str(os.getpid())
    os.environ |= visible_to_workers()
    where: dict[str, Any]
    if nodes == 1:
        # One machine: no need to find out its name or network, which fails on some of them.
        os.environ.setdefault(network.INTERFACE, "lo")
        where = {
            "run_id": f"dnalm-{os.getpid()}",
            "rdzv_endpoint": "localhost:0",
            "local_addr": "localhost",
        }
    else:
        meeting = json.loads(os.environ[NODES])
        where = {
            "run_id": meeting["job"],
            "rdzv_endpoint": network.endpoint(meeting["host"], meeting["port"]),
            "rdzv_configs": {"is_host": slurm.node_name() == meeting["node"]},
        }
        # torchrun and gloo would tell the others what this node's own name stands for, maybe 127.0.1.1.
        here = network.address_towards(_others(meeting["addresses"]))
        if here is not None:
            where["local_addr"] = here
            if interface := network.interface_of(here):
                os.environ.setdefault(network.INTERFACE, interface)
    # Otherwise each process would start as many threads as there are cores, or, as Snakemake sets the
    # variable, as the rule has.
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    told = os.environ.get("OMP_NUM_THREADS", "")
    if not told.isdigit() or int(told) > threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)

    with tempfile.TemporaryDirectory(prefix="dnalm-") as scratch, _PassOn() as signals:
        config = LaunchConfig(
            min_nodes=nodes,
            max_nodes=nodes,
            nproc_per_node=processes,
            rdzv_backend="c10d",
            **where,
            max_restarts=0,
            # Ours are passed on by _PassOn; torchrun's own handling gives workers 30 s and then kills them
            # in the middle of saving. This one is never sent.
            signals_to_handle="SIGVTALRM",
            logs_specs=DefaultLogsSpecs(log_dir=scratch),
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        try:
            signals.leave_if_told()
            elastic_launch(config, sys.executable)(os.path.abspath(sys.argv[0]), *sys.argv[1:])
        except ChildFailedError as error:
            raise _verdict(error.failures, processes * nodes, signals.received) from None
        finally:
            signals.stop()


def _verdict(failures: dict[int, Any], processes: int, received: str | None) -> Exception:
    """One error for what happened to the workers; `failures`: torchrun's ProcessFailure by rank."""
    for failure in failures.values():
        if failure.exitcode == RETRY_EXIT_CODE:
            return Interrupted(failure.message)
    if received:
        # The signal came before the workers listened to it.
        return _too_early(received)

    def likely_cause(item: tuple[int, Any]) -> tuple[bool, bool, int]:
        # When one worker dies, the others lose their connection to it: that is not what happened first.
        _, failure = item
        return failure.exitcode == -signal.SIGTERM, _lost_connection(failure.message), failure.timestamp

    rank, failure = min(failures.items(), key=likely_cause)
    if failure.exitcode < 0:
        hint = " Perhaps it ran out of memory." if failure.exitcode == -signal.SIGKILL else ""
        name = failure.signal_name()
        return InputError(f"worker {rank} of {processes} was ended by {name}.{hint} Start it again to go on.")
    return InputError(f"worker {rank} of {processes}: {failure.message}")


def _too_early(received: str) -> Interrupted:
    return Interrupted(f"received {received} before training began. Start it again to go on.")


class _PassOn(StopSignals):
    """Passes the signals, and what the first process sends to a node, on to the children as `number`.

    Workers save and leave. Before there are any, this process leaves: torchrun may wait long for other nodes.
    """

    def __init__(self, number: signal.Signals = signal.SIGTERM) -> None:
        super().__init__()
        self._number = number

    def __enter__(self) -> Self:
        if is_node():
            self._previous[NODE_SIGNAL] = signal.signal(NODE_SIGNAL, self._note)
        return super().__enter__()

    def _note(self, number: int, frame: object) -> None:
        super()._note(number, frame)
        children = _children()
        for pid in children:
            # A worker may have ended in between.
            with suppress(ProcessLookupError):
                os.kill(pid, self._number)
        if not children:
            self.leave_if_told()

    def leave_if_told(self) -> None:
        """Raise Interrupted if a signal has come, of which no child knows."""
        if self.received:
            raise _too_early(self.received)

    def stop(self) -> None:
        """No more signals to pass on."""
        for number in self._previous:
            signal.signal(number, signal.SIG_IGN)


def _children() -> list[int]:
    """Process ids of this process's own children."""
    import psutil

    return [child.pid for child in psutil.Process().children()]


def die_with_parent() -> None:
    """Have the kernel end this process when torchrun's process dies (Linux); no orphan trains on."""
    parent = int(os.environ.get(LAUNCHED, os.getppid()))
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    # It may have died before the kernel was told.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def as_worker() -> Iterator[None]:
    """Run the block as one of several processes: die with torchrun, and leave a message for it on failure."""
    die_with_parent()
    if int(os.environ["RANK"]) > 0:
        # One voice is enough; errors still come through.
        logger.setLevel(logging.ERROR)
    try:
        yield
    except Exception as error:
        _report(error)
        if LAUNCHED in os.environ:
            # The launching process says it. Waiting for the others in a clean shutdown could take for ever.
            _leave(error, f"worker {os.environ['RANK']}")
        raise


def _leave(error: Exception, name: str) -> NoReturn:
    """End this process at once, with the traceback in the log only."""
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler) and handler.stream is not None:
            handler.stream.write(f"{name}: {traceback.format_exc()}")
    logging.shutdown()
    os._exit(RETRY_EXIT_CODE if isinstance(error, Interrupted) else 1)


def _report(error: BaseException) -> None:
    """Leave this worker's message where torchrun looks for it."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not file:
        return
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(json.dumps(_reply(error)))


def _reply(error: BaseException) -> dict[str, Any]:
    message = (
        str(error) if isinstance(error, InputError | Interrupted) else f"{type(error).__name__}: {error}"
    )
    if any(word in message for word in APART):
        interface = os.environ.get(network.INTERFACE, "of their names")
        message = (
            f"the nodes do not reach each other by the network interface {interface}. Type `export "
            f"{network.INTERFACE}=NAME`, with one that connects all of them (`ip -brief address` on a node "
            f"lists them), and start again. {message}"
        )
    return {"message": " ".join(message.split()), "timestamp": int(time.time())}
