"""A process that labels a subscription while messages are published at a rate, and what became of them."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from pyarrow.dataset import dataset

from seqcls_beam import open_labels
from tests import broker
from tests.corpora import texts

LEASE = 60
_TICK = 0.1
_AT_ONCE = 4096
_TEXTS = 8192
_STARTING = 120.0
_SPELL = 20.0


Due = Callable[[float, int], float]
"""(seconds since the beginning, rows that are durable) → messages that are to have been published."""


@dataclass(frozen=True)
class Trial:
    """How a process is tried."""

    model: str
    max_latency: float
    seconds: float


@dataclass
class _Seen:
    """What was durable when: a stream's pieces go when their window is sealed, so they are read as they come."""

    out: Path
    pieces: dict[Path, tuple[float, npt.NDArray[np.float64]]] = field(default_factory=dict)
    rows: int = 0
    memory: list[float] = field(default_factory=list)

    def look(self, pid: int) -> None:
        for path in _pieces(self.out):
            if path not in self.pieces:
                published = pq.read_table(path, columns=["publish_time"])["publish_time"].cast("int64").to_numpy()
                self.pieces[path] = path.stat().st_mtime, published / 1e6
                self.rows += len(published)
        self.memory.append(_resident(pid))


def labelled(
    service: broker.Broker,
    trial: Trial,
    name: str,
    due: Due,
    peer: str | None = None,
    between: Callable[[], float] | None = None,
) -> dict[str, Any]:
    """The command, or a peer's module, while messages are published, for so many seconds once it labels.

    The command is ended by SIGTERM, and a peer by SIGKILL. It and the publisher are halted every 20 seconds for
    `between`, which measures rows a second of something else, and every other time the broker, too; how long that takes
    is no part of the seconds.
    """
    (subscription,) = service.topic(name, f"{name}-sub", deadline=LEASE)
    with tempfile.TemporaryDirectory() as folder:
        out, printed = Path(folder, "out"), Path(folder, "printed")
        command = [sys.executable, "-m", peer or "pipelines.classify", f"--subscription={subscription}"]
        command += [f"--output={out}", f"--model={trial.model}"]
        if peer is None:
            command += ["--message_format=text", f"--max_latency={trial.max_latency}"]
            command += ["--window=60", "--allowed_lateness=30"]
        with printed.open("w") as file:
            job = subprocess.Popen(command, env=broker.environment(service.address), stdout=file, stderr=file)
        ids: list[str] = []
        ending, going = threading.Event(), threading.Event()
        going.set()
        seen, since = _Seen(out), time.monotonic()
        feeder = threading.Thread(target=_feed, args=(service, name, due, seen, ids, ending, going))
        feeder.start()
        try:
            while not seen.pieces:
                if job.poll() is not None or time.monotonic() - since > _STARTING:
                    raise RuntimeError(f"{name} labelled nothing: {printed.read_text()[-2000:]}")
                time.sleep(_TICK)
                seen.look(job.pid)
            warm = time.time() + min(20.0, trial.seconds / 4)
            while time.time() < warm:
                seen.look(job.pid)
                time.sleep(1)
            begun, before, halted = time.time(), _spent(service, job), 0.0
            others: list[float] = []  # alone, beside the broker, alone, …
            while (ran := time.time() - begun - halted) < trial.seconds - (warm - begun):
                seen.look(job.pid)
                if between is not None and ran >= (len(others) + 1) * _SPELL:
                    with _halted([job.pid] if len(others) % 2 else [job.pid, service.process.pid], going):
                        at, own = time.time(), time.process_time()
                        others.append(between())
                    halted += time.time() - at
                    before["publisher"] += time.process_time() - own
                time.sleep(1)
            until, after = time.time(), _spent(service, job)
        finally:
            ending.set()
            feeder.join()
            job.send_signal(signal.SIGKILL if peer else signal.SIGTERM)
            job.wait()
        told = {"ended with": job.returncode} if peer is None else {}
        took = {who: round((after[who] - before[who]) / (until - begun - halted), 2) for who in after}
        return {
            "published/s": round(len(ids) / (time.monotonic() - since - halted)),
            **_rates(seen, begun, until, halted, others),
            "cores taken": took,
            **told,
            **_kept(ids, _rows(out, live=peer is None), set(_left(service, subscription, LEASE + 15 if peer else 3))),
        }


