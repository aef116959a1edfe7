"""What many tests need: the public datasets, where they are."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# gcsfs asks by gRPC which kind a bucket is, and the emulator speaks JSON only. Read when gcsfs is imported.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"


# A machine that does other things, too, takes longer than Hypothesis's 200 ms an example at times.
settings.register_profile("without a deadline", settings.default, deadline=None)
settings.load_profile("without a deadline")


def pytest_configure(config: pytest.Config) -> None:
    """Each process of pytest-xdist keeps to cores of its own, and so does all that it starts: torch's threads wait for
    each other by spinning, and two pools of them on the same cores take many times as long as one after the other."""
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is not None and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        mine = cores[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]
        os.sched_setaffinity(0, mine or cores)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Modules and tests stay to the end. Looking for garbage among them takes a third of the time of importing them,
    and a second afterwards, each time that a model is loaded."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """At its end Python looks through all, or bindings tell of what they leave."""
    gc.unfreeze()


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
