"""Options of portable engines: found, set and said, or refused in a sentence, before anything is planned."""

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import apache_beam as beam
import grpc
import pytest
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
)

from pipelines import classify, engines, evaluate, flink, prepare, sight, workers
from pipelines.engines import configure
from pipelines.flink_flags import FlinkJobOptions
from pipelines.runners import name_runner
from pipelines.running import Engine
from pipelines.usage import UsageError
from seqcls_beam.model.checkpoints import PACKAGED, resolve
from seqcls_beam.runs.run import RunError
from seqcls_beam.transforms.sight import look


class Rest:
    """What Flink's REST API answers, as the real one does."""

    def __init__(self, managers: list[tuple[str, int, int]]) -> None:
        self.answers: dict[str, Any] = {
            "/overview": {"flink-version": "1.19.3", "slots-total": sum(each[2] for each in managers)},
            "/taskmanagers": {
                "taskmanagers": [
                    {
                        "path": f"pekko.tcp://flink@{host}:3606{n}/user/rpc/taskmanager_0",
                        "hardware": {"cpuCores": cores},
                    }
                    for n, (host, cores, _) in enumerate(managers)
                ]
            },
        }
        rest = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = rest.answers[self.path]
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.master = f"127.0.0.1:{self.server.server_port}"


@pytest.fixture
def rest() -> Iterator[Rest]:
    made = Rest([("127.0.0.1", 8, 2), ("127.0.0.1", 8, 2)])
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def job_server(monkeypatch) -> Iterator[int]:
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        monkeypatch.setattr(engines, "JOB_PORT", port)
        yield port
        server.stop(None).wait()


def options(*flags: str) -> tuple[PipelineOptions, str]:
    made = PipelineOptions(list(flags))
    return made, name_runner(made)


def test_a_flink_is_asked_and_the_rest_is_set_and_said(rest, job_server, capsys):
    made, runner = options("--runner=FlinkRunner", f"--flink_master={rest.master}")
    configure(made, runner)
    portable = made.view_as(PortableOptions)
    assert portable.job_endpoint == f"127.0.0.1:{job_server}"
    assert (portable.environment_type, portable.environment_config) == ("EXTERNAL", "localhost:50000")
    assert made.view_as(FlinkRunnerOptions).parallelism == 4
    assert made.view_as(FlinkJobOptions).checkpointing_interval is None
    said = capsys.readouterr().err
    assert "Flink 1.19.3 with 2 TaskManagers and 4 slots answers" in said
    for flag in ("--job_endpoint=", "--environment_type=EXTERNAL", "--parallelism=4", "--environment_cache_millis="):
        assert flag in said
    assert workers.workers(made) == 4 and workers.threads_per_worker(made) == 4, "8 cores for two of them"


def test_what_the_user_said_stays(rest, job_server, capsys):
    own = f"127.0.0.1:{job_server}"
    made, runner = options(
        "--runner=FlinkRunner", f"--flink_master=http://{rest.master}/", f"--job_endpoint={own}", "--parallelism=1",
        "--environment_type=PROCESS", "--environment_config={}", "--checkpointing_interval=700",
    )  # fmt: skip
    configure(made, runner, streaming=True)
    portable = made.view_as(PortableOptions)
    assert (portable.job_endpoint, portable.environment_type) == (own, "PROCESS")
    assert made.view_as(FlinkJobOptions).checkpointing_interval == 700
    assert made.view_as(FlinkRunnerOptions).parallelism == 1
    for flag in ("--job_endpoint", "--environment", "--parallelism", "--checkpointing_interval"):
        assert flag not in capsys.readouterr().err


