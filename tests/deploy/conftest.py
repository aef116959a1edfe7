"""What the tests of the deployment share."""

from pathlib import Path

import pytest

from tests.deploy.scripted import Script


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """The script beside a stand-in for Python."""
    return Script(tmp_path)
