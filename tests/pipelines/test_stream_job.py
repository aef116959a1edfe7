"""A stream whose job is elsewhere: found again, watched, ended; on a Flink that a test answers for."""

import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import stream_job
from pipelines.flink_jobs import FlinkJobs
from pipelines.publishing import NoJob
from seqcls_beam.runs.run import RunError

NAME = "seqcls-stream-0123456789ab"
TRACE = """java.lang.Exception: switched to FAILED
\tat org.apache.flink.Some.method(Some.java:1)
Caused by: java.lang.RuntimeException: Error received from SDK harness: Traceback (most recent call last):
  File "a.py", line 1, in process
OSError: [Errno 5] Input/output error [while running 'AppendWindows/Append']

\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: java.lang.RuntimeException: it was so
"""


class Flink:
    """What a JobManager answers: a job's states, one after the other, the last one for ever."""

    def __init__(self) -> None:
        self.states = ["RUNNING"]
        self.failures: list[tuple[int, str]] = []
        self.jobs: list[dict[str, object]] = []
        self.cancelled: list[str] = []
        self.master = ""

    def answer(self, method: str, path: str) -> object | None:
        if path == "/jobs/overview":
            return {"jobs": self.jobs}
        if method == "PATCH":
            self.cancelled.append(path)
            self.states = ["CANCELLING", "CANCELED"]
            return {}
        if "exceptions" in path:
            return {
                "exceptionHistory": {"entries": [{"timestamp": at, "stacktrace": why} for at, why in self.failures[:1]]}
            }
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"state": state} if state else None


@pytest.fixture
def flink(monkeypatch) -> Iterator[Flink]:
    told = Flink()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = told.answer(self.command, self.path)
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        do_PATCH = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told.master = f"127.0.0.1:{server.server_port}"
    monkeypatch.setattr(stream_job, "_POLL", 0.01)
    yield told
    server.shutdown()
    server.server_close()


@pytest.fixture
def asked(monkeypatch):
    """What a signal that came is put into."""
    came: list[signal.Signals] = []

    class Asking:
        def __init__(self, *_: object) -> None:
            pass

        def __enter__(self):
            return lambda: came.pop() if came else None

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(stream_job, "asking_to_end", Asking)
    return came


def at_work(flink, **other: object) -> None:
    flink.jobs.append({"jid": "4711", "name": NAME, "state": "RUNNING", "start-time": 1, **other})


def run(flink, tmp_path) -> None:
    def build(root: beam.Pipeline) -> None:
        raise AssertionError("a second job is sent")

    options = PipelineOptions(["--runner=FlinkRunner", f"--flink_master={flink.master}", "--parallelism=1"])
    stream_job.run(options, build, NAME, str(tmp_path))


def test_a_second_start_waits_for_the_job_that_is_at_work(flink, asked, tmp_path, capsys):
    at_work(flink, jid="1", state="CANCELED", **{"start-time": 3})
    at_work(flink, jid="2", name="another", **{"start-time": 2})
    at_work(flink)
    flink.failures = [(1, "what was before")]
    asked.append(signal.SIGTERM)
    run(flink, tmp_path)
    said = capsys.readouterr().err
    assert "this stream is at work already" in said and "what was before" not in said
    assert "SIGTERM came: job 4711 is cancelled; what is not acknowledged comes again" in said
    assert flink.cancelled == ["/jobs/4711?mode=cancel"]


def test_who_cancels_it_elsewhere_is_no_end_of_the_stream(flink, asked, tmp_path):
    at_work(flink)
    flink.states = ["RUNNING", "CANCELED"]
    with pytest.raises(NoJob, match="job 4711 was cancelled on its engine: start it again"):
        run(flink, tmp_path)


def test_a_job_that_a_jobmanager_has_forgotten(flink, asked, tmp_path):
    at_work(flink)
    flink.states = ["RUNNING", ""]
    with pytest.raises(RunError, match="job 4711 is known no more: a JobManager without high availability"):
        run(flink, tmp_path)


def test_a_flink_that_does_not_answer_is_asked_for_a_while(flink, asked, tmp_path, monkeypatch):
    at_work(flink)
    monkeypatch.setattr(stream_job, "_PATIENCE", 0.2)
    original = Flink.answer

    def answer(method: str, path: str) -> object:
        if path == "/jobs/overview":
            return original(flink, method, path)
        return ["no Flink"]

    flink.answer = answer
    with pytest.raises(RunError, match=r"nobody has said for 0 s how job 4711 does .* start it again, which finds it"):
        run(flink, tmp_path)


