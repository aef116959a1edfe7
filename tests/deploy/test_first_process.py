"""A command as the first process of a container: it ends by no signal that it does not handle."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.deploy.scripted import DEPLOY

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(60)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_it_ends_when_it_is_told_to(tmp_path, number, code):
    corpus, output = tmp_path / "corpus.txt", tmp_path / "out"
    corpus.write_text("".join(f"text {number} of some words that is labelled\n" for number in range(300_000)))
    command = [sys.executable, "-m", "pipelines.classify", f"--input={corpus}", f"--output={output}", "--threads=1"]
    space = ["unshare", "--pid", "--fork", "--kill-child"]
    with subprocess.Popen([*space, *command], cwd=DEPLOY.parent, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not list(output.glob("_attempts/*/lease")):
                assert process.poll() is None
                time.sleep(0.2)
            time.sleep(8)  # it labels
            (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(first), number)
            began = time.monotonic()
            assert process.wait(timeout=60) == code
        finally:
            process.kill()
        assert time.monotonic() - began < 20
        assert process.stderr is not None and "Traceback" not in process.stderr.read()
    assert not (output / "_versions").exists()
