"""A server of OpenLineage on loopback that answers well, badly, late, or without an end."""

import gzip
import json
import logging
import os
import resource
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from seqcls_beam.announcing import lineage, lineage_sending, posting
from seqcls_beam.announcing.published import PlatformError
from tests.announcing.collector import certificate, collecting, ok
from tests.announcing.test_lineage import night
from tests.web import serving

KEY = "k3y-0f-s0me0ne-4712"


class Server(ThreadingHTTPServer):
    """Records events, and answers as it is told."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events = []
        self.asked = []  # (path, headers)
        self.answers = []  # statuses to come; then 201
        self.headers = {}
        self.how = ""
        self.over = threading.Event()

    def handle_error(self, request, client_address):
        """Of a client that went away."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self):
        server = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.asked.append((self.path, dict(self.headers)))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        server.events.append(json.loads(body))
        if server.how == "hangs":
            server.over.wait(60)
            return
        if server.how == "drips":
            while not server.over.wait(0.05):
                self.wfile.write(b"X")
                self.wfile.flush()
            return
        status = server.answers.pop(0) if server.answers else 201
        self.send_response(status)
        for name, value in server.headers.items():
            self.send_header(name, value)
        if server.how == "has no end":
            self.end_headers()
            while not server.over.is_set():
                self.wfile.write(b"x" * 65536)
            return
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        """Nothing."""


@pytest.fixture
def server():
    made = Server()
    with serving(made):
        yield made
        made.over.set()


@pytest.fixture(autouse=True)
def _bare(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("OPENLINEAGE")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lineage_sending, "SECONDS", 3.0)
    monkeypatch.setattr(posting, "PAUSE", 0.05)
    monkeypatch.setattr(lineage_sending, "_begun", set())


def url(server):
    return f"http://127.0.0.1:{server.server_port}"


def start(where, run_id="r"):
    lineage.tell_start(where, output="gs://b/out", partition="", run_id=run_id, kind="classify")


def refused(where):
    """What is said of a server that takes nothing, which must come in time."""
    began = time.monotonic()
    with pytest.raises(PlatformError) as error:
        start(where)
    assert time.monotonic() - began < lineage_sending.SECONDS + 1
    assert "\n" not in str(error.value) and KEY not in str(error.value)
    return str(error.value)


def test_an_event_arrives_with_the_key_of_the_environment(server, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_API_KEY", f"{KEY}\n")
    lineage.ensure(url(server))
    assert not server.asked  # nobody is asked before there is something to say
    start(url(server))
    ((path, headers),) = server.asked
    assert path == "/api/v1/lineage"
    assert headers["Authorization"] == f"Bearer {KEY}" and headers["Content-Type"] == "application/json"
    assert [event["eventType"] for event in server.events] == ["START"]
    assert KEY not in json.dumps(server.events)
    assert not [name for name in os.environ if name.startswith("OPENLINEAGE__")]


@pytest.mark.parametrize(
    ("path", "endpoint", "asked"),
    [("", None, "/api/v1/lineage"), ("/ol", None, "/ol/api/v1/lineage"), ("", "in/here", "/in/here")],
)
def test_a_server_may_lie_behind_a_path(server, monkeypatch, path, endpoint, asked):
    if endpoint:
        monkeypatch.setenv("OPENLINEAGE_ENDPOINT", endpoint)
    start(url(server) + path)
    assert server.asked[0][0] == asked


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_fails_once_is_asked_again(server, status):
    server.answers = [status]
    start(url(server))
    assert len(server.asked) == 2 and server.events[0] == server.events[1]


def test_a_server_that_fails_is_asked_twice_at_most(server, capfd):
    server.answers = [500] * 9
    said = refused(url(server))
    assert said == f"{url(server)} took no events: it answered 500 Internal Server Error; look into its log"
    assert len(server.asked) == 2
    server.headers = {"Retry-After": "3600"}
    refused(url(server))
    assert len(server.asked) == 3, "nobody waits for an hour"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("status", "cure"), [(401, "set OPENLINEAGE_API_KEY"), (404, "look at the URL"), (422, "")])
def test_a_server_that_says_no_is_asked_once(server, monkeypatch, status, cure):
    monkeypatch.setenv("OPENLINEAGE_API_KEY", KEY)
    server.answers = [status]
    said = refused(url(server))
    assert f"it answered {status}" in said and cure in said and len(server.asked) == 1


