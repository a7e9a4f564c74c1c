"""A real Slurm cluster of one machine, for tests: two CPU nodes and two nodes with pretended GPUs.

    python tests/slurm/mini_slurm.py start DIR     then: source DIR/env.sh; sinfo; squeue; ...
    python tests/slurm/mini_slurm.py stop DIR

It needs Debian's packages slurmctld, slurmd, slurm-client and munge, no systemd, and runs as root or as any
single user. Everything it writes lies in DIR, everything it starts listens on this machine only and is
stopped by the process ids in DIR/run.

Partitions: `cpu` (nodes cpu1, cpu2; the default) and `gpu` (nodes gpu1, gpu2 with two GPUs of type h100
each). Jobs of partition `urgent` take the GPU nodes from others: a job of `gpu` is requeued, one of
`gpu_cancel`, which allows 90 minutes, is cancelled. A pretended GPU is a harmless character device: Slurm
hands it out and sets CUDA_VISIBLE_DEVICES, but no program can compute on it.

Where the user is root, each node has a host name of its own (host-gpu1, ...), as on every real cluster. With
`--accounting` (slurmdbd and mariadb-server) ended jobs are recorded.

Processes are tracked by cgroups where the machine allows it, as on production clusters: at a time limit or
after scancel the step's processes then get no signal before the final SIGKILL.
"""

import argparse
import contextlib
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

NODES = ("cpu1", "cpu2", "gpu1", "gpu2")
GPUS_PER_NODE = 2
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "sinfo", "scancel")
ACCOUNTING_PROGRAMS = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db")
FREEZER = Path("/sys/fs/cgroup/freezer")

# Debian puts the daemons where a user's PATH does not look.
os.environ["PATH"] = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def missing_programs(*, accounting: bool = False) -> list[str]:
    """What must be installed before a cluster can start; empty if nothing."""
    wanted = PROGRAMS + (ACCOUNTING_PROGRAMS if accounting else ())
    return [name for name in wanted if shutil.which(name) is None]


def nodes_can_have_names() -> bool:
    """Whether programs can be given another host name here."""
    prefix = ["unshare", "--uts", "--mount", "true"]
    return shutil.which("unshare") is not None and subprocess.run(prefix, capture_output=True).returncode == 0


def cgroups_can_be_made() -> bool:
    """Whether Slurm can track processes by the freezer of cgroup v1 here. Without systemd, v2 cannot."""
    return FREEZER.is_dir() and os.access(FREEZER, os.W_OK) and os.geteuid() == 0


