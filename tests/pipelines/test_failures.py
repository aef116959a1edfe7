"""What may leave the machine of a failure: sentences of this program and the system, and of others their kind alone."""

import errno

import pyarrow as pa
import pytest

from pipelines.failures import own
from pipelines.publishing import NotTaken
from pipelines.usage import UsageError
from seqcls_beam.model.checkpoints.errors import CheckpointError
from seqcls_beam.runs.run import RunError
from seqcls_beam.storage.faults import Replaced, StoreError

ROW = "I was treated for it in March, and it did not help"
WORKER = """Traceback (most recent call last):
  File "read.py", line 3, in read
    value = float(text)
{error} [while running 'read']"""


@pytest.mark.parametrize("kind", [RunError, NotTaken, UsageError, CheckpointError, StoreError, Replaced])
def test_sentences_of_this_program_are_told(kind):
    assert own(kind("the folder of http://me:hunter2@host/a is gone")) == "the folder of http://host/a is gone"


def test_what_a_worker_or_the_system_says_is_told():
    assert own(RuntimeError(WORKER.format(error="RunError: the file a is gone: put it back"))) == (
        "the file a is gone: put it back"
    )
    assert own(OSError(errno.ENOSPC, "No space left on device", "/out/a")).startswith(
        "No space left on device: /out/a; make room"
    )
    assert own(RuntimeError(WORKER.format(error="OSError: [Errno 5] Input/output error: '/in/a'"))) == (
        "Input/output error: /in/a"
    )


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"could not convert string to float: {ROW!r}"),
        KeyError(ROW),
        pa.ArrowInvalid(f"CSV parse error: Expected 2 columns, got 3: {ROW}"),
        RuntimeError(WORKER.format(error=f"ValueError: could not convert string to float: {ROW!r}")),
        UnicodeEncodeError("ascii", ROW + "é", len(ROW), len(ROW) + 1, "no"),
        OSError(ROW),
    ],
)
def test_what_others_say_is_not(error):
    assert own(error) == f"{type(error).__name__}, of which the command says more"
