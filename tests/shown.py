"""Pages of documentation, run: their blocks in order, and what they show beside what was printed."""

import contextlib
import importlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of a page between fences."""

    language: str
    body: str


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    return [Block(*each) for each in _FENCE.findall(page.read_text())]


def run(body: str, env: dict[str, str]) -> str:
    """Run a block of shell in the working folder, by the shell but for our own commands, which need no new process
    of Python; what it printed. Raises `AssertionError` where it fails.
    """
    command = body.replace("\\\n", " ").strip()
    if not re.match(r"python -m pipelines\.\w+ [^\n]*$", command):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", body],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200, env={**os.environ, **env},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout
    _, _, module, *argv = shlex.split(command)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = importlib.import_module(module).main(argv)
    assert code == 0, said.getvalue()
    return said.getvalue()


def missing(shown: str, printed: str) -> list[str]:
    """The lines of a page that nothing printed has; numbers may be others, and so may lines of tables be."""
    there = {_plain(line) for line in printed.splitlines()}
    lines = [_plain(line) for line in shown.splitlines()]
    return [line for line in lines if line and not any(_is(line, each) for each in there)]


def _plain(line: str) -> str:
    """Letters alone: no numbers, which differ with the machine, and nothing of how a table is drawn."""
    return " ".join(re.sub(r"[\u2500-\u257f|+]", " ", re.sub(r"\d[\d.,:]*", "0", line)).split())


def _is(line: str, printed: str) -> bool:
    """Whether a line is the printed one; … stands for what was left out."""
    return re.fullmatch(".*".join(map(re.escape, line.split("…"))), printed) is not None


def environment(folder: Path) -> dict[str, str]:
    """What commands of a page find: this project, as `CLONE` and as Python's, one core's threads."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {
        "CLONE": str(ROOT),
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "PYTHON": sys.executable,
        "OMP_NUM_THREADS": "1",
        "SEQCLS_BEAM_CACHE": str(folder / "cache"),
    }
