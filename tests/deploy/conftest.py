"""What the tests of the deployment share."""

from pathlib import Path

import pytest

from tests.deploy.cloud_scripts import Scripts
from tests.deploy.scripted import Script


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """The script beside a stand-in for Python."""
    return Script(tmp_path)


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    """The scripts of deploy/dataflow beside stand-ins for gcloud and curl."""
    return Scripts(tmp_path)
