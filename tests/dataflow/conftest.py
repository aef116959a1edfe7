"""What the tests of jobs share: a cloud on loopback, a checkpoint, and files in the bucket."""

import pytest

from tests import tiny
from tests.dataflow.cloud import cloud as running


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    with running(tmp_path_factory.mktemp("cloud")) as found:
        yield found


@pytest.fixture
def cloud(ground):
    """Nothing is told to fail, and no job is at work, as far as a test did not say so."""
    double = ground.double
    double.end()
    double.jobs.clear()
    double.held.clear()
    double.faults.clear()
    double.asked.clear()
    double.met.clear()
    double.running, double.returns_active, double.halt_at = True, False, ("", "")
    return ground


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))