class MiniSlurm:
    """One cluster in one directory. `environment` is for the programs that shall talk to it."""

    def __init__(self, directory: Path, *, accounting: bool = False):
        self.directory = Path(directory).resolve()
        self.accounting = accounting
        self.run = self.directory / "run"
        self.log = self.directory / "log"
        self.configuration = self.directory / "etc" / "slurm.conf"
        self.environment = os.environ | {
            "SLURM_CONF": str(self.configuration),
            "MUNGE_SOCKET": str(self.run / "munge.sock"),
            "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
        }

    # ---- Life and death ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all daemons and wait until the nodes take jobs. Leaves nothing behind if that fails."""
        if missing := missing_programs(accounting=self.accounting):
            raise RuntimeError(f"not installed: {', '.join(missing)}")
        if self._pid("slurmctld") is not None:
            raise RuntimeError(f"a cluster runs in {self.directory} already")
        shutil.rmtree(self.directory, ignore_errors=True)
        for folder in ("bin", "dev", "etc", "log", "munge", "run", "spool/slurmctld"):
            (self.directory / folder).mkdir(parents=True)
        (self.directory / "munge").chmod(0o700)
        try:
            self._start_munge()
            self._write_configuration()
            if self.accounting:
                self._start_accounting()
            # -c: without the jobs of an earlier life.
            self._daemon(["slurmctld", "-c", "-f", str(self.configuration)])
            for node in NODES:
                (self.directory / "spool" / node).mkdir()
                self.start_node(node)
            self._wait_for(
                lambda: (
                    set(self.ask("sinfo", "-h", "-o", "%T %D", check=False).splitlines())
                    == {f"idle {len(NODES)}"}
                ),
                "the nodes did not become idle",
            )
        except BaseException:
            self.stop()
            raise

    def start_node(self, node: str) -> None:
        """Start a node's slurmd, under a host name of its own if that can be done."""
        self._daemon(["slurmd", "-f", str(self.configuration), "-N", node], self._named(node))

    def crash(self, daemon: str) -> None:
        """Kill `slurmctld`, or `slurmd.NODE`, without a word."""
        os.kill(self._pid(daemon), signal.SIGKILL)
        self._wait_for(lambda: self._pid(daemon) is None, None, seconds=10)

    def crash_node(self, node: str) -> None:
        """Kill a node's slurmd and all that it runs, as when it loses power."""
        self.crash(f"slurmd.{node}")
        steps, programs = set(), set()
        own, here = f"SLURMD_NODENAME={node}".encode(), str(self.directory).encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = (process / "environ").read_bytes()
                if own in environment.split(b"\0") and here in environment:
                    programs.add(int(process.name))
                    parent = (process / "stat").read_text().rsplit(") ", 1)[1].split()[1]
                    if Path(f"/proc/{parent}/comm").read_text().strip() == "slurmstepd":
                        steps.add(int(parent))
        # Slurm's own first: they would report how the others ended.
        for pid in [*steps, *programs]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def start_controller(self) -> None:
        """Start slurmctld again; it remembers its jobs."""
        self._daemon(["slurmctld", "-f", str(self.configuration)])

    def stop(self) -> None:
        """End jobs, then daemons, each by its process id."""
        if self._pid("slurmctld") is not None:
            self.ask("scancel", f"--user={getpass.getuser()}", check=False)
            self._wait_for(lambda: not self.ask("squeue", "-h", check=False), None, seconds=15)
        for node in NODES:
            self._end(f"slurmd.{node}")
        self._end("slurmctld")
        self._end("slurmdbd")
        self._end("mariadbd")
        # Steps work in the spool directory of their node; that tells them from those of other clusters.
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "comm").read_text().strip() == "slurmstepd" and (
                    process / "cwd"
                ).resolve().is_relative_to(self.directory):
                    os.kill(int(process.name), signal.SIGKILL)
            except OSError:
                continue
        self._end("munged")
        if cgroups_can_be_made():
            for node in NODES:
                for group, _, _ in os.walk(FREEZER / f"slurm_{node}", topdown=False):
                    try:
                        os.rmdir(group)
                    except OSError:
                        continue

    # ---- Questions ---------------------------------------------------------------------------------------

    def ask(self, *command: str, check: bool = True) -> str:
        """Standard output of one of Slurm's programs."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def jobs(self) -> list[dict[str, str]]:
        """All jobs that the controller remembers, oldest first, as `scontrol show job` describes them."""
        lines = self.ask("scontrol", "show", "job", "--details", "--oneliner").splitlines()
        jobs = [dict(re.findall(r"(\S+?)=(.*?) *(?= \S+?=|$)", line)) for line in lines if "JobId=" in line]
        return sorted(jobs, key=lambda job: int(job["JobId"]))

    def job(self, job_id: str) -> dict[str, str]:
        return next(job for job in self.jobs() if job["JobId"] == job_id)

    # ---- How it is done ----------------------------------------------------------------------------------

    def _daemon(self, command: list[str], prefix: tuple[str, ...] = ()) -> None:
        name = command[0] if command[0] != "slurmd" else f"slurmd.{command[-1]}"
        with (self.log / f"{name}.out").open("a") as log:
            subprocess.run(
                [*prefix, *command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
            )
        self._wait_for(lambda: self._pid(name) is not None, f"{name} did not start")

    def _named(self, node: str) -> tuple[str, ...]:
        """A prefix that gives a command its own host name, and a hosts file that knows all of them."""
        if not nodes_can_have_names():
            return ()
        hosts = self.directory / "etc" / "hosts"
        names = " ".join(f"host-{name}" for name in NODES)
        hosts.write_text(f"{Path('/etc/hosts').read_text()}\n127.0.0.1 {names}\n")
        script = 'mount --bind "$0" /etc/hosts && hostname "$1" && shift && exec "$@"'
        return ("unshare", "--uts", "--mount", "sh", "-c", script, str(hosts), f"host-{node}")

    def _start_accounting(self) -> None:
        """MariaDB and slurmdbd, both on ports of their own."""
        database, data = self.directory / "database", self.directory / "database" / "data"
        database.mkdir()
        user = getpass.getuser()
        (database / "init.sql").write_text(
            "CREATE USER IF NOT EXISTS 'slurm'@'%' IDENTIFIED BY 'slurm';\n"
            "GRANT ALL ON *.* TO 'slurm'@'%';\nDELETE FROM mysql.global_priv WHERE User='';\n"
            "FLUSH PRIVILEGES;\n"
        )
        ports = _free_ports(1)
        common = ["--no-defaults", f"--datadir={data}", f"--user={user}"]
        with (self.log / "mariadbd.out").open("a") as log:
            install = ["mariadb-install-db", *common, "--auth-root-authentication-method=normal"]
            subprocess.run(install, stdout=log, stderr=log, check=True)
            subprocess.Popen(
                [
                    "mariadbd",
                    *common,
                    f"--port={ports[0]}",
                    "--bind-address=127.0.0.1",
                    f"--socket={database / 'socket'}",
                    f"--pid-file={self.run / 'mariadbd.pid'}",
                    f"--init-file={database / 'init.sql'}",
                    "--innodb-buffer-pool-size=32M",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_for(lambda: self._pid("mariadbd") is not None, "mariadbd did not start", seconds=60)
        self._wait_for(lambda: _listens(ports[0]), "mariadbd does not listen", seconds=60)
        configuration = self.directory / "etc" / "slurmdbd.conf"
        configuration.write_text(
            f"""\
