"""By which address and interface the nodes of a job meet, whatever their own names stand for."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from shlex import quote

import psutil
import pytest

from dnalm.running import network
from dnalm.running.launch import NODES

SCRIPTS = Path(__file__).parents[2] / "scripts"
Entry = namedtuple("Entry", "family address")
INTERFACES = {
    "lo": [Entry(socket.AF_INET, "127.0.0.1"), Entry(socket.AF_INET6, "::1")],
    "eno1": [
        Entry(socket.AF_PACKET, "00:00:5e:00:53:01"),
        Entry(socket.AF_INET6, "fe80::1%eno1"),
        Entry(socket.AF_INET, "10.0.0.7"),
    ],
    "ib0": [Entry(socket.AF_INET, "10.1.0.7")],
}


@pytest.fixture
def interfaces(monkeypatch):
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: INTERFACES)
    monkeypatch.delenv(network.INTERFACE, raising=False)


def test_the_interface_is_found_by_its_address(interfaces):
    assert network.interface_of("10.0.0.7") == "eno1"
    assert network.interface_of("fe80::1%eno1") == "eno1"
    assert network.interface_of("10.0.0.8") is None


def test_the_user_s_interface_comes_first(interfaces, monkeypatch):
    monkeypatch.setenv(network.INTERFACE, "ib0,eno1")
    assert network.address_towards(["127.0.0.1"]) == "10.1.0.7"
    monkeypatch.setenv(network.INTERFACE, "eno1")
    assert network.address_towards([]) == "10.0.0.7"
    # Gloo says that there is no such interface.
    monkeypatch.setenv(network.INTERFACE, "eno9")
    assert network.address_towards(["127.0.0.1"]) is None


def test_nodes_of_one_machine_meet_in_it(interfaces):
    assert network.address_towards(["127.0.0.1", "localhost"]) == "127.0.0.1"


def test_a_route_that_leaves_the_machine_is_preferred(interfaces, monkeypatch):
    routes = {"here": "127.0.0.1", "gone": None, "there": "10.0.0.7"}
    monkeypatch.setattr(network, "_route", routes.get)
    assert network.address_towards(["here", "gone", "there"]) == "10.0.0.7"


def test_names_that_nobody_knows_give_no_address(interfaces):
    assert network.address_towards(["no-such-host.invalid"]) is None


# ---- Two machines --------------------------------------------------------------------------------------

NODE = """
import os, sys
from pathlib import Path
from shlex import quote
sys.path.insert(0, {scripts!r})
from dnalm.running.launch import as_node, as_worker, is_worker, launch
if is_worker():
    with as_worker():
        import torch
        from dnalm.running.world import World
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ.get("OF_GLOO", os.environ["GLOO_SOCKET_IFNAME"])
        world = World.join(torch.device("cpu"))
        total = world.all_reduce_sum(torch.tensor(world.rank + 1))
        Path({folder!r}, f"rank{{world.rank}}").write_text(str(int(total)))
        world.leave()
else:
    with as_node():
        launch(1, 2, Path({folder!r}))
"""
# Two network namespaces with a cable between them; `$1` prepares /etc/hosts and the name, `$2` runs a node.
MACHINES = """
set -e
ip link set lo up
ip link add cable1 type veth peer name cable2
unshare --net --uts --mount sh -c '
    until ip link show cable2 >/dev/null 2>&1; do sleep 0.1; done
    ip link set lo up; ip addr add 10.9.0.2/24 dev cable2; ip link set cable2 up
    exec sh "$0" 2' "$0.node" &
other=$!
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
ip link set cable2 netns $other
ip addr add 10.9.0.1/24 dev cable1; ip link set cable1 up
sh "$0.node" 1
wait $other
"""
PREFIX = ["unshare", "--map-root-user", "--net", "--uts", "--mount", "--fork", "--kill-child"]


def two_machines_can_be_made() -> bool:
    if not shutil.which("unshare") or not shutil.which("ip"):
        return False
    cable = "ip link add cable1 type veth peer name cable2"
    return subprocess.run([*PREFIX, "sh", "-c", cable], capture_output=True).returncode == 0


def on_two_machines(folder: Path, hosts: str, **variables: str) -> subprocess.Popen:
    """Start NODE on machines node1 and node2, whose /etc/hosts say `hosts` of themselves."""
    (folder / "node.py").write_text(NODE.format(scripts=str(SCRIPTS), folder=str(folder)))
    for own, other in ((1, 2), (2, 1)):
        text = hosts.format(own=f"node{own}") + f"10.9.0.{other} node{other}\n"
        (folder / f"hosts{own}").write_text(text)
    (folder / "machines").write_text(MACHINES)
    (folder / "machines.node").write_text(
        f'mount --bind {quote(str(folder))}/hosts"$1" /etc/hosts\nhostname node"$1"\n'
        f'SLURMD_NODENAME=node"$1" exec {quote(sys.executable)} {quote(str(folder))}/node.py\n'
    )
    meeting = {
        "node": "node1",
        "host": "10.9.0.1",
        "port": 29400,
        "nodes": 2,
        "job": "7-1",
        "addresses": {"node1": "node1", "node2": "node2"},
        "replies": str(folder),
    }
    environment = {name: value for name, value in os.environ.items() if name != network.INTERFACE}
    return subprocess.Popen(
        [*PREFIX, "sh", str(folder / "machines")],
        env=environment | {NODES: json.dumps(meeting), "OMP_NUM_THREADS": "1"} | variables,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.skipif(not two_machines_can_be_made(), reason="network namespaces cannot be made here")
@pytest.mark.parametrize(
    "hosts",
    ["127.0.0.1 localhost\n127.0.1.1 {own}\n", "127.0.0.1 localhost {own}\n", "127.0.0.1 localhost\n"],
)
def test_nodes_meet_whatever_their_own_names_stand_for(tmp_path, hosts):
    machines = on_two_machines(tmp_path, hosts)
    _, said = machines.communicate(timeout=300)
    assert machines.returncode == 0, said
    assert {name: (tmp_path / name).read_text() for name in ("rank0", "rank1")} == {
        "rank0": "3",
        "rank1": "3",
    }


@pytest.mark.slow
@pytest.mark.skipif(not two_machines_can_be_made(), reason="network namespaces cannot be made here")
def test_nodes_that_do_not_reach_each_other_say_what_to_set(tmp_path):
    machines = on_two_machines(tmp_path, "127.0.0.1 localhost\n", OF_GLOO="lo")
    # The one that listens hears nothing, and waits until srun ends it: there is none here.
    for _ in range(1500):
        if (said := "".join(file.read_text() for file in tmp_path.glob("node*.json"))) or machines.poll():
            break
        time.sleep(0.2)
    os.killpg(machines.pid, signal.SIGKILL)
    assert "export GLOO_SOCKET_IFNAME=NAME" in said, machines.communicate()[1]
