"""Platforms that are told as runs and windows come: those that are away for a while, and those that hang."""

import time
from functools import partial

import pytest

from pipelines import announcing, interrupts, outcome
from pipelines.command import GoesOn
from seqcls_beam.announcing import platforms
from seqcls_beam.runs.run import Run
from seqcls_beam.runs.sealing import seal
from tests.announcing.listening import listening
from tests.messages import Message
from tests.runs.streams import append, prepared

MINUTE = 60_000_000


@pytest.fixture(autouse=True)
def _no_document():
    outcome.begin()


def test_a_platform_that_was_away_is_told_of_what_it_missed(tmp_path, capsys):
    """Windows that come while it is away wait; it is warned of once, and not asked again at every one of them."""
    out = prepared(tmp_path / "out")
    append(out, *(Message(str(at), 10 * at * MINUTE, text="a") for at in range(3)))
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures").rename(tmp_path / "away")
    where = {"prometheus": f"{tmp_path}/figures"}
    windows = announcing.Windows(out, where, patience=0.2)
    names = [each.window for each in seal(out, platforms=where) if each.version]
    for name in names[:2]:
        windows.sealed(name)
        windows.tell()
    assert capsys.readouterr().err.count("warning: prometheus was not told: there is no folder") == 1
    windows.last()
    assert "platforms were not told of 2 windows; python -m pipelines.announce" in capsys.readouterr().err
    (tmp_path / "away").rename(tmp_path / "figures")
    windows.tell()
    assert not list((tmp_path / "figures").iterdir()), "it is left alone for a while"
    time.sleep(0.25)
    windows.sealed(names[2])
    windows.tell()
    (file,) = (tmp_path / "figures").iterdir()
    assert f'partition="{names[2]}"' in file.read_text(), "the newest one"
    windows.last()
    assert capsys.readouterr().err == ""


def test_who_is_over_does_not_wait_for_a_server_that_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(announcing, "_ENDING", 0.3)
    out = prepared(tmp_path / "out")
    append(out, Message("a", 0, text="a"))
    (sealed,) = seal(out)
    announced = platforms.newest_of(out, sealed.window)
    assert announced is not None
    with listening(hangs=True) as server:
        began = time.monotonic()
        failed = announcing.tell({"otlp": server.url, "openlineage": f"{tmp_path}/events"}, announced, lambda: True)
        assert time.monotonic() - began < 3
    assert failed.keys() == {"otlp"} or failed.keys() == {"otlp", "openlineage"}
    assert "did not answer" in failed["otlp"]


class Ended(Exception):
    """In place of whatever ends a run."""


@pytest.mark.parametrize(
    ("error", "begun", "kinds"),
    [
        (None, True, ["START"]),
        (Ended("no more disk: http://me:secret@host"), True, ["START", "FAIL"]),
        (Ended("it never began"), False, []),
        (GoesOn("a job goes on", 0), True, ["START"]),
        (KeyboardInterrupt(), True, ["START", "FAIL"]),
    ],
)
def test_what_ends_a_run_is_told_where_that_had_begun(tmp_path, error, begun, kinds):
    run = Run(str(tmp_path / "out"), "a" * 32, partition="run_date=2026-01-31", follows=0)
    with listening() as server:
        telling = partial(announcing.telling, run, {"openlineage": server.url})
        known = {"started": 0.0, "command": "python -m pipelines.classify", "inputs": [{"path": "/in/a", "size": 3}]}
        try:
            with telling(lambda: known) as begins:
                if begun:
                    begins()
                if error is not None:
                    raise error
        except BaseException as raised:
            assert raised is error
        assert server.kinds == kinds
        assert "secret" not in str(server.got)
        if kinds:
            assert server.events[0]["eventTime"] == "1970-01-01T00:00:00Z"
            assert server.events[0]["inputs"][0]["name"] == "/in/a"
        if kinds[1:]:
            message = server.events[1]["run"]["facets"]["errorMessage"]["message"]
            assert message == ("told to end (SIGINT)" if isinstance(error, KeyboardInterrupt) else f"Ended: {error}"
                               .replace("me:secret@", ""))  # fmt: skip


def test_a_server_that_is_down_when_a_run_begins_is_one_warning(tmp_path, capsys):
    run = Run(str(tmp_path / "out"), "a" * 32, follows=0)
    with announcing.telling(run, {"openlineage": f"{tmp_path}/no/events"}, lambda: {"started": 0.0}) as begins:
        begins()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("seqcls_beam: warning: openlineage was not told that the run begins: ")
    assert interrupts.asked() is None