AuthType=auth/munge
AuthInfo=socket={self.run}/munge.sock
DbdHost=localhost
DbdPort={self._accounting_port}
SlurmUser={user}
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[0]}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct
LogFile={self.log}/slurmdbd.log
PidFile={self.run}/slurmdbd.pid
"""
        )
        configuration.chmod(0o600)
        self._daemon(["slurmdbd"])
        self._wait_for(lambda: _listens(self._accounting_port), "slurmdbd does not listen", seconds=60)
        for command in (
            ["add", "cluster", "mini"],
            ["add", "account", "lab"],
            ["add", "user", user, "account=lab", "adminlevel=admin"],
        ):
            self.ask("sacctmgr", "-i", *command, check=False)

    def _start_munge(self) -> None:
        key = self.directory / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        # --force: munged otherwise refuses a directory below one that others may write to, such as /tmp.
        self._daemon(
            [
                "munged",
                "--force",
                f"--key-file={key}",
                f"--socket={self.run / 'munge.sock'}",
                f"--pid-file={self.run / 'munged.pid'}",
                f"--log-file={self.log / 'munged.log'}",
                f"--seed-file={self.directory / 'munge' / 'seed'}",
            ]
        )

    def _gpu_devices(self) -> list[str]:
        """Character devices, as Slurm demands: copies of /dev/null, or borrowed where none can be made."""
        devices = [self.directory / "dev" / f"gpu{number}" for number in range(GPUS_PER_NODE)]
        try:
            for device in devices:
                os.mknod(device, 0o20666, os.makedev(1, 3))
        except PermissionError:
            return ["/dev/null", "/dev/zero"][:GPUS_PER_NODE]
        return [str(device) for device in devices]

    def _write_configuration(self) -> None:
        host, user = socket.gethostname().split(".")[0], getpass.getuser()
        ports = _free_ports(2 + len(NODES))
        self._accounting_port = ports.pop()
        cgroups, named = cgroups_can_be_made(), nodes_can_have_names()
        accounting = (
            "accounting_storage/slurmdbd\nAccountingStorageHost=localhost\n"
            f"AccountingStoragePort={self._accounting_port}\nAccountingStoragePass={self.run}/munge.sock"
            if self.accounting
            else "accounting_storage/none"
        )
        etc, spool = self.directory / "etc", self.directory / "spool"
        if cgroups:
            (etc / "cgroup.conf").write_text(
                f"CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nCgroupMountpoint={FREEZER.parent}\n"
            )
        (etc / "gres.conf").write_text(
            "AutoDetect=off\n"
            + "".join(
                f"NodeName=gpu[1-2] Name=gpu Type=h100 File={device}\n" for device in self._gpu_devices()
            )
        )
        # Nodes pretend to be larger than this machine, so that jobs of the size of real ones fit.
        nodes = "".join(
            f"NodeName={node} NodeHostname={f'host-{node}' if named else host} NodeAddr=127.0.0.1 Port={port}"
            + (f" Gres=gpu:h100:{GPUS_PER_NODE}" if node.startswith("gpu") else "")
            + "\n"
            for node, port in zip(NODES, ports[1:], strict=True)
        )
        self.configuration.write_text(
            f"""\