def test_a_stream_gets_what_a_job_without_an_end_needs(rest, job_server, capsys):
    made, runner = options("--runner=FlinkRunner", f"--flink_master={rest.master}")
    configure(made, runner, streaming=True)
    job = made.view_as(FlinkJobOptions)
    assert 0 < job.checkpointing_interval <= 60_000
    assert job.max_bundle_size == 1 and job.finish_bundle_before_checkpointing is True
    assert job.number_of_execution_retries > 10**6 and job.execution_retry_delay > 0
    assert int(made.view_as(PortableOptions).environment_cache_millis) == 0
    assert "--finish_bundle_before_checkpointing --max_bundle_size=1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--checkpointing_interval=0", "expected milliseconds from 1 to 600000: messages are acknowledged when"),
        ("--checkpointing_interval=700000", "expected milliseconds from 1 to 600000"),
        ("--environment_cache_millis=1", "keeps workers of a stream, and the messages that they hold"),
    ],
)
def test_what_would_hold_messages_of_a_stream_is_refused(rest, job_server, flag, sentence):
    made, runner = options("--runner=FlinkRunner", f"--flink_master={rest.master}", flag)
    with pytest.raises(UsageError, match=sentence):
        configure(made, runner, streaming=True)


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def test_no_cluster_no_job_server_no_task_manager_are_each_one_sentence(rest, monkeypatch):
    made, runner = options("--runner=FlinkRunner", f"--flink_master=127.0.0.1:{free_port()}")
    with pytest.raises(RunError, match=r"no Flink answers there .*deploy/flink"):
        configure(made, runner)
    monkeypatch.setattr(engines, "JOB_PORT", free_port())
    made, runner = options("--runner=FlinkRunner", f"--flink_master={rest.master}")
    with pytest.raises(RunError, match=r"no job server answers at 127\.0\.0\.1:"):
        configure(made, runner)
    rest.answers["/overview"]["slots-total"] = 0
    with pytest.raises(RunError, match="has no TaskManager at work"):
        configure(made, runner)
    for strange in (b"<html></html>", b"[]", b"{}"):
        rest.answers["/overview"] = strange
        with pytest.raises(RunError, match="no Flink"):
            configure(made, runner)


def test_what_listens_and_does_not_answer_is_no_job_server(rest, monkeypatch):
    """Beam would wait for it without end."""
    monkeypatch.setattr(engines, "_CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(engines, "JOB_PORT", silent.getsockname()[1])
        made, runner = options("--runner=FlinkRunner", f"--flink_master={rest.master}")
        with pytest.raises(RunError, match=r"no job server answers at 127\.0\.0\.1:"):
            configure(made, runner)


def test_a_proxy_that_stands_between_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "flink.example")
    with pytest.raises(RunError, match=r"; asked by way of http_proxy=http://127\.0\.0\.1:\d+, .*no_proxy"):
        flink.cluster("cluster.example:8081")
    with pytest.raises(RunError) as caught:
        flink.cluster("flink.example:8081")
    assert "proxy" not in str(caught.value)


