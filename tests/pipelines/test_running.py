"""How the end of a job of a portable engine is told, whatever the engine said."""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import apache_beam as beam
import grpc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import interrupts, prism, running
from pipelines.hanging import Watch
from pipelines.publishing import MayGoOn, NoJob
from pipelines.quiet import quiet_threads
from pipelines.running import _sentences, _wait, run_pipeline, told_in
from seqcls_beam.runs.run import RunError


class Unavailable(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE


WORKER = "Traceback (most recent call last):\n  File ...\nRunError: too many rejects [while running 'Commit']"


@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        (Unavailable(), MayGoOn, "the job server at h:1 does not answer any more (UNAVAILABLE): the job may go on"),
        (
            RuntimeError("Pipeline j failed in state CANCELLED: unknown error"),
            NoJob,
            "the job was cancelled on its engine",
        ),
        (
            RuntimeError("Pipeline j failed in state FAILED: org.x.StatusRuntimeException: CANCELLED:\n call"),
            NoJob,
            "the job failed on its engine, and published nothing: org.x.StatusRuntimeException: CANCELLED: call; start",
        ),
        (
            RuntimeError("Pipeline j failed in state FAILED: x.NoResourceAvailableException: Could not acquire"),
            NoJob,
            "fewer slots are free there than --parallelism asks for",
        ),
        (RuntimeError(f"Pipeline j failed in state FAILED: {WORKER}"), RuntimeError, "RunError: too many rejects"),
        (RuntimeError("Channel closed prematurely."), RunError, "a worker process of this run is gone"),
        (RuntimeError("of a step, in process"), RuntimeError, "of a step, in process"),
        (ValueError("of a step"), ValueError, "of a step"),
    ],
)
def test_an_end_is_told_in_a_sentence(raised, kind, said):
    with pytest.raises(kind) as caught, _sentences("h:1"):
        raise raised
    assert said in str(caught.value) and type(caught.value) is kind


@pytest.mark.parametrize(("raised", "kind"), [(NoJob("cancelled"), NoJob), (KeyboardInterrupt(), RunError)])
def test_a_run_that_hung_says_so_and_whether_its_job_is_over(monkeypatch, raised, kind):
    @contextmanager
    def hung(*_: object, **__: object) -> Iterator[Watch]:
        watch = Watch(None, 1)
        watch.hung = "unit 3 gave no sign of life"
        yield watch

    def build(_: beam.Pipeline) -> None:
        raise raised

    monkeypatch.setattr(running, "watched", hung)
    with pytest.raises(RunError, match=r"^unit 3 gave no sign of life: start it again") as caught:
        run_pipeline(PipelineOptions([]), build, None)
    assert type(caught.value) is kind


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_waiting_takes_the_job_away(number):
    class Job:
        cancelled = 0

        def wait_until_finish(self) -> None:
            threading.Timer(0.1, os.kill, [os.getpid(), number]).start()
            time.sleep(20)

        def cancel(self) -> None:
            self.cancelled += 1

    job = Job()
    # As a command has it that a person started; what runs beside something else may have it ignored.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(interrupts.Interrupted) as caught, interrupts.heeded(), interrupts.raising():
        _wait(job, job.cancel)
    signal.signal(signal.SIGINT, interrupt)
    assert job.cancelled == 1 and signal.getsignal(signal.SIGTERM) == before
    assert caught.value.number == number and interrupts.asked() is None


def test_a_thread_of_beams_that_loses_its_engine_says_nothing_even_when_all_is_over(capsys):
    def lose(error: Exception) -> None:
        raise error

    told = []
    before, threading.excepthook = threading.excepthook, lambda each: told.append(str(each.exc_value))
    try:
        quiet_threads()
        quiet_threads()
        for name, error in (
            ("wait_until_finish_read", Unavailable("the job server")),
            ("wait_until_finish_read", ValueError("what it said")),
            ("run_worker_go-job-1-environment_1", Unavailable("a Prism")),
            ("a user's", Unavailable("a service of theirs")),
        ):
            thread = threading.Thread(target=lose, args=(error,), name=name)
            thread.start()
            thread.join()
    finally:
        threading.excepthook = before
    assert told == ["what it said", "a service of theirs"] and capsys.readouterr().err == ""


def test_a_second_run_is_on_the_same_engine(tmp_path):
    options = PipelineOptions(["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"])
    for each in "ab":
        run_pipeline(options, partial(write, path=str(tmp_path / each)), None)
        assert (tmp_path / each).read_text() == "PortableRunner"


def write(root: beam.Pipeline, path: str) -> None:
    _ = root | beam.Create([path]) | beam.Map(put, type(root.runner).__name__)


def put(path: str, text: str) -> None:
    Path(path).write_text(text)


def test_a_folder_that_nothing_can_be_told_in_is_named(tmp_path):
    (tmp_path / "progress").write_text("a file")
    with (
        pytest.raises(RunError, match=r"workers cannot tell in .*progress how far they are"),
        told_in(f"{tmp_path}/progress"),
    ):
        pytest.fail("it was opened")


def test_a_program_that_is_no_prism_is_not_waited_for(tmp_path, monkeypatch):
    """It listens where it was told to, and says nothing."""
    monkeypatch.setattr(prism, "_STARTING", 2.0)
    silent = tmp_path / "prism"
    silent.write_text(
        f"""#!{sys.executable}
import re, socket, sys, time
port = re.search(r"--job_port[= ](\\d+)", " ".join(sys.argv))[1]
server = socket.create_server(("localhost", int(port)))
time.sleep(60)
"""
    )
    silent.chmod(0o755)
    options = PipelineOptions(["--runner=PrismRunner", f"--prism_location={silent}"])
    with pytest.raises(RunError, match="what was started as Prism does not answer"):
        run_pipeline(options, partial(write, path=str(tmp_path / "out")), None)
    atexit.unregister(running._leave)
