"""The stream of docs/recipes.md runs as it stands."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seqcls_beam import open_labels
from tests.broker import needs_go

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "recipes.md").read_text()
SERVE = "python -m tests.brokers"

pytestmark = [pytest.mark.streams, needs_go, pytest.mark.timeout(600)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def checkout(tmp_path):
    """A checkout in which nothing was built yet."""
    for name in ("seqcls_beam", "pipelines"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "tests" / "brokers", tmp_path / "tests" / "brokers")
    for name in ("__init__.py", "broker.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests" / name)
    return tmp_path


def bash(script, folder):
    tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=tools, capture_output=True, text=True, check=False
    )


def ends(port):
    """Whether nobody listens there any more, once a process that was told to end has had its time."""
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.1)
    return False


def test_the_recipe_runs_as_it_stands(checkout):
    text = PAGE[PAGE.index("## Label a stream") :]
    found = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert found is not None
    assert found[1].count("8085") == found[1].count(SERVE) == 1
    port = free_port()  # the only thing that is changed: whoever else is on this machine may have the other one
    script = found[1].replace("8085", str(port)).replace(SERVE, f"{SERVE} --port={port}")
    told = bash(f'{script}\necho "and then: ${{PUBSUB_EMULATOR_HOST-unset}}"', checkout)
    assert told.returncode == 0, told.stderr
    assert [each for each in (checkout / "build").iterdir() if each.name.startswith("broker-")]
    assert "191 labelled, 6 rejected" in told.stdout and "and then: unset" in told.stdout
    table = open_labels(f"{checkout}/stream").to_table()
    assert table.num_rows == 191 and len(set(table["message_id"].to_pylist())) == 191
    assert ends(port), "the broker is gone with the recipe"


def test_a_port_that_somebody_has_is_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        port = theirs.getsockname()[1]
        told = bash(f"{SERVE} seqcls_beam/sample/reviews.jsonl --port={port}", ROOT)
    assert told.returncode == 1 and told.stdout == ""
    assert f"the broker did not start (port {port})" in told.stderr and "Traceback" not in told.stderr
