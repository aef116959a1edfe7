"""Threads of one worker import transformers at once: one tokenises while another loads the model."""

import subprocess
import sys

import pytest

import seqcls_beam

THREADS = """
import sys, threading
from pathlib import Path
from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints.description import load_tokenizer
from seqcls_beam.transforms.overlap import overlaps

start, failed = threading.Barrier(4), []

def run(step):
    start.wait()
    try:
        step()
    except BaseException as error:
        failed.append(error)

steps = [lambda: load_tokenizer(Path(sys.argv[1]), "it"), lambda: overlaps(ModelOptions())] * 2
threads = [threading.Thread(target=run, args=(step,)) for step in steps]
for each in threads:
    each.start()
for each in threads:
    each.join()
sys.exit(repr(failed) if failed else 0)
"""


@pytest.mark.engine
def test_threads_that_begin_at_once_all_get_whole_modules():
    folder = f"{seqcls_beam.__path__[0]}/sentiment"
    for _ in range(2):  # without the lock every other time fails
        ran = subprocess.run([sys.executable, "-c", THREADS, folder], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
