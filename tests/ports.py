"""Ports for services that a test starts itself."""

import random
import socket
from contextlib import suppress
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at, and that no connection is given: a service that ends finds its own again."""
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    others = [port for port in range(10_000, 65_536) if not low <= port <= high]
    found: list[int] = []
    for port in random.SystemRandom().sample(others, len(others)):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"no {count} ports are free but those from {low} to {high}, which connections are given")
