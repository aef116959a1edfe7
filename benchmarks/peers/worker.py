"""A peer in a process of its own, obeying its parent over pipes: both ends of them.

    python -m benchmarks.peers.worker NAME

Commands and answers are pickles on stdin and stdout; whatever libraries print goes to stderr. Holds nothing but what
the peer holds, so that its peak memory is the peer's.
"""

import contextlib
import importlib.metadata
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import peer as find
from benchmarks.peers.base import Job, Peer

ROOT = Path(__file__).parents[2]


class PeerError(RuntimeError):
    """A peer did not answer."""


class Worker:
    """The parent's side of a peer's process."""

    def __init__(self, name: str, python: str, threads: int, log: Path) -> None:
        self._log = log
        count = {f"{each}_NUM_THREADS": str(threads) for each in ("OMP", "MKL", "RAYON")}
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.peers.worker", name],
            cwd=ROOT,
            env={**os.environ, **count, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
        )

    def ask(self, command: str, **given: Any) -> dict[str, Any]:
        """Send a command, wait for the answer; raises `PeerError` with what went wrong."""
        process = self._process
        assert process.stdin and process.stdout
        try:
            pickle.dump((command, given), process.stdin)
            process.stdin.flush()
            answer: dict[str, Any] = pickle.load(process.stdout)
        except (EOFError, BrokenPipeError) as error:
            last = self._log.read_text().strip().splitlines()[-1:]
            raise PeerError(f"died with exit code {process.wait()}: {last}") from error
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process by closing its pipe."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


def peak_mb() -> float:
    """Peak resident memory of this process. `ru_maxrss` would start from that of the parent."""
    status = Path("/proc/self/status").read_text()
    return next(float(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def versions(peer: Peer) -> dict[str, str]:
    """Of the packages that matter for the peer and are there: not each of its dtypes needs all."""
    found = {}
    for name in peer.packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def run(peer: Peer, texts: list[str], setting: dict[str, Any]) -> dict[str, Any]:
    """One timed pass."""
    peer.loading = peer.engine = 0.0
    started = time.perf_counter()
    answers = peer.run(texts, **setting)
    seconds = time.perf_counter() - started - peer.loading
    if answers.dtype != np.float32 or len(answers) != len(texts):
        raise TypeError(f"{answers.dtype} {answers.shape} for {len(texts)} texts")
    return {
        "seconds": seconds,
        "engine_seconds": peer.engine,
        "answers": answers.tobytes(),
        "texts": len(texts),
        "mb": peak_mb() + peer.beside_mb,
    }


def main() -> None:
    """Obey until the parent closes the pipe."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    peer = find(sys.argv[1])()
    texts: list[str] = []
    while True:
        try:
            command, given = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            if command == "load":
                job = Job(**given)
                peer.load(job)
                texts = job.texts
                answer = {"settings": peer.settings(), "versions": versions(peer), "facts": dict(peer.facts)}
            else:
                answer = run(peer, texts[: given["count"]], given["setting"])
        except ImportError as error:
            answer = {"error": f"not installed: {error.name or error}"}
        except Exception as error:
            cause = getattr(error, "cause", None) or error  # Ray wraps what happens in its workers
            answer = {"error": f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"}
        pickle.dump(answer, out, protocol=4)
        out.flush()


if __name__ == "__main__":
    main()