ClusterName=mini
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# A job that is started again waits until its old credential has expired, by default two minutes.
AuthInfo=socket={self.run}/munge.sock,cred_expire=5
CredType=cred/munge
{"CommunicationParameters=NoInAddrAny,NoCtldInAddrAny" if _is_loopback(host) else ""}
StateSaveLocation={spool}/slurmctld
SlurmdSpoolDir={spool}/%n
SlurmctldPidFile={self.run}/slurmctld.pid
SlurmdPidFile={self.run}/slurmd.%n.pid
SlurmctldLogFile={self.log}/slurmctld.log
SlurmdLogFile={self.log}/slurmd.%n.log
PlugStackConfig=/dev/null
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/{"cgroup" if cgroups else "linuxproc"}
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType={accounting}
JobCompType=jobcomp/filetxt
JobCompLoc={self.log}/jobcomp.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# Schedule at once instead of once a minute.
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=2
GresTypes=gpu
# Believe the sizes below.
SlurmdParameters=config_overrides
# A node that was down serves again as soon as it answers.
ReturnToService=2
# Every job of a test is remembered until its end.
MinJobAge=86400
# Seconds between the polite signal and SIGKILL; 30 on most clusters.
KillWait=2
OverTimeLimit=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# A node that does not answer is down after so many seconds; 300 on most clusters.
SlurmdTimeout=10
JobRequeue=1
DefMemPerCPU=100
NodeName=DEFAULT CPUs=8 RealMemory=64000 State=UNKNOWN
{nodes}PartitionName=cpu Nodes=cpu[1-2] Default=YES MaxTime=INFINITE DefaultTime=60 State=UP
PartitionName=gpu Nodes=gpu[1-2] MaxTime=INFINITE DefaultTime=60 State=UP PriorityTier=1
PartitionName=gpu_cancel Nodes=gpu[1-2] MaxTime=90 State=UP PriorityTier=1 PreemptMode=CANCEL
PartitionName=urgent Nodes=gpu[1-2] MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
        )
        # Inside a job the Slurm plugin of Snakemake drops SLURM_CONF before it calls srun. Real clusters have
        # their configuration in /etc and do not notice; here srun has to be told again.
        wrapper = self.directory / "bin" / "srun"
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={self.configuration} exec {shutil.which("srun")} "$@"\n')
        wrapper.chmod(0o755)
        (self.directory / "env.sh").write_text(
            f"export SLURM_CONF={self.configuration}\nexport MUNGE_SOCKET={self.run}/munge.sock\n"
            f"export PATH={self.directory}/bin:$PATH\n"
        )

    def _pid(self, name: str) -> int | None:
        """Process id of a daemon that this cluster started, or None. Ids are used again, hence the checks."""
        try:
            pid = int((self.run / f"{name}.pid").read_text())
            process = Path(f"/proc/{pid}")
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            ours = str(self.directory).encode() in told
            same = (process / "comm").read_text().strip() == name.split(".")[0]
            ended = (process / "stat").read_text().rsplit(") ", 1)[1].startswith("Z")
        except (OSError, ValueError):
            return None
        return pid if ours and same and not ended else None

    def _end(self, name: str) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            pid = self._pid(name)
            if pid is None:
                return
            os.kill(pid, number)
            self._wait_for(lambda: self._pid(name) is None, None, seconds=10)

    def _wait_for(self, is_true, otherwise: str | None, seconds: float = 30) -> None:
        """Wait until `is_true()`; after `seconds` raise `otherwise`, or go on if there is none."""
        end = time.monotonic() + seconds
        while not is_true():
            if time.monotonic() > end:
                if otherwise is None:
                    return
                logs = "\n".join(path.read_text()[-1000:] for path in self.log.glob("*") if path.is_file())
                raise RuntimeError(f"{otherwise}\n{logs}")
            time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_loopback(host: str) -> bool:
    try:
        return socket.gethostbyname(host).startswith("127.")
    except OSError:
        return False


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("action", choices=["start", "stop"])
    arguments.add_argument("directory", type=Path)
    arguments.add_argument("--accounting", action="store_true", help="record ended jobs (default: no)")
    asked = arguments.parse_args()
    try:
        getattr(MiniSlurm(asked.directory, accounting=asked.accounting), asked.action)()
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    if asked.action == "start":
        print(f"The cluster is up. source {asked.directory}/env.sh")
