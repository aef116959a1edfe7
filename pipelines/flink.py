"""What a Flink cluster says of itself over REST."""

import http.client
import json
import re
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from typing import Any, NamedTuple

from seqcls_beam import storage
from seqcls_beam.runs.run import RunError

_SECONDS = 10.0


class Machine(NamedTuple):
    """One that TaskManagers run on."""

    host: str
    cores: int  # that each of its TaskManagers sees
    task_managers: int

    @property
    def is_here(self) -> bool:
        """Whether it is this machine."""
        try:
            with socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET) as probe:
                probe.bind((self.host, 0))
                return True
        except OSError:
            return False


class Cluster(NamedTuple):
    """A Flink that runs."""

    version: str  # such as 1.19.3
    slots: int
    machines: tuple[Machine, ...]

    @property
    def task_managers(self) -> int:
        """How many there are."""
        return sum(each.task_managers for each in self.machines)

    @property
    def threads(self) -> int:
        """Cores for each TaskManager, on the machine where they are fewest; at least 1."""
        return max(1, min((each.cores // each.task_managers for each in self.machines), default=1))


def address(master: str) -> str:
    """What `--flink_master` names, as a URL."""
    master = master.strip().rstrip("/")
    return master if re.match(r"https?://", master) else f"http://{master}"


def cluster(master: str) -> Cluster:
    """Ask a Flink; raises `RunError` where none answers, or has no TaskManager."""
    try:
        overview, managers = asked(master, "overview"), asked(master, "taskmanagers")
    except OSError as error:
        own = type(error) is OSError  # its words say it all
        why = getattr(error, "reason", None) or (str(error) if own else f"{type(error).__name__}: {error}")
        raise RunError(
            f"--flink_master={master}: no Flink answers there ({why}{_by_way_of(master)}): start one, as deploy/flink "
            "does on one machine, or name the host and REST port of another"
        ) from error
    try:
        found = [
            (re.search(r"@(.*):\d+/", each["path"])[1], int(each["hardware"]["cpuCores"]))  # type: ignore[index]
            for each in managers["taskmanagers"]
        ]
        told = Cluster(
            overview["flink-version"],
            int(overview["slots-total"]),
            tuple(Machine(host, cores, count) for (host, cores), count in sorted(Counter(found).items())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"--flink_master={master}: what answers there is no Flink ({error!r})") from error
    if not told.slots:
        raise RunError(f"--flink_master={master}: Flink {told.version} answers there, and has no TaskManager at work")
    return told


def _by_way_of(master: str) -> str:
    """The proxy that is asked in its place, if one is."""
    url = urllib.parse.urlsplit(address(master))
    proxy = urllib.request.getproxies().get(url.scheme)
    if not proxy or urllib.request.proxy_bypass(url.netloc):
        return ""
    asked_by = f"{url.scheme}_proxy={storage.without_password(proxy)}"
    return f"; asked by way of {asked_by}, and without it where no_proxy has the host"


def asked(master: str, path: str, method: str = "GET") -> dict[str, Any]:
    """What a Flink answers; raises `OSError` where none does, or what answers is none."""
    request = urllib.request.Request(f"{address(master)}/{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            told = json.load(answer)
    except (ValueError, http.client.HTTPException) as error:  # a port of gRPC answers in no HTTP of ours
        raise OSError(f"{type(error).__name__}: {error}".strip()) from error
    if not isinstance(told, dict):
        raise OSError("what answers there is no Flink")
    return told
