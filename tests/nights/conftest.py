"""What the nights share: checkpoints, and a world on a disk."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tests.nights import checkpoints
from tests.nights.world import World, world


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two versions of a checkpoint."""
    return checkpoints.versions(tmp_path_factory.mktemp("models"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[World]:
    """A world on a disk, whose inbox has a folder a day."""
    fs = fsspec.filesystem("file", skip_instance_cache=True)
    with world(tmp_path, fs, str(tmp_path), "inbox/{date}/*") as found:
        yield found
