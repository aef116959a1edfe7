"""What many tests need: the public datasets, where they are."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# gcsfs asks by gRPC which kind a bucket is, and the emulator speaks JSON only. Read when gcsfs is imported.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of public datasets (SST-2, IMDb, …); its tests carry the mark `shared`."""
    folder = os.environ.get("SEQCLS_BEAM_SHARED")
    if not folder:
        pytest.skip("SEQCLS_BEAM_SHARED names no folder of public datasets")
    return Path(folder)


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache that nobody else has: what is decoded into it is gone with the tests of a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQCLS_BEAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