def test_a_failure_is_told_in_the_sentence_of_its_worker_once(flink, asked, tmp_path, capsys):
    at_work(flink)
    job = stream_job._OnFlink(FlinkJobs(flink.master), "4711")
    flink.failures = [(5, TRACE)]
    flink.states = ["RESTARTING"]
    wait = iter([None, None, None, signal.SIGINT])
    stream_job._watch(job, lambda: next(wait, None))
    said = capsys.readouterr().err
    assert said.count(": Input/output error") == 1
    assert "job 4711 failed, and is started again; what is not acknowledged comes again" in said
    assert "SIGINT came" in said and "while running" not in said


def test_a_job_that_is_not_started_again(flink, asked, tmp_path):
    at_work(flink)
    job = stream_job._OnFlink(FlinkJobs(flink.master), "4711")
    flink.failures, flink.states = (
        [(5, "java.lang.Exception: no\nCaused by: java.lang.Error: why\n\tat a.b(C.java)")],
        ["FAILED"],
    )
    with pytest.raises(
        RunError, match=r"job 4711 failed: java\.lang\.Error: why; what is not acknowledged comes again"
    ):
        stream_job._watch(job, lambda: None)


@pytest.mark.parametrize("before", ["FAILING", "RUNNING"])
def test_why_a_job_failed_is_told_with_its_end_though_it_was_seen_before(flink, asked, tmp_path, capsys, before):
    """Flink knows the failure while the job still ends, or has not begun to."""
    flink.failures, flink.states = [(5, TRACE)], [before, "FAILED"]
    job = stream_job._OnFlink(FlinkJobs(flink.master), "4711")
    with pytest.raises(RunError, match=r"job 4711 failed: Input/output error; what is not"):
        stream_job._watch(job, lambda: None)
    assert ("is started again" in capsys.readouterr().err) == (before == "RUNNING")


def test_a_failure_in_the_last_moment_of_a_job_that_is_told_to_end_is_its_end(flink, asked, tmp_path, capsys):
    def came() -> signal.Signals:
        flink.failures = [(9, TRACE)]
        return signal.SIGTERM

    flink.states = ["RUNNING"]
    stream_job._watch(stream_job._OnFlink(FlinkJobs(flink.master), "4711"), came)
    assert flink.cancelled and "is started again" not in capsys.readouterr().err


def test_a_flink_that_does_not_hear_of_the_end_is_told_again(flink, asked, tmp_path, monkeypatch):
    tries, cancel = [], FlinkJobs.cancel

    def deaf_once(jobs: FlinkJobs, job: str) -> None:
        tries.append(job)
        if len(tries) == 1:
            raise TimeoutError("timed out")
        cancel(jobs, job)

    monkeypatch.setattr(FlinkJobs, "cancel", deaf_once)
    wait = iter([signal.SIGTERM])
    stream_job._watch(stream_job._OnFlink(FlinkJobs(flink.master), "4711"), lambda: next(wait, None))
    assert tries == ["4711", "4711"] and len(flink.cancelled) == 1


class Sent:
    """What was sent to a job server that does not answer for a moment."""

    def __init__(self, *_: object) -> None:
        self._asked = 0

    def failed(self) -> None:
        self._asked += 1
        if self._asked == 1:
            raise ConnectionError("UNAVAILABLE")

    def cancel(self) -> None:
        raise ConnectionError("UNAVAILABLE")


def test_who_does_not_answer_while_a_job_is_sent_is_asked_again(flink, asked, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stream_job, "_Sent", Sent)
    original, looks = FlinkJobs.at_work, []

    def at_work_now(jobs: FlinkJobs, name: str) -> str | None:
        looks.append(name)
        if len(looks) == 3:
            raise TimeoutError("timed out")
        if len(looks) == 4:
            at_work(flink)
        return original(jobs, name)

    monkeypatch.setattr(FlinkJobs, "at_work", at_work_now)
    asked.append(signal.SIGTERM)
    run(flink, tmp_path)
    assert len(looks) == 4 and "Flink has it as job 4711" in capsys.readouterr().err


def test_a_job_that_flink_never_has_is_said_though_the_job_server_is_gone(flink, asked, tmp_path, monkeypatch):
    monkeypatch.setattr(stream_job, "_Sent", Sent)
    monkeypatch.setattr(stream_job, "_SUBMITTING", 0.1)
    with pytest.raises(RunError, match="the job server took the job 0 s ago, and Flink does not know it"):
        run(flink, tmp_path)


def test_a_flink_that_is_gone_before_anything_is_sent_is_a_sentence(flink, asked, tmp_path, monkeypatch):
    def gone(*_: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(FlinkJobs, "at_work", gone)
    with pytest.raises(RunError, match=r"does not answer any more \(timed out\): nothing was sent"):
        run(flink, tmp_path)