@pytest.mark.parametrize("answer", [b"\0\0\6\4\0\0\0\0\0abc", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", b""])
def test_what_speaks_no_http_is_no_flink(answer):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def once() -> None:
            with listening.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=once)
        thread.start()
        with pytest.raises(RunError, match=r"no Flink answers there \(\w+: .*\): start one"):
            flink.cluster(f"127.0.0.1:{listening.getsockname()[1]}")
        thread.join()
    with pytest.raises(RunError, match=r"no Flink answers there .*80x"):
        flink.cluster("127.0.0.1:80x")


def test_nothing_is_downloaded_for_a_flink_that_nobody_started():
    made, runner = options("--runner=FlinkRunner")
    with pytest.raises(UsageError, match=r"--flink_master=HOST:PORT is missing.*--flink_job_server_jar"):
        configure(made, runner)


@pytest.mark.parametrize(
    "flags",
    [
        ("--runner=FlinkRunner", "--flink_master=[local]", "--flink_job_server_jar=/job.jar"),
        ("--runner=PortableRunner", "--job_endpoint=127.0.0.1:8099"),
    ],
)
def test_a_stream_is_refused_where_nobody_sees_to_its_acknowledging(flags):
    made, runner = options(*flags)
    with pytest.raises(UsageError, match=r"a stream needs .*--flink_master=HOST:PORT"):
        configure(made, runner, streaming=True)
    configure(made, runner)


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("where", ["PATH", "GOBIN", "GOPATH", "HOME"])
def test_prism_is_looked_for_on_path_and_where_go_puts_it(tmp_path, monkeypatch, capsys, where):
    for name in ("PATH", "GOBIN", "GOPATH"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = {"PATH": "bin", "GOBIN": "gobin", "GOPATH": "go-path/bin", "HOME": "home/go/bin"}[where]
    there = program(tmp_path / folder / "prism")
    monkeypatch.setenv(where, str(tmp_path / folder.removesuffix("/bin" if where == "GOPATH" else "/go/bin")))
    made, runner = options("--runner=PrismRunner")
    configure(made, runner)
    assert made.view_as(PrismRunnerOptions).prism_location == str(there)
    assert str(there) in capsys.readouterr().err


def test_without_prism_the_sentence_says_how_to_get_the_version_of_this_beam(tmp_path, monkeypatch):
    for name in ("PATH", "GOBIN", "GOPATH"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("HOME", str(tmp_path))
    made, runner = options("--runner=PrismRunner")
    with pytest.raises(UsageError, match=f"go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{beam.__version__}"):
        configure(made, runner)
    made, runner = options("--runner=PrismRunner", f"--prism_location={tmp_path}/none")
    with pytest.raises(UsageError, match="is no file"):
        configure(made, runner)
    made, runner = options("--runner=PrismRunner", f"--job_endpoint=127.0.0.1:{free_port()}")
    with pytest.raises(RunError, match="no Prism answers there"):
        configure(made, runner)


@pytest.mark.parametrize("command", [classify.main, prepare.main, evaluate.main])
def test_every_command_says_so_before_it_plans(command, tmp_path, capsys):
    flags = [f"--input={tmp_path}/none.jsonl", f"--output={tmp_path}/out", "--runner=FlinkRunner"]
    assert command([*flags, f"--flink_master=127.0.0.1:{free_port()}"]) == 1
    said = capsys.readouterr().err
    assert "no Flink answers there" in said and "Traceback" not in said and not (tmp_path / "out").exists()


def test_workers_on_this_machine_are_not_asked_what_they_see(rest, job_server, tmp_path, monkeypatch):
    made, runner = options("--runner=FlinkRunner", f"--flink_master={rest.master}")
    configure(made, runner)
    monkeypatch.setattr(sight, "run_pipeline", lambda *_: pytest.fail("asked"))
    sight.ensure_seen(Engine(runner, made, [], 0), str(tmp_path), input=[str(tmp_path)])


def test_workers_elsewhere_are_asked_for_what_is_on_a_disk(rest, job_server, tmp_path, monkeypatch):
    rest.answers["/taskmanagers"] = Rest([("192.0.2.7", 4, 1)]).answers["/taskmanagers"]
    made, runner = options("--runner=FlinkRunner", f"--flink_master={rest.master}")
    configure(made, runner)
    asked: list[Any] = []

    def ran(_: PipelineOptions, build: Any, name: None, reader: None, step_timeout: float) -> None:
        assert step_timeout == 7, "workers that never come are not waited for"
        pipeline = beam.Pipeline(runner="FnApiRunner")
        build(pipeline)
        asked.append(pipeline.run())

    monkeypatch.setattr(sight, "run_pipeline", ran)
    engine = Engine(runner, made, [], 7)
    (tmp_path / "in").mkdir()
    sight.ensure_seen(engine, str(tmp_path / "out"), input=[f"{tmp_path}/in/*.jsonl", "gs://bucket/x"])
    assert len(asked) == 1 and not list(tmp_path.rglob(".seen-*"))
    with pytest.raises(RunError, match="standard input"):
        sight.ensure_seen(engine, None, input=["-"])
    sight.ensure_seen(engine, "gs://bucket/out", input=["gs://bucket/in"])
    assert len(asked) == 1, "what lies in a bucket needs no job"
    # Which the other machine has not, under that name.
    monkeypatch.setattr("seqcls_beam.storage.exists", lambda uri: not uri.endswith("/in"))
    with pytest.raises(
        RunError, match=rf"^--input={tmp_path}/in: on this machine, and the worker on .* does not see it"
    ):
        sight.ensure_seen(engine, None, input=[f"{tmp_path}/in"])


def test_of_a_model_workers_must_see_the_folder_where_it_has_one(tmp_path):
    folder = shutil.copytree(PACKAGED["sentiment"], tmp_path / "model")
    found = resolve(str(folder), None)
    assert sight.folder_of(found) == str(folder)
    assert sight.folder_of(resolve("sentiment", None)) is sight.folder_of(None) is None, "each worker has it"
    assert sight.folder_of(replace(found, name="org/model", location="org/model")) is None, "each fetches it"
    assert sight.folder_of(replace(found, name="gs://b/m", location="gs://b/m")) is None
    assert sight.folder_of(replace(found, name="file:///m", location="file:///m")) == "file:///m"


def test_all_that_is_not_there_is_named(tmp_path):
    (tmp_path / "there").touch()
    places = (("--input=a", f"{tmp_path}/a"), ("--data=there", f"{tmp_path}/there"), ("--output=b", f"{tmp_path}/b"))
    with pytest.raises(RunError, match=r"^--input=a and --output=b: on this machine"):
        look(3, places)
    assert look(3, places[1:2]) == 3


def test_cores_are_shared_where_they_are_fewest():
    machines = (flink.Machine("a", 16, 2), flink.Machine("b", 4, 2), flink.Machine("c", 3, 4))
    assert flink.Cluster("1", 8, machines[:1]).threads == 8
    assert flink.Cluster("1", 8, machines[:2]).threads == 2
    assert flink.Cluster("1", 8, machines).threads == 1
