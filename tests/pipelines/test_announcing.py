"""Platforms that are told as runs and windows come: those that are away for a while, and those that hang."""

import time
from functools import partial

import pytest

from pipelines import announcing, interrupts, outcome
from pipelines.command import GoesOn
from pipelines.publishing import MayGoOn
from seqcls_beam.announcing import platforms
from seqcls_beam.runs.lease import alive
from seqcls_beam.runs.run import Run, RunError, open_attempt
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
    names = [each.window for each in seal(out, platforms=where) if each.platforms == where]
    for name in names[:2]:
        windows.sealed(name, where)
        windows.tell()
    assert capsys.readouterr().err.count("warning: prometheus was not told: there is no folder") == 1
    windows.last()
    how = f"python -m pipelines.announce {out} --prometheus={tmp_path}/figures tells it again"
    assert f"platforms were not told of 2 windows; {how}" in capsys.readouterr().err
    (tmp_path / "away").rename(tmp_path / "figures")
    windows.tell()
    assert not list((tmp_path / "figures").iterdir()), "it is left alone for a while"
    time.sleep(0.25)
    windows.sealed(names[2], where)
    windows.tell()
    (file,) = (tmp_path / "figures").iterdir()
    assert f'partition="{names[2]}"' in file.read_text(), "the newest one"
    windows.last()
    assert capsys.readouterr().err == ""


@pytest.fixture
def three(tmp_path):
    """Windows of a stream that are sealed and remember a server, of which two are asked; (folder, names, server)."""
    out = prepared(tmp_path / "out")
    append(out, *(Message(str(at), 10 * at * MINUTE, text="a") for at in range(3)))
    with listening() as server:
        names = [each.window for each in seal(out, platforms={"openlineage": server.url})]
        yield out, names, server


def test_nothing_is_read_for_who_is_left_alone(three, monkeypatch, tmp_path):
    """What waits for a platform that is away costs nothing, however much that is."""
    out, names, _ = three
    asked = []
    newest_of = platforms.newest_of

    def counted(output, window):
        asked.append(window)
        return newest_of(output, window)

    monkeypatch.setattr(platforms, "newest_of", counted)
    where = {"prometheus": f"{tmp_path}/away"}
    windows = announcing.Windows(out, where)
    for name in names:
        windows.sealed(name, where)
        windows.tell()
    assert asked == names[:1]
    windows = announcing.Windows(out, {})
    windows.sealed(names[0], {})
    windows.tell()
    windows.last()
    assert asked == names[:1], "of a window that names nobody nobody is told"


def test_a_window_waits_for_a_store_that_is_away(three, monkeypatch, capsys):
    out, names, server = three

    def newest_of(output, window):
        raise OSError(110, "Connection timed out", out)

    windows = announcing.Windows(out, {}, patience=0.2)
    with monkeypatch.context() as patch:
        patch.setattr(platforms, "newest_of", newest_of)
        for name in names:
            windows.sealed(name, {"openlineage": server.url})
        windows.tell()
        windows.tell()
        time.sleep(0.25)
        windows.sealed("window=of-no-command", {"openlineage": server.url})
    windows.tell()
    assert server.kinds == ["START", "COMPLETE"] * 3
    windows.last()
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" is told nobody yet")[0] for line in said] == [f"seqcls_beam: warning: {n}" for n in names]


def test_what_waits_has_an_end(three, capsys):
    out, names, server = three
    windows = announcing.Windows(out, {}, most=2)
    where = {"openlineage": server.url}
    for name in names:
        windows.sealed(name, where)
    how = f"python -m pipelines.announce {out} --openlineage={server.url}"
    assert f"more than 2 windows wait for platforms: the oldest are told by {how}" in capsys.readouterr().err
    windows.tell()
    told = [each["run"]["facets"]["nominalTime"]["nominalStartTime"] for each in server.events[::2]]
    assert told == ["1970-01-01T00:10:00Z", "1970-01-01T00:20:00Z"]
    windows.last()
    assert f"platforms were not told of a window; {how} tells it again" in capsys.readouterr().err


def test_a_command_names_only_what_is_of_use_for_all():
    assert announcing.alike([("otlp", "a"), ("otlp", "b"), ("iceberg", "a.b"), ("openlineage", "x")]) == {
        "openlineage": "x",
        "iceberg": "a.b",
    }
    night = announcing.again("http://me:secret@host/a b", {"otlp": "env"}, "run_date=2026-01-31")
    assert night == "python -m pipelines.announce 'http://host/a b' --run_date=2026-01-31 --otlp=env"


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
    assert failed["otlp"] == "the command was told to end before it answered"


class Ended(Exception):
    """In place of whatever ends a run."""


@pytest.mark.parametrize(
    ("error", "begun", "kinds", "said"),
    [
        (None, True, ["START"], ""),
        (
            Ended("a text of a row: http://me:secret@host"),
            True,
            ["START", "FAIL"],
            "Ended, of which the command says more",
        ),
        (RunError("no more disk: http://me:secret@host"), True, ["START", "FAIL"], "no more disk: http://host"),
        (Ended("it never began"), False, [], ""),
        (GoesOn("a job goes on", 0), True, ["START"], ""),
        (MayGoOn("the job server does not answer any more"), True, ["START"], ""),
        (KeyboardInterrupt(), True, ["START", "FAIL"], "told to end (SIGINT)"),
    ],
)
def test_what_ends_a_run_is_told_where_that_had_begun(tmp_path, error, begun, kinds, said):
    run = Run(str(tmp_path / "out"), "a" * 32, partition="run_date=2026-01-31", follows=0)
    with listening() as server:
        witnessed = partial(announcing.witnessed, run, {"openlineage": server.url})
        known = {"started": 0.0, "command": "python -m pipelines.classify", "inputs": [{"path": "/in/a", "size": 3}]}
        try:
            with witnessed(lambda: known) as begins:
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
            assert message == said


def test_a_server_that_is_down_when_a_run_begins_is_one_warning(tmp_path, capsys):
    run = Run(str(tmp_path / "out"), "a" * 32, follows=0)
    with announcing.witnessed(run, {"openlineage": f"{tmp_path}/no/events"}, lambda: {"started": 0.0}) as begins:
        begins()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("seqcls_beam: warning: openlineage was not told that the run begins: ")
    assert interrupts.asked() is None


def test_a_fault_in_what_is_known_of_a_run_ends_nothing(tmp_path, capsys):
    run = Run(str(tmp_path / "out"), "a" * 32, follows=0)
    with announcing.witnessed(run, {"openlineage": f"{tmp_path}/events"}, dict) as begins:
        begins()
    (line,) = capsys.readouterr().err.splitlines()
    assert "warning: openlineage was not told that the run begins: " in line


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_job_that_may_be_at_work_elsewhere_has_not_failed(tmp_path, elsewhere):
    """The lease says so, as the command leaves it that waits no more."""
    run = Run(str(tmp_path / "out"), "a" * 32, follows=0)
    open_attempt(run)
    with (
        listening() as server,
        pytest.raises(RunError),
        announcing.witnessed(run, {"openlineage": server.url}, lambda: {"started": 0.0}) as begins,
        alive(run, elsewhere),
    ):
        begins()
        raise RunError("the service does not answer")
    assert server.kinds == (["START"] if elsewhere else ["START", "FAIL"])
