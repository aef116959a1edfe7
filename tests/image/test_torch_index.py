"""What the build argument TORCH_INDEX does, with an index on this machine in place of pytorch.org's."""

import json
import os
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.image.names import ROOT, instructions

pytestmark = [pytest.mark.image, pytest.mark.timeout(200)]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def index(tmp_path):
    """An index that has torch for CPUs, as far as pip must know it to choose."""
    (pinned,) = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch==")]
    version = f"{pinned.partition('==')[2]}+cpu"
    folder = tmp_path / "torch"
    folder.mkdir()
    with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"torch-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
        )
        wheel.writestr(f"torch-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"torch-{version}.dist-info/RECORD", "")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/", version
        server.shutdown()


def test_torch_is_taken_from_it(index):
    url, version = index
    (install,) = [rest for name, rest in instructions() if name == "RUN" and "pip install" in rest]
    assert '${TORCH_INDEX:+--extra-index-url="${TORCH_INDEX}"}' in install and "--constraint=" in install
    words = ["--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--report=-", "torch"]
    for more, expected in (([f"--extra-index-url={url}"], version), ([], version.partition("+")[0])):
        pip = [sys.executable, "-m", "pip", "install", f"--constraint={ROOT / 'constraints.txt'}", *more, *words]
        env = {name: value for name, value in os.environ.items() if name != "PIP_EXTRA_INDEX_URL"}
        done = subprocess.run(pip, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (chosen,) = json.loads(done.stdout)["install"]
        assert chosen["metadata"]["version"] == expected
