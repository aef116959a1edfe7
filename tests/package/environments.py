"""Environments with nothing in them but what is installed there, made by uv, which links what it has fetched before."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipelines", "seqcls_beam")


@dataclass(frozen=True)
class Environment:
    """A Python of its own, and an empty folder to start commands in."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def install(self, *what: str) -> None:
        uv("pip", "install", f"--python={self.python}", f"--constraint={ROOT / 'constraints.txt'}", *what)

    def run(self, command: str, *words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
        """A command of the environment, with nothing of this process but what is needed to reach a machine."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        return subprocess.run(
            [self.folder / "bin" / command, *words],
            cwd=cwd,
            env={**kept, "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", **env},
            capture_output=True,
            text=True,
            timeout=400,
        )


def environment(folder: Path, python: Path = Path(sys.executable)) -> Environment:
    """A new one, of that Python, by default the one of the tests."""
    uv("venv", f"--python={python}", str(folder))
    return Environment(folder)


def uv(*words: str) -> str:
    """What uv prints; raises with it where uv fails."""
    words = (*words, "--no-python-downloads") if words[0] == "venv" else words
    done = subprocess.run([sys.executable, "-m", "uv", "--quiet", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(version: str) -> Path | None:
    """A Python of that version on this machine: on the path, or of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = shutil.which(f"python{version}")
    for each in [*([Path(named)] if named else []), *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)]:
        asked = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([each, "-c", asked], capture_output=True, text=True)
        if done.stdout.strip() == version:  # one of pyenv's shims may lead nowhere
            return each
    return None
