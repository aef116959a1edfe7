"""The command that seals: what it prints, how it ends, and what it does at a time."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import classify, clean, evaluate, seal
from pipelines.terminal import live
from seqcls_beam.announcing import prometheus
from seqcls_beam.announcing.published import PlatformError
from seqcls_beam.config.seal import SealOptions
from seqcls_beam.runs import pieces, publication, sealing
from tests.messages import Message, predictions
from tests.reports.reading import parsed
from tests.runs.streams import FIRST, LENGTH, SECOND, S, append, ids, left, prepared, several


@pytest.fixture
def out(tmp_path):
    out = prepared(tmp_path / "out")
    append(out, Message("a", 0), Message("b", 1, rejected=True), Message("c", 400 * S))
    append(out, Message("a", 0), Message("d", 900 * S))
    return out


def test_a_line_for_each_window_and_a_sum(out, capsys):
    assert seal.main([out]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{FIRST}  sealed: 1 labelled, 1 rejected, 1 duplicate dropped, version 1",
        f"{SECOND}  sealed: 1 labelled, version 1",
        "window=19700101T001500Z  sealed: 1 labelled, version 1",
        "3 windows sealed: 3 labelled, 1 rejected, 1 duplicate dropped",
        f"report  file://{out}/_report/index.html",
    ]
    (day,) = Path(out, "_report").glob("day=*/report.html")
    shown = parsed(day.read_text()).headline()
    assert [shown[name] for name in ("rows in", "labelled", "rejected")] == ["4", "3", "1"]
    append(out, Message("a", 0), Message("e", 2))
    append(out, Message("d", 900 * S))
    assert seal.main([out]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{FIRST}  amended: 1 labelled, 1 duplicate dropped, version 2",
        "window=19700101T001500Z  nothing new: 0 labelled, 1 duplicate dropped",
        "1 window sealed, 1 of them amended: 1 labelled, 2 duplicates dropped",
        f"report  file://{out}/_report/index.html",
    ]
    assert seal.main([out]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "seqcls_beam: nothing to seal: no window has rows that wait\n")
    assert ids(out) == ["a", "c", "d", "e"] and left(out) == []


@pytest.mark.parametrize(
    ("until", "windows"),
    [
        ("1970-01-01T00:04:59.999999Z", 0),
        ("1970-01-01T00:05:00Z", 1),
        ("1970-01-01T01:09:59+01:00", 1),
        ("1970-01-01t01:10:00+01:00", 2),
        ("9999-12-31 23:59:59.1234567z", 3),
        ("0001-01-01T00:00:00Z", 0),
    ],
)
def test_windows_that_end_by_a_time(out, capsys, until, windows):
    assert seal.main([out, f"--until={until}"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == (windows + 2 if windows else 0)
    assert len(ids(out)) == windows if windows else not Path(out, "labels").exists()


def test_a_time_is_microseconds():
    def of(until: str) -> int | None:
        return SealOptions(output="x", until=until).until_microseconds

    assert of("1970-01-01T00:00:00.000001Z") == 1
    assert of("1969-12-31T23:59:59.999999Z") == -1
    assert of("1970-01-01T00:00:00-00:30") == 1800 * S
    assert SealOptions(output="x").until_microseconds is None


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ([], 2, "which folder"),
        (["OUT", "--until=yesterday"], 2, "--until=yesterday: expected a time such as"),
        (["OUT", "--until=2026-11-20"], 2, "--until=2026-11-20: expected a time such as"),
        (["OUT", "--until=2026-11-20T10:00:00"], 2, "--until=2026-11-20T10:00:00: expected a time such as"),
        (["OUT", "--until=2026-02-30T10:00:00Z"], 2, "expected a time such as"),
        (["OUT", "--until="], 2, "--until is empty"),
        (["OUT", "--untl=2026-11-20T10:00:00Z"], 2, "unknown flag"),
        (["nowhere"], 1, "nowhere holds no pieces of a stream"),
    ],
)
def test_wrong_usage_is_one_sentence(tmp_path, monkeypatch, capsys, flags, code, said):
    monkeypatch.chdir(tmp_path)
    assert seal.main(flags) == code
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_window_that_cannot_be_sealed_is_named_and_the_others_are(out, capsys):
    path = next(iter(Path(out, "_pieces", SECOND).iterdir()))
    path.write_bytes(path.read_bytes()[:-9])
    assert seal.main([out]) == 1
    told = capsys.readouterr()
    assert f"{SECOND}  not sealed" in told.out.splitlines()
    assert told.out.splitlines()[-2].startswith("2 windows sealed, 1 window not sealed: ")
    assert path.name in told.err and told.err.count("\n") == 1
    assert ids(out) == ["a", "d"]


def test_a_full_disk_ends_in_a_sentence_and_the_rows_wait(out):
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from pipelines.seal import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2500, resource.RLIM_INFINITY))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", code, out], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1 and "File too large" in done.stderr and "Traceback" not in done.stderr
    assert ids(out, live=True) == ["a", "c", "d"]
    assert seal.main([out]) == 0
    assert ids(out) == ["a", "c", "d"] and left(out) == []


def test_a_sealing_that_is_interrupted_goes_on_the_next_time(out, monkeypatch):
    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with monkeypatch.context() as patch:
            patch.setattr("seqcls_beam.runs.sealing.publish_files", interrupted)
            assert seal.main([out]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert seal.main([out]) == 0
    assert ids(out) == ["a", "c", "d"] and left(out) == []


@pytest.mark.parametrize("ends", ["signal", "signal while it tells"])
def test_windows_that_nobody_was_told_of_are_said_whatever_ends_a_sealing(out, tmp_path, monkeypatch, capsys, ends):
    figures = tmp_path / "figures"
    figures.mkdir()
    publish, done = publication.publish_files, []

    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def second(*what: Any) -> int:
        done.append(what)
        if len(done) == 2 and ends == "signal":
            interrupt()
        return publish(*what)

    def away(*_: object) -> None:
        if ends == "signal while it tells":
            interrupt()
        raise PlatformError("it is away")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(sealing, "publish_files", second)
            patch.setattr(prometheus, "tell", away)
            code = seal.main([out, f"--prometheus={figures}"])
    finally:
        signal.signal(signal.SIGINT, before)
    said = capsys.readouterr().err
    assert code == 130, said
    how = f"python -m pipelines.announce {out} --prometheus={figures} tells it again"
    assert f"warning: platforms were not told of a window; {how}" in said


def test_other_commands_leave_what_a_stream_wrote_alone(out, capsys):
    flags = ["--overwrite", f"--output={out}", f"--input={__file__}", "--input_format=text"]
    assert classify.main([*flags, "--run_date=2026-11-20"]) == 1
    assert "holds what a stream labelled" in capsys.readouterr().err
    assert clean.main([out, "--remove"]) == 0
    assert ids(out, live=True) == ["a", "c", "d"]
    assert seal.main([out]) == 0
    assert classify.main(flags) == 1
    assert "holds what a stream labelled" in capsys.readouterr().err
    assert clean.main([out, "--before=2999-01-01", "--remove"]) == 0
    assert ids(out) == ["a", "c", "d"]


def test_sealed_windows_are_evaluated_as_other_labels_are(tmp_path):
    out = prepared(tmp_path / "out")
    names = ["negative", "positive"]
    append(out, *(Message(f"m{number}", number, text=names[number * 7 // 5 % 2]) for number in range(40)))
    append(out, *(Message(f"n{number}", 400 * S + number, text="negative") for number in range(10)))
    seal.main([out])
    append(out, Message("late", 1, text="positive"), Message("bad", 2, rejected=True))
    seal.main([out])
    flags = [f"--labeled={out}", "--label_column=text", "--bootstrap=0", f"--output={tmp_path}/evaluation"]
    assert evaluate.main(flags) == 0
    found = json.loads((tmp_path / "evaluation" / "evaluation.json").read_bytes())
    assert found["rows"]["scored"] == 51 and found["rows"]["rejected_by_reason"] == {"invalid_json": 1}


def test_several_labels_of_a_stream_are_evaluated_from_the_threshold_they_were_assigned_from(tmp_path, capsys):
    """Scores go from 0.5 to 0.99, so at 0.5 other labels would be assigned."""
    flags = ["--label_column=text", "--label_separator=,", "--bootstrap=0"]
    for name, thresholds in (("one", [0.7]), ("two", [0.7, 0.8])):
        out = prepared(tmp_path / name)
        for number, threshold in enumerate(thresholds):
            messages = [Message(f"m{number}-{at}", at, text=["negative", "positive"][at % 2]) for at in range(40)]
            pieces.append(out, several(predictions(messages), threshold), LENGTH)
        assert seal.main([out]) == 0
    assert evaluate.main([f"--labeled={tmp_path}/one", *flags, f"--output={tmp_path}/evaluation"]) == 0
    found = json.loads((tmp_path / "evaluation" / "evaluation.json").read_bytes())
    assert found["threshold"] == 0.7 and found["rows"]["scored"] == 40
    assert evaluate.main([f"--labeled={tmp_path}/two", *flags, f"--output={tmp_path}/other"]) != 0
    assert "assigned labels from 0.7 and 0.8 on" in capsys.readouterr().err


def test_how_far_it_is_is_told_where_that_takes_a_while(out, capsys, monkeypatch):
    monkeypatch.setattr(live, "PLAIN_SECONDS", 1e-4)
    assert seal.main([out]) == 0
    assert "windows done: 0 of 3\n" in capsys.readouterr().err
