"""The standard streams while a command runs: what others put in their places stays, and nothing waits in them."""

import io
import os
import sys

from pipelines.terminal import standard


def test_a_stream_in_memory_stays_what_it_is(monkeypatch):
    memory = io.BytesIO()
    mine = io.TextIOWrapper(memory, "utf-8")
    monkeypatch.setattr(sys, "stdout", mine)
    with standard.lenient():
        print("told")
        assert standard.lost() is None
    assert sys.stdout is mine and memory.getvalue() == b"told\n"


def test_what_is_printed_unbuffered_is_there_at_once_and_a_closed_reader_ends_nothing(monkeypatch):
    reader, writer = os.pipe()
    # As sys.stdout is made by python -u.
    with io.TextIOWrapper(io.FileIO(writer, "wb"), "utf-8", write_through=True) as unbuffered:
        monkeypatch.setattr(sys, "stdout", unbuffered)
        with standard.lenient():
            print("told")
            os.set_blocking(reader, False)
            assert os.read(reader, 100) == b"told\n"
            os.close(reader)
            print("lost")
            assert standard.lost() == "Broken pipe"
        monkeypatch.undo()
