"""The wheel, built of the sources alone."""

import shutil
from pathlib import Path

import pytest

from tests.package.environments import PACKAGES, ROOT, uv


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel is built of, where nothing else lies about that could get into it."""
    folder = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="session")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as pip would."""
    folder = tmp_path_factory.mktemp("wheel")
    files = {path.relative_to(sources) for path in sources.rglob("*")}
    uv("build", "--wheel", f"--out-dir={folder}", str(sources))
    for path in sorted(sources.rglob("*"), reverse=True):  # what the building left there
        if path.relative_to(sources) not in files:
            path.rmdir() if path.is_dir() else path.unlink()
    (built,) = folder.glob("*.whl")
    return built
