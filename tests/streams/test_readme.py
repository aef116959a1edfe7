"""The README's stream runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from seqcls_beam import open_labels
from tests.broker import needs_go

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

pytestmark = [pytest.mark.streams, needs_go, pytest.mark.timeout(600)]


def test_the_recipe_runs_as_it_stands(tmp_path):
    text = README[README.index("## Label a stream") :]
    found = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert found is not None
    stream = f"{tmp_path}/stream"
    script = found[1].replace("--output=stream", f"--output={stream}").replace("seal stream", f"seal {stream}")
    tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    told = subprocess.run(
        ["bash", "-e", "-c", script], cwd=ROOT, env=tools, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert "191 labelled, 6 rejected" in told.stdout
    table = open_labels(stream).to_table()
    assert table.num_rows == 191 and len(set(table["message_id"].to_pylist())) == 191
