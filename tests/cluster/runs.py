"""Commands as processes, and what of them can be seen in the folder that they publish into."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from tests.cluster.services import ROOT

OF_ENGINE = ("started", "finished", "seconds", "runner", "commit")
"""Keys of a manifest that say when and where a run was made; `commit` has names that are drawn by chance."""


class Ended(AssertionError):
    """A command is over before what was waited for."""


class Command:
    """A command of this project at work; killed at the end of a `with` block, if it has not ended."""

    def __init__(self, module: str, folder: Path, *flags: str, output: str = "out", **environ: str) -> None:
        # The folder that it publishes into is called alike wherever it lies: the manifest has the flags.
        self.out = folder / "out"
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / f"said-{len(list(folder.glob('said-*')))}"
        words = [sys.executable, "-m", f"pipelines.{module}", f"--output={output}", *flags]
        env = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
        with self._log.open("wb") as log:
            # Whoever runs the tests beside something else may have had the shell ignore Ctrl-C, which is inherited.
            before = signal.signal(signal.SIGINT, signal.SIG_DFL)
            try:
                self._process = subprocess.Popen(words, cwd=folder, env=env, stdout=log, stderr=log)
            finally:
                signal.signal(signal.SIGINT, before)

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def process(self) -> int:
        """Its number."""
        return self._process.pid

    def code(self, seconds: float = 300.0) -> int:
        """Its exit code, once it has ended; raises with what it said where it does not end."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end: {self.said()[-4000:]}") from None

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def ask(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def said(self) -> str:
        """Both outputs."""
        return self._log.read_text()

    def sentence(self) -> str:
        """The last line that it said, which must be one for people, and no traceback before it."""
        said = self.said()
        assert "Traceback" not in said, said
        return said.rstrip().rpartition("\n")[2]

    def until(self, done: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
        """Wait until something is so while it runs; looks every 2 milliseconds."""
        end = time.monotonic() + seconds
        while not done():
            if not self.runs():
                raise Ended(f"it ended before {what}: {self.said()[-4000:]}")
            assert time.monotonic() < end, f"{what} did not come: {self.said()[-4000:]}"
            time.sleep(0.002)


def run(module: str, folder: Path, *flags: str, code: int = 0, **environ: str) -> Path:
    """A command to its end; the folder that it published into."""
    with Command(module, folder, *flags, **environ) as command:
        assert command.code() == code, command.said()
        return command.out


def records(out: Path, stage: str = "") -> int:
    """How many units, or tasks of a stage, are done in the attempt of a run; 0 where there is none."""
    return len(list(out.glob(f"_attempts/*-v1/records/{stage and stage + '/'}*.json")))


def published(out: Path) -> dict[str, Any] | None:
    """The manifest of the newest version, or None."""
    versions = sorted((out / "_versions").glob("*.json"))
    return orjson.loads(versions[-1].read_bytes()) if versions else None


def made(out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run published: (its manifest, what stands in its files), without what is the engine's own.

    Of an evaluation that is what was measured: its two files have times in them, and so have their digests.
    """
    manifest = published(out)
    assert manifest is not None
    if manifest["kind"] == "evaluate":
        manifest["parts"] = [part["path"] for part in manifest["parts"]]
        return _lasting(manifest), _lasting(orjson.loads((out / "evaluation.json").read_bytes()))
    files = {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.relative_to(out).parts[0] not in ("_versions", "_attempts", "_report")
    }
    return _lasting(manifest), files


def runner(out: Path) -> str:
    """The engine that a run says it was made by."""
    evaluation = out / "evaluation.json"
    told = orjson.loads(evaluation.read_bytes()) if evaluation.exists() else published(out)
    assert told is not None
    return str(told["runner"])


def _lasting(told: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if key not in OF_ENGINE}
