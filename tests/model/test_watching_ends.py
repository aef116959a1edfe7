"""A stream that is told to end while a newer model is being loaded ends as any other."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny

pytestmark = pytest.mark.engine

PROGRAM = """
import logging, sys, threading, time
import torch
from seqcls_beam.config import ModelOptions
from seqcls_beam.model import watching
from seqcls_beam.model.checkpoints import promote
from seqcls_beam.model.engine import choosing, watched
from seqcls_beam.model.newer import find

models, busy = sys.argv[1], threading.Event()
logging.basicConfig()
watching.LOOK_SECONDS, watching._STOP_SECONDS = 0.1, 0.3
options = ModelOptions(threads=2)
launched = find(models, None)
watch = watched.watch_of(launched, options)
watch.begin()
plain = choosing.load

def slowly(*how):
    busy.set()
    over = time.monotonic() + 4
    while time.monotonic() < over:  # as weights of gigabytes take it
        torch.randn(700, 700) @ torch.randn(700, 700)
    return plain(*how)

choosing.load = slowly
promote(f"{models}/v2")
assert busy.wait(60)
watched.forget(launched, options)
assert not watch._thread.is_alive()
print(watch._at_work.checkpoint.location)
"""


def test_a_process_that_ends_while_a_model_is_loaded_is_not_aborted(tmp_path):
    models = tmp_path / "models"
    tiny.checkpoint(models / "v1")
    tiny.checkpoint(models / "v2", initializer_range=0.2)
    (models / "LATEST").write_text("v1\n")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(models)],
        env={"SEQCLS_BEAM_CACHE": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("a newer model is being loaded, and this ends when it is there") == 1
    assert done.stdout.strip().endswith("/v1") and "refused" not in done.stderr  # nobody waits for the new one
    shutil.rmtree(tmp_path)