def _rates(seen: _Seen, begun: float, until: float, halted: float, others: list[float]) -> dict[str, Any]:
    """Of what was durable once it ran warm, and of memory from then on."""
    pieces = [(at, published) for at, published in seen.pieces.values() if begun <= at <= until]
    waited = np.concatenate([at - published for at, published in pieces])
    rate = len(waited) / (until - begun - halted)
    waits = {name: round(float(np.quantile(waited, q)), 2) for name, q in (("p50", 0.5), ("p99", 0.99), ("most", 1))}
    beside = {
        f"engine {where}": {"rows/s": [round(each) for each in rates], "share": round(rate / np.mean(rates), 3)}
        for where, rates in (("alone", others[::2]), ("beside the broker", others[1::2]))
        if rates
    }
    fifth = max(1, len(seen.memory) // 5)
    return {
        "rows/s": round(rate),
        **beside,
        "pieces": len(pieces),
        **({} if others else {"seconds from publishing to durable": waits}),
        "memory, MB": {
            "in the second fifth": round(max(seen.memory[fifth : 2 * fifth])),
            "in the last fifth": round(max(seen.memory[-fifth:])),
        },
    }


def _rows(out: Path, live: bool) -> list[str]:
    """The ids of all rows: as a reader sees them, or, of a peer, as they lie in its pieces."""
    found = open_labels(str(out), live=True) if live else dataset([str(path) for path in _pieces(out)])
    ids: list[str] = found.to_table(columns=["message_id"])["message_id"].to_pylist()
    return ids


def _kept(ids: list[str], rows: list[str], left: set[str]) -> dict[str, Any]:
    """Every published message is a row, or the broker still has it, or it is lost."""
    return {
        "published": len(ids),
        "rows": len(rows),
        "rows twice": len(rows) - len(set(rows)),
        "left in the broker": len(left),
        "lost": len(set(ids) - set(rows) - left),
    }


def _left(service: broker.Broker, subscription: str, patience: float) -> list[str]:
    """The messages that are not acknowledged, until none came for so many seconds: leases may have to end."""
    found: list[str] = []
    quiet = time.monotonic()
    while time.monotonic() - quiet < patience:
        answer = service.client.pull(
            request={"subscription": subscription, "max_messages": 1000, "return_immediately": True}, retry=None
        )
        if answer.received_messages:
            quiet = time.monotonic()
            found += [each.message.message_id for each in answer.received_messages]
            acks = [each.ack_id for each in answer.received_messages]
            service.client.acknowledge(request={"subscription": subscription, "ack_ids": acks})
        else:
            time.sleep(1)
    return found


def _feed(
    service: broker.Broker,
    topic: str,
    due: Due,
    seen: _Seen,
    ids: list[str],
    ending: threading.Event,
    going: threading.Event,
) -> None:
    some: list[tuple[bytes, dict[str, str]]] = [(text.encode(), {}) for text in texts(_TEXTS)]
    begun = time.monotonic()
    while not ending.wait(_TICK):
        going.wait()
        missing = min(int(due(time.monotonic() - begun, seen.rows)) - len(ids), _AT_ONCE)
        if missing > 0:
            ids += service.publish(topic, [some[(len(ids) + i) % len(some)] for i in range(missing)])


@contextmanager
def _halted(pids: list[int], going: threading.Event) -> Iterator[None]:
    """These processes and the publisher do nothing meanwhile."""
    going.clear()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
        going.set()


def _pieces(out: Path) -> list[Path]:
    return [path for path in (out / "_pieces").glob("window=*/*.parquet") if path.name[0] != "."]


def _spent(service: broker.Broker, job: subprocess.Popen[bytes]) -> dict[str, float]:
    """Processor seconds so far."""
    return {
        who: sum(int(each) for each in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])
        / os.sysconf("SC_CLK_TCK")
        for who, pid in (("job", job.pid), ("broker", service.process.pid), ("publisher", os.getpid()))
    }


def _resident(pid: int) -> float:
    """MB of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