def test_a_redirect_is_not_followed(server, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_API_KEY", KEY)
    other = Server()
    with serving(other):
        server.answers = [307]
        server.headers = {"Location": f"{url(other)}/api/v1/lineage"}
        assert "it answered 307" in refused(url(server))
    assert not other.asked


@pytest.mark.parametrize("how", ["hangs", "drips"])
def test_a_server_that_does_not_answer_is_not_waited_for(server, how):
    server.how = how
    assert url(server) in refused(url(server))
    assert len(server.asked) <= 2


def test_an_answer_without_an_end_is_not_read(server):
    server.how = "has no end"
    began = time.monotonic()
    start(url(server))
    assert time.monotonic() - began < 2


def test_nobody_listens(server):
    port = server.server_port
    server.server_close()
    assert refused(f"http://127.0.0.1:{port}") == (
        f"http://127.0.0.1:{port} cannot be reached (nothing listens there): look whether it runs"
    )


def test_no_such_host():
    assert "cannot be reached" in refused("http://nowhere.invalid:5000")


def test_the_end_of_a_run_tells_its_start_once(server, tmp_path):
    announced = night(tmp_path / "out")
    lineage.tell(url(server), announced)
    assert [event["eventType"] for event in server.events] == ["START", "COMPLETE"]
    lineage.tell(url(server), announced)  # as another process, which cannot know
    assert server.events[2:] == server.events[:2]
    facts = {"output": announced.output, "partition": announced.partition, "run_id": announced.manifest["run_id"]}
    lineage.tell_start(url(server), **facts, kind="classify")
    lineage.tell(url(server), announced)
    assert [event["eventType"] for event in server.events[4:]] == ["START", "COMPLETE"]
    assert {event["run"]["runId"] for event in server.events} == {server.events[0]["run"]["runId"]}
    assert not lineage_sending._begun


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("http://", "expected http://HOST:PORT"),
        ("http://host:x", "expected http://HOST:PORT"),
        ("http://me:hunter2@host:5000", "a URL has no user and no key here"),
        ("http://host:5000?api_key=hunter2", "a URL has no user and no key here"),
        ("gs://bucket/events", "events go to a server"),
        ("/nowhere/at/all/events", "there is no folder /nowhere/at/all"),
        (".", "is a folder"),
    ],
)
def test_what_is_misspelled_is_told_before_the_run(where, said):
    with pytest.raises(PlatformError) as error:
        lineage.ensure(where)
    assert said in str(error.value) and "hunter2" not in str(error.value)


def test_a_key_with_an_end_of_a_line_in_it(monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_API_KEY", f"{KEY}\nX-Other: 1")
    with pytest.raises(PlatformError, match="OPENLINEAGE_API_KEY has signs that no key has") as error:
        lineage.ensure("http://host:5000")
    assert KEY not in str(error.value)


def test_a_file_is_told_of_by_its_uri(tmp_path):
    where = f"file://{tmp_path}/events.jsonl"
    lineage.ensure(where)
    start(where)
    assert json.loads((tmp_path / "events.jsonl").read_text())["eventType"] == "START"


def test_a_disk_that_takes_nothing(tmp_path):
    before, soft = set(threading.enumerate()), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, soft[1]))
    try:
        said = refused(f"{tmp_path}/events")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, soft)
    assert said.startswith(f"{tmp_path}/events took no events (") and "File too large" in said
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("where", ["/dev/zero", "/dev/null", "/dev/full", "pipe", "link", "file:///dev/zero"])
def test_what_has_no_end_or_keeps_nothing_is_no_file(tmp_path, where):
    os.mkfifo("pipe")
    os.symlink("/dev/zero", "link")
    began = time.monotonic()
    for ask in (lineage.ensure, start):
        with pytest.raises(PlatformError, match=r"--openlineage=\S+ is a pipe, a socket or a device; name a file"):
            ask(where)
    assert time.monotonic() - began < 5


def test_many_processes_append_whole_lines_each_once(tmp_path):
    code = (
        "import sys; from seqcls_beam.announcing import lineage\n"
        "for i in range(5): lineage.tell_start(sys.argv[1], output='gs://b/out', partition='', run_id=str(i), "
        "kind='classify', started='2026-01-01T00:00:00Z', command='x' * 1900)"
    )
    file = tmp_path / "events.jsonl"
    all_ = [subprocess.Popen([sys.executable, "-c", code, str(file)]) for _ in range(3)]
    assert [each.wait(100) for each in all_] == [0, 0, 0]
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(events) == 5 == len({event["run"]["runId"] for event in events})


