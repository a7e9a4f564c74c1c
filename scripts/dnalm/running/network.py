"""Under which address, and by which network interface, the other nodes of a job reach this one.

A node's own name does not tell: Debian's installer writes `127.0.1.1 NAME` into /etc/hosts, others write it
behind `127.0.0.1 localhost`. The operating system's routes tell.
"""

import ipaddress
import os
import socket
from collections.abc import Iterable

import psutil

# Names the interface that gloo, and then all of this, is to use; perhaps several, of which the first counts.
INTERFACE = "GLOO_SOCKET_IFNAME"


def address_towards(others: Iterable[str]) -> str | None:
    """This machine's IP address on the way to `others` (names or addresses); None if none can be resolved.

    On the interface that GLOO_SOCKET_IFNAME names, if it does. A loopback address only where all of the
    others are on this machine.
    """
    chosen = os.environ.get(INTERFACE, "").split(",")[0]
    own = addresses_of(chosen) if chosen else [address for other in others if (address := _route(other))]
    return min(own, key=lambda address: _ip(address).is_loopback, default=None)


def interface_of(address: str) -> str | None:
    """Name of the network interface that has an IP address; None if none has."""
    return next((name for name in psutil.net_if_addrs() if address in addresses_of(name)), None)


def addresses_of(interface: str) -> list[str]:
    """IP addresses of a network interface, version 4 first; none if there is no such interface."""
    found = psutil.net_if_addrs().get(interface, [])
    return [
        entry.address
        for family in (socket.AF_INET, socket.AF_INET6)
        for entry in found
        if entry.family == family
    ]


def endpoint(address: str, port: int) -> str:
    """`address:port` as torchrun reads it.

    >>> endpoint("10.0.0.1", 29500), endpoint("fd00::1", 29500)
    ('10.0.0.1:29500', '[fd00::1]:29500')
    """
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _route(other: str) -> str | None:
    """The address that packets from here to `other` bear. Nothing is sent."""
    try:
        found = socket.getaddrinfo(other, 9, type=socket.SOCK_DGRAM)
    except OSError:
        return None
    for family, kind, protocol, _, goal in sorted(found, key=lambda entry: entry[0] != socket.AF_INET):
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.connect(goal)
                return str(probe.getsockname()[0])
        except OSError:
            continue
    return None


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(address.partition("%")[0])
