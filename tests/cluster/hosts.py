"""Two hosts on a network with this one: namespaces of the kernel, each with a cable that can be pulled."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_NET = f"10.213.{os.getpid() % 254 + 1}"
_NAME = f"sb{os.getpid()}"  # a link's name has 15 characters at most
HERE = f"{_NET}.1"
_BRIDGE = f"{_NAME}-b"


class Host:
    """A host that others reach at an address; `inside` are the words before a command that runs on it."""

    def __init__(self, number: int) -> None:
        self.name = f"{_NAME}-{number}"
        self.address = f"{_NET}.{number}"
        self.inside = ["ip", "netns", "exec", self.name]
        self._cable = f"{self.name}c"

    def build(self) -> None:
        """Make it, and plug it in."""
        _ip("netns", "add", self.name)
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("link", "set", self._cable, "master", _BRIDGE, "up")
        _ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _ip("-n", self.name, "link", "set", link, "up")

    def cut_off(self) -> None:
        """Pull the cable: nothing comes back, not even that nobody is there."""
        _ip("link", "set", self._cable, "down")

    def plug_in(self) -> None:
        """Put the cable back."""
        _ip("link", "set", self._cable, "up")


@contextmanager
def hosts(*numbers: int) -> Iterator[list[Host]]:
    """So many hosts; nothing is left of them afterwards."""
    made = [Host(number) for number in numbers]
    _ip("link", "add", _BRIDGE, "type", "bridge")
    try:
        _ip("address", "add", f"{HERE}/24", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        for host in made:
            host.build()
        yield made
    finally:
        for host in made:
            subprocess.run(["ip", "netns", "delete", host.name], check=False, capture_output=True)
        _ip("link", "delete", _BRIDGE)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
