"""A screen that shows no accents, or takes nothing: the command says so, and what it published is there."""

import os
import subprocess
import sys

import pytest

from tests.messages import Message
from tests.runs.streams import S, append, ids, prepared

pytestmark = pytest.mark.engine  # each runs a command in a process of its own

SUMMARY = """
import sys
from pipelines.command import say
from pipelines.ending import exit_code
from pipelines.terminal import stream
from seqcls_beam.runs.flow import Flow

def command(argv):
    stream.summary(Flow(), 0, 1.0, argv[0])
    return say(argv[0], 0)

sys.exit(exit_code(command, sys.argv[1:]))
"""


def sealing(out: str, shell: str) -> subprocess.CompletedProcess[str]:
    """`pipelines.seal` as a shell runs it, with the standard output of `shell`."""
    command = f'set -o pipefail; "{sys.executable}" -m pipelines.seal "{out}" {shell}'
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", ["gelée", "fool\udcff"])
def test_a_summary_shows_any_name(name):
    for encoding, shown in (("ascii:strict", ascii(name)[1:-1]), ("utf-8:strict", name)):
        done = subprocess.run(
            [sys.executable, "-c", SUMMARY, name],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert shown.encode("utf-8", "backslashreplace") in done.stdout


@pytest.mark.parametrize(("shell", "why"), [("> /dev/full", "No space left on device"), ("| exec 0<&-", "Broken pipe")])
def test_an_output_that_takes_nothing(tmp_path, shell, why):
    append(folder := prepared(tmp_path / "out"), Message("a", S))
    done = sealing(folder, shell)
    assert done.returncode == 0
    assert f"the standard output takes nothing more ({why}); what was published stays published" in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert ids(folder) == ["a"]


def test_an_output_that_is_closed(tmp_path):
    append(folder := prepared(tmp_path / "out"), Message("a", S))
    done = sealing(folder, ">&-")
    assert (done.returncode, done.stderr, ids(folder)) == (0, "", ["a"])
