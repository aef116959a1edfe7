"""What many tests need: the public datasets, where they are."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of public datasets (SST-2, IMDb, …); its tests carry the mark `shared`."""
    folder = os.environ.get("SEQCLS_BEAM_SHARED")
    if not folder:
        pytest.skip("SEQCLS_BEAM_SHARED names no folder of public datasets")
    return Path(folder)
