"""The command of a stream without a broker: what is refused, what is missing, how windows are sealed beside it."""

import logging
import sys
import threading
import time

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipelines import announcing, classify
from pipelines.failures import explained, sentence
from pipelines.sealer import Sealer
from seqcls_beam.config.stream import WindowOptions
from seqcls_beam.runs.flow import Flow, Took
from seqcls_beam.runs.run import RunError
from tests import tiny
from tests.messages import Message
from tests.reports.reading import parsed
from tests.runs.streams import LENGTH, S, append, ids, prepared

NAME = "projects/some-project/subscriptions/sub"
DATAFLOW, FLINK, PRISM = "--runner=DataflowRunner", "--runner=FlinkRunner", "--runner=PrismRunner"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([FLINK, "--allowed_lateness=600"], "--allowed_lateness is of a stream that this process labels"),
        ([DATAFLOW, "--allowed_lateness=600"], "pipelines.seal publishes the windows"),
        ([FLINK, "--max_rejected=0.05"], "--max_rejected is of a stream that this process labels"),
        ([FLINK, "--until_idle=3"], "with --runner=FlinkRunner it ends when its job is stopped"),
        ([PRISM, "--job_endpoint=localhost:1", "--until_idle=3"], "it ends when its job is stopped"),
        ([PRISM, "--until_idle=3", "--prism_location=gone"], "--prism_location=gone is no file"),
        ([DATAFLOW, "--pullers=2"], "--pullers does nothing with --runner=DataflowRunner"),
        (["--runner=dataflow", "--max_outstanding=9"], "--max_outstanding does nothing with --runner=dataflow"),
        (["--direct_num_workers=4"], "--direct_num_workers do nothing for a stream"),
        (["--max_outstanding=200001"], "--max_outstanding=200001: expected at most 200000"),
        ([FLINK, "--report_texts=0"], "pipelines.seal writes the pages, and takes it"),
        (["--runner=Foo"], "--runner=Foo: Beam has no such runner"),
        (["--runner=foo.Bar"], "--runner=foo.Bar: Beam has no such runner"),
    ],
)
def test_what_does_nothing_is_refused(flags, sentence, tmp_path, capsys):
    assert classify.main([f"--subscription={NAME}", f"--output={tmp_path / 'out'}", *flags]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_the_package_it_is_wrong_usage(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "google.pubsub_v1", None)
    model = tiny.checkpoint(tmp_path / "model")
    assert classify.main([f"--subscription={NAME}", f"--output={tmp_path / 'out'}", f"--model={model}"]) == 2
    assert "pip install 'seqcls_beam[gcp]'" in capsys.readouterr().err


def test_without_credentials_it_says_how_to_get_some(monkeypatch, tmp_path, capsys):
    for name in ("PUBSUB_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))  # where gcloud would have left some
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # as on a machine that is none of Google's
    model = tiny.checkpoint(tmp_path / "model")
    assert classify.main([f"--subscription={NAME}", f"--output={tmp_path / 'out'}", f"--model={model}"]) == 1
    said = capsys.readouterr().err
    assert "gcloud auth application-default login" in said and "Traceback" not in said


def raising(_: int) -> None:
    raise PermissionError(13, "Permission denied", "/in/file")


def test_what_a_disk_says_in_a_worker_is_a_sentence(caplog):
    pipeline = beam.Pipeline(runner=FnApiRunner())
    pipeline | beam.Create([1]) | beam.Map(raising)
    with pytest.raises(Exception, match="Errno 13") as caught, caplog.at_level(logging.CRITICAL):
        pipeline.run().wait_until_finish()
    said = explained(caught.value)
    assert isinstance(said, RunError)
    assert str(said) == sentence(caught.value)
    assert str(said).startswith("Permission denied: /in/file; who runs this may not")
    fault = ValueError("two\nlines [while running 'Map']")
    assert explained(fault) is fault and sentence(fault) == "ValueError: lines"


def message(number: int, at: int) -> Message:
    return Message(str(number), at * S)


@pytest.fixture
def out(tmp_path):
    """A row in each of 20 windows."""
    folder = prepared(tmp_path / "out")
    append(folder, *(message(i, i * LENGTH) for i in range(20)))
    return folder


def reached(seconds: int) -> Flow:
    flow = Flow()
    now = pa.array([seconds * S])
    flow.pulled(0, now, now)
    return flow


def test_a_job_counts_the_windows_that_are_there_and_says_what_it_seals_at_the_end(out, capsys):
    sealer = Sealer(flow := Flow(), out, WindowOptions(window=LENGTH, allowed_lateness=0))
    over = threading.Event()
    over.set()
    sealer.until(over)
    assert (len(flow.open), flow.sealed) == (20, 0)
    assert capsys.readouterr().err == ""

    flow = reached(15 * LENGTH)
    Sealer(flow, out, WindowOptions(window=LENGTH, allowed_lateness=0)).last()
    assert (len(flow.open), flow.sealed, flow.amendments) == (5, 15, 0)
    assert "15 windows that are over are sealed; a second signal ends at once" in capsys.readouterr().err
    assert len(ids(out)) == 15

    # Few windows need no word; a window that somebody else seals does not stay open.
    flow = reached(18 * LENGTH)
    flow.written([("window=19700101T000000Z", 1, 0)], Took(1, 1, 1.0, 0.0))
    Sealer(flow, out, WindowOptions(window=LENGTH, allowed_lateness=0)).last()
    assert (flow.sealed, capsys.readouterr().err) == (3, "")
    Sealer(flow, out, WindowOptions(window=LENGTH, allowed_lateness=0)).last()
    assert len(flow.open) == 2


def test_a_fault_that_was_mended_is_told_when_it_is_back(out, tmp_path, capsys):
    sealer = Sealer(reached(LENGTH), out, WindowOptions(window=LENGTH, allowed_lateness=0))
    (piece,) = (tmp_path / "out" / "_pieces" / "window=19700101T000000Z").glob("*.parquet")
    whole = piece.read_bytes()
    piece.write_bytes(b"")
    sealer.last()
    sealer.last()
    assert capsys.readouterr().err.count("could not be sealed, which is tried again") == 1
    piece.write_bytes(whole)
    sealer.last()
    append(out, message(99, 1))
    for each in piece.parent.glob("*.parquet"):
        each.write_bytes(b"")
    sealer.last()
    assert capsys.readouterr().err.count("could not be sealed, which is tried again") == 1


def test_a_stop_ends_a_look_and_leaves_the_rest_to_the_last_one(out):
    flow = reached(20 * LENGTH)
    over = threading.Event()
    over.set()
    Sealer(flow, out, WindowOptions(window=LENGTH, allowed_lateness=0)).until(over)
    assert (flow.sealed, len(flow.open)) == (1, 19)


def test_what_telling_raises_is_no_fault_of_sealing(out, tmp_path, monkeypatch, capsys):
    def tell(*_: object) -> None:
        over.set()
        raise KeyError("no such thing")

    monkeypatch.setattr(announcing, "tell", tell)
    flow, over = reached(LENGTH), threading.Event()
    options, where = WindowOptions(window=LENGTH, allowed_lateness=0), {"prometheus": str(tmp_path)}
    Sealer(flow, out, options, platforms=where).until(over)
    assert (flow.sealed, len(flow.open)) == (1, 19)
    (line,) = capsys.readouterr().err.splitlines()
    assert "window=19700101T000000Z is told nobody: KeyError: 'no such thing'" in line


def test_a_day_has_its_page_when_it_is_over_and_the_last_one_when_the_stream_ends(tmp_path, capsys):
    out = prepared(tmp_path / "out")
    append(out, message(1, 0), message(2, 86_400), message(3, 86_400 + LENGTH))
    flow, options, over = reached(86_400 + LENGTH), WindowOptions(window=LENGTH, allowed_lateness=0), threading.Event()
    sealer = Sealer(flow, out, options)
    looks = threading.Thread(target=sealer.until, args=(over,))
    looks.start()
    pages = tmp_path / "out" / "_report"
    limit = time.monotonic() + 60
    while not (pages / "index.html").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    over.set()
    looks.join()
    assert sorted(each.name for each in pages.iterdir()) == ["day=1970-01-01", "index.html"]
    assert capsys.readouterr() == ("", "")
    flow.pulled(0, *[pa.array([(86_400 + 2 * LENGTH) * S])] * 2)
    sealer.last()
    sealer.report()
    assert parsed((pages / "day=1970-01-02" / "report.html").read_text()).headline()["rows in"] == "2"
    assert "_report/index.html" in capsys.readouterr().out