def test_the_environment_says_where(server, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_URL", url(server))
    monkeypatch.setenv("OPENLINEAGE_API_KEY", KEY)
    lineage.ensure("env")
    server.answers = [503]
    start("env")
    assert [headers["Authorization"] for _, headers in server.asked] == [f"Bearer {KEY}"] * 2
    assert not [name for name in os.environ if name.startswith("OPENLINEAGE__")]


def test_a_file_of_configuration_says_where(server, tmp_path):
    (tmp_path / "openlineage.yml").write_text(
        f"transport:\n  type: http\n  url: {url(server)}\n  endpoint: mine\ntags:\n  job:\n    team: reviews\n"
    )
    start("env")
    assert server.asked[0][0] == "/mine"
    assert server.events[0]["job"]["facets"]["tags"]["tags"][0]["value"] == "reviews"


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        (None, "neither OPENLINEAGE_URL nor an openlineage.yml says"),
        ("transport: [", "neither OPENLINEAGE_URL nor an openlineage.yml says"),
        ("transport:\n  type: carrier.Pigeon\n", "configuration cannot be used"),
        ("transport:\n  type: http\n", "configuration cannot be used"),
        ("transport:\n  type: http\n  url: http://me:hunter2@host\n", "is configured with has a user in it"),
        ("transport:\n  type: http\n  url: file://host/etc/passwd\n", "or is none of HTTP: write"),
    ],
)
def test_configuration_that_says_nothing(tmp_path, yaml, said, capfd):
    if yaml:
        (tmp_path / "openlineage.yml").write_text(yaml)
    with pytest.raises(PlatformError, match=said):
        lineage.ensure("env")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("where", ["env", "http://127.0.0.1:9", "events.jsonl"])
def test_nobody_is_told_where_openlineage_is_turned_off(monkeypatch, where):
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")
    for call in (lineage.ensure, start):
        with pytest.raises(PlatformError, match="turns OpenLineage off, and nobody would be told: leave out the flag"):
            call(where)
    assert logging.getLogger("openlineage").level == logging.NOTSET


@pytest.mark.parametrize("machine", ["machine 127.0.0.1", "default"])
@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("by", ["flag", "environment"])
def test_passwords_of_another_file_are_not_sent(server, monkeypatch, tmp_path, machine, key, by):
    (tmp_path / ".netrc").write_text(f"{machine} login me password hunter22\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    if key:
        monkeypatch.setenv("OPENLINEAGE_API_KEY", key)
    monkeypatch.setenv("OPENLINEAGE_URL", url(server))
    start(url(server) if by == "flag" else "env")
    ((_, headers),) = server.asked
    assert headers.get("Authorization") == (f"Bearer {key}" if key else None)


def test_what_a_file_of_configuration_says_of_a_server_holds(server, tmp_path):
    (tmp_path / "openlineage.yml").write_text(
        f"transport:\n  type: http\n  url: {url(server)}\n  compression: gzip\n  auth:\n    type: api_key\n"
        f"    apiKey: {KEY}\n  custom_headers:\n    X-Team: reviews\n"
    )
    start("env")
    ((_, headers),) = server.asked
    assert (headers["Authorization"], headers["X-Team"], headers["Content-Encoding"]) == (
        f"Bearer {KEY}",
        "reviews",
        "gzip",
    )
    assert server.events[0]["eventType"] == "START"


def test_certificates_are_those_that_are_configured(tmp_path):
    files = certificate(str(tmp_path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    with collecting(ok(), tls=context) as there:
        configured = f"transport:\n  type: http\n  url: {there.url}\n"
        (tmp_path / "openlineage.yml").write_text(configured)
        assert "its certificate is not trusted: self-signed certificate" in refused("env")
        for more in ("  verify: false\n", f"  sslContext:\n    caCertPath: {files[0]}\n"):
            (tmp_path / "openlineage.yml").write_text(configured + more)
            start("env")
        (tmp_path / "openlineage.yml").write_text(f"{configured}  sslContext:\n    caCertPath: /nowhere.pem\n")
        assert "certificates cannot be read; mend openlineage.yml" in refused("env")
    assert [each.path for each in there.sent] == ["/api/v1/lineage"] * 2


def test_a_header_that_is_none_is_not_shown(tmp_path):
    (tmp_path / "openlineage.yml").write_text(
        f'transport:\n  type: http\n  url: http://127.0.0.1:9\n  custom_headers:\n    X-Key: "{KEY}\\nA: b"\n'
    )
    assert "signs in it that none has" in refused("env")


def test_a_long_file_is_not_read_again_for_each_event(tmp_path, monkeypatch):
    """Its end is: what stands there is not said again."""
    monkeypatch.setattr(lineage_sending, "_TAIL", 5000)
    file, at = tmp_path / "events.jsonl", "2026-01-01T00:00:00Z"
    for run in "abcdefgh":
        facts: dict[str, Any] = {"output": "gs://b/out", "partition": "", "run_id": run, "kind": "classify"}
        facts["command"] = "x" * 1000
        for _ in range(2):
            lineage.tell_start(str(file), started=at, **facts)
    assert len(file.read_text().splitlines()) == 8
    assert file.stat().st_size > 8000
